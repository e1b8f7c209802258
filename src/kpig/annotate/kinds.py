"""Kinds: which kind of key part a clause is (`records.KEY_PART_KINDS`), told from its words."""

import re

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
    r"\b(?:format(?:ted)?|separated?|brackets?|commas?|capital|upper\s*-?case|lower\s*-?case|casing|case|json|"
    r"digits?|decimals?|integers?|symbol|hyphen|space|punctuation|prefix|string\s+of|order|period|"
    r"start(?:s|ing)?\s+with|ends?\s+with|quotes?|numeric|number|word/phrase|phrase|complete\s+sentences?)\b",
    re.IGNORECASE,
)
LENGTH_WORDS = re.compile(
    r"\b(?:(?:\d+|two|three|four|five|six|ten|few|fewer|more|exactly|at\s+(?:least|most)|maximum)\s+"
    r"(?:\w+\s+){0,2}(?:words?|sentences?|tokens?|characters?|letters?|items?|lines?|paragraphs?)|"
    r"one\s+(?:word|sentence|line)|(?:as|too|very|keep\s+it|be)\s+(?:\w+\s+){0,2}(?:short|long|brief|concise)|"
    r"length|concise|one\s+of\s+them)\b",
    re.IGNORECASE,
)
FORM_VERBS = re.compile(
    r"(?:use|put|separate|format|start|end|begin|answer|respond|report|return|write)\b", re.I
)


def quotes(text: str) -> set[str]:
    """What the text sets in quotation marks, in lower case."""
    return {next(filter(None, groups)).lower() for groups in QUOTED.findall(text) if any(groups)}


def lists_labels(clause: str) -> bool:
    """Whether a clause names labels, classes or types and then enumerates them."""
    return bool(LABEL_NOUNS.search(clause) and (":" in clause or "(" in clause or len(quotes(clause)) > 1))


def of_demand(clause: str, first: bool) -> str:
    """The kind of a clause that asks for something; the `first` of an instruction is its operation."""
    if first and not NEGATED.match(clause):
        return "operation"
    return of_rule(clause)


def of_rule(clause: str) -> str:
    """The kind of a clause that says more of what was asked for before."""
    quoted = len(quotes(clause))
    if quoted > 1 or (quoted and LABEL_RULE.search(clause)) or (LABEL_NOUNS.search(clause) and ":" in clause):
        return "label_set"
    speaks_of_form = OUTPUT_SUBJECT.match(clause) or FORM_VERBS.match(clause) or NEGATED.match(clause)
    if LENGTH_WORDS.search(clause) and (speaks_of_form or SURE_VERB.match(clause)):
        return "length"
    if FORMAT_WORDS.search(clause) and (speaks_of_form or CONDITION.match(clause)):
        return "format"
    return "content"
