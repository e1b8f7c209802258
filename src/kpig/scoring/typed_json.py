"""JSON text to a frozen record, or one sentence that names the place that does not fit and why."""

from functools import cache
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

MAX_SHOWN_CHARACTERS = 60
EXPECTED = {
    "finite_number": "a finite number",
    "float_type": "a finite number",
    "int_type": "a whole number",
    "greater_than_equal": "a count, 0 or more",
    "less_than_equal": "a count below 2^63",
    "string_type": "a text",
    "bool_type": "true or false",
    "dict_type": "a table",
    "dataclass_type": "a table",
    "tuple_type": "a list",
    "too_short": "at least one entry",
}
"""What a value should have been, by pydantic's name of what is wrong with it."""

Record = TypeVar("Record")


class Misfit(ValueError):
    """Text that is no JSON or not of the wanted shape; says where and why, but not in which file."""


def parse(text: bytes, kind: type[Record]) -> Record:
    """The text as a record of the dataclass `kind`. Keys that it does not know are passed over.

    Raises Misfit naming the first misfit by its dotted place; NaN and Infinity are misfits anywhere.
    """
    try:
        found = _adapter(cast(Any, kind)).validate_json(text)
        from_json(text, allow_inf_nan=False)
    except ValidationError as error:
        raise Misfit(_sentence(error)) from None
    except ValueError as error:
        raise Misfit(f"no valid JSON: {error}") from None
    if found is None:
        raise Misfit("it is None, expected a table")
    return cast(Record, found)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Strict reading of a dataclass; as a union, because a bare dataclass takes no settings from outside."""
    return TypeAdapter(kind | None, config=ConfigDict(strict=True, allow_inf_nan=False))


def _sentence(error: ValidationError) -> str:
    """The first misfit in words, and how many more there are."""
    found = error.errors(include_url=False, include_context=False)
    rest = len(found) - 1
    return _words(found[0]) + (f" (and {rest} more)" if rest else "")


def _words(misfit: ErrorDetails) -> str:
    place = ".".join(map(str, misfit["loc"]))
    if misfit["type"] == "json_invalid":
        return f"no valid JSON: {misfit['msg'].removeprefix('Invalid JSON: ')}"
    if misfit["type"] == "missing":
        return f"it is incomplete: {place} is missing, expected wherever kpig writes such a file"
    shown = repr(misfit["input"])
    shown = shown if len(shown) <= MAX_SHOWN_CHARACTERS else shown[: MAX_SHOWN_CHARACTERS - 3] + "..."
    return f"{place or 'it'} is {shown}, expected {EXPECTED.get(misfit['type'], misfit['msg'])}"
