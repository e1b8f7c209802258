"""Turn what a task file states into a checked Task: split, metric, caps."""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kpig.errors import DataError
from kpig.records import Constraint, Example, Instruction, Message, Task
from kpig.tasks.metric_choice import chosen_metric

VALIDATION = "validation"
SPLITS = ("train", "test", VALIDATION)
GIVEN = "given"
"""The origin of a further wording of a task's instruction that the data declare."""

OWN = "own"
"""The origin of an instruction that single rows of a task came with: no wording of the task's."""

MOST_TEST_EXAMPLES_BY_RULE = 100
"""Of a task that states no split. Chosen: the standard error of an accuracy is 5 points at most then, and
every step's evaluation answers all of them."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """One example as its file states it; `split` is one of SPLITS, or None where nothing is stated."""

    id: str
    input: str
    references: tuple[str, ...]
    split: str | None = None
    instruction: Instruction | None = None
    """What it came with; None for the task's seed instruction."""

    context: tuple[Message, ...] = ()
    as_system: bool = False
    conversation: str = ""
    """Names the conversation that the example is a turn of, where others are turns of the same one."""

    constraints: tuple[Constraint, ...] = ()
    """Demands on its own response, beside the task's."""


@dataclass(frozen=True)
class Draft:
    """A task as its file states it, before split and caps; `where` names the file in messages.

    `instructions` are wordings of each other; a row whose instruction is none of them keeps its own.
    """

    name: str
    where: str
    instructions: tuple[Instruction, ...]
    rows: tuple[Row, ...]
    categories: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    metric: str | None = None
    step: int | None = None
    evaluation_instructions: tuple[Instruction, ...] = ()
    published: bool = False
    """Whether it is of a collection that has published how it is scored: by exact match and ROUGE-L alone."""


def build(
    draft: Draft,
    unsplit: Literal["rule", "test"],
    train_per_task: int | None = None,
    test_per_task: int | None = None,
    validation_per_task: int | None = None,
) -> Task:
    """The task with its examples split and capped (0 or None: all are kept).

    A draft that states no split is split by rule, or is all test examples, as `unsplit` says. One without
    validation examples gets `validation_per_task` of those to be trained on (split_off_validation).
    Caps keep the first examples of the split and do not change the metric.
    Raises DataError where an example is both trained on and tested.
    """
    train, test, validation = _split(draft, unsplit, test_per_task)
    if validation_per_task and not validation:
        train, validation = split_off_validation(draft.name, train, validation_per_task)
    references = [row.references for row in draft.rows]
    return Task(
        name=draft.name,
        instructions=draft.instructions,
        train=tuple(example_of(draft, row) for row in train[: train_per_task or None]),
        test=tuple(example_of(draft, row) for row in test[: test_per_task or None]),
        metric=draft.metric or chosen_metric(references, draft.constraints, draft.published),
        categories=draft.categories,
        constraints=draft.constraints,
        evaluation_instructions=draft.evaluation_instructions,
        validation=tuple(example_of(draft, row) for row in validation[: validation_per_task or None]),
    )


def example_of(draft: Draft, row: Row) -> Example:
    """A row as an example of its task."""
    instruction = row.instruction or draft.instructions[0]
    return Example(
        id=row.id,
        task=draft.name,
        instruction=instruction,
        input=row.input,
        references=row.references,
        context=row.context,
        as_system=row.as_system,
        constraints=row.constraints,
    )


# --- split -------------------------------------------------------------------------------------------


def _split(draft: Draft, unsplit: str, test_per_task: int | None) -> tuple[list[Row], list[Row], list[Row]]:
    """The rows to train on, those to test, and those that are stated to be for validation."""
    rows = list(draft.rows)
    num_unsplit = sum(row.split is None for row in rows)
    if num_unsplit == len(rows):
        return (*(([], rows) if unsplit == "test" else split_by_rule(draft.name, rows, test_per_task)), [])
    if num_unsplit:
        raise DataError(
            f"{draft.where}: task '{draft.name}': {num_unsplit} of {len(rows)} examples state no split; "
            "state 'train' or 'test' for all of them or for none"
        )
    train, test, validation = ([row for row in rows if row.split == split] for split in SPLITS)
    _refuse_shared_examples(draft, train, test)
    return train, test, _unseen(draft, validation, [*train, *test])


def split_by_rule(name: str, rows: Sequence[Row], num_test: int | None = None) -> tuple[list[Row], list[Row]]:
    """Training and test rows, shuffled by a seed made of the task's name alone; the last are test rows.

    `num_test` of 0 or None means a fifth of the rows, at least 1 and at most 100.  [D] One row is left to
    train on. Training rows that repeat the input of a test row are dropped, and their number is logged.
    The turns of one conversation stay together, so that there may be a few more test rows.
    """
    num_test = num_test or min(MOST_TEST_EXAMPLES_BY_RULE, max(1, len(rows) // 5))
    return _split_off(name, rows, num_test, "split", "test")


def split_off_validation(name: str, rows: Sequence[Row], count: int) -> tuple[list[Row], list[Row]]:
    """The training rows that are left, in their order, and `count` that are for validation.

    They are chosen as test rows are in `split_by_rule`, by a seed of their own; the same is dropped.
    """
    left, chosen = _split_off(name, rows, count, "validation", VALIDATION)
    places = {row.id: place for place, row in enumerate(rows)}
    return sorted(left, key=lambda row: places[row.id]), chosen


def _split_off(
    name: str, rows: Sequence[Row], count: int, seed: str, purpose: str
) -> tuple[list[Row], list[Row]]:
    """The rows shuffled, and the last of them split off: `count` or a few more, one is left at least."""
    shuffled = _conversations(rows)
    random.Random(f"kpig-{seed}|{name}").shuffle(shuffled)
    boundary, num_split_off = len(shuffled), 0
    while boundary > min(1, len(shuffled) - 1) and num_split_off < count:
        boundary -= 1
        num_split_off += len(shuffled[boundary])
    candidates = [row for group in shuffled[:boundary] for row in group]
    chosen = [row for group in shuffled[boundary:] for row in group]
    identity = identity_of(rows)
    taken = set(map(identity, chosen))
    left = [row for row in candidates if identity(row) not in taken]
    if len(left) < len(candidates):
        log.warning(
            "task '%s': %d training examples repeat a %s input (%d in other case or spacing); dropped",
            name,
            len(candidates) - len(left),
            purpose,
            _num_alike(candidates, chosen, identity),
        )
    return left, chosen


def _unseen(draft: Draft, rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """The validation rows that are no training or test row as well; how many are not is logged."""
    if not rows:
        return []
    identity = identity_of(draft.rows)
    seen = set(map(identity, others))
    kept = [row for row in rows if identity(row) not in seen]
    if len(kept) < len(rows):
        log.warning(
            "task '%s': %d of %d validation examples repeat a training or test input; dropped",
            draft.name,
            len(rows) - len(kept),
            len(rows),
        )
    return kept


def _conversations(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """The rows, those of one conversation together; a row that names none stands alone."""
    if not any(row.conversation for row in rows):
        return [(row,) for row in rows]
    groups: dict[object, list[Row]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row.conversation or number, []).append(row)
    return list(groups.values())


def _num_alike(rows: Sequence[Row], test: Sequence[Row], identity: Callable[[Row], tuple[str, ...]]) -> int:
    """How many rows are a test row's example by their `identity` alone, and not letter by letter."""
    tested, letters = set(map(identity, test)), set(map(_letters, test))
    return sum(identity(row) in tested and _letters(row) not in letters for row in rows)


def _letters(row: Row) -> tuple[str, ...]:
    """What `identity_of` compares, as it stands."""
    return (_own_instruction(row), row.input, *(() if row.input.strip() else row.references))


def identity_of(rows: Sequence[Row]) -> Callable[[Row], tuple[str, ...]]:
    """What makes two of the rows the same example: the input, or the references where it is empty.

    Where rows have instructions of their own, also these, and what was said before. White space is collapsed
    and case ignored.
    """
    has_own = any(map(_own_instruction, rows))

    def identity(row: Row) -> tuple[str, ...]:
        before = [_plain(message.text) for message in row.context]
        asked = (_plain(_own_instruction(row)), *before) if has_own or before else ()
        text = _plain(row.input)
        return (*asked, text) if text else (*asked, "", *map(_plain, row.references))

    return identity


def _own_instruction(row: Row) -> str:
    """The text of the instruction that is the row's alone; "" where it is the task's."""
    return row.instruction.text if row.instruction and row.instruction.origin == OWN else ""


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()


def _refuse_shared_examples(draft: Draft, train: Sequence[Row], test: Sequence[Row]) -> None:
    identity = identity_of(draft.rows)
    trained = {identity(row): row.id for row in train}
    shared = [(trained[identity(row)], row.id) for row in test if identity(row) in trained]
    if shared:
        pairs = ", ".join(f"'{left}' = '{right}'" for left, right in shared[:3])
        raise DataError(
            f"{draft.where}: task '{draft.name}': {len(shared)} examples are in train and in test "
            f"(same input, case and spacing aside: {pairs}{', ...' if len(shared) > 3 else ''}); leave them "
            "out of one"
        )
