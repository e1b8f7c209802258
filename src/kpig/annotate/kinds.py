"""Kinds: which kind of key part a clause is (`records.KEY_PART_KINDS`), told from its words."""

import re

from kpig.annotate import labels, lengths, styles
from kpig.annotate.lexicon import CONDITION, NEGATED, OUTPUT_SUBJECT, SURE_VERB

QUOTED = re.compile(r"\"([^\"\n]{1,40})\"|“([^”\n]{1,40})”|(?<!\w)'([^'\n]{1,40})'(?!\w)|`([^`\n]{1,40})`")
LABEL_RULE = re.compile(
    r"\b(?:one\s+of\b|into\s+(?:\w+\s+){0,3}(?:classes|categories|groups|labels)|scale\s+of|as|into|if|"
    r"(?:output|answer|label|reply|respond|print|write)(?:\s+with)?\s+(?=[\"'“`]))",
    re.IGNORECASE,
)
LABEL_NOUNS = re.compile(
    r"\b(?:categor(?:y|ies)|class(?:es)?|labels?|types?|options?|emotions?|relations?|tags?|outputs?)\b",
    re.IGNORECASE,
)
FORMAT_WORDS = re.compile(
    r"\b(?:format(?:ted)?|separated?|brackets?|commas?|capital|upper\s*-?case|lower\s*-?case|casing|case|"
    r"json|"
    r"digits?|decimals?|integers?|symbol|hyphen|space|punctuation|prefix|string\s+of|order|period|"
    r"start(?:s|ing)?\s+with|ends?\s+with|quotes?|numeric|number|word/phrase|phrase|complete\s+sentences?)\b",
    re.IGNORECASE,
)
REFUSED_FORMS = re.compile(
    r"\b(?:format(?:ted)?|brackets?|commas?|capitals?|capital\s+letters?|upper\s*-?case|lower\s*-?case|"
    r"casing|case|json|digits?|"
    r"decimals?|symbols?|hyphens?|punctuation|prefix|quotes?|order)\b",
    re.IGNORECASE,
)
LENGTH_WORDS = re.compile(
    r"\b(?:(?:\d+|two|three|four|five|six|ten|few|fewer|more|exactly|at\s+(?:least|most)|maximum)\s+"
    r"(?:\w+\s+){0,2}(?:words?|sentences?|tokens?|characters?|letters?|items?|lines?|paragraphs?)|"
    r"one\s+(?:word|sentence|line)|(?:as|too|very|keep\s+it|be)\s+(?:\w+\s+){0,2}(?:short|long|brief|"
    r"concise)|"
    r"length|concise|one\s+of\s+them)\b",
    re.IGNORECASE,
)
FORM_VERBS = re.compile(
    r"(?:use|put|separate|format|start|end|begin|answer|respond|report|return|write)\b", re.I
)

ANSWERS = re.compile(
    r"(?:always\s+|please\s+)?(?:answer|reply|respond|write|return|output|give|speak|use|say|"
    r"print)\s+(?:it\s+|only\s+)?",
    re.IGNORECASE,
)
USES_ONLY = re.compile(
    r"(?:(?:only\s+)?use\s+(?:only|just|nothing\s+but|exclusively)|only\s+use|rely\s+(?:only\s+)?on)\s+"
    r"(?:(?:the|what|its?|this)\s+)?(?:\w+\s+){0,3}(?:from|in|of|information|words|facts|data|text|passage|"
    r"context|table|given|stands|provided)\b",
    re.IGNORECASE,
)
MANNER = re.compile(
    r"(?:be|stay|remain|sound)\s+(?!sure\b|certain\b)\w+|(?:mention|include|avoid)\s", re.IGNORECASE
)
QUESTION = re.compile(
    r"(?:who|whom|whose|what|which|when|where|why|how|is|are|was|were|does|do|did|has|have|had|can|could|"
    r"will|"
    r"would)\s(?!not\b)[^?]*\?\W*$",
    re.IGNORECASE,
)
AVOIDS = re.compile(r"(?:do\s+not|don'?t|never|avoid|no|without)\b", re.IGNORECASE)
OTHER_CASE = re.compile(
    r"\b(?:none|nothing|null|unknown|impossible|missing|unclear|empty|no\s+\w+|not?\s+(?:\w+\s+)?(?:given|"
    r"mentioned|"
    r"found|stated|known|"
    r"present|there|clear)|isn't|aren't|cannot|can't)\b",
    re.IGNORECASE,
)
REFERENCE = re.compile(
    r"\b(?:words?|phrases?|quotes?|spans?|sentences?|passages?|wording)\s+(?:(?:copied|taken|"
    r"that\s+(?:are|is|occurs?|appears?))\s+)?"
    r"(?:from|found\s+in|that\s+(?:occurs?|appears?)\s+in)\s+(?:the|it|this)\b",
    re.IGNORECASE,
)


def quotes(text: str) -> set[str]:
    """What the text sets in quotation marks, in lower case."""
    return {next(filter(None, groups)).lower() for groups in QUOTED.findall(text) if any(groups)}


def lists_labels(clause: str) -> bool:
    """Whether a clause names labels, classes or types and then enumerates them."""
    return bool(LABEL_NOUNS.search(clause) and (":" in clause or "(" in clause or len(quotes(clause)) > 1))


def lists_answers(words: str) -> bool:
    """Whether what follows a colon or "as" are labels, and not a rule or a demand."""
    first = re.split(r"[,;]", words, maxsplit=1)[0]
    if len(first.split()) > 1 and SURE_VERB.match(first):
        return False
    if styles.is_form(words) or lengths.is_limit(words) or styles.shows(words):
        return False
    return labels.is_list(words) or labels.chooses(words) or bool(quotes(words))


def of_demand(clause: str, first: bool) -> str:
    """The kind of a clause that asks for something; the `first` of an instruction is its operation.

    It is not where it only says how to answer ("Answer in one word", "Return one of: a, b").
    """
    if (first and not NEGATED.match(clause) and not _says_how(clause)) or QUESTION.match(clause):
        return "operation"
    return of_rule(clause)


def _says_how(clause: str) -> bool:
    rest = ANSWERS.match(clause)
    if (
        labels.chooses(clause)
        or lengths.is_limit(clause)
        or lengths.SUFFICES.match(clause)
        or lengths.KEPT.match(clause)
        or USES_ONLY.match(clause)
        or MANNER.match(clause)
        or styles.FRAMES.match(clause)
    ):
        return True
    said = clause[rest.end() :] if rest else clause
    return (
        lengths.is_limit(said)
        or styles.is_named(said)
        or bool(styles.LED_FORM.match(said) or (not rest and styles.FORM_START.match(said)))
    )


def of_rule(clause: str) -> str:
    """The kind of a clause that says more of what was asked for before."""
    quoted = len(quotes(clause))
    if labels.chooses(clause) or labels.is_slashed(clause):
        return "label_set"
    if REFERENCE.search(clause) or USES_ONLY.match(clause):
        return "reference"
    rest = ANSWERS.match(clause)
    if (
        lengths.is_limit(clause)
        or lengths.KEPT.match(clause)
        or (rest and lengths.is_limit(clause[rest.end() :]))
    ):
        return "length"
    if styles.is_form(clause) or styles.shows(clause):
        return "format"
    if CONDITION.match(clause) and quoted < 2 and OTHER_CASE.search(clause.split(",")[0]):
        return "content"
    if AVOIDS.match(clause):
        quoted = 0
    if quoted > 1 or (quoted and LABEL_RULE.search(clause)) or (LABEL_NOUNS.search(clause) and ":" in clause):
        return "label_set"
    speaks_of_form = OUTPUT_SUBJECT.match(clause) or FORM_VERBS.match(clause) or NEGATED.match(clause)
    if LENGTH_WORDS.search(clause) and (speaks_of_form or SURE_VERB.match(clause)):
        return "length"
    words_of_form = REFUSED_FORMS if NEGATED.match(clause) else FORMAT_WORDS
    if words_of_form.search(clause) and (speaks_of_form or CONDITION.match(clause)):
        return "format"
    return "content"
