"""Read JSONL files and Hugging Face datasets on disk: one example per line or row."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kpig.errors import DataError, nearest
from kpig.records import Instruction
from kpig.tasks.drafts import OWN, SPLITS, Draft, Problems, Row, check_name, locate
from kpig.tasks.readers.files import (
    Annotations,
    checked_metric,
    kept_rows,
    parse_constraints,
    parse_line,
    read_annotations,
    read_lines,
    read_row,
    texts_of,
    typed,
)

FIELDS = (
    "instruction",
    "wording_of",
    "input",
    "output",
    "task",
    "id",
    "key_parts",
    "constraints",
    "categories",
    "metric",
    "split",
    "step",
)
OTHER_NAMES = {"definition": "instruction", "category": "categories"}
"""Names that other mixtures use for the fields above."""


@dataclass(frozen=True, slots=True)
class _Record:
    """One line of a JSONL file, or one row of a dataset; `source` names the task where it states none."""

    where: str
    source: str
    fields: Mapping[str, Any]


def read_jsonl(path: Path, problems: Problems) -> list[Draft]:
    """A JSONL file, or all of a folder; raises DataError where there is none or it is empty."""
    files = sorted([*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")]) if path.is_dir() else [path]
    if not files:
        raise DataError(
            f"{path}: no *.jsonl or *.jsonl.gz files; expected one example per line in at least one of them"
        )
    records: list[_Record] = []
    for file in files:
        with problems.collected():
            records += _jsonl_records(file, problems)
    return _record_drafts(records, path, path if path.is_dir() else path.parent, problems)


def _jsonl_records(path: Path, problems: Problems) -> list[_Record]:
    records = []
    name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    for number, line in read_lines(path):
        with problems.collected():
            fields = parse_line(line, path, number)
            records.append(_checked_record(f"{path}: line {number}", name, fields))
    return records


def read_hf(path: Path, problems: Problems) -> list[Draft]:
    """Read what `datasets.Dataset.save_to_disk` or `datasets.DatasetDict.save_to_disk` wrote."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{path}: the package 'datasets' is needed; pip install datasets") from error
    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a dataset that datasets.load_from_disk can read ({error})") from error
    tables: dict[str | None, Iterable[Mapping[str, Any]]] = (
        dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {None: loaded}
    )
    splits = [split for split in tables if split is not None]
    if set(splits) - set(SPLITS):
        raise DataError(f"{path}: has the splits {', '.join(splits)}; expected only train and test")
    records = []
    for split, table in tables.items():
        stated = {"split": split} if split else {}
        for number, row in enumerate(table, start=1):
            where = f"{path}: {split + ' ' if split else ''}row {number}"
            with problems.collected():
                records.append(_checked_record(where, path.name, {**row, **stated}))
    return _record_drafts(records, path, path.parent, problems)


def _checked_record(where: str, source: str, raw: Mapping[str, Any]) -> _Record:
    """The record without fields that are null, except `output`. Raises DataError for a wrong type."""
    fields = {
        key if OTHER_NAMES.get(key, key) in raw else OTHER_NAMES.get(key, key): _without_nulls(value)
        for key, value in raw.items()
        if value is not None or key == "output"
    }
    for key in fields.keys() - set(FIELDS):
        near = nearest(key, (name for name in FIELDS if name not in fields), cutoff=0.85)
        if near:
            raise DataError(f"{where}: there is no field '{key}'; did you mean '{near}'?")
    instruction = typed(fields.get("instruction", ""), str, f"{where}: 'instruction'", "a text")
    if not instruction.strip():
        raise DataError(f"{where}: has no instruction; expected a text under 'instruction'")
    typed(fields.get("wording_of", ""), str, f"{where}: 'wording_of'", "the text of an instruction")
    if "task" in fields:
        check_name(fields["task"], f"{where}: 'task'")
    if fields.get("split", "train") not in SPLITS:
        raise DataError(f"{where}: split is {fields['split']!r}; expected 'train' or 'test'")
    if type(fields.get("step", 1)) is not int:
        raise DataError(f"{where}: step is {fields['step']!r}; expected a whole number")
    return _Record(where, source, fields)


def _without_nulls(value: object) -> object:
    """Lists of mappings without the null entries that tables put where a key is absent."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [_without_nulls(item) for item in value]
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def _record_drafts(records: Sequence[_Record], path: Path, folder: Path, problems: Problems) -> list[Draft]:
    """One draft for each task name, in order of appearance."""
    if not records and not problems.found:
        raise DataError(f"{path}: has no examples; expected at least one")
    annotations = read_annotations(folder, problems)
    drafts = []
    groups = _by_name(records, problems)
    if path.is_dir() and folder == path:
        annotations.refuse_strangers(groups, problems)
    for name, members in groups.items():
        with problems.collected():
            drafts.append(_record_draft(name, members, annotations, problems))
    return drafts


def _by_name(records: Sequence[_Record], problems: Problems) -> dict[str, list[_Record]]:
    wordings: dict[str, set[str]] = {}
    for record in records:
        if "task" not in record.fields:
            wordings.setdefault(record.source, set()).add(_seed_of(record))
    groups: dict[str, list[_Record]] = {}
    for record in records:
        name = record.fields.get("task", record.source)
        if "task" not in record.fields and len(wordings[record.source]) > 1:
            name += "-" + hashlib.sha256(_seed_of(record).encode()).hexdigest()[:8]
        groups.setdefault(name, []).append(record)
    for name in list(groups):
        with problems.collected():
            check_name(name, f"{groups[name][0].where}: the name of the file")
    return groups


def _seed_of(record: _Record) -> str:
    """The instruction that the record's is a wording of: as it states, else its own."""
    return str(record.fields.get("wording_of", record.fields["instruction"]))


def _record_draft(
    name: str, records: Sequence[_Record], annotations: Annotations, problems: Problems
) -> Draft:
    where = f"{records[0].where}: task '{name}'"
    seed = _seed(name, records)
    instructions = _instructions(name, records, seed, annotations)
    rows: list[Row | None] = []
    for number, record in enumerate(records, start=1):
        with problems.collected():
            example_id = str(record.fields.get("id", f"{name}-{number}"))
            row = read_row(record.fields, example_id, record.fields.get("split"), record.where)
            rows.append(row and replace(row, instruction=instructions[record.fields["instruction"]]))
    stated = _single(records, "constraints")
    return Draft(
        name=name,
        where=records[0].where,
        instructions=tuple(one for one in instructions.values() if one.origin != OWN),
        rows=kept_rows(rows, where),
        categories=texts_of(_single(records, "categories") or [], f"{where}: 'categories'"),
        constraints=annotations.demands(name) if stated is None else parse_constraints(stated, where),
        metric=checked_metric(_single(records, "metric"), where),
        step=_single(records, "step"),
    )


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
    name: str, records: Sequence[_Record], seed: str, annotations: Annotations
) -> dict[str, Instruction]:
    """The task's instructions by their text, the seed first, then in order of appearance.

    Those that records declare as wordings of the seed are "given"; any other is OWN, of its records alone.
    """
    groups: dict[str, list[_Record]] = {seed: []}
    for record in records:
        groups.setdefault(record.fields["instruction"], []).append(record)
    found: dict[str, Instruction] = {}
    for text, members in groups.items():
        stated = _single(members, "key_parts")
        if stated is not None:
            spans = locate(text, stated, f"{members[0].where}: task '{name}'")
        else:
            spans = annotations.spans(name, text) if text == seed else ()
        given = any("wording_of" in record.fields for record in members)
        found[text] = Instruction(text, spans, "seed" if text == seed else "given" if given else OWN)
    return found


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
