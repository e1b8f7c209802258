"""Judge a response: the constraints it breaks, and whether it is an answer at all."""

from collections.abc import Mapping, Sequence

from kpig.records import Constraint
from kpig.tasks.composition import composed
from kpig.tasks.constraints.kinds import DEGENERATE, UNDECIDED
from kpig.tasks.constraints.patterns import Undecided
from kpig.tasks.constraints.table import CONSTRAINTS
from kpig.tasks.constraints.words import squash

MIN_COPIED_WORDS = 20
"""Words that end the prompt from which a response counts as its copy. Chosen: fewer can be a right answer,
such as the label that the instruction names last."""


def satisfied(constraint: Constraint, input_text: str, response: str) -> bool | None:
    """Whether the response meets the constraint for this input; None where there is no verdict.

    A pattern comes from a task file and can be slow beyond measure: it is tried for at most
    MAX_MATCH_SECONDS. Longer responses than MAX_MATCHED_CHARACTERS break it. The number of words or
    sentences in Thai and like scripts is only known within bounds, which may hold the limit.
    All texts are compared in composed form.
    """
    params = {name: _composed_value(value) for name, value in constraint.params.items()}
    try:
        return CONSTRAINTS[constraint.type].check(composed(input_text), composed(response).strip(), **params)
    except Undecided:
        return None


def _composed_value(value: object) -> object:
    """A parameter of a constraint with its texts composed."""
    if isinstance(value, str):
        return composed(value)
    if isinstance(value, tuple):
        return tuple(map(_composed_value, value))
    if isinstance(value, Mapping):
        return {key: _composed_value(one) for key, one in value.items()}
    return value


def violations(
    constraints: Sequence[Constraint],
    input_text: str,
    response: str,
    *,
    prompt: str = "",
    finished: bool = True,
) -> tuple[str, ...]:
    """The kind of every broken constraint, in their order, then "degenerate" where `is_degenerate` is.

    UNDECIDED stands for a constraint without a verdict, and is no violation.
    """
    kinds = []
    for constraint in constraints:
        met = satisfied(constraint, input_text, response)
        if not met:
            kind = constraint.kind or CONSTRAINTS[constraint.type].kind
            kinds.append(UNDECIDED if met is None else kind)
    if is_degenerate(input_text, response, prompt=prompt, finished=finished):
        kinds.append(DEGENERATE)
    return tuple(kinds)


def is_degenerate(input_text: str, response: str, *, prompt: str = "", finished: bool = True) -> bool:
    """Whether the response is empty, was cut off at the token limit (not `finished`), or copies the prompt.

    A copy [D]: case and white space aside, the response is the whole prompt, or at least MIN_COPIED_WORDS
    words that end it. What stands in the input does not count, since copying can be the task; a
    constraint `not_equal_input` or `degenerate` makes it count.
    """
    return (
        not response.strip() or not finished or _copies_prompt(*map(composed, (input_text, response, prompt)))
    )


def _copies_prompt(input_text: str, response: str, prompt: str) -> bool:
    if squash(response) in squash(input_text):
        return False
    copied, prompted = squash(response).split(), squash(prompt).split()
    ends_prompt = len(copied) >= MIN_COPIED_WORDS and prompted[-len(copied) :] == copied
    return copied == prompted or ends_prompt
