"""Rows of examples, one record each, to tasks: by name, under the instruction that each came with."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from kpig.errors import DataError, nearest, some
from kpig.records import Constraint, Instruction, Message
from kpig.tasks.drafts import OWN, VALIDATION, Draft, Row
from kpig.tasks.key_parts import locate
from kpig.tasks.names import check_name
from kpig.tasks.problems import Problems
from kpig.tasks.readers import arrays, delimited, jsonl, parquet, saved
from kpig.tasks.readers.annotations import Annotations, parse_constraints, read_annotations
from kpig.tasks.readers.formats import examples_of
from kpig.tasks.readers.reading import RawRow, Reading, Stated
from kpig.tasks.readers.splits import SPLIT_NAMES, misread, missing_shards, split_files, split_of
from kpig.tasks.readers.values import checked_metric, kept_rows, noted_text, read_row, text_of, texts_of

log = logging.getLogger(__name__)
Rows = Callable[[Path, str, Problems], Iterator[RawRow]]

ENDINGS: Mapping[str, tuple[tuple[str, ...], Rows]] = {
    "jsonl": ((".jsonl", ".jsonl.gz", ".ndjson"), jsonl.rows),
    "json": ((".json", ".json.gz"), arrays.rows),
    "csv": ((".csv", ".csv.gz"), delimited.comma_rows),
    "tsv": ((".tsv", ".tsv.gz"), delimited.tab_rows),
    "parquet": ((".parquet",), parquet.rows),
}
"""How files of rows are named, by kind, and what reads them."""

ROWS_PER_INSTRUCTION = 2
"""Rows that an instruction has on average, from which on a file without task names is a task for each
instruction. [D] With fewer most of them could not be both trained and tested; such a file is one task."""

MOST_STEP_DIGITS = 18
"""Of the number of a step that is written as a text. Chosen: a longer one is a slip."""


@dataclass(frozen=True, slots=True)
class _Record:
    """One example of a row; `source` names the task where it states none, `line` the row itself.

    `place` is where in its file it stands: the file's name is kept once for all.
    """

    place: str
    file: str
    source: str
    split: str | None
    fields: Mapping[str, Any]
    context: tuple[Message, ...]
    as_system: bool
    turn: int
    line: int

    @property
    def where(self) -> str:
        """File and place, for messages."""
        return f"{self.file}{self.place}"


def read_files(files: Mapping[Path, Rows], path: Path, reading: Reading, problems: Problems) -> list[Draft]:
    """The tasks in files of rows, each with what reads it; `path` is the file, or the folder of them all.

    Raises DataError where there is no example.
    """
    names = [source_of(file) for file in files]
    if path.is_dir():
        _refuse_missing_shards(path, names, problems)
    splits, words = split_files(names), misread(names)
    rows = (
        row
        for file, rows_of in files.items()
        for row in _told_apart(
            file,
            _guarded(_rows_of_file(file, rows_of, path, splits, problems), problems),
            words.get(source_of(file)),
            reading,
            problems,
        )
    )
    return _drafts(rows, path, path if path.is_dir() else path.parent, reading, problems)


def _refuse_missing_shards(path: Path, names: Sequence[str], problems: Problems) -> None:
    """Collect a problem where shards of a data set are there without the others."""
    if absent := missing_shards(names):
        problems.add(f"{path}: shards are missing ({some(absent)}); add them, or name the files otherwise")


def _told_apart(
    file: Path, rows: Iterator[RawRow], word: str | None, reading: Reading, problems: Problems
) -> Iterator[RawRow]:
    """The rows of a file whose name says a split (`word`) that is not read; see `misread`.

    It is noted where rows state no split of their own, and a problem where the file is a split of another's.
    """
    is_refused = False
    for row in rows:
        if word is not None and not {"split", reading.columns.get("split", "split")} & row.fields.keys():
            if word:
                problems.notes[
                    f"{file}: its name says '{word}', and it is read as a task of its own; where it is to be "
                    "tested only, state 'split' in its rows"
                ] += 1
            elif not is_refused:
                is_refused = True
                problems.add(
                    f"{file}: is named as the test or validation split of a file beside it, and would be "
                    "trained on as a task of its own: other files are there, so that names are no splits; "
                    "give each data set a folder, or state 'split' and 'task' in the rows"
                )
        yield row


def _rows_of_file(
    file: Path, rows_of: Rows, path: Path, splits: Mapping[str, str], problems: Problems
) -> Iterator[RawRow]:
    """The rows of a file; one that is named after its split belongs to a task named after the folder."""
    split = splits.get(source_of(file))
    if split is None:
        return rows_of(file, source_of(file), problems)
    return (replace(row, split=split) for row in rows_of(file, path.name, problems))


def read_hf(path: Path, reading: Reading, problems: Problems) -> list[Draft]:
    """Read what `datasets.Dataset.save_to_disk` or `datasets.DatasetDict.save_to_disk` wrote."""
    return _drafts(saved.rows(path, path.name, problems), path, path.parent, reading, problems)


def _guarded(rows: Iterator[RawRow], problems: Problems) -> Iterator[RawRow]:
    """The rows of a file as far as it can be read, so that the next file is read too."""
    with problems.collected():
        yield from rows


def source_of(file: Path) -> str:
    """The file's name without what tells its kind."""
    name = file.name.removesuffix(".gz")
    return name.removesuffix(Path(name).suffix)


def _drafts(
    rows: Iterable[RawRow], path: Path, folder: Path, reading: Reading, problems: Problems
) -> list[Draft]:
    """One draft for each task name, in order of appearance."""
    records: list[_Record] = []
    columns: set[str] = set()
    for number, row in enumerate(rows):
        columns |= row.fields.keys()
        with problems.rows.collected():
            records += [
                _checked_record(row, stated, number, problems)
                for stated in examples_of(row, reading, problems)
            ]
    _check_columns(reading, columns, path, problems)
    if not records and not problems.found:
        problems.rows.check()
        raise DataError(f"{path}: has no examples; expected at least one")
    annotations = read_annotations(folder, problems)
    drafts = []
    groups = _by_name(records, problems)
    if path.is_dir() and folder == path:
        annotations.refuse_strangers(groups, problems)
    del records  # each task's are let go of when its draft is made
    for name in list(groups):
        with problems.collected():
            drafts.append(_record_draft(name, groups.pop(name), annotations, problems))
    return drafts


def _check_columns(reading: Reading, columns: set[str], path: Path, problems: Problems) -> None:
    """Collect a problem for each column of the config that no row has."""
    for name, column in reading.columns.items():
        is_message = column == "system" and name == "instruction"
        if columns and column not in columns and not is_message:
            near = nearest(column, columns)
            hint = f"did you mean '{near}'?" if near else f"there are {', '.join(sorted(map(repr, columns)))}"
            problems.add(f"{path}: no row has the column '{column}' of [stream.columns] {name}; {hint}")


def _checked_record(row: RawRow, stated: Stated, line: int, problems: Problems) -> _Record:
    """The record of one example. Raises DataError for a wrong type, or without an instruction."""
    where, fields = row.where, dict(stated.fields)
    for name in ("instruction", "wording_of"):
        if name in fields:
            fields[name] = noted_text(fields[name], f"{where}: '{name}'", row.file, name, problems)
    if not fields.get("instruction", "").strip():
        raise DataError(f"{where}: has no instruction; expected a text under 'instruction'")
    if "task" in fields:
        fields["task"] = check_name(text_of(fields["task"], f"{where}: 'task'"), f"{where}: 'task'")
    split = _split(fields.pop("split", row.split), where)
    if "step" in fields:
        fields["step"] = _whole(fields["step"], where)
    return _Record(
        where.removeprefix(row.file),
        row.file,
        row.source,
        split,
        fields,
        stated.context,
        stated.as_system,
        stated.turn,
        line,
    )


def _split(value: object, where: str) -> str | None:
    if value is None:
        return None
    split = split_of(value) if isinstance(value, str) else None
    if split is None:
        raise DataError(
            f"{where}: split is {value!r}; expected 'train' or 'test' (or {', '.join(list(SPLIT_NAMES)[1:])})"
        )
    return split


def _whole(value: object, where: str) -> int:
    """The number of a step, which a table of texts holds as text."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) <= MOST_STEP_DIGITS:
        return int(value)
    if type(value) is not int:
        raise DataError(f"{where}: step is {value!r:.80}; expected a whole number")
    return value


def _by_name(records: Sequence[_Record], problems: Problems) -> dict[str, list[_Record]]:
    """The records by task: as they state it, else by file, or by instruction where these repeat."""
    wordings: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    for record in records:
        if "task" not in record.fields:
            wordings.setdefault(record.source, set()).add(_seed_of(record))
            sizes[record.source] = sizes.get(record.source, 0) + 1
    groups: dict[str, list[_Record]] = {}
    for record in records:
        name, source = record.fields.get("task", record.source), record.source
        if "task" not in record.fields and 1 < len(wordings[source]) <= sizes[source] / ROWS_PER_INSTRUCTION:
            name += "-" + hashlib.sha256(_seed_of(record).encode()).hexdigest()[:8]
        groups.setdefault(name, []).append(record)
    for name in list(groups):
        with problems.collected():
            check_name(name, f"{groups[name][0].where}: the name of the file")
    return groups


def _seed_of(record: _Record) -> str:
    """The instruction that the record's is a wording of: as it states, else its own."""
    return str(record.fields.get("wording_of", record.fields["instruction"]))


def _record_draft(name: str, records: list[_Record], annotations: Annotations, problems: Problems) -> Draft:
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
        rows=kept_rows(rows, where, skipped),
        categories=_categories(categories, where),
        constraints=shared or demands,
        metric=checked_metric(_single(metrics, "metric"), where),
        step=_single(steps, "step"),
    )


def _turns(records: Sequence[_Record]) -> dict[int, int]:
    """How many examples a row of the file is, where it is several: its turns follow each other."""
    counts = ((line, sum(1 for _ in turns)) for line, turns in groupby(records, lambda one: one.line))
    return {line: count for line, count in counts if count > 1}


def _taken(records: list[_Record]) -> Iterator[_Record]:
    """The records in order; none is kept, for there may be a million, and rows are made of them."""
    records.reverse()
    while records:
        yield records.pop()


def _note_precedence(key: str, path: Path, records: Sequence[_Record], problems: Problems) -> None:
    """Note the rows that state what a file beside the tasks states otherwise."""
    problems.notes[f"{path}: rows state other '{key}' than this file; those of the rows hold"] += sum(
        key in record.fields for record in records
    )


def _id_of(record: _Record, name: str, number: int, num_turns: int) -> str:
    """The id that a record states, with the turn where its row is several examples; else its number."""
    if "id" not in record.fields:
        return f"{name}-{number}"
    stated = text_of(record.fields["id"], f"{record.where}: 'id'")
    return f"{stated}-{record.turn}" if num_turns > 1 else stated


def _shared_constraints(records: Sequence[_Record], where: str) -> tuple[Constraint, ...] | None:
    """The constraints that hold for the whole task; none stated: (). None where rows state different ones."""
    stated = [record.fields["constraints"] for record in records if "constraints" in record.fields]
    if any(one != stated[0] for one in stated):
        return None
    return parse_constraints(stated[0], where) if stated else ()


def _spoken(
    row: Row, record: _Record, instructions: Mapping[str, Instruction], num_turns: int, has_own: bool
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


def _with_tests(records: Sequence[_Record], problems: Problems) -> list[_Record]:
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


def _seed(name: str, records: Sequence[_Record]) -> str:
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
    name: str, records: Sequence[_Record], seed: str, annotations: Annotations, problems: Problems
) -> dict[str, Instruction]:
    """The task's instructions by their text, the seed first, then in order of appearance.

    Those that records declare as wordings of the seed are "given"; any other is OWN, of its records alone.
    """
    groups: dict[str, list[_Record]] = {seed: []}
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
        found[text] = Instruction(text, spans, "seed" if text == seed else "given" if given else OWN)
    return found


def _apart(records: Sequence[_Record], key: str) -> list[_Record]:
    """The first record that states a value for `key` and the first with another: all that `_single` needs."""
    stated = (record for record in records if key in record.fields)
    found = list(islice(stated, 1))
    others = (record for record in stated if record.fields[key] != found[0].fields[key])
    return [*found, *islice(others, 1)]


def _single(records: Sequence[_Record], key: str) -> Any:
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
