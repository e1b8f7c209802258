"""Responses that a program reads: JSON by its fields, and numbers."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, DecimalException

import regex

NUMBER = regex.compile(
    r"(?:(?<![\p{L}\p{N}.,)])[-+\u2212])?"
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+)?(?:[eE][-+]?\d{1,3}(?!\d))?"
)
"""Digits with or without thousands separators, a decimal point, an exponent; it matches the empty text too.
A sign right behind a letter or a digit is a hyphen."""

MOST_DIGITS = 1000
"""A longer run of digits is no number of anybody's, and to compare some takes time."""

Leaf = tuple[str, str]
"""Where a value stands in a JSON document, and the value, both as text."""


def json_f1(response: str, references: Sequence[str]) -> float:
    """The largest F1 over the fields of the references; 0.0 where the response is no JSON.

    A field is a value that is no object or array, with the keys that lead to it. Positions in arrays do
    not count, repetitions do.  [D] Numbers are equal by value, texts to the letter. An empty object or
    array is a field of its own. JSON is as RFC 8259 has it: no fence around it, no NaN. A reference that is
    no JSON is matched by its text alone. Raises ValueError without references.
    """
    _refuse_empty(references)
    found = _fields(response)
    return max(_json_f1(response, found, reference) for reference in references)


def _json_f1(response: str, found: Counter[Leaf] | None, reference: str) -> float:
    expected = _fields(reference)
    if expected is None:
        return float(response.strip() == reference.strip())
    if found is None:
        return 0.0
    return 2 * (found & expected).total() / (found.total() + expected.total())


def is_structure(text: str) -> bool:
    """Whether a text is a JSON object or array: what `json_f1` is for."""
    return text.strip()[:1] in ("{", "[") and _fields(text) is not None


def _fields(text: str) -> Counter[Leaf] | None:
    """How often each leaf occurs; None where the text is no JSON."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_int=_numeral, parse_float=_numeral)
        return Counter(_leaves(value, ""))
    except (ValueError, RecursionError):
        return None


class Numeral(str):
    """A number in a JSON document, in the one form that equal numbers share."""


def _numeral(digits: str) -> Numeral:
    """The form of a number: no difference between 1, 1.0 and 10e-1. Raises ValueError for too long ones."""
    return Numeral(_canonical(digits))


def _leaves(value: object, place: str) -> Iterator[Leaf]:
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _leaves(one, f"{place}{json.dumps(key)}.")
    elif isinstance(value, list) and value:
        for one in value:
            yield from _leaves(one, f"{place}[]")
    elif isinstance(value, Numeral):
        yield place, str(value)
    else:
        yield place, json.dumps(value)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def last_number(response: str, references: Sequence[str]) -> float:
    """1.0 where the last number in the response is that of a reference, else 0.0.

    The last one, because models reason first and answer then.  [D] Numbers are compared by their exact
    decimal value: "1,250.0" is "1250". A percent or currency sign is passed over. A reference without a
    number is matched by no response. Raises ValueError without references.
    """
    _refuse_empty(references)
    found = number_in(response)
    return float(found is not None and found in map(number_in, references))


def number_in(text: str) -> str | None:
    """The last number in a text, in the one form that equal numbers share; None where there is none."""
    found = [match.group() for match in NUMBER.finditer(text) if any(map(str.isdigit, match.group()))]
    try:
        return _canonical(found[-1].replace(",", "").replace("\u2212", "-")) if found else None
    except ValueError:
        return None


def is_number(text: str) -> bool:
    """Whether a text is one number and nothing else, but for a currency or percent sign."""
    found = NUMBER.fullmatch(text.strip().strip("$€£¥%").strip())
    return found is not None and any(map(str.isdigit, text))


def _canonical(digits: str) -> str:
    """The number as an integer and a power of ten, without needless zeros: "12.50" is "125e-1"."""
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number of too many digits")
    try:
        sign, figures, exponent = Decimal(digits).as_tuple()
    except DecimalException as error:
        raise ValueError(f"{digits!r} is not a number") from error
    if not isinstance(exponent, int):
        raise ValueError(f"{digits!r} is not finite")
    written = "".join(map(str, figures)).lstrip("0")
    short = written.rstrip("0")
    if not short:
        return "0"
    return f"{'-' if sign else ''}{short}e{exponent + len(written) - len(short)}"


def _refuse_empty(references: Sequence[str]) -> None:
    if not references:
        raise ValueError("there must be at least one reference")
