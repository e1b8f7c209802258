"""Limits that an instruction states: of words, sentences and characters, and of the items of a list."""

from collections.abc import Iterator

import regex

from kpig.annotate.demand import Demand, said

_NUMBERS = {
    word: value
    for value, word in enumerate(
        regex.split(
            " ",
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
            "sixteen seventeen eighteen nineteen twenty",
        )
    )
} | {
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "hundred": 100,
    "a": 1,
    "a hundred": 100,
    "a single": 1,
    "single": 1,
}
_N = (
    r"(?:\d{1,3}(?:,\d{3})+|\d{1,6}|a(?=\s(?:word|sentence)\b)|"
    + "|".join(sorted(_NUMBERS, key=len, reverse=True))
    + ")"
)
_UNITS = r"(?P<unit>words?|sentences?|characters?|chars?)\b"
_UP_TO = (
    r"at most|no more than|not more than|up to|a? ?max(?:imum)?(?:\.| of)?:?|(?:not|never"
    r"|n't) (?:exceed|use more than|"
    r"write more than|be longer than)|not exceeding|without exceeding|within|no longer than"
    r"|not longer than|fit"
    r"(?:s|ting)? (?:in|into|within)|limited to|(?:limit|keep|restrict|cut|shorten"
    r"|trim)\w*(?: \w+){0,3} to|<=|≤"
)
_BELOW = r"fewer than|less than|under|below|shorter than"
_FROM = r"at least|no (?:fewer|less) than|not (?:fewer|less) than|a? ?min(?:imum)?(?:\.| of)?:?|>=|≥"
_ABOVE = r"more than|over|longer than"
_EXACT = r"exactly|precisely"
_IN = (
    r"in|into|with|of|to|as|is|be|only|just|use|using|write|give|answer|output|return|reply|say|respond|"
    r"length:?|an?(?=\s\d+-)"
)
_LIMIT = regex.compile(
    rf"(?i)(?:(?P<between>between\s+)?(?P<low>\b{_N})\s*(?:-|–|to|and|or)\s*(?P<high>{_N})"
    rf"|(?:(?<!\w)(?:(?P<most>{_UP_TO})|(?P<below>{_BELOW})|(?P<least>{_FROM})"
    rf"|(?P<above>{_ABOVE})|(?P<exact>{_EXACT})"
    rf"|(?P<bare>{_IN}))|(?P<mark>[,;:.(\n*-]|^))\s*(?:a\s+|an\s+)?(?P<n>{_N})(?P<plus>\+)?)"
    rf"[\s-]*(?:(?:short|simple|complete|full|English|plain)\s+)?{_UNITS}"
    rf"(?P<after>\s*(?:or (?:less|fewer|more|shorter|longer)|max(?:imum)?|at most|tops|minimum"
    rf"|at least|each|apiece|per\b))?"
)
_EACH = regex.compile(r"(?i)\b(?:each|every|per|first|last|these|those|following|both)\W+(?:\w+\W+){0,3}$")


def limits(text: str) -> Iterator[Demand]:
    """Limits of words, sentences and characters; a bare number of words or characters is a maximum."""
    for found in said(_LIMIT, text):
        after = (found["after"] or "").strip().lower()
        if after in ("each", "apiece", "per") or _EACH.search(
            text[max(0, found.start() - 40) : found.start()]
        ):
            continue
        if found["n"] and found["n"].lower() == "a" and not found["most"]:
            continue
        unit = {"w": "words", "s": "sentences", "c": "characters"}[found["unit"][0].lower()]
        least, most = _range_of(found, unit, after)
        if most is not None:
            yield Demand(({"type": f"max_{unit}", "n": most},), found[0].strip(" ,;:.(\n*-"))
        if least is not None and least > 1:
            yield Demand(({"type": f"min_{unit}", "n": least},), found[0].strip(" ,;:.(\n*-"))


def _range_of(found: regex.Match[str], unit: str, after: str) -> tuple[int | None, int | None]:
    """The least and the most of it that the words allow; None where they set no such limit."""
    if found["low"]:
        return _number(found["low"]), _number(found["high"])
    n = _number(found["n"])
    if found["plus"] or after.endswith(("more", "longer", "minimum", "at least")) or found["least"]:
        return n, None
    if found["above"]:
        return n + 1, None
    if found["below"]:
        return None, n - 1
    if found["exact"] or ((found["bare"] or found["mark"] is not None) and unit == "sentences" and not after):
        return n, n
    return None, n


def _number(word: str) -> int:
    plain = word.lower().replace(",", "")
    return int(plain) if plain.isdecimal() else _NUMBERS[" ".join(plain.split())]


# --- items -------------------------------------------------------------------------------------------

_STYLES = {
    "bullets": r"\bbullet|\bdash(?:es)?\b|[\"'`]- ?[\"'`]|^\s*-\s",
    "numbers": r"\bnumbered\b|\bordered list\b|\benumerat|\b1\. ",
    "lines": r"\b(?:own|per|separate|each|new|single) lines?\b|\b(?:line by line|line breaks?|newlines?)\b",
    "semicolons": r"\bsemi-?colons?\b",
    "commas": r"\bcommas?\b|\bcomma-separated\b",
}
_STYLE = {kind: regex.compile(pattern, regex.IGNORECASE) for kind, pattern in _STYLES.items()}
_VERBS = (
    r"list|give|name|suggest|provide|find|extract|pick|choose|select|write|generate|produce"
    r"|output|return|propose|"
    r"create|make|think of|come up with|state|identify|mention|add|invent|wanted:?|need|want"
)
_AMOUNT = (
    rf"(?:(?P<most>{_UP_TO})\s+|(?P<below>{_BELOW})\s+|(?P<least>{_FROM})\s+|(?P<above>{_ABOVE})\s+|"
    rf"(?P<exact>{_EXACT})\s+)?(?:(?P<low>{_N})\s*(?:-|–|to|or)\s*(?P<high>{_N})|(?P<n>{_N}))\s+"
)
_COUNTED = regex.compile(
    rf"(?i)(?:\b(?:{_VERBS})\s+(?:me\s+|us\s+|out\s+)?(?:an?\s+(?:list|"
    rf"set)\s+of\s+)?(?:the\s+)?(?:top\s+)?|(?<=^|[.!?\n]"
    rf"|format:|output:)\s*)"
    rf"{_AMOUNT}(?P<noun>(?:[\w-]+\s+){{0,2}}?[\p{{L}}-]+s)\b(?!\s+(?:that|which|are|is|were"
    rf"|was|will|have|has|can)\b)"
    rf"|(?<![\w-]){_AMOUNT}(?P<noun>(?:[\w-]+\s+){{0,1}}?(?:bullets|bullet points|list items"
    rf"|items|entries|hashtags|keywords))\b"
)
_NO_ITEMS = regex.compile(
    r"(?i)\b(?:words?|sentences?|characters?|chars|letters|digits|decimals?|hours?|minutes?"
    r"|seconds?|days?|weeks?|"
    r"months?|years?|places?|classes|categories|paragraphs?|times|is|was|has|syllables|lines|options|teams?)$"
)


def items(text: str) -> Iterator[Demand]:
    """Numbers of items, in the kinds of list that the text tells, or in any where it tells none."""
    told = [kind for kind, pattern in _STYLE.items() if pattern.search(text)] or list(_STYLE)
    for found in said(_COUNTED, text):
        if _NO_ITEMS.search(found["noun"]):
            continue
        least, most = _counted_range(found)
        if most == 1 or (least is None and most is None):
            continue
        kinds = ["bullets"] if "bullet" in found["noun"].lower() else told
        if least == most:
            readings = [{"type": "count", "list": kind, "n": most} for kind in kinds]
            yield Demand(tuple(readings), found[0].strip())
            continue
        for name, n in (("max_items", most), ("min_items", least)):
            if n is not None:
                yield Demand(tuple({"type": name, "list": kind, "n": n} for kind in kinds), found[0].strip())


_LISTED = (
    (
        regex.compile(
            r"(?i)\bbullet(?:ed)?[- ]?(?:point )?list\b|\b(?:as|in|using"
            r"|with) bullets?(?: points?)?\b|[\"'`][-*•] ?[\"'`] as bullet"
        ),
        "bullets",
    ),
    (regex.compile(r"(?i)\bnumbered list\b|\bordered list\b"), "numbers"),
)


def listed(text: str) -> Iterator[Demand]:
    """A list of bullets or numbers, whatever its length."""
    for pattern, kind in _LISTED:
        if found := next(said(pattern, text), None):
            yield Demand(({"type": "min_items", "list": kind, "n": 1},), found[0])


def _counted_range(found: regex.Match[str]) -> tuple[int | None, int | None]:
    if found["low"]:
        return _number(found["low"]), _number(found["high"])
    n = _number(found["n"])
    if found["most"] or found["below"]:
        return None, n - bool(found["below"])
    if found["least"] or found["above"]:
        return n + bool(found["above"]), None
    return n, n
