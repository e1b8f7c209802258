"""The table of constraint types: what each checks, which parameters it takes, which kind it breaks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kpig.tasks.constraints import checks, parameters
from kpig.tasks.constraints.items import LISTS
from kpig.tasks.constraints.kinds import DEGENERATE, MISSING_CONTENT, OUT_OF_SCOPE, WRONG_FORMAT, WRONG_LENGTH


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
    required: Mapping[str, parameters.Reader] = field(default_factory=dict)
    optional: Mapping[str, parameters.Reader] = field(default_factory=dict)
    joint_problems: Callable[[Mapping[str, Any]], Iterable[str]] = lambda params: ()


_ITEMS: Mapping[str, parameters.Reader] = {
    "item_separator": parameters.text,
    "list": parameters.one_of_these(*LISTS),
}

CONSTRAINTS: dict[str, ConstraintType] = {
    "one_of": ConstraintType(
        OUT_OF_SCOPE,
        checks.is_one_of,
        "the response is one of `values`",
        required={"values": parameters.whole_texts},
        optional={"case_sensitive": parameters.flag},
    ),
    "not_one_of": ConstraintType(
        OUT_OF_SCOPE,
        checks.is_not_one_of,
        "the response is none of `values`",
        required={"values": parameters.whole_texts},
        optional={"case_sensitive": parameters.flag},
    ),
    "regex": ConstraintType(
        WRONG_FORMAT,
        checks.matches,
        "the whole response matches `pattern`",
        required={"pattern": parameters.pattern},
    ),
    "not_regex": ConstraintType(
        WRONG_FORMAT,
        checks.does_not_match,
        "the whole response does not match `pattern`",
        required={"pattern": parameters.pattern},
    ),
    "json": ConstraintType(
        WRONG_FORMAT,
        checks.is_json,
        "the response is JSON, of `shape` where given (list, object, list_of_strings), with `keys`",
        optional={
            "shape": parameters.one_of_these("list", "object", "list_of_strings"),
            "keys": parameters.texts,
            "only_keys": parameters.flag,
        },
        joint_problems=parameters.json_problems,
    ),
    "max_words": ConstraintType(
        WRONG_LENGTH,
        checks.has_max_words,
        "the response has at most `n` words",
        required={"n": parameters.positive_count},
    ),
    "min_words": ConstraintType(
        WRONG_LENGTH,
        checks.has_min_words,
        "the response has at least `n` words",
        required={"n": parameters.count},
    ),
    "max_sentences": ConstraintType(
        WRONG_LENGTH,
        checks.has_max_sentences,
        "the response has at most `n` sentences",
        required={"n": parameters.positive_count},
    ),
    "min_sentences": ConstraintType(
        WRONG_LENGTH,
        checks.has_min_sentences,
        "the response has at least `n` sentences",
        required={"n": parameters.count},
    ),
    "max_characters": ConstraintType(
        WRONG_LENGTH,
        checks.has_max_characters,
        "the response has at most `n` characters, as a reader counts them",
        required={"n": parameters.positive_count},
    ),
    "min_characters": ConstraintType(
        WRONG_LENGTH,
        checks.has_min_characters,
        "the response has at least `n` characters, as a reader counts them",
        required={"n": parameters.count},
    ),
    "max_items": ConstraintType(
        WRONG_LENGTH,
        checks.has_max_items,
        "the response has at most `n` items, cut at `item_separator` or those of a `list`",
        required={"n": parameters.count},
        optional=_ITEMS,
        joint_problems=parameters.item_problems,
    ),
    "min_items": ConstraintType(
        WRONG_LENGTH,
        checks.has_min_items,
        "the response has at least `n` items, cut at `item_separator` or those of a `list`",
        required={"n": parameters.count},
        optional=_ITEMS,
        joint_problems=parameters.item_problems,
    ),
    "count": ConstraintType(
        WRONG_LENGTH,
        checks.has_count,
        "the response has `n` items, or as many as a number in the input says, or as the input has",
        optional={
            **_ITEMS,
            "n": parameters.count,
            "n_from_input_regex": parameters.capturing_pattern,
            "n_of_input_items": parameters.input_items,
            "offset": parameters.integer,
        },
        joint_problems=parameters.count_problems,
    ),
    "starts_with": ConstraintType(
        WRONG_FORMAT,
        checks.starts_with,
        "the response starts with one of `values`",
        required={"values": parameters.beginnings},
    ),
    "ends_with": ConstraintType(
        WRONG_FORMAT,
        checks.ends_with,
        "the response ends with one of `values`",
        required={"values": parameters.endings},
    ),
    "casing": ConstraintType(
        WRONG_FORMAT,
        checks.has_casing,
        "the response is in `case`: upper, lower, or title (no word begins with a small letter)",
        required={"case": parameters.one_of_these("upper", "lower", "title")},
    ),
    "contains": ConstraintType(
        MISSING_CONTENT,
        checks.contains,
        "the response contains every one of `values`",
        required={"values": parameters.texts},
        optional={"case_sensitive": parameters.flag},
    ),
    "forbidden_words": ConstraintType(
        WRONG_FORMAT,
        checks.has_no_forbidden_words,
        "none of `values` stands in the response as whole words, case aside",
        required={"values": parameters.texts},
        optional={"case_sensitive": parameters.flag},
    ),
    "language": ConstraintType(
        WRONG_FORMAT,
        checks.is_in_language,
        "the response is in `language`, as far as its length lets a detector tell",
        required={"language": parameters.language},
        joint_problems=parameters.language_problems,
    ),
    "items_from_input": ConstraintType(
        OUT_OF_SCOPE,
        checks.has_items_from_input,
        "every item is one of the input's, cut at `input_separator`, without it those in single quotes",
        required={"item_separator": parameters.text},
        optional={"input_separator": parameters.text, "case_sensitive": parameters.flag},
    ),
    "sorted_unique": ConstraintType(
        WRONG_FORMAT,
        checks.is_sorted_unique,
        "the items stand in ascending order, numbers by value, none twice",
        required={"item_separator": parameters.text},
    ),
    "substring_of_input": ConstraintType(
        OUT_OF_SCOPE,
        checks.is_substring_of_input,
        "the response stands in the input (case, white space and a last full stop aside) or in `or_values`",
        optional={"or_values": parameters.whole_texts},
    ),
    "words_from_input": ConstraintType(
        OUT_OF_SCOPE,
        checks.has_words_from_input,
        "every word of the response, case aside, is in the input or in `ignore` (small letters)",
        optional={"ignore": parameters.small_texts},
    ),
    "shares_word_with_input": ConstraintType(
        MISSING_CONTENT,
        checks.shares_word_with_input,
        "at least `min` words of three letters or more are in both, by their first four letters",
        required={"min": parameters.count},
    ),
    "contains_input_items": ConstraintType(
        MISSING_CONTENT,
        checks.contains_input_items,
        "every item of the input, cut at `input_separator`, is in the response in some form",
        required={"input_separator": parameters.text},
    ),
    "contains_input_capture": ConstraintType(
        MISSING_CONTENT,
        checks.contains_input_capture,
        "the words that `pattern` captures in the input are in the response; `optional`: or there are none",
        required={"pattern": parameters.capturing_pattern},
        optional={"optional": parameters.flag},
    ),
    "not_equal_input": ConstraintType(
        MISSING_CONTENT,
        checks.is_not_input,
        "the response is not the input over again: the change asked for was made",
    ),
    "shorter_than_input": ConstraintType(
        WRONG_LENGTH, checks.is_shorter_than_input, "the response has fewer characters than the input"
    ),
    "degenerate": ConstraintType(
        DEGENERATE,
        checks.is_an_answer,
        "the response is neither empty nor the input over again (for tasks where that is no answer)",
    ),
}
