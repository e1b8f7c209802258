"""The checks: whether a response, stripped of outer white space, meets one demand for its input."""

import json
import re
from collections.abc import Mapping, Sequence

from kpig.tasks.constraints import languages
from kpig.tasks.constraints.items import num_items
from kpig.tasks.constraints.lengths import Bounds, num_characters, num_words
from kpig.tasks.constraints.patterns import Undecided, captured, captured_number, full_match
from kpig.tasks.constraints.sentences import num_sentences
from kpig.tasks.constraints.words import has_phrase, occurs, split_words, squash, word_stems
from kpig.tasks.structured import value_of


def is_one_of(input_text: str, response: str, values: Sequence[str], case_sensitive: bool = True) -> bool:
    if case_sensitive:
        return response in values
    return response.lower() in [value.lower() for value in values]


def is_not_one_of(input_text: str, response: str, values: Sequence[str], case_sensitive: bool = True) -> bool:
    return not is_one_of(input_text, response, values, case_sensitive)


def matches(input_text: str, response: str, pattern: str) -> bool:
    return full_match(pattern, response) is True


def does_not_match(input_text: str, response: str, pattern: str) -> bool:
    return full_match(pattern, response) is False


def is_json(
    input_text: str,
    response: str,
    shape: str | None = None,
    keys: Sequence[str] = (),
    only_keys: bool = False,
) -> bool:
    """JSON as RFC 8259 has it: NaN and Infinity, which Python would read, are refused.

    Whole numbers are read as floats: as integers Python refuses those of thousands of digits.
    `keys` are those of the object, or of every object of a list where the shape is "list".
    """
    try:
        value = json.loads(response, parse_constant=_refuse_constant, parse_int=float)
    except (ValueError, RecursionError):
        return False
    if keys and not _has_keys(value if shape == "list" else [value], keys, only_keys):
        return False
    if shape == "list_of_strings":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return shape is None or isinstance(value, {"list": list, "object": dict}[shape])


def _has_keys(objects: object, keys: Sequence[str], only_keys: bool) -> bool:
    wanted = set(keys)
    return isinstance(objects, list) and all(
        isinstance(one, dict) and (one.keys() == wanted if only_keys else one.keys() >= wanted)
        for one in objects
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def has_max_words(input_text: str, response: str, n: int) -> bool:
    return _is_at_most(n, num_words(response))


def has_min_words(input_text: str, response: str, n: int) -> bool:
    return _is_at_least(n, num_words(response))


def has_max_sentences(input_text: str, response: str, n: int) -> bool:
    return _is_at_most(n, num_sentences(response))


def has_min_sentences(input_text: str, response: str, n: int) -> bool:
    return _is_at_least(n, num_sentences(response))


def has_max_characters(input_text: str, response: str, n: int) -> bool:
    return num_characters(response) <= n


def has_min_characters(input_text: str, response: str, n: int) -> bool:
    return num_characters(response) >= n


def _is_at_most(limit: int, number: Bounds) -> bool:
    """Raises Undecided where the number may lie on either side of the limit."""
    if number.low <= limit < number.high:
        raise Undecided
    return number.high <= limit


def _is_at_least(limit: int, number: Bounds) -> bool:
    """Raises Undecided where the number may lie on either side of the limit."""
    if number.low < limit <= number.high:
        raise Undecided
    return number.low >= limit


def has_max_items(
    input_text: str, response: str, n: int, item_separator: str | None = None, list: str | None = None
) -> bool:
    return num_items(response, item_separator, list) <= n


def has_min_items(
    input_text: str, response: str, n: int, item_separator: str | None = None, list: str | None = None
) -> bool:
    return num_items(response, item_separator, list) >= n


def has_count(
    input_text: str,
    response: str,
    item_separator: str | None = None,
    list: str | None = None,
    n: int | None = None,
    n_from_input_regex: str | None = None,
    n_of_input_items: Mapping[str, str] | None = None,
    offset: int = 0,
) -> bool:
    """Raises Undecided where the input gives no number for `n_from_input_regex`: it demands nothing then.

    Items cut at a separator count where they are blank, too.
    """
    if n_from_input_regex is not None:
        n = captured_number(n_from_input_regex, input_text)
        if n is None:
            raise Undecided
    elif n_of_input_items is not None:
        n = len(input_text.strip().split(n_of_input_items["input_separator"])) + offset
    found = num_items(response, list=list) if list else len(response.split(item_separator))
    return found == n


def starts_with(input_text: str, response: str, values: Sequence[str]) -> bool:
    return response.startswith(tuple(values))


def ends_with(input_text: str, response: str, values: Sequence[str]) -> bool:
    return response.endswith(tuple(values))


def has_casing(input_text: str, response: str, case: str) -> bool:
    if case == "title":
        return all(word[0] == word[0].upper() for word in response.split())
    return response == (response.upper() if case == "upper" else response.lower())


def contains(input_text: str, response: str, values: Sequence[str], case_sensitive: bool = True) -> bool:
    if case_sensitive:
        return all(value in response for value in values)
    return all(value.lower() in response.lower() for value in values)


def has_no_forbidden_words(
    input_text: str, response: str, values: Sequence[str], case_sensitive: bool = False
) -> bool:
    return not any(has_phrase(value, response, case_sensitive) for value in values)


def is_in_language(input_text: str, response: str, language: str) -> bool:
    return languages.is_in(response, language)


def has_items_from_input(
    input_text: str,
    response: str,
    item_separator: str,
    input_separator: str | None = None,
    case_sensitive: bool = True,
) -> bool:
    if input_separator is None:
        pool = re.findall(r"'([^']*)'", input_text)
    else:
        pool = input_text.strip().split(input_separator)
    return all(is_one_of("", item, pool, case_sensitive) for item in response.split(item_separator))


def is_sorted_unique(input_text: str, response: str, item_separator: str) -> bool:
    """By value where all items are numbers, else by their characters; blank items are texts."""
    items = response.split(item_separator)
    values = [value for item in items if (value := value_of(item)) is not None]
    return values == sorted(set(values)) if len(values) == len(items) else items == sorted(set(items))


def is_substring_of_input(input_text: str, response: str, or_values: Sequence[str] = ()) -> bool:
    if is_one_of("", response, or_values, case_sensitive=False):
        return True
    return squash(response).rstrip(".") in squash(input_text)


def has_words_from_input(input_text: str, response: str, ignore: Sequence[str] = ()) -> bool:
    return set(split_words(response)) <= {*split_words(input_text), *ignore}


def shares_word_with_input(input_text: str, response: str, min: int) -> bool:
    return len(word_stems(response) & word_stems(input_text)) >= min


def contains_input_items(input_text: str, response: str, input_separator: str) -> bool:
    """An item of several words is there with all of them, or as it stands.

    So is one in a script without spaces.
    """
    words, text = split_words(response), squash(response)
    return all(_has(squash(item), words, text) for item in input_text.split(input_separator))


def _has(item: str, words: Sequence[str], text: str) -> bool:
    parts = split_words(item)
    if parts == [item] and item.isascii():
        return occurs(item, words)
    return item in text or (bool(parts) and all(occurs(part, words) for part in parts))


def contains_input_capture(input_text: str, response: str, pattern: str, optional: bool = False) -> bool:
    found = captured(pattern, input_text)
    return optional if found is None else has_phrase(found, response, case_sensitive=False)


def is_not_input(input_text: str, response: str) -> bool:
    return squash(response) != squash(input_text)


def is_an_answer(input_text: str, response: str) -> bool:
    return bool(response) and is_not_input(input_text, response)


def is_shorter_than_input(input_text: str, response: str) -> bool:
    return len(response) < len(input_text.strip())
