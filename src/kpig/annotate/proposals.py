"""Constraints proposed from an instruction's words, kept where the training responses meet them."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpig.annotate import demands
from kpig.annotate.demand import Demand, Entry
from kpig.annotate.keyparts import Written, entries_of
from kpig.errors import DataError, some
from kpig.files import publish_json
from kpig.records import Constraint, Example, Task
from kpig.tasks import constraints
from kpig.tasks.constraints import languages
from kpig.tasks.entries import check_of

LEAST_SHARE = 0.98
"""Of the training responses that must meet a proposal, as the shared annotation of constraints has it."""

LEAST_SHARE_TOLD = 0.5
"""Of the responses that must meet a guess for it to be told as dropped. Chosen: most are no demand."""

MOST_LISTED, MOST_SHOWN = 10, 60
"""Dropped demands that are listed, and characters of their words. Chosen: what is read at a glance."""

MADE_BY = "annotate"


@dataclass(frozen=True)
class Dropped:
    """A demand that the responses do not meet, and the share that meets its best reading."""

    source: str
    type: str
    share: float


@dataclass(frozen=True)
class Proposals:
    """The entries kept for a task, each with the words that it was read from, and what was dropped.

    `unread` are the demands that need the detector of languages where it is not installed. A guess that
    few responses bear out is no demand and not told.
    """

    kept: tuple[Entry, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    unread: tuple[Demand, ...] = ()
    num_responses: int = 0


def propose(task: Task) -> Proposals:
    """The checkable demands of the task's seed instruction that its training responses meet.

    Where labels are kept, what a verb implies is left out: they say more. Without training
    responses none is kept: nothing would bear it out. None is read where examples have instructions of
    their own: a constraint holds for all examples of its task.
    """
    if task.own_instructions:
        return Proposals()
    kept: list[Entry] = []
    dropped: list[Dropped] = []
    unread: list[Demand] = []
    for demand in demands.read(task.instruction.text):
        if demand.readings[0]["type"] == "language" and not languages.is_installed():
            unread.append(demand)
            continue
        held = [one for one in demand.readings if _holds(one, task.train)]
        if not held:
            dropped += _told_dropped(demand, task.train)
        elif not (demand.guess and any(one["type"] == "one_of" for one in kept)):
            best = _best(held, task.train)
            kept.append({**best, "source": best.get("source", demand.source)})
    num_responses = sum(len(one.references) for one in task.train)
    return Proposals(tuple(kept), tuple(dropped), tuple(unread), num_responses)


def _told_dropped(demand: Demand, examples: Sequence[Example]) -> tuple[Dropped, ...]:
    """The demand as it is told, by its best reading; of guesses only labels that most responses meet."""
    if demand.guess and demand.readings[0]["type"] != "one_of":
        return ()
    tried = demand.readings[:1] if demand.guess else demand.readings
    best = max(tried, key=lambda one: _share(one, examples))
    failed = Dropped(best.get("source", demand.source), best["type"], _share(best, examples))
    return () if demand.guess and failed.share < LEAST_SHARE_TOLD else (failed,)


def _holds(entry: Entry, examples: Sequence[Example]) -> bool:
    """Whether LEAST_SHARE of all references meet the entry; it stops at the first that is too many."""
    num_references = sum(len(example.references) for example in examples)
    allowed = num_references - math.ceil(LEAST_SHARE * num_references)
    refused = (verdict for verdict in _verdicts(entry, examples) if not verdict)
    return num_references > 0 and next(itertools.islice(refused, allowed, None), None) is None


def _share(entry: Entry, examples: Sequence[Example]) -> float:
    """The share of all references that meet the entry, in [0, 1]; 0 without references."""
    verdicts = list(_verdicts(entry, examples))
    return sum(verdicts) / len(verdicts) if verdicts else 0.0


def _verdicts(entry: Entry, examples: Sequence[Example]) -> Iterator[bool]:
    """An entry that no response can meet, such as at most 0 words, is refused by the parser: none does."""
    constraint: Constraint | None
    try:
        constraint = constraints.parse(entry, "a proposed constraint")
    except DataError:
        constraint = None
    for example in examples:
        for reference in example.references:
            met = constraint is not None and constraints.satisfied(constraint, example.input, reference)
            yield met is True


def _best(held: Sequence[Entry], examples: Iterable[Example]) -> Entry:
    """The first reading; of sets of labels the one whose labels all occur, else the first, largest set.

    A word for choosing orders the readings, so among those that hold the larger of the surest is taken.
    """
    if held[0]["type"] != "one_of":
        return held[0]
    said = {reference.strip().lower() for example in examples for reference in example.references}
    seen = [one for one in held if {value.lower() for value in one["values"]} <= said]
    return max(seen or held[:1], key=lambda one: len(one["values"]))


def told(found: Mapping[str, Proposals]) -> Iterator[str]:
    """Lines for a user: demands that were dropped, tasks without responses, and what could not be read."""
    dropped = [(name, one) for name, proposed in found.items() for one in proposed.dropped]
    tested = [(name, one) for name, one in dropped if found[name].num_responses]
    if tested:
        yield (
            f"note: {len(tested)} more were dropped, as fewer than {100 * LEAST_SHARE:.0f} % of the training "
            "responses meet them: " + _listed([_shown(name, one) for name, one in tested])
        )
    if untested := list(dict.fromkeys(name for name, one in dropped if not found[name].num_responses)):
        yield (
            f"note: {len(untested)} tasks ({some(untested)}) have no training responses to bear out what "
            "their instructions state; dropped"
        )
    if unread := [name for name, one in found.items() if one.unread]:
        yield f"note: {len(unread)} tasks ({some(unread)}) demand a language; {languages.MISSING}"


def _shown(name: str, dropped: Dropped) -> str:
    words = " ".join(dropped.source.split())
    return f"{name}: {dropped.type} from '{words[:MOST_SHOWN]}' ({100 * dropped.share:.0f} %)"


def _listed(lines: Sequence[str]) -> str:
    rest = len(lines) - MOST_LISTED
    return "; ".join(lines[:MOST_LISTED]) + (f"; and {rest} more" if rest > 0 else "")


# --- constraints.json ----------------------------------------------------------------------------------


def write(path: Path, proposed: Mapping[str, Sequence[Entry]], overwrite: bool = False) -> Written:
    """Write each task's entries into the file, beside those of other tasks.

    A task whose entries were made or corrected by hand keeps them unless `overwrite`. One for which
    nothing is proposed has none. Raises DataError where the file is there and no JSON object, RunError where
    it cannot be written.
    """
    there = entries_of(path)
    kept = () if overwrite else tuple(name for name in proposed if is_by_hand(there.get(name)))
    new = {name: _marked(found) for name, found in proposed.items() if found and name not in kept}
    emptied = {name for name, found in proposed.items() if not found and name not in kept}
    whole = {name: found for name, found in there.items() if name not in emptied} | new
    if whole != there:
        publish_json(path, whole)
    return Written(tuple(new), kept)


def stated(path: Path, tasks: Iterable[Task], beside: Path | None = None) -> frozenset[str]:
    """The tasks whose constraints were made by hand: in the file, or in the rows of the task itself.

    `beside` is the file that is read with the tasks, where that is another one: constraints of its tasks are
    not of their rows. Raises DataError as `write` does.
    """
    there = entries_of(path)
    read = there if beside is None else {**entries_of(beside), **there}
    return frozenset(
        task.name
        for task in tasks
        if is_by_hand(there.get(task.name)) or (task.constraints and task.name not in read)
    )


def is_by_hand(entries: object) -> bool:
    """Whether there are entries of a task that are not, to the letter, what `write` wrote."""
    if entries is None:
        return False
    if not isinstance(entries, list) or not entries or not all(isinstance(one, Mapping) for one in entries):
        return True  # a program writes no empty list: a hand has emptied it
    return entries != _marked(
        [{key: value for key, value in one.items() if key not in _MARKS} for one in entries]
    )


_MARKS = ("made_by", "check")


def _marked(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The entries with who made them, and digits that stand for all of them together."""
    check = check_of([dict(one) for one in entries])
    return [{**one, "made_by": MADE_BY, "check": check} for one in entries]
