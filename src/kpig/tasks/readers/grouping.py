"""Records to tasks: which belong together, and the draft of a task that they make."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from kpig.errors import DataError, nearest
from kpig.records import Constraint, Instruction
from kpig.tasks.drafts import GIVEN, OWN, VALIDATION, Draft, Row
from kpig.tasks.key_parts import locate
from kpig.tasks.names import check_name
from kpig.tasks.problems import Problems
from kpig.tasks.readers.annotations import Annotations, parse_constraints
from kpig.tasks.readers.record import Record, seed_of
from kpig.tasks.readers.values import checked_metric, kept_rows, read_row, text_of, texts_of

log = logging.getLogger(__name__)

ROWS_PER_INSTRUCTION = 2
"""Rows that an instruction has on average, from which on a file without task names is a task for each
instruction. [D] With fewer most of them could not be both trained and tested; such a file is one task."""


def by_name(records: Sequence[Record], problems: Problems, splits: bool = True) -> dict[str, list[Record]]:
    """The records by task: as they state it, else by file, or by instruction where these repeat.

    Without `splits` a file whose rows name no task is one, in the order of its rows.
    """
    wordings: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    for record in records:
        if "task" not in record.fields:
            wordings.setdefault(record.source, set()).add(seed_of(record))
            sizes[record.source] = sizes.get(record.source, 0) + 1
    stated = {record.fields["task"] for record in records if "task" in record.fields}
    groups: dict[str, list[Record]] = {}
    for record in records:
        name, source = record.fields.get("task", record.source), record.source
        repeats = splits and "task" not in record.fields
        if repeats and 1 < len(wordings[source]) <= sizes[source] / ROWS_PER_INSTRUCTION:
            name += "-" + hashlib.sha256(seed_of(record).encode()).hexdigest()[:8]
        if "task" not in record.fields and name in stated:
            problems.note(
                f"{record.file}: rows that name no task are of task '{name}', which other rows name: it is "
                "called as their file is",
                record.where,
            )
        groups.setdefault(name, []).append(record)
    for name in list(groups):
        with problems.collected():
            check_name(name, f"{groups[name][0].where}: the name of the file")
    return groups


def record_draft(name: str, records: list[Record], annotations: Annotations, problems: Problems) -> Draft:
    """The task that records of one name make; `records` is emptied. Raises DataError where they disagree."""
    where = f"{records[0].where}: task '{name}'"
    records = _with_tests(records, problems)
    seed = _seed(name, records)
    instructions = _instructions(name, records, seed, annotations, problems)
    shared = _shared_constraints(records, where)
    demands = annotations.demands(name)
    if shared and demands and shared != demands:
        _note_precedence("constraints", annotations.constraints_path, records, problems)
    first, metrics, steps = records[0].where, _apart(records, "metric"), _apart(records, "step")
    categories = [record.fields["categories"] for record in records if "categories" in record.fields]
    rows: list[Row] = []
    skipped: list[str] = []
    turns = _turns(records)
    for number, record in enumerate(_taken(records), start=1):
        with problems.rows.collected():
            row = read_row(
                record.fields,
                _id_of(record, name, number, turns.get(record.line, 1)),
                record.split,
                record.where,
                record.file,
                problems,
            )
            if row is None:
                skipped.append(record.where)
            else:
                rows.append(_spoken(row, record, instructions, turns.get(record.line, 1), shared is None))
    return Draft(
        name=name,
        where=first,
        instructions=tuple(one for one in instructions.values() if one.origin != OWN),
        rows=kept_rows(rows, where, skipped, problems),
        categories=_categories(categories, where),
        constraints=shared or demands,
        metric=checked_metric(_single(metrics, "metric"), where),
        step=_single(steps, "step"),
    )


def _turns(records: Sequence[Record]) -> dict[int, int]:
    """How many examples a row of the file is, where it is several: its turns follow each other."""
    counts = ((line, sum(1 for _ in turns)) for line, turns in groupby(records, lambda one: one.line))
    return {line: count for line, count in counts if count > 1}


def _taken(records: list[Record]) -> Iterator[Record]:
    """The records in order; none is kept, for there may be a million, and rows are made of them."""
    records.reverse()
    while records:
        yield records.pop()


def _note_precedence(key: str, path: Path, records: Sequence[Record], problems: Problems) -> None:
    """Note the rows that state what a file beside the tasks states otherwise."""
    problems.notes[f"{path}: rows state other '{key}' than this file; those of the rows hold"] += sum(
        key in record.fields for record in records
    )


def _id_of(record: Record, name: str, number: int, num_turns: int) -> str:
    """The id that a record states, with the turn where its row is several examples; else its number."""
    if "id" not in record.fields:
        return f"{name}-{number}"
    stated = text_of(record.fields["id"], f"{record.where}: 'id'")
    return f"{stated}-{record.turn}" if num_turns > 1 else stated


def _shared_constraints(records: Sequence[Record], where: str) -> tuple[Constraint, ...] | None:
    """The constraints that hold for the whole task; none stated: (). None where rows state different ones."""
    stated = [record.fields["constraints"] for record in records if "constraints" in record.fields]
    if any(one != stated[0] for one in stated):
        return None
    return parse_constraints(stated[0], where) if stated else ()


def _spoken(
    row: Row, record: Record, instructions: Mapping[str, Instruction], num_turns: int, has_own: bool
) -> Row:
    """The row under its instruction, with what was said before; `has_own`: its constraints are its own."""
    own = parse_constraints(record.fields.get("constraints", []), record.where) if has_own else ()
    return replace(
        row,
        instruction=instructions[record.fields["instruction"]],
        context=record.context,
        as_system=record.as_system,
        conversation=str(record.line) if num_turns > 1 else "",
        constraints=own,
    )


def _with_tests(records: Sequence[Record], problems: Problems) -> list[Record]:
    """The records with those of a validation split as test examples where there are no others."""
    splits = {record.split for record in records}
    if "test" in splits or VALIDATION not in splits:
        return list(records)
    found = []
    for record in records:
        if record.split == VALIDATION:
            problems.notes[f"{record.file}: the validation split is tested, for there is no test split"] += 1
            record = replace(record, split="test")
        found.append(record)
    return found


def _categories(stated: Sequence[object], where: str) -> tuple[str, ...]:
    """The categories that records state, each once in order of appearance."""
    return tuple(dict.fromkeys(text for one in stated for text in texts_of(one, f"{where}: 'categories'")))


def _seed(name: str, records: Sequence[Record]) -> str:
    """The instruction that the records' `wording_of` names, else the first.

    Raises DataError where it names several, or one that no record of the task has.
    """
    declared = [record for record in records if "wording_of" in record.fields]
    if not declared:
        return str(records[0].fields["instruction"])
    seed: str = _single(records, "wording_of")
    texts = {record.fields["instruction"] for record in records}
    if seed not in texts:
        near = nearest(seed, texts)
        hint = f"did you mean {near[:60]!r}?" if near else "copy it exactly, case and spaces included"
        raise DataError(
            f"{declared[0].where}: task '{name}': 'wording_of' is {seed[:60]!r}, the instruction of no "
            f"example of the task; {hint}"
        )
    return seed


def _instructions(
    name: str, records: Sequence[Record], seed: str, annotations: Annotations, problems: Problems
) -> dict[str, Instruction]:
    """The task's instructions by their text, the seed first, then in order of appearance.

    Those that records declare as wordings of the seed are GIVEN; any other is OWN, of its records alone.
    """
    groups: dict[str, list[Record]] = {seed: []}
    for record in records:
        groups.setdefault(record.fields["instruction"], []).append(record)
    found: dict[str, Instruction] = {}
    own = annotations.own_key_parts(name)
    if strangers := own.keys() - groups.keys():
        log.warning(
            "%s: task '%s': %d entries under 'own' are of no instruction in the data (%r, ...); passed over",
            annotations.key_parts_path,
            name,
            len(strangers),
            min(strangers)[:40],
        )
    for text, members in groups.items():
        stated = _single(members, "key_parts")
        spans = annotations.spans(name, text) if text == seed else annotations.own_spans(name, text, own)
        if stated is not None:
            beside, spans = spans, locate(text, stated, f"{members[0].where}: task '{name}'")
            if beside and beside != spans:
                _note_precedence("key_parts", annotations.key_parts_path, members, problems)
        given = any("wording_of" in record.fields for record in members)
        found[text] = Instruction(text, spans, "seed" if text == seed else GIVEN if given else OWN)
    return found


def _apart(records: Sequence[Record], key: str) -> list[Record]:
    """The first record that states a value for `key` and the first with another: all that `_single` needs."""
    stated = (record for record in records if key in record.fields)
    found = list(islice(stated, 1))
    others = (record for record in stated if record.fields[key] != found[0].fields[key])
    return [*found, *islice(others, 1)]


def _single(records: Sequence[Record], key: str) -> Any:
    """The one value that the records state for `key`, as their file has it, or None.

    Raises DataError where they differ.
    """
    stated = [record for record in records if key in record.fields]
    for record in stated[1:]:
        if record.fields[key] != stated[0].fields[key]:
            raise DataError(
                f"{record.where}: '{key}' differs from the one at {stated[0].where}, of the same task; "
                "state it once, or the same everywhere"
            )
    return stated[0].fields[key] if stated else None
