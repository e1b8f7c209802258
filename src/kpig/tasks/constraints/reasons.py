"""What a constraint demands, and what the response has instead, in words for a reader."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from kpig.records import Constraint
from kpig.tasks.composition import composed
from kpig.tasks.constraints.items import num_items
from kpig.tasks.constraints.lengths import Bounds, num_characters, num_words
from kpig.tasks.constraints.sentences import num_sentences
from kpig.tasks.constraints.table import CONSTRAINTS
from kpig.tasks.constraints.words import has_phrase

MOST_SHOWN = 120
"""Characters of a value of a constraint that a sentence shows. Chosen: a line of a page."""


def demand(constraint: Constraint) -> str:
    """What a constraint asks for, in one sentence without its full stop."""
    own = DEMANDS.get(constraint.type)
    if own:
        return own(constraint.params)
    sentence, rest = CONSTRAINTS[constraint.type].help, []
    for name, value in constraint.params.items():
        if f"`{name}`" in sentence:
            sentence = sentence.replace(f"`{name}`", _shown(value))
        else:
            rest.append(f"{name.replace('_', ' ')}: {_shown(value)}")
    return f"{sentence} ({', '.join(rest)})" if rest else sentence


def instead(constraint: Constraint, response: str) -> str:
    """What a response that breaks a constraint has, such as "it has 9 words"; "" where that says nothing."""
    found = MEASURED.get(constraint.type)
    return found(composed(response).strip(), constraint.params) if found else ""


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        text = ", ".join(f"{key.replace('_', ' ')} {_quoted(one)}" for key, one in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(map(_quoted, value))
    else:
        text = _quoted(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"


def _quoted(value: Any) -> str:
    """A text in quotes, with its line breaks and tabs to be seen; anything else as it is."""
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    shown = value.replace("\n", "\\n").replace("\t", "\\t")
    return f'"{shown}"'


def _casing(params: Mapping[str, Any]) -> str:
    cases = {"upper": "is in capital letters", "lower": "is in small letters"}
    return f"the response {cases.get(params['case'], 'has no word that begins with a small letter')}"


def _json_demand(params: Mapping[str, Any]) -> str:
    shapes = {"list": ", a list", "object": ", an object", "list_of_strings": ", a list of strings"}
    keys = f", with the keys {_shown(params['keys'])}" if params.get("keys") else ""
    only = " and no others" if params.get("only_keys") else ""
    return f"the response is JSON{shapes.get(params.get('shape', ''), '')}{keys}{only}"


def _number_of_items(amount: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda params: f"the response has {amount} {_items(params['n'])}, {_cut(params)}"


def _count_demand(params: Mapping[str, Any]) -> str:
    if params.get("n") is not None:
        return f"the response has {_items(params['n'])}, {_cut(params)}"
    if params.get("n_from_input_regex") is not None:
        pattern = _shown(params["n_from_input_regex"])
        return f"the response has as many items as {pattern} finds in the input, {_cut(params)}"
    offset = params.get("offset") or 0
    more = f" and {abs(offset)} {'more' if offset > 0 else 'fewer'}" if offset else ""
    return f"the response has as many items as the input{more}, {_cut(params)}"


def _items_from_input(params: Mapping[str, Any]) -> str:
    separator = params.get("input_separator")
    theirs = "which stand in single quotes" if separator is None else f"cut at {_quoted(separator)}"
    return f"every item, cut at {_quoted(params['item_separator'])}, is one of the input's, {theirs}"


def _in_input(what: str, others: str) -> Callable[[Mapping[str, Any]], str]:
    def said(params: Mapping[str, Any]) -> str:
        more = f" or one of {_shown(params[others])}" if params.get(others) else ""
        return f"{what} in the input{more}"

    return said


def _capture(params: Mapping[str, Any]) -> str:
    where = ", where there are some" if params.get("optional") else ""
    return f"the response has the words that {_quoted(params['pattern'])} captures in the input{where}"


def _items(number: int) -> str:
    return f"{number} item{'s' * (number != 1)}"


def _cut(params: Mapping[str, Any]) -> str:
    if params.get("list"):
        return f"those of a list ({params['list']})"
    return f"cut at {_quoted(params.get('item_separator'))}"


DEMANDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "casing": _casing,
    "json": _json_demand,
    "max_items": _number_of_items("at most"),
    "min_items": _number_of_items("at least"),
    "count": _count_demand,
    "items_from_input": _items_from_input,
    "substring_of_input": _in_input("the response stands", "or_values"),
    "words_from_input": _in_input("every word of the response is", "ignore"),
    "contains_input_capture": _capture,
}
"""By type of constraint: its demand, where the help of the type lists what may be asked for."""


def _counted(number: Bounds | int, noun: str) -> str:
    low, high = number if isinstance(number, Bounds) else (number, number)
    count = str(low) if low == high else f"{low} to {high}"
    return f"it has {count} {noun}{'s' * (count != '1')}"


def _words(response: str, params: Mapping[str, Any]) -> str:
    return _counted(num_words(response), "word")


def _sentences(response: str, params: Mapping[str, Any]) -> str:
    return _counted(num_sentences(response), "sentence")


def _characters(response: str, params: Mapping[str, Any]) -> str:
    return _counted(num_characters(response), "character")


def _items_found(response: str, params: Mapping[str, Any]) -> str:
    return _counted(num_items(response, params.get("item_separator"), params.get("list")), "item")


def _json(response: str, params: Mapping[str, Any]) -> str:
    try:
        found = json.loads(response, parse_int=float)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return f"it is no JSON: {error}"
    names = {dict: "an object", list: "a list", str: "a text", float: "a number", type(None): "null"}
    return f"it is {names.get(type(found), 'true or false')}"


def _absent(response: str, params: Mapping[str, Any]) -> str:
    is_exact = params.get("case_sensitive", True)
    text = response if is_exact else response.lower()
    missing = [one for one in params["values"] if (one if is_exact else one.lower()) not in text]
    return f"it lacks {_shown(missing)}"


def _forbidden(response: str, params: Mapping[str, Any]) -> str:
    is_exact = params.get("case_sensitive", False)
    return f"it has {_shown([one for one in params['values'] if has_phrase(one, response, is_exact)])}"


MEASURED: Mapping[str, Callable[[str, Mapping[str, Any]], str]] = {
    "max_words": _words,
    "min_words": _words,
    "max_sentences": _sentences,
    "min_sentences": _sentences,
    "max_characters": _characters,
    "min_characters": _characters,
    "max_items": _items_found,
    "min_items": _items_found,
    "json": _json,
    "contains": _absent,
    "forbidden_words": _forbidden,
}
"""By type of constraint: what to say of a response, without outer white space, that breaks it."""
