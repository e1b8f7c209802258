"""Forms that an instruction states: JSON, casing, numbers, words to use or to avoid, the language."""

from collections.abc import Iterator

import regex

from kpig.annotate.demand import QUOTED, Demand, Entry, said, unquoted
from kpig.tasks.constraints.languages import CODES

_JSON = regex.compile(r"(?i)\bJSON\b(?![- ]?(?:lines|input))(?P<shape>[ -](?:list|array|object|dict\w*))?")
_KEY_LIST = regex.compile(
    r"(?i)\b(?:keys?|fields?|properties|attributes|members)\b(?:\s+(?:are|named|called|must be"
    r"|should be))?\s*[:=(]?\s*"
    r"(?P<list>[^.;:\n(){}]{1,200})"
)
_TEMPLATE = regex.compile(r"\{[^{}]{1,400}\}")
_QUOTED_KEY = regex.compile(r"[\"'“](?P<key>[^\"'”\s{}:]{1,40})[\"'”]\s*:")
_KEY = regex.compile(r"[\"'`“”]?([\p{L}_][\w-]*)[\"'`“”]?(?:\s*\([^)]*\))?")
_ONLY = regex.compile(r"(?i)\b(?:exactly|only|no other|nothing else)\b")


def json(text: str) -> Iterator[Demand]:
    """JSON with the keys that are named; a number alone would be JSON, so a shape is asked for."""
    found = next(said(_JSON, text), None)
    if found is None:
        return
    keys, source = _keys(text, found)
    is_list = bool(found["shape"]) and found["shape"][1:].lower() in ("list", "array")
    shapes = ("list", "object") if is_list else ("object", "list")
    with_keys = [
        {"type": "json", "shape": shape, "keys": keys, **more}
        for shape in shapes
        for more in ({"only_keys": True}, {})
        if keys
    ]
    plain = [{"type": "json", "shape": shape} for shape in shapes]
    yield Demand((*with_keys, *plain), source or found[0])


def _keys(text: str, found: regex.Match[str]) -> tuple[list[str], str]:
    """The names of the keys, in order, and the words that list them; nothing where none are named."""
    for template in _TEMPLATE.finditer(text):
        if keys := [one["key"] for one in _QUOTED_KEY.finditer(template[0])]:
            return list(dict.fromkeys(keys)), template[0]
    for listed in _KEY_LIST.finditer(text):
        keys = []
        for part in regex.split(r"\s*,\s*(?:and\s+)?|\s+and\s+|\s*&\s*", listed["list"].strip()):
            key = _KEY.match(part.strip())
            if key is None:
                break
            keys.append(key[1])
            if key.end() < len(part.strip()):
                break
        if keys:
            return list(dict.fromkeys(keys)), listed[0].strip()
    return [], ""


# --- forms -------------------------------------------------------------------------------------------

_NOT = r"(?i)\b(?:do not|don't|don’t|never|no|not|without|avoid|n't)\b[^.;\n]{0,30}$"
_NEGATED = regex.compile(_NOT)
_SIMPLE: tuple[tuple[str, Entry], ...] = (
    (
        r"(?i)\b(?:all|in|only|use|using|with|,|:|\.)\s*(?:all\s+)?(?:capital letters|capitals"
        r"|upper[- ]?case|all[- ]caps|caps)\b"
        r"|\b(?:upper[- ]?case|ALL[- ]CAPS) (?:only|letters only)\b",
        {"type": "casing", "case": "upper"},
    ),
    (
        r"(?i)(?:\b(?:all|in|only|use|using|with)|^|[,:.(])\s*(?:all\s+)?(?:lower[- ]?case"
        r"|small letters|lower[- ]?cased)\b",
        {"type": "casing", "case": "lower"},
    ),
    (r"(?i)\btitle[- ]case\b", {"type": "casing", "case": "title"}),
    (
        r"(?i)\b(?:only|just) (?:the |a |with the |with a )?(?:\w+ )?number\b(?! of)"
        r"|\bnumber only\b|\b(?:a )?single number\b"
        r"|\bonly (?:\w+ )?(?:the )?(?:final )?numeric(?:al)? (?:answer|value|result)\b"
        r"|\b(?:digits|numbers?) only\b(?!\))"
        r"|\b(?:answer|respond|reply|return|output)(?: \w+){0,2} an? (?:integer|whole number|number)\b",
        {"type": "regex", "pattern": r"[-+−]?\d+(?:[.,/]\d+)*"},
    ),
    (
        r"(?i)(?:(?<!\b(?:is|are|was|if|has|have|with)\s)(?<![\w-])(?:no|without(?: any)?)"
        r"|\b(?:not|n't|never) use(?: \w+){0,4}|\bavoid(?: using)?)"
        r" (?:any )?(?:digits|numbers?|numerals|amounts)\b(?!\s+(?:in|of|that|which|is|are)\b)",
        {"type": "not_regex", "pattern": r"(?s).*\d.*"},
    ),
    (
        r"(?i)(?<![\w-])(?:(?:do not|don't|never) ask(?: any| a| the)?(?: [\w-]+)?"
        r"|(?<!\b(?:is|are|was|if|has|have|with)\s)(?:no|without)(?: any)?(?: [\w-]+)?)"
        r" questions?(?: marks?)?\b"
        r"(?!\s+(?:that|which|whose|about|from|where|with|in|on|is|are)\b)",
        {"type": "forbidden_words", "values": ["?", "？", "؟"]},
    ),
    (r"(?i)\bin double quotes\b|\bin quotation marks\b", {"type": "regex", "pattern": r"[\"“][^\"“”]+[\"”]"}),
)
_FORMS = tuple((regex.compile(pattern), entry) for pattern, entry in _SIMPLE)
_DATE = regex.compile(r"\b(?:YYYY|DD|MM|YY)(?:[-/. ](?:YYYY|DD|MM|YY)){1,2}\b")


def forms(text: str) -> Iterator[Demand]:
    for pattern, entry in _FORMS:
        for found in said(pattern, text):
            before = text[max(0, found.start() - 60) : found.start()]
            if entry["type"] != "casing" or not _NEGATED.search(before):
                yield Demand((entry,), found[0].strip(" ,.:("))
                break
    for found in said(_DATE, text):
        pattern = regex.sub(r"YYYY|YY|DD|MM", lambda part: rf"\d{{{len(part[0])}}}", regex.escape(found[0]))
        yield Demand(({"type": "regex", "pattern": pattern.replace(r"\-", "-")},), found[0])


# --- words that are asked for or forbidden ---------------------------------------------------------------

_QUOTES = rf"(?P<values>{QUOTED}(?:\s*(?:,|or|and|/|,\s*or|,\s*and)\s*{QUOTED})*)"
_CALLED = (
    r"(?:(?:the|this|these|a|an|any|either)\s+)*"
    r"(?:(?:words?|terms?|phrases?|expressions?|letters?|prefix|sentences?|text)\s+)?"
)
_FORBIDDEN = regex.compile(
    rf"(?i)\b(?:do not|don't|don’t|never|without|avoid|must not|mustn't|should not|shouldn't"
    rf"|cannot|may not|no)\s+"
    rf"(?:ever\s+)?(?:us(?:e|ing)|mention(?:ing)?|includ(?:e|ing)|contain(?:ing)?|writ(?:e"
    rf"|ing)|say(?:ing)?|repeat(?:ing)?)?\s*"
    rf"{_CALLED}(?:{_QUOTES}|(?<=words?\s+)(?P<word>[\p{{L}}'-]+(?:\s*(?:,|or"
    rf"|and)\s*[\p{{L}}'-]+)*)(?=\s*[.,;!\n]|\s*$))"
)
_BANNED = regex.compile(
    rf"(?i)\b(?:words?|terms?|phrases?|expressions?)\s+{_QUOTES}\s+(?:is|are)\s+"
    r"(?:forbidden|banned|prohibited|taboo|not allowed|not permitted)\b"
)
_STARTS = regex.compile(
    rf"(?i)\b(?:start|begin|prefix|open)(?:s|ing|ning)?\b(?:\s+(?:it|(?:your|the|every"
    rf"|each)\s+\w+|\w+))?\s+with\s+{_CALLED}{_QUOTES}"
)
_ENDS = regex.compile(
    rf"(?i)\b(?:end|finish|conclude|close)(?:s|ing)?\b(?:\s+(?:it|(?:your|the|every"
    rf"|each)\s+\w+))?\s+(?:with|in)\s+{_CALLED}"
    r"(?:"
    + _QUOTES
    + r"|(?P<mark>question mark|exclamation (?:mark|point)|full stop|period|semi-?colon|colon))"
)
_MARKS = {"q": "?", "e": "!", "f": ".", "p": ".", "s": ";", "c": ":"}
_CONTAINED = regex.compile(
    rf"(?i)\b(?:include|mention|contain|use|using|including|containing)s?\s+(?:all of\s+"
    rf"|both\s+)?{_CALLED}{_QUOTES}"
)


def words(text: str) -> Iterator[Demand]:
    for found in said(_STARTS, text):
        values = _quoted(found["values"])
        yield Demand(({"type": "starts_with", "values": values},), found[0])
    for found in said(_ENDS, text):
        values = _quoted(found["values"]) if found["values"] else [_MARKS[found["mark"][0].lower()]]
        yield Demand(({"type": "ends_with", "values": values},), found[0])
    forbidden = list(said(_FORBIDDEN, text))
    for found in said(_BANNED, text):
        yield Demand(({"type": "forbidden_words", "values": _quoted(found["values"])},), found[0])
    for found in forbidden:
        values = (
            _quoted(found["values"])
            if found["values"]
            else regex.split(r"\s*(?:,|\bor\b|\band\b)\s*", found["word"])
        )
        yield Demand(({"type": "forbidden_words", "values": [one for one in values if one]},), found[0])
    for found in said(_CONTAINED, text):
        if not any(one.start() <= found.start() < one.end() for one in forbidden):
            values = _quoted(found["values"])
            readings = (
                {"type": "contains", "values": values},
                {"type": "contains", "values": values, "case_sensitive": False},
            )
            yield Demand(readings, found[0], guess=True)


def _quoted(text: str) -> list[str]:
    return [unquoted(one) for one in regex.findall(QUOTED, text)]


# --- language ----------------------------------------------------------------------------------------

_NAMES = "|".join(CODES)
_LANGUAGE = regex.compile(
    rf"\b(?:[Ii]n|[Ii]nto|[Tt]o|[Uu]se|[Uu]sing|[Ll]anguage:|[Oo]nly)\s+(?:(?:[a-z]+|Brazilian"
    rf"|British|American|Simplified|"
    rf"Traditional|Canadian|Latin American)\s+){{0,2}}?(?P<one>{_NAMES})\b(?!\s+(?:script"
    rf"|letters?|alphabet|characters?|names?|"
    rf"words?|speakers?|class|abbreviation|language\s+\w+))|(?:->|→)\s*(?P<three>{_NAMES})\b|"
    rf"\b(?P<two>{_NAMES}),?\s+(?:please|only)\b"
)


def language(text: str) -> Iterator[Demand]:
    for found in said(_LANGUAGE, text):
        name = found["one"] or found["two"] or found["three"]
        yield Demand(({"type": "language", "language": CODES[name]},), found[0])


# --- what a verb implies ----------------------------------------------------------------

_ASKED = (
    r"(?i)(?:^|[.!?:;\n*]\s*|\bgiven [^.;,\n]{1,80},\s*|\b(?:please|then|to|(?:task|job"
    r"|goal) is to|(?:you|should|must) (?:should|must|have to|need to|can)|"
    r"could you|can you|would you)\s+)"
)
_CHANGED = regex.compile(
    _ASKED
    + r"(?:translate|rewrite|rephrase|paraphrase|reword|convert|simplify|proofread|correct(?:ed)?|modify|"
    r"transform|turn|change|normali[sz]e)\b"
    r"|(?i)\b(?:return|give|write|output|provide) (?:only |me )?the (?:corrected|rewritten"
    r"|translated|rephrased|simplified)\b"
)
_SHORTENED = regex.compile(
    r"(?i)\b(?:summari[sz]e|sum up|boil\b.{0,20}\bdown|shorten|condense|tl;?dr|"
    r"(?:write|generate|give|provide|produce|make|create|output)\b[^.;\n]{0,30}\bsummary)\b"
)
_COPIED = regex.compile(
    r"(?i)\b(?:cop(?:y|ied)\b[^.;\n]{0,30}\b(?:from|exactly)\b|(?:exact"
    r"|verbatim)\b[^.;\n]{0,20}\b(?:words?|span|phrase|quote)"
    r"|(?:span|phrase|text)\s+(?:taken|copied|chosen)\s+from|word for word|verbatim)\b"
)
_TAKEN = regex.compile(
    r"(?i)\b(?:words?\s+(?:taken|copied|chosen)\s+from|(?:chosen|taken) from the\b|(?:not"
    r"|n't) (?:contain|use|include) (?:an?y? )?(?:other )?words? (?:that (?:is"
    r"|are) )?not (?:present )?in\b)"
)
_FOUND = regex.compile(
    r"(?i)\b(?:find|extract|identify|recogni[sz]e|pick|locate|select)\b[^.;\n]{0,60}\b(?:from"
    r"|in) (?:the|this|a)\b"
)
_QUESTION = regex.compile(
    r"(?i)\b(?:write|generate|create|construct|craft|ask|produce|formulate|pose|come up with|make|compose)\s+"
    r"(?:[\w-]+\s+){0,4}?questions?\b"
)
_NUMBER_OF = regex.compile(
    r"(?i)\b(?:return|output|give|find|count|report|calculate|compute"
    r"|what is) the (?:total )?(?:count|number|sum|amount)\b|\bhow many\b"
)
_A_NUMBER: Entry = {"type": "regex", "pattern": r"[-+−]?\d+(?:[.,/]\d+)*"}
_ENDS_AS_QUESTION: Entry = {"type": "ends_with", "values": ["?", "？", "؟"]}
_GUESSES: tuple[tuple[regex.Pattern[str], tuple[Entry, ...]], ...] = (
    (_CHANGED, ({"type": "not_equal_input"},)),
    (_SHORTENED, ({"type": "shorter_than_input"},)),
    (_COPIED, ({"type": "substring_of_input"},)),
    (_TAKEN, ({"type": "words_from_input"},)),
    (_FOUND, ({"type": "substring_of_input"},)),
    (_QUESTION, (_ENDS_AS_QUESTION,)),
    (_NUMBER_OF, (_A_NUMBER,)),
)


def implied(text: str) -> Iterator[Demand]:
    """What a verb implies about the response, which the responses must bear out."""
    for pattern, readings in _GUESSES:
        if found := next(said(pattern, text), None):
            yield Demand(readings, found[0].strip(" .!?:;*\n"), guess=True)
