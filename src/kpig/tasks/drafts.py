"""Turn what a task file states into a checked Task: key parts, split, metric, caps."""

import bisect
import itertools
import logging
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from kpig.errors import DataError
from kpig.records import KEY_PART_KINDS, Constraint, Example, Instruction, KeySpan, Message, Task
from kpig.tasks.matching import collisions
from kpig.tasks.structured import is_number, is_structure

MOST_NAME_CHARACTERS = 200
"""Of a task's name. Chosen: it stands in tables and messages."""

NON_JOINER, JOINER = "\u200c", "\u200d"
"""They have no width, but some scripts are written with them."""

VALIDATION = "validation"
SPLITS = ("train", "test", VALIDATION)
OWN = "own"
"""The origin of an instruction that single rows of a task came with: no wording of the task's."""

MOST_PROBLEMS_SHOWN = 20
"""Chosen: what a terminal shows without scrolling."""

MOST_LABELS = 10
"""Distinct responses up to which a label set counts as closed where none is stated. [D] Chosen; a task with
more labels can state them in a `one_of` constraint, or its metric."""

FEWEST_EXAMPLES_PER_LABEL = 5
"""How often each of them must occur. [D] Chosen: with fewer, a small task of free text could pass for one
with labels."""

MOST_TEST_EXAMPLES_BY_RULE = 100
"""Of a task that states no split. Chosen: the standard error of an accuracy is 5 points at most then, and
every step's evaluation answers all of them."""

MOST_UNREAD = 0.5
"""The share of letters that ROUGE-L may drop and still be the metric that is guessed. Chosen."""

JOINED = re.compile(r"\w\w")
"""Two characters of one word."""

PLACE = re.compile(r"\b(line|row|instance) (\d+)\b(: example '[^']*')?")
"""Where in its file a message finds a problem. What is left tells the kind of the problem."""

log = logging.getLogger(__name__)


class Problems:
    """The problems found so far, so that a user learns of all of them at once.

    `found` are those that are shown, a problem of many rows once, with their number; of further ones, of
    which bad data may hold millions, only the number is kept. `rows` collects the problems of single rows:
    it is this object itself where they are refused, another where they are skipped and told. `notes` are
    sentences about what was read otherwise than it stands there, each with the number of its rows; `unused`
    are the columns that nothing was made of, by their file.
    """

    def __init__(self, skips_rows: bool = False) -> None:
        self.found: list[str] = []
        self.rows: Problems = Problems() if skips_rows else self
        self.notes: Counter[str] = Counter()
        self.unused: dict[str, Counter[str]] = {}
        self.num_skipped = 0
        self.num_more = 0
        self._last_noted: dict[str, str] = {}
        """For each note the place that was counted last."""

        self._same: dict[str, list[int]] = {}
        """For each kind of problem that is shown its place in `found`, and how often it occurs."""

    @property
    def is_full(self) -> bool:
        """Whether a further problem will not be shown, so that no time need go into its words."""
        return len(self.found) >= MOST_PROBLEMS_SHOWN

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep a DataError raised inside the block as a problem, and go on after the block."""
        try:
            yield
        except DataError as error:
            self.num_skipped += 1
            self.add(*str(error).splitlines())

    def add(self, *lines: str) -> None:
        """Keep problems, one per line, as long as they are shown; of one in many rows the first."""
        for line in lines:
            kind = PLACE.sub("", line, count=1)
            if kind in self._same:
                self._same[kind][1] += 1
            elif self.is_full:
                self.num_more += 1
            else:
                self._same[kind] = [len(self.found), 1]
                self.found.append(line)

    def note(self, sentence: str, where: str) -> None:
        """Count a row, at the place `where`, for a note: once, however many of its values it is true of."""
        if self._last_noted.get(sentence) != where:
            self._last_noted[sentence] = where
            self.notes[sentence] += 1

    def lines(self) -> list[str]:
        """The problems in words, how often each occurs, and how many more there are."""
        counts = {place: count for place, count in self._same.values()}
        lines = [
            line + (f" (and so in {counts[place] - 1} more)" if counts.get(place, 1) > 1 else "")
            for place, line in enumerate(self.found)
        ]
        return lines + ([f"... and {self.num_more} more problems"] if self.num_more else [])

    def check(self) -> None:
        """Raise one DataError naming the problems, one per line, if there are any."""
        if self.found:
            raise DataError("\n".join(self.lines()))

    def tell(self) -> None:
        """Log the notes, and the rows that were skipped with the reasons."""
        for note, count in self.notes.items():
            log.warning("%s (%s)", note, _rows(count))
        for file, columns in self.unused.items():
            names = ", ".join(f"{_shown(name)} ({_rows(count)})" for name, count in columns.items())
            log.warning(
                "%s: columns that are not used: %s; [stream.columns] tells which column is what", file, names
            )
        if self.rows is not self and self.rows.found:
            reasons = "\n  ".join(self.rows.lines())
            log.warning("%s cannot be used, skipped:\n  %s", _rows(self.rows.num_skipped), reasons)


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


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
    return Task(
        name=draft.name,
        instructions=draft.instructions,
        train=tuple(_example(draft, row) for row in train[: train_per_task or None]),
        test=tuple(_example(draft, row) for row in test[: test_per_task or None]),
        metric=draft.metric or _chosen_metric(draft),
        categories=draft.categories,
        constraints=draft.constraints,
        evaluation_instructions=draft.evaluation_instructions,
        validation=tuple(_example(draft, row) for row in validation[: validation_per_task or None]),
    )


def _example(draft: Draft, row: Row) -> Example:
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
    identity = _identity(rows)
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
    identity = _identity(draft.rows)
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


def _conversations(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows, those of one conversation together; a row that names none stands alone."""
    groups: dict[object, list[Row]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row.conversation or number, []).append(row)
    return list(groups.values())


def _num_alike(rows: Sequence[Row], test: Sequence[Row], identity: Callable[[Row], tuple[str, ...]]) -> int:
    """How many rows are a test row's example by their `identity` alone, and not letter by letter."""
    tested, letters = set(map(identity, test)), set(map(_letters, test))
    return sum(identity(row) in tested and _letters(row) not in letters for row in rows)


def _letters(row: Row) -> tuple[str, ...]:
    """What `_identity` compares, as it stands."""
    return (_own_instruction(row), row.input, *(() if row.input.strip() else row.references))


def _identity(rows: Sequence[Row]) -> Callable[[Row], tuple[str, ...]]:
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
    identity = _identity(draft.rows)
    trained = {identity(row): row.id for row in train}
    shared = [(trained[identity(row)], row.id) for row in test if identity(row) in trained]
    if shared:
        pairs = ", ".join(f"'{left}' = '{right}'" for left, right in shared[:3])
        raise DataError(
            f"{draft.where}: task '{draft.name}': {len(shared)} examples are in train and in test "
            f"(same input, case and spacing aside: {pairs}{', ...' if len(shared) > 3 else ''}); leave them "
            "out of one"
        )


# --- metric ------------------------------------------------------------------------------------------


def _chosen_metric(draft: Draft) -> str:
    chosen = choose_metric([row.references[0] for row in draft.rows], draft.constraints)
    if chosen == "rougeL":
        return chosen if draft.published else _free_metric([row.references for row in draft.rows])
    return "exact" if collisions(row.references for row in draft.rows) else chosen


def _free_metric(references: Sequence[Sequence[str]]) -> str:
    """The metric of responses that are no labels, by what all of them are.  [D]

    "json" for objects and arrays, "number" for numbers alone, "token_f1" where ROUGE-L cannot read half of
    the letters, else "rougeL".
    """
    texts = [text for one in references for text in one]
    if all(map(is_structure, texts)):
        return "json"
    if all(map(is_number, texts)):
        return "number"
    return "token_f1" if share_unread(texts) >= MOST_UNREAD else "rougeL"


def share_unread(texts: Iterable[str]) -> float:
    """The share of the letters and digits that ROUGE-L drops: it reads ASCII only."""
    read = [character.isascii() for text in texts for character in text if character.isalnum()]
    return 1 - sum(read) / len(read) if read else 0.0


def choose_metric(responses: Sequence[str], constraints: Sequence[Constraint] = ()) -> str:
    """ "accuracy" where the label set is closed, else "rougeL" (docs/method.md, section 7).

    The label set counts as closed where a `one_of` constraint states it, or where the responses
    take at most 10 distinct values and each of them occurs at least 5 times.  [D]
    """
    counts = Counter(response.strip() for response in responses)
    few_labels = 0 < len(counts) <= MOST_LABELS and min(counts.values()) >= FEWEST_EXAMPLES_PER_LABEL
    stated = any(constraint.type == "one_of" for constraint in constraints)
    return "accuracy" if stated or few_labels else "rougeL"


# --- key parts ---------------------------------------------------------------------------------------


def locate(text: str, parts: object, where: str) -> tuple[KeySpan, ...]:
    """The stated key parts, a list, as spans of the instruction `text`, in order.

    A part is a text, or a mapping of `text`, `kind` (default "operation") and optionally `start`, `end`.
    A part without `start` is placed at its first occurrence as whole words that is clear of the parts
    placed before, else at its first clear one; parts with `start` are placed first. Raises DataError where a
    part is not a span of the instruction, overlaps another, or is of an unknown kind.
    """
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        raise DataError(f"{where}: key_parts is {_shown(parts)}; expected a list of texts or mappings")
    stated = [_stated_part(part, where) for part in parts]
    spans = sorted(_fixed_span(text, part, where) for part in stated if "start" in part)
    _refuse_overlap(text, spans, where)
    searched: dict[tuple[str, bool], int] = {}
    for part in stated:
        if "start" not in part:
            bisect.insort(spans, _free_span(text, part, spans, searched, where))
    return tuple(spans)


def _stated_part(part: object, where: str) -> dict[str, Any]:
    """The part as a mapping of checked types; values of None are left out."""
    fields = {"text": part} if isinstance(part, str) else part
    if not isinstance(fields, Mapping):
        raise DataError(f"{where}: key part {_shown(part)} is neither a text nor a mapping with 'text'")
    fields = {key: value for key, value in fields.items() if value is not None}
    if not isinstance(fields.get("text"), str) or not fields["text"].strip():
        raise DataError(f"{where}: key part {_shown(part)} has no text; expected a span of the instruction")
    if fields.setdefault("kind", "operation") not in KEY_PART_KINDS:
        raise DataError(
            f"{where}: key part {_shown(fields['text'])} is of kind {_shown(fields['kind'])}; "
            f"expected one of {', '.join(KEY_PART_KINDS)}"
        )
    for key in ("start", "end"):
        if type(fields.get(key, 0)) is not int or fields.get(key, 0) < 0:
            raise DataError(
                f"{where}: key part {_shown(fields['text'])}: {key} is {_shown(fields[key])}; "
                "expected a character offset of 0 or more"
            )
    return fields


def _fixed_span(text: str, part: Mapping[str, Any], where: str) -> KeySpan:
    start, end = part["start"], part.get("end", part["start"] + len(part["text"]))
    if text[start:end] != part["text"]:
        raise DataError(
            f"{where}: key part {_shown(part['text'])} is not the instruction's characters {start} to {end}, "
            f"which read {_shown(text[start:end])}; correct the offsets or leave them out"
        )
    return KeySpan(start, end, part["kind"])


def _free_span(
    text: str,
    part: Mapping[str, Any],
    taken: Sequence[KeySpan],
    searched: dict[tuple[str, bool], int],
    where: str,
) -> KeySpan:
    """The first place of whole words, else the first, that overlaps none of `taken`, which are in order.

    `searched` keeps how far the instruction was searched for a text, so that a part that occurs thousands
    of times is placed in one pass.
    """
    wanted = part["text"]
    if wanted not in text:
        raise DataError(
            f"{where}: key part {_shown(wanted)} is not a span of the instruction "
            f"{_shown(text)}; copy it exactly, case and spaces included"
        )
    for whole in (True, False):
        place = _free_place(text, wanted, taken, searched.get((wanted, whole), 0), whole)
        searched[wanted, whole] = len(text) if place is None else place + len(wanted)
        if place is not None:
            return KeySpan(place, place + len(wanted), part["kind"])
    raise DataError(f"{where}: key part {_shown(wanted)} overlaps another key part; leave one out")


def _free_place(text: str, wanted: str, taken: Sequence[KeySpan], searched: int, whole: bool) -> int | None:
    """The first place at or behind `searched` that overlaps none of `taken`; `whole`: and cuts no word.

    Where a place overlaps a taken span, so do all up to that span's end: the search goes on there.
    """
    start = text.find(wanted, searched)
    while start >= 0:
        other = overlapped(KeySpan(start, start + len(wanted)), taken)
        if other is None and not (whole and _cuts_word(text, start, start + len(wanted))):
            return start
        start = text.find(wanted, other.end if other else start + 1)
    return None


def _cuts_word(text: str, start: int, end: int) -> bool:
    """Whether the span begins or ends inside a run of letters and digits."""
    return any(0 < place < len(text) and JOINED.match(text, place - 1) for place in (start, end))


def overlapped(span: KeySpan, ordered: Sequence[KeySpan]) -> KeySpan | None:
    """The last of the spans, which are in order and clear of each other, that the span overlaps, or None."""
    number = bisect.bisect_left(ordered, span.end, key=lambda other: other.start) - 1
    return ordered[number] if number >= 0 and ordered[number].end > span.start else None


def _refuse_overlap(text: str, ordered: Sequence[KeySpan], where: str) -> None:
    for left, right in itertools.pairwise(ordered):
        if right.start < left.end:
            raise DataError(
                f"{where}: key part {_shown(text[right.start : right.end])} overlaps "
                f"{_shown(text[left.start : left.end])}; shorten one or leave it out"
            )


def check_name(name: object, where: str) -> str:
    """`name` itself. Raises DataError unless it is a task name: printable, on one line, not too long.

    What files are named after it: `kpig.files.name_for`.
    """
    if not isinstance(name, str) or not _is_name(name):
        raise DataError(
            f"{where}: {_shown(name)} is not a task name; expected a text of 1 to {MOST_NAME_CHARACTERS} "
            "printable characters, without blanks at its ends"
        )
    return name


def _is_name(text: str) -> bool:
    shown = text.replace(JOINER, "").replace(NON_JOINER, "")
    return 0 < len(text) <= MOST_NAME_CHARACTERS and shown.isprintable() and text == text.strip() != ""


def _shown(value: object) -> str:
    """The value as a message shows it: on one line, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
