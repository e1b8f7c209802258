"""Read the parameters of a constraint.

A reader returns the value to keep, or raises ValueError with what it expected.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import regex

from kpig.tasks.constraints import languages
from kpig.tasks.constraints.bounds import check_bounds

Reader = Callable[[object], object]


def text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text that is not empty")
    return value


def texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(v, str) and v for v in value):
        raise ValueError("a list of texts, none of them empty")
    return tuple(value)


def whole_texts(value: object) -> tuple[str, ...]:
    """What a whole response may be: it has no white space at its ends."""
    return _stripped(value, str.strip, "its ends")


def beginnings(value: object) -> tuple[str, ...]:
    """What a response may begin with."""
    return _stripped(value, str.lstrip, "its beginning")


def endings(value: object) -> tuple[str, ...]:
    """What a response may end with."""
    return _stripped(value, str.rstrip, "its end")


def _stripped(value: object, strip: Callable[[str], str], place: str) -> tuple[str, ...]:
    read = texts(value)
    if any(one != strip(one) for one in read):
        raise ValueError(
            f"a list of texts, none of them with white space at {place} (responses are stripped of it)"
        )
    return read


def small_texts(value: object) -> tuple[str, ...]:
    read = texts(value)
    if any(v != v.lower() for v in read):
        raise ValueError("a list of texts in small letters")
    return read


def integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a whole number")
    return value


def count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a whole number, 0 or more")
    return value


def positive_count(value: object) -> int:
    """The most that a response may have of what every answer has."""
    if count(value) == 0:
        raise ValueError("a whole number, 1 or more")
    return count(value)


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def pattern(value: object) -> str:
    return _compiled(value)[0]


def capturing_pattern(value: object) -> str:
    source, num_groups = _compiled(value)
    if num_groups < 1:
        raise ValueError("a pattern with a group in parentheses")
    return source


def _compiled(value: object) -> tuple[str, int]:
    """A pattern that compiles within bounds, and the number of its groups."""
    source = text(value)
    check_bounds(source)
    try:
        return source, regex.compile(source).groups
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"a regular expression that Python can compile ({error})") from error


def one_of_these(*allowed: str) -> Reader:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return value

    return read


def language(value: object) -> str:
    """The code of a language given by its English name or its code."""
    found = languages.code_of(value) if isinstance(value, str) else None
    if found is None:
        near = languages.near(value) if isinstance(value, str) else None
        hint = f"; did you mean '{near}'?" if near else ""
        raise ValueError(f"a language by its English name or ISO 639-1 code, as 'French' or 'fr'{hint}")
    return found


def input_items(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or set(value) != {"input_separator"}:
        raise ValueError("an object with the key 'input_separator' alone")
    try:
        return MappingProxyType({"input_separator": text(value["input_separator"])})
    except ValueError as error:
        raise ValueError(f"an object whose 'input_separator' is {error}") from error


def item_problems(params: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the parameters that say how items are cut."""
    if ("item_separator" in params) == ("list" in params):
        yield "give exactly one of item_separator, list"


def count_problems(params: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the parameters of `count` taken together."""
    yield from item_problems(params)
    numbers = ("n", "n_from_input_regex", "n_of_input_items")
    if sum(name in params for name in numbers) != 1:
        yield f"give exactly one of {', '.join(numbers)}"
    if "offset" in params and "n_of_input_items" not in params:
        yield "'offset' goes with 'n_of_input_items' only"


def json_problems(params: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the parameters of `json` taken together."""
    if "only_keys" in params and "keys" not in params:
        yield "'only_keys' goes with 'keys' only"
    if "keys" in params and params.get("shape") == "list_of_strings":
        yield "'keys' goes with objects; give the shape 'object' or 'list'"


def language_problems(params: Mapping[str, Any]) -> Iterator[str]:
    """The detector that a check of languages needs, where it is not installed."""
    if not languages.is_installed():
        yield languages.MISSING
