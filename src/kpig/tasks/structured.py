"""Responses that a program reads: JSON by its fields, and numbers."""

from collections.abc import Sequence
from decimal import Decimal

import regex

from kpig.tasks import documents
from kpig.tasks.composition import on_composed
from kpig.tasks.documents import Document, canonical
from kpig.tasks.matching import refuse_empty

NUMBER = regex.compile(
    r"(?:(?<![\p{L}\p{N}.,)])[-+\u2212\u2013])?"
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?:[\u00a0\u2009\u202f]\d{3})+(?!\d)"
    r"|\d{1,2}(?: \d{3}){1,6}+(?! ?\d)|\d{3} 0\d\d(?: \d{3}){0,5}+(?! ?\d)|\d+)?"
    r"(?:\.\d+)?(?:[eE][-+]?\d{1,3}(?!\d))?"
)
"""Digits with or without thousands separators, a decimal point, an exponent; it matches the empty text too.
A sign right behind a letter or a digit is a hyphen. Spaces part thousands where they break no line. Plain
ones do where no list of numbers is written so: the first group is short, or the second begins with 0."""

GROUPED = regex.compile(
    r"(?:(?<![\p{L}\p{N}.,)])[-+\u2212\u2013])?(?<![\d.,])(?<!\d )"
    r"[1-9]\d\d(?: \d{3}){1,6}+(?! ?\d)(?:\.\d+)?(?:[eE][-+]?\d{1,3}(?!\d))?"
)
"""Full groups of three with plain spaces between them: one number with its thousands parted, or a list."""

POWER_OF_UNIT = regex.compile(r"(?<=\p{L})\^[-+\u2212\u2013]?\d+")
"""It belongs to the unit: "5 m^2" is 5."""

WRITTEN_OTHERWISE = str.maketrans({"\u2212": "-", "\u2013": "-", **dict.fromkeys(", \u00a0\u2009\u202f")})
"""Signs and separators as a machine writes them."""

MOST_DIGITS = 1000
"""A longer run of digits is no number of anybody's, and to compare some takes time."""


@on_composed
def json_f1(response: str, references: Sequence[str]) -> float:
    """The largest F1 over the fields of the references; 0.0 where the response is no JSON.

    A field is a value that is no object or array, with the keys that lead to it. Positions in arrays do not
    count, repetitions do: elements are paired as wholes, to the greatest F1 (documents.num_shared).  [D]
    Numbers are equal by value, texts to the letter. An empty object or array is a field of its own. JSON is
    as RFC 8259 has it: no fence around it, no NaN. A reference that is no JSON is matched by its text alone.
    Raises ValueError without references.
    """
    refuse_empty(references, "reference")
    found = documents.read(response)
    return max(_json_f1(response, found, reference) for reference in references)


def _json_f1(response: str, found: Document | None, reference: str) -> float:
    expected = documents.read(reference)
    if expected is None:
        return float(response.strip() == reference.strip())
    if found is None:
        return 0.0
    return 2 * documents.num_shared(found, expected) / (found.num_fields + expected.num_fields)


def is_structure(text: str) -> bool:
    """Whether a text is a JSON object or array: what `json_f1` is for."""
    return text.strip()[:1] in ("{", "[") and documents.read(text) is not None


@on_composed
def last_number(response: str, references: Sequence[str]) -> float:
    """1.0 where the last number in the response is that of a reference, else 0.0.

    The last one, because models reason first and answer then.  [D] Numbers are compared by their exact
    decimal value: "1,250.0" is "1250". A percent or currency sign is passed over,
    and so is the power of a unit. A comma is no decimal point. "123 456 789" may be one number or the last
    of three, and is right where either is; as a reference it is the one. A reference without a
    number is matched by no response. Raises ValueError without references.
    """
    refuse_empty(references, "reference")
    return float(not _readings(response).isdisjoint(set[str]().union(*map(_expected, references))))


def number_in(text: str) -> str | None:
    """The last number in a text, in the one form that equal numbers share; None where there is none.

    Full groups of three with plain spaces between them are read as a list of numbers.
    """
    plain = POWER_OF_UNIT.sub("", text)
    found = [match.group() for match in NUMBER.finditer(plain) if any(map(str.isdigit, match.group()))]
    return _canonical(found[-1]) if found else None


def _readings(text: str) -> set[str]:
    """The last number in a text, and the one that it may be the end of; empty without any."""
    found = {number_in(text), _grouped_in(text)}
    return {one for one in found if one is not None}


def _expected(reference: str) -> set[str]:
    """The numbers that a reference stands for; one in full groups of three alone is no list."""
    whole = GROUPED.fullmatch(_bare(reference))
    return _readings(whole.group().replace(" ", "")) if whole else _readings(reference)


def _grouped_in(text: str) -> str | None:
    """The number in full groups of three that ends where the last number of a text ends; None without it."""
    plain = POWER_OF_UNIT.sub("", text)
    grouped = list(GROUPED.finditer(plain))
    if not grouped or any(map(str.isdigit, plain[grouped[-1].end() :])):
        return None
    return _canonical(grouped[-1].group())


def _canonical(written: str) -> str | None:
    return None if len(written) > MOST_DIGITS else canonical(written.translate(WRITTEN_OTHERWISE))


def _bare(text: str) -> str:
    """A text without a currency or percent sign around it."""
    return text.strip().strip("$€£¥%").strip()


def value_of(text: str) -> Decimal | None:
    """The value of a text that `is_number`; None for others."""
    number = number_in(text) if is_number(text) else None
    return None if number is None else Decimal(number)


def is_number(text: str) -> bool:
    """Whether a text is one number and nothing else, but for a currency or percent sign."""
    found = NUMBER.fullmatch(_bare(text))
    return found is not None and any(map(str.isdigit, text))
