"""Read the parameters of a constraint.

A reader returns the value to keep, or raises ValueError with what it expected.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import regex

Reader = Callable[[Any], Any]


def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text that is not empty")
    return value


def texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(v, str) and v for v in value):
        raise ValueError("a list of texts, none of them empty")
    return tuple(value)


def small_texts(value: Any) -> tuple[str, ...]:
    if any(v != v.lower() for v in texts(value)):
        raise ValueError("a list of texts in small letters")
    return tuple(value)


def integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a whole number")
    return value


def count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a whole number, 0 or more")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def pattern(value: Any) -> str:
    return _compiled(value).pattern


def capturing_pattern(value: Any) -> str:
    if _compiled(value).groups < 1:
        raise ValueError("a pattern with a group in parentheses")
    return value


def _compiled(value: Any) -> regex.Pattern:
    try:
        return regex.compile(text(value))
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"a regular expression that Python can compile ({error})") from error


def one_of_these(*allowed: str) -> Reader:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return value

    return read


def input_items(value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or set(value) != {"input_separator"}:
        raise ValueError("an object with the key 'input_separator' alone")
    try:
        return MappingProxyType({"input_separator": text(value["input_separator"])})
    except ValueError as error:
        raise ValueError(f"an object whose 'input_separator' is {error}") from error


def count_problems(params: Mapping) -> Iterator[str]:
    """What is wrong with the parameters of `count` taken together."""
    numbers = ("n", "n_from_input_regex", "n_of_input_items")
    if sum(name in params for name in numbers) != 1:
        yield f"give exactly one of {', '.join(numbers)}"
    if "offset" in params and "n_of_input_items" not in params:
        yield "'offset' goes with 'n_of_input_items' only"
