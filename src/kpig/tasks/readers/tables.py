"""Files of rows to tasks: which are read, and what of them is an example."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kpig.errors import DataError, nearest, some
from kpig.tasks.drafts import Draft
from kpig.tasks.problems import Problems
from kpig.tasks.readers import arrays, delimited, jsonl, parquet, saved
from kpig.tasks.readers.annotations import Annotations, read_annotations
from kpig.tasks.readers.files import name_of
from kpig.tasks.readers.formats import examples_of
from kpig.tasks.readers.grouping import by_name, record_draft
from kpig.tasks.readers.reading import RawRow, Reading
from kpig.tasks.readers.record import Record, checked_record
from kpig.tasks.readers.splits import misread, missing_shards, split_files, stem_of

Rows = Callable[[Path, str, Problems], Iterator[RawRow]]

ENDINGS: Mapping[str, tuple[tuple[str, ...], Rows]] = {
    "jsonl": ((".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"), jsonl.rows),
    "json": ((".json", ".json.gz"), arrays.rows),
    "csv": ((".csv", ".csv.gz"), delimited.comma_rows),
    "tsv": ((".tsv", ".tsv.gz"), delimited.tab_rows),
    "parquet": ((".parquet",), parquet.rows),
}
"""How files of rows are named, by kind, and what reads them."""


def read_files(files: Mapping[Path, Rows], path: Path, reading: Reading, problems: Problems) -> list[Draft]:
    """The tasks in files of rows, each with what reads it; `path` is the file, or the folder of them all.

    Raises DataError where there is no example.
    """
    names = [name_of(file) for file in files]
    if path.is_dir():
        _refuse_missing_shards(path, names, problems)
        _refuse_same_names(path, files, problems)
    splits, words = split_files(names), misread(names)
    rows = (
        row
        for file, rows_of in files.items()
        for row in _told_apart(
            file,
            _guarded(_rows_of_file(file, rows_of, path, splits, problems), problems),
            words.get(name_of(file)),
            reading,
            problems,
        )
    )
    return _drafts(rows, path, path if path.is_dir() else path.parent, reading, problems)


def _refuse_missing_shards(path: Path, names: Sequence[str], problems: Problems) -> None:
    """Collect a problem where shards of a data set are there without the others."""
    if absent := missing_shards(names):
        problems.add(f"{path}: shards are missing ({some(absent)}); add them, or name the files otherwise")


def _refuse_same_names(path: Path, files: Iterable[Path], problems: Problems) -> None:
    """Collect a problem for each name that several files have: they would be one task, some rows twice."""
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(name_of(file), []).append(file.name)
    for same in found.values():
        if len(same) > 1:
            problems.add(
                f"{path}: {' and '.join(same)} have the same name, which is that of a task; rename all but "
                "one, or remove what is there twice"
            )


def _told_apart(
    file: Path, rows: Iterator[RawRow], word: str | None, reading: Reading, problems: Problems
) -> Iterator[RawRow]:
    """The rows of a file whose name says a split (`word`) that is not read; see `misread`.

    Where rows state no split of their own and are learned it is noted. A split of another's is a problem.
    """
    is_refused = False
    for row in rows:
        if word is not None and not {"split", reading.columns.get("split", "split")} & row.fields.keys():
            if word and reading.learned:
                problems.notes[
                    f"{file}: its name says '{word}', but its rows state no 'split', so most of them are "
                    "trained on; state it there, if they are not to be"
                ] += 1
            elif not word and not is_refused:
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
    split = splits.get(name_of(file))
    if split is None:
        return rows_of(file, stem_of(name_of(file)) if path.is_dir() else name_of(file), problems)
    return (replace(row, split=split) for row in rows_of(file, path.name, problems))


def read_hf(path: Path, reading: Reading, problems: Problems) -> list[Draft]:
    """Read what `datasets.Dataset.save_to_disk` or `datasets.DatasetDict.save_to_disk` wrote."""
    return _drafts(saved.rows(path, path.name, problems), path, path.parent, reading, problems)


def _guarded(rows: Iterator[RawRow], problems: Problems) -> Iterator[RawRow]:
    """The rows of a file as far as it can be read, so that the next file is read too."""
    with problems.collected():
        yield from rows


def _drafts(
    rows: Iterable[RawRow], path: Path, folder: Path, reading: Reading, problems: Problems
) -> list[Draft]:
    """One draft for each task name, in order of appearance."""
    records: list[Record] = []
    columns: set[str] = set()
    for number, row in enumerate(rows):
        columns |= row.fields.keys()
        with problems.rows.collected():
            records += [
                checked_record(row, stated, number, problems)
                for stated in examples_of(row, reading, problems)
            ]
    if not reading.borrowed:
        _check_columns(reading, columns, path, problems)
    if not records and not problems.found:
        problems.rows.check()
        raise DataError(f"{path}: has no examples; expected at least one")
    annotations = Annotations() if reading.unanswered else read_annotations(folder, problems, reading.renewal)
    drafts = []
    groups = by_name(records, problems, splits=not reading.unanswered)
    if path.is_dir() and folder == path:
        annotations.refuse_strangers(groups, problems)
    del records  # each task's are let go of when its draft is made
    for name in list(groups):
        with problems.collected():
            drafts.append(record_draft(name, groups.pop(name), annotations, problems))
    return drafts


def _check_columns(reading: Reading, columns: set[str], path: Path, problems: Problems) -> None:
    """Collect a problem for each column of the config that no row has."""
    for name, column in reading.columns.items():
        is_message = column == "system" and name == "instruction"
        if columns and column not in columns and not is_message:
            near = nearest(column, columns)
            hint = f"did you mean '{near}'?" if near else f"there are {', '.join(sorted(map(repr, columns)))}"
            problems.add(f"{path}: no row has the column '{column}' of [stream.columns] {name}; {hint}")
