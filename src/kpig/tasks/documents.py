"""JSON documents as trees, and how many of their fields two of them share."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException

from kpig.tasks.composition import composed

MOST_NESTED = 100
"""Levels of objects and arrays in a document; one with more is read as text. Chosen: none that is meant has
as many, and every level takes calls of functions that Python counts."""

MOST_COMPARED = 250_000
"""Pairs of fields of two arrays up to which the best pairing of their elements is sought. Chosen: 500
objects of one field against as many take half a second."""


@dataclass(frozen=True)
class Document:
    """A JSON value. `text` is the same for equal ones: order in arrays and the way of a number do not count.

    `num_fields` counts the values in it that are no object or array, or are an empty one.
    """

    text: str
    num_fields: int = 1
    members: Mapping[str, "Document"] = field(default_factory=dict)
    elements: Sequence["Document"] = ()


class _Numeral(str):
    """A number in a JSON document, in the one form that equal numbers share."""


def read(text: str) -> Document | None:
    """The document that a text is; None where it is no JSON of RFC 8259, or is nested too deep."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_int=_numeral, parse_float=_numeral)
    except (ValueError, RecursionError):
        return None
    return None if _is_too_deep(value) else _document(value)


def _is_too_deep(value: object) -> bool:
    """Looked at level by level, because a deep value would take as many calls."""
    level = [value]
    for _ in range(MOST_NESTED + 1):
        level = [inner for one in level if isinstance(one, dict | list) for inner in _inner(one)]
    return bool(level)


def _inner(value: dict[str, object] | list[object]) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else value


def _document(value: object) -> Document:
    if isinstance(value, dict) and value:
        members = {composed(key): _document(value[key]) for key in value}
        inside = ",".join(f"{json.dumps(key)}:{members[key].text}" for key in sorted(members))
        return Document(f"{{{inside}}}", sum(one.num_fields for one in members.values()), members)
    if isinstance(value, list) and value:
        elements = [_document(one) for one in value]
        inside = ",".join(sorted(one.text for one in elements))
        return Document(f"[{inside}]", sum(one.num_fields for one in elements), elements=elements)
    if isinstance(value, _Numeral):
        return Document(str(value))
    return Document(json.dumps(composed(value) if isinstance(value, str) else value))


def num_shared(one: Document, other: Document) -> int:
    """How many fields of the documents are the same: equal values under the same keys.

    Elements of arrays are paired so that the sum is largest, each as a whole and with one other at most.
    Where there are too many for that (MOST_COMPARED), those that are not equal are paired in their order.
    """
    if one.text == other.text:
        return one.num_fields
    if one.elements and other.elements:
        return _num_shared_elements(one.elements, other.elements)
    shared = one.members.keys() & other.members.keys()
    return sum(num_shared(one.members[key], other.members[key]) for key in shared)


def _num_shared_elements(some: Sequence[Document], others: Sequence[Document]) -> int:
    """Equal elements are paired first: no other pairing shares more, since what differs is a distance."""
    counts = Counter(one.text for one in some) & Counter(one.text for one in others)
    sizes = {one.text: one.num_fields for one in some}
    equal = sum(sizes[text] * count for text, count in counts.items())
    return equal + _num_paired(_compounds(some, counts), _compounds(others, counts))


def _compounds(elements: Sequence[Document], taken: Mapping[str, int]) -> list[Document]:
    """The objects and arrays that are left when as many of each text are taken away."""
    left = Counter(taken)
    kept = []
    for one in elements:
        left[one.text] -= 1
        if left[one.text] < 0 and (one.members or one.elements):
            kept.append(one)
    return kept


def _num_paired(some: Sequence[Document], others: Sequence[Document]) -> int:
    """Fields shared by elements none of which are equal, under the best pairing."""
    if not some or not others:
        return 0
    sizes = [sum(one.num_fields for one in elements) for elements in (some, others)]
    if sizes[0] * sizes[1] > MOST_COMPARED:
        return sum(map(num_shared, some, others))
    from scipy.optimize import linear_sum_assignment

    shared = [[num_shared(one, other) for other in others] for one in some]
    return sum(shared[row][column] for row, column in zip(*linear_sum_assignment(shared, True), strict=True))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _numeral(digits: str) -> _Numeral:
    """The form of a number; its own text where its exponent is beyond every computer."""
    try:
        return _Numeral(canonical(digits))
    except ValueError:
        return _Numeral(digits)


def canonical(digits: str) -> str:
    """The number as an integer and a power of ten, without needless zeros: "12.50" is "125e-1".

    Raises ValueError where the text is no finite decimal number.
    """
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
