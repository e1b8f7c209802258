"""Check a response against the demands of its task that a program can check (METHOD.md section 7).

The types that `check_constraints.py` of the shared annotation knows mean here what they mean there.
A response is stripped of outer white space first; items are cut exactly at their separator.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import regex

from kpig.errors import DataError, nearest
from kpig.records import Constraint

KINDS = ("out_of_scope", "wrong_format", "wrong_length", "missing_content", "degenerate")
OUT_OF_SCOPE, WRONG_FORMAT, WRONG_LENGTH, MISSING_CONTENT, DEGENERATE = KINDS

DOCUMENTATION_KEYS = ("source", "strength", "note", "match")
DOCUMENTATION_PREFIX = "gold_"
MAX_MATCHED_CHARACTERS = 10_000
MAX_MATCH_SECONDS = 1.0
MIN_COPIED_WORDS = 20

Reader = Callable[[Any], Any]


@dataclass(frozen=True)
class ConstraintType:
    """What a type of constraint checks, and the kind of violation it stands for (one of KINDS).

    `check(input_text, response, **params)` is True when the stripped response meets the demand.
    `required` and `optional` map a parameter to its reader, which returns the value or raises ValueError
    saying what it expected. `joint_problems` names what is wrong with the parameters taken together.
    """

    kind: str
    check: Callable[..., bool]
    help: str
    required: Mapping[str, Reader] = field(default_factory=dict)
    optional: Mapping[str, Reader] = field(default_factory=dict)
    joint_problems: Callable[[Mapping], Iterable[str]] = lambda params: ()


def parse(raw: Mapping, where: str) -> Constraint:
    """The constraint of one entry of a constraints.json: its `type`, an optional `kind`, its parameters.

    Documentation (`source`, `strength`, `note`, `match` and `gold_...`) is left out. Raises DataError,
    every line beginning with `where`, for an unknown type, kind or parameter, for a missing one, and for
    a value that cannot be used, such as a pattern that does not compile.
    """
    if not isinstance(raw, Mapping):
        raise DataError(f"{where}: a constraint must be an object with a 'type', not {raw!r}")
    name = raw.get("type")
    if not isinstance(name, str) or name not in CONSTRAINTS:
        raise DataError(f"{where}: {_unknown('constraint type', name, CONSTRAINTS)}")
    given = {key: value for key, value in raw.items() if key != "type" and not _is_documentation(key)}
    kind = given.pop("kind", None)
    params, problems = _read_params(CONSTRAINTS[name], given)
    if kind is not None and kind not in KINDS:
        problems.insert(0, _unknown("kind", kind, KINDS))
    if problems:
        raise DataError("\n".join(f"{where}: {name}: {problem}" for problem in problems))
    return Constraint(name, MappingProxyType(params), kind)


def satisfied(constraint: Constraint, input_text: str, response: str) -> bool:
    """Whether the response meets the constraint for this input.

    A pattern comes from a task file and can be slow beyond measure: it is tried on at most
    MAX_MATCHED_CHARACTERS for at most MAX_MATCH_SECONDS, and what that leaves open counts as broken.
    """
    return CONSTRAINTS[constraint.type].check(input_text, response.strip(), **constraint.params)


def violations(
    constraints: Sequence[Constraint],
    input_text: str,
    response: str,
    *,
    prompt: str = "",
    finished: bool = True,
) -> tuple[str, ...]:
    """The kind of every broken constraint, in their order, then "degenerate" where `is_degenerate` is."""
    kinds = [
        constraint.kind or CONSTRAINTS[constraint.type].kind
        for constraint in constraints
        if not satisfied(constraint, input_text, response)
    ]
    if is_degenerate(input_text, response, prompt=prompt, finished=finished):
        kinds.append(DEGENERATE)
    return tuple(kinds)


def is_degenerate(input_text: str, response: str, *, prompt: str = "", finished: bool = True) -> bool:
    """Whether the response is empty, was cut off at the token limit (not `finished`), or copies the prompt.

    A copy [D]: case and white space aside, the response is the whole prompt, or at least MIN_COPIED_WORDS
    words that end it. What stands in the input does not count, since copying can be the task; a
    constraint `not_equal_input` or `degenerate` makes it count.
    """
    return not response.strip() or not finished or _copies_prompt(input_text, response, prompt)


def _copies_prompt(input_text: str, response: str, prompt: str) -> bool:
    if _squash(response) in _squash(input_text):
        return False
    copied, prompted = _squash(response).split(), _squash(prompt).split()
    ends_prompt = len(copied) >= MIN_COPIED_WORDS and prompted[-len(copied) :] == copied
    return copied == prompted or ends_prompt


# Reading parameters. A reader returns the value to keep, or raises ValueError with what it expected.


def _read_params(constraint_type: ConstraintType, given: Mapping) -> tuple[dict[str, Any], list[str]]:
    """The parameters as the check takes them, and a sentence for everything wrong with them."""
    readers = {**constraint_type.required, **constraint_type.optional}
    params, problems = {}, []
    for name, value in given.items():
        if name not in readers:
            problems.append(_unknown("parameter", name, (*readers, "kind")))
            continue
        try:
            params[name] = readers[name](value)
        except ValueError as error:
            problems.append(f"'{name}' must be {error}, not {value!r}")
    problems += [f"'{name}' is missing" for name in constraint_type.required if name not in given]
    problems += constraint_type.joint_problems(given)
    return params, problems


def _is_documentation(key: str) -> bool:
    return key in DOCUMENTATION_KEYS or key.startswith(DOCUMENTATION_PREFIX)


def _unknown(what: str, given: object, known: Iterable[str]) -> str:
    names = list(known)
    close = nearest(given, names)
    hint = f"did you mean '{close}'?" if close else f"known: {', '.join(names)}"
    return f"{given!r} is no {what}; {hint}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text that is not empty")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(v, str) and v for v in value):
        raise ValueError("a list of texts, none of them empty")
    return tuple(value)


def _small_texts(value: Any) -> tuple[str, ...]:
    if any(text != text.lower() for text in _texts(value)):
        raise ValueError("a list of texts in small letters")
    return tuple(value)


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a whole number")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a whole number, 0 or more")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _pattern(value: Any) -> str:
    return _compiled(value).pattern


def _capturing_pattern(value: Any) -> str:
    if _compiled(value).groups < 1:
        raise ValueError("a pattern with a group in parentheses")
    return value


def _compiled(value: Any) -> regex.Pattern:
    try:
        return regex.compile(_text(value))
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"a regular expression that Python can compile ({error})") from error


def _one_of_these(*allowed: str) -> Reader:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return value

    return read


def _input_items(value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or set(value) != {"input_separator"}:
        raise ValueError("an object with the key 'input_separator' alone")
    try:
        return MappingProxyType({"input_separator": _text(value["input_separator"])})
    except ValueError as error:
        raise ValueError(f"an object whose 'input_separator' is {error}") from error


# The checks.


def _squash(text: str) -> str:
    return " ".join(text.lower().split())


def _words(text: str) -> list[str]:
    """Lower-case words without a possessive 's; apostrophes and hyphens inside a word stay."""
    found = re.findall(r"[^\W_]+(?:['\u2019-][^\W_]+)*", text.lower())
    return [re.sub(r"['\u2019]s$", "", word) for word in found]


def _is_one_of(input_text: str, response: str, values: Sequence[str], case_sensitive: bool = True) -> bool:
    if case_sensitive:
        return response in values
    return response.lower() in [value.lower() for value in values]


def _is_not_one_of(
    input_text: str, response: str, values: Sequence[str], case_sensitive: bool = True
) -> bool:
    return not _is_one_of(input_text, response, values, case_sensitive)


def _matches(input_text: str, response: str, pattern: str) -> bool:
    return _full_match(pattern, response) is True


def _does_not_match(input_text: str, response: str, pattern: str) -> bool:
    return _full_match(pattern, response) is False


def _full_match(pattern: str, response: str) -> bool | None:
    """Whether the pattern matches the whole response; None where the limits leave that open."""
    if len(response) > MAX_MATCHED_CHARACTERS:
        return None
    try:
        return regex.fullmatch(pattern, response, timeout=MAX_MATCH_SECONDS) is not None
    except TimeoutError:
        return None


def _is_json(input_text: str, response: str, shape: str | None = None) -> bool:
    """JSON as RFC 8259 has it: NaN and Infinity, which Python would read, are refused."""
    try:
        value = json.loads(response, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    if shape == "list_of_strings":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return shape is None or isinstance(value, {"list": list, "object": dict}[shape])


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _has_max_words(input_text: str, response: str, n: int) -> bool:
    return len(response.split()) <= n


def _has_min_words(input_text: str, response: str, n: int) -> bool:
    return len(response.split()) >= n


def _has_count(
    input_text: str,
    response: str,
    item_separator: str,
    n: int | None = None,
    n_from_input_regex: str | None = None,
    n_of_input_items: Mapping[str, str] | None = None,
    offset: int = 0,
) -> bool:
    """An input that gives no number for `n_from_input_regex` is met by no response."""
    if n_from_input_regex is not None:
        n = _captured_number(n_from_input_regex, input_text)
    elif n_of_input_items is not None:
        n = len(input_text.strip().split(n_of_input_items["input_separator"])) + offset
    return len(response.split(item_separator)) == n


def _captured_number(pattern: str, text: str) -> int | None:
    try:
        return int(_captured(pattern, text) or "")
    except ValueError:
        return None


def _captured(pattern: str, text: str) -> str | None:
    try:
        found = regex.search(pattern, text, timeout=MAX_MATCH_SECONDS)
    except TimeoutError:
        return None
    return found.group(1) if found else None


def _count_problems(params: Mapping) -> Iterator[str]:
    numbers = ("n", "n_from_input_regex", "n_of_input_items")
    if sum(name in params for name in numbers) != 1:
        yield f"give exactly one of {', '.join(numbers)}"
    if "offset" in params and "n_of_input_items" not in params:
        yield "'offset' goes with 'n_of_input_items' only"


def _starts_with(input_text: str, response: str, values: Sequence[str]) -> bool:
    return response.startswith(tuple(values))


def _ends_with(input_text: str, response: str, values: Sequence[str]) -> bool:
    return response.endswith(tuple(values))


def _has_casing(input_text: str, response: str, case: str) -> bool:
    if case == "title":
        return all(word[0] == word[0].upper() for word in response.split())
    return response == (response.upper() if case == "upper" else response.lower())


def _contains(input_text: str, response: str, values: Sequence[str], case_sensitive: bool = True) -> bool:
    if case_sensitive:
        return all(value in response for value in values)
    return all(value.lower() in response.lower() for value in values)


def _has_items_from_input(
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
    return all(_is_one_of("", item, pool, case_sensitive) for item in response.split(item_separator))


def _is_sorted_unique(input_text: str, response: str, item_separator: str) -> bool:
    items = response.split(item_separator)
    return items == sorted(set(items))


def _is_substring_of_input(input_text: str, response: str, or_values: Sequence[str] = ()) -> bool:
    if _is_one_of("", response, or_values, case_sensitive=False):
        return True
    return _squash(response).rstrip(".") in _squash(input_text)


def _has_words_from_input(input_text: str, response: str, ignore: Sequence[str] = ()) -> bool:
    return set(_words(response)) <= {*_words(input_text), *ignore}


def _shares_word_with_input(input_text: str, response: str, min: int) -> bool:
    return len(_word_stems(response) & _word_stems(input_text)) >= min


def _word_stems(text: str) -> set[str]:
    """The first four letters of every word of three letters or more."""
    return {word[:4] for word in _words(text) if len(word) > 2}


def _contains_input_items(input_text: str, response: str, input_separator: str) -> bool:
    words = _words(response)
    return all(_occurs(_squash(item), words) for item in input_text.split(input_separator))


def _occurs(item: str, words: Sequence[str]) -> bool:
    """Whether a word begins like the item (its last letter aside, 3 or 4 letters) or is an irregular form."""
    beginning = item[: max(3, min(4, len(item) - 1))]
    irregular = _irregular_forms().get(item, ())
    return any(word.startswith(beginning) or word in irregular for word in words)


def _contains_input_capture(input_text: str, response: str, pattern: str, optional: bool = False) -> bool:
    captured = _captured(pattern, input_text)
    return optional if captured is None else _squash(captured) in _squash(response)


def _is_not_input(input_text: str, response: str) -> bool:
    return _squash(response) != _squash(input_text)


def _is_an_answer(input_text: str, response: str) -> bool:
    return bool(response) and _is_not_input(input_text, response)


def _is_shorter_than_input(input_text: str, response: str) -> bool:
    return len(response) < len(input_text.strip())


IRREGULAR_FORMS = """
be is was are were been; blow blew blown; break broke broken; bring brought; build built; buy bought;
catch caught; child children; die dying dies; draw drew drawn; drink drank drunk; drive drove driven;
eat ate eaten; fall fell fallen; feed fed; fight fought; find found; fly flew flown; foot feet;
get got; give gave given; go went gone; goose geese; grow grew grown; hang hung; have has had; hold held;
keep kept; knife knives; know knew known; lay laid; lead led; leaf leaves; leave left; lie lying lay;
life lives; lose lost; make made; man men; meet met; mouse mice; pay paid; person people;
ride rode ridden; ring rang rung; rise rose risen; run ran; say said; see saw seen; sell sold; send sent;
shake shook shaken; shine shone; shoot shot; sing sang sung; sit sat; ski skiing skis skier; sleep slept;
speak spoke spoken; spend spent; stand stood; steal stole stolen; stick stuck; strike struck; sweep swept;
swim swam swum; take took taken; teach taught; tear tore torn; tell told; think thought;
throw threw thrown; tie tying tied ties; tooth teeth; use using used; wake woke woken; wear wore worn;
win won; wind wound; wolf wolves; woman women; write wrote written
"""


@cache
def _irregular_forms() -> Mapping[str, tuple[str, ...]]:
    """The word as an input gives it, with the forms that begin otherwise."""
    entries = (entry.split() for entry in IRREGULAR_FORMS.split(";"))
    return {word: tuple(forms) for word, *forms in entries}


CONSTRAINTS: dict[str, ConstraintType] = {
    "one_of": ConstraintType(
        OUT_OF_SCOPE,
        _is_one_of,
        "the response is one of `values`",
        required={"values": _texts},
        optional={"case_sensitive": _flag},
    ),
    "not_one_of": ConstraintType(
        OUT_OF_SCOPE,
        _is_not_one_of,
        "the response is none of `values`",
        required={"values": _texts},
        optional={"case_sensitive": _flag},
    ),
    "regex": ConstraintType(
        WRONG_FORMAT, _matches, "the whole response matches `pattern`", required={"pattern": _pattern}
    ),
    "not_regex": ConstraintType(
        WRONG_FORMAT,
        _does_not_match,
        "the whole response does not match `pattern`",
        required={"pattern": _pattern},
    ),
    "json": ConstraintType(
        WRONG_FORMAT,
        _is_json,
        "the response is JSON, of `shape` where given (list, object, list_of_strings)",
        optional={"shape": _one_of_these("list", "object", "list_of_strings")},
    ),
    "max_words": ConstraintType(
        WRONG_LENGTH, _has_max_words, "the response has at most `n` words", required={"n": _count}
    ),
    "min_words": ConstraintType(
        WRONG_LENGTH, _has_min_words, "the response has at least `n` words", required={"n": _count}
    ),
    "count": ConstraintType(
        WRONG_LENGTH,
        _has_count,
        "the response has `n` items, or as many as a number in the input says, or as the input has",
        required={"item_separator": _text},
        optional={
            "n": _count,
            "n_from_input_regex": _capturing_pattern,
            "n_of_input_items": _input_items,
            "offset": _integer,
        },
        joint_problems=_count_problems,
    ),
    "starts_with": ConstraintType(
        WRONG_FORMAT, _starts_with, "the response starts with one of `values`", required={"values": _texts}
    ),
    "ends_with": ConstraintType(
        WRONG_FORMAT, _ends_with, "the response ends with one of `values`", required={"values": _texts}
    ),
    "casing": ConstraintType(
        WRONG_FORMAT,
        _has_casing,
        "the response is in `case`: upper, lower, or title (no word begins with a small letter)",
        required={"case": _one_of_these("upper", "lower", "title")},
    ),
    "contains": ConstraintType(
        MISSING_CONTENT,
        _contains,
        "the response contains every one of `values`",
        required={"values": _texts},
        optional={"case_sensitive": _flag},
    ),
    "items_from_input": ConstraintType(
        OUT_OF_SCOPE,
        _has_items_from_input,
        "every item is in single quotes in the input, or one of its items cut at `input_separator`",
        required={"item_separator": _text},
        optional={"input_separator": _text, "case_sensitive": _flag},
    ),
    "sorted_unique": ConstraintType(
        WRONG_FORMAT,
        _is_sorted_unique,
        "the items stand in ascending order, none twice",
        required={"item_separator": _text},
    ),
    "substring_of_input": ConstraintType(
        OUT_OF_SCOPE,
        _is_substring_of_input,
        "the response stands in the input (case, white space and a last full stop aside) or in `or_values`",
        optional={"or_values": _texts},
    ),
    "words_from_input": ConstraintType(
        OUT_OF_SCOPE,
        _has_words_from_input,
        "every word of the response, case aside, is in the input or in `ignore` (small letters)",
        optional={"ignore": _small_texts},
    ),
    "shares_word_with_input": ConstraintType(
        MISSING_CONTENT,
        _shares_word_with_input,
        "at least `min` words of three letters or more are in both, by their first four letters",
        required={"min": _count},
    ),
    "contains_input_items": ConstraintType(
        MISSING_CONTENT,
        _contains_input_items,
        "every item of the input, cut at `input_separator`, is in the response in some form",
        required={"input_separator": _text},
    ),
    "contains_input_capture": ConstraintType(
        MISSING_CONTENT,
        _contains_input_capture,
        "what `pattern` captures in the input is in the response; `optional`: so is nothing captured",
        required={"pattern": _capturing_pattern},
        optional={"optional": _flag},
    ),
    "not_equal_input": ConstraintType(
        MISSING_CONTENT,
        _is_not_input,
        "the response is not the input over again: the change asked for was made",
    ),
    "shorter_than_input": ConstraintType(
        WRONG_LENGTH, _is_shorter_than_input, "the response has fewer characters than the input"
    ),
    "degenerate": ConstraintType(
        DEGENERATE,
        _is_an_answer,
        "the response is neither empty nor the input over again (for tasks where that is no answer)",
    ),
}
