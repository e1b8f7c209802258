"""Labels: the notations in which a closed set of answers is listed ("a/b/c", "A, B or C", "yes or no")."""

import re

MOST_WORDS = 4
"""Words of one label; longer items are clauses. Chosen."""

_ITEM = r"[\"'“‘`*<(\[{]{0,3}\w[\w'’+&.-]*(?: [\w'’&+-]+){0,3}[\"'”’`*>)\]}]{0,3}"
_ARTICLE = r"(?:(?:a|an|the)\s+)?"
_COMMAS = (
    rf"(?:either\s+)?{_ARTICLE}{_ITEM}(?:\s*[,;]\s*(?:(?:and|or)\s+)?{_ARTICLE}{_ITEM})+"
    rf"(?:,?\s+(?:or|and)\s+{_ARTICLE}{_ITEM})?"
)
_PAIR = rf"(?:either\s+)?{_ITEM}\s+or\s+{_ITEM}"
_WORDS = r"[\w-]+(?: [\w-]+)*"
_SLASHES = rf"{_WORDS}(?:\s/\s{_WORDS})+|[\w-]+(?:\s?/\s?[\w-]+)+|{_WORDS}(?:\s?\|\s?{_WORDS})+"
_END = r"\s*[.?!)\]}]*\s*$"
SLASHED = re.compile(rf"[(\[{{<]?\s*(?:{_SLASHES})\s*[)\]}}>]?{_END}")
LISTED = re.compile(rf"[(\[{{<]?\s*(?:{_COMMAS}|{_PAIR}|{_SLASHES})\s*[)\]}}>]?{_END}", re.IGNORECASE)
"""The whole of a text is a list of two labels or more."""

_YES = r"[\"'“‘`*]{0,3}(?<!\w)(?:yes|true|y|t)[\"'”’`*]{0,3}"
_YES_NO = rf"{_YES}\s*(?:,|or|/|and|\|)\s*(?:or\s+|a\s+)?[\"'“‘`*]{{0,3}}(?:no|false|n|f)\b"
_POLAR = re.compile(_YES_NO, re.IGNORECASE)
_ONE_OF = re.compile(
    r"(?:always\s+|please\s+|and\s+|then\s+)*(?:(?:return|choose|pick|select|answer|output|reply|respond|"
    r"use|say|give|print|write|name|"
    r"tell\s+me|assign|put)\s+)?(?:(?:with|only|just|exactly|me|from|it|either)\s+)*(?:one|"
    r"any)\s+(?:\w+\s+)?(?:of|from|out\s+of)\b[^:]{0,60}(?::|[\"'“`(\[{])|"
    r"(?:choose|pick|select)\s+(?:one\s+|exactly\s+one\s+)?(?:from|among|between)\b",
    re.IGNORECASE,
)
_SAYS_LABEL = re.compile(
    r"(?:always\s+|please\s+|and\s+|then\s+)*(?:(?:return|answer|output|reply|respond|use|say|print|"
    r"write)\s+)?(?:with\s+|by\s+)?"
    rf"(?:(?:only|just|exactly|either|a|simply)\s+)*(?:{_YES_NO}|(?-i:[A-Z]\w*|"
    rf"[\"'“`][^\"'”`]+[\"'”`])(?:,\s*[\"'“`\w-]+)*\s+or\s+"
    r"(?:a\s+)?(?-i:[A-Z]\w*|[\"'“`][^\"'”`]+[\"'”`]))",
    re.IGNORECASE,
)
_BY_CONDITION = re.compile(
    r"(?:always\s+|please\s+)?(?:return|answer|output|reply|respond|say|print|write|use|"
    r"put)\s+(?:with\s+)?[\"'“`]?[\w+-]+[\"'”`]?\s+"
    r"(?:if|when|for)\b.{1,120}?(?:,|\band|\bor|\belse|;)\s+(?:else\s+|"
    r"otherwise\s+)?[\"'“`]?[\w+-]+[\"'”`]?\s*(?:if|when|for|otherwise|else|$|\.)",
    re.IGNORECASE,
)
_PAIRED = r"[\"'“`]?[\w+-]+[\"'”`]?\s*[=:]\s*[\w' -]{1,40}"
MAPPED = re.compile(rf"{_PAIRED}(?:\s*[,;/|]\s*(?:and\s+)?{_PAIRED})+{_END}", re.IGNORECASE)
"""Codes with what each stands for ("0 = no, 1 = yes")."""

LEADS = re.compile(
    r":\s+(?=\S)|\s+(?=(?:as|either|into|with|is|are)\s+(?:either\s+)?[\w-]+(?:/[\w-]+)+\W*$)|"
    r"(?:(?<=\babout)|(?<=\bbetween))\s+|\s+(?=(?:(?:out\s+of|from|among|one\s+of|either|namely)\s*:\s))|"
    r",?\s+(?=as\s+(?:one\s+of\s+|either\s+)?[\"'“`]|into\s+[\"'“`]|on\s+a\s+scale\b|\((?:yes|true|"
    r"[\w-]+(?:\s?/\s?|\s*\|\s*|,\s*[\w-]+(?:,|\s+or\b)))|"
    r"(?:as|into)\s+(?:[\w-]+,\s+)+(?:or\s+)?[\w-]+|as\s+[\w-]+\s+or\s+[\w-]+\W*$|one\s+of\s*[\"'“`(:])|"
    r",\s+(?=(?:else|otherwise)\b)",
    re.IGNORECASE,
)
"""Where a list of labels, or an answer of its own for the other case, begins behind an operation."""


_DATE = re.compile(r"[\W]*[YMDHSymdhs]+(?:[/.-][YMDHSymdhs]+)+[\W]*")


def is_list(piece: str) -> bool:
    """Whether a piece of a clause is no more than two or more labels in a row."""
    return bool(LISTED.match(piece)) and all(
        len(item.split()) <= MOST_WORDS for item in re.split(r"[,;/|]|\s(?:or|and)\s", piece)
    )


def is_slashed(piece: str) -> bool:
    """Whether a piece is labels with slashes or bars between them: a list of labels without any lead."""
    return bool(SLASHED.match(piece)) and not _DATE.fullmatch(piece)


def _is_polar(piece: str) -> bool:
    """Whether a piece is little more than "yes or no"."""
    polar = _POLAR.search(piece)
    return polar is not None and len((piece[: polar.start()] + piece[polar.end() :]).split()) <= MOST_WORDS


def chooses(piece: str) -> bool:
    """Whether a piece says no more than which labels there are ("Return one of: a, b", "Yes or no")."""
    return bool(
        _ONE_OF.match(piece)
        or _BY_CONDITION.match(piece)
        or MAPPED.match(piece)
        or _SAYS_LABEL.match(piece)
        or _is_polar(piece)
    )
