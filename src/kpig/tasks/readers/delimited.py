"""CSV and TSV: a line of column names, then one example in each record."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from kpig.errors import DataError
from kpig.tasks.problems import Problems
from kpig.tasks.readers.files import read_records
from kpig.tasks.readers.reading import RawRow

DELIMITERS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}
REMEDIES = {",": "name it .csv", "\t": "name it .tsv"} | dict.fromkeys(";|", "save it with commas, as .csv")
"""What to do where a table turns out to be parted by another sign than its name says."""

MOST_CELL_CHARACTERS = 2**27
"""Of one cell: a bound on memory. The library's own is 131,072, which a long document passes."""


def comma_rows(path: Path, source: str, problems: Problems) -> Iterator[RawRow]:
    """The records of a CSV file; see `rows`."""
    return rows(path, source, problems, ",")


def tab_rows(path: Path, source: str, problems: Problems) -> Iterator[RawRow]:
    """The records of a TSV file; see `rows`."""
    return rows(path, source, problems, "\t")


def rows(path: Path, source: str, problems: Problems, delimiter: str) -> Iterator[RawRow]:
    """The records by column name, each with the line on which it ends; empty ones as empty text.

    Where the line of names has semicolons and no `delimiter`, they part the cells, which is noted: so
    spreadsheets write a table where the comma is the decimal sign.
    Raises DataError for a file without a usable line of names, and for quotes that never close.
    """
    csv.field_size_limit(MOST_CELL_CHARACTERS)
    lines = read_records(path)
    beginning = _beginning(lines, path)
    is_other = _has_semicolons(beginning, delimiter)
    delimiter = ";" if is_other else delimiter
    reader = csv.reader(chain(beginning, lines), delimiter=delimiter, strict=True)
    records = _records(reader, path)
    names = _names(next(records, []), path, delimiter)
    for cells in records:
        if any(cells):
            where = f"{path}: line {reader.line_num}"
            if is_other:
                problems.note(f"{path}: its first line has semicolons alone, so they part its cells", where)
            with problems.rows.collected():
                yield _row(names, cells, where, str(path), source)


def _beginning(lines: Iterator[str], path: Path) -> list[str]:
    """The lines as far as the first that is not blank; DataError where that looks like JSON."""
    found = []
    for line in lines:
        found.append(line)
        if text := line.lstrip():
            if text.startswith(("{", "[{")):
                raise DataError(
                    f"{path}: line 1: looks like JSON; name it .jsonl, or .json where it is one list"
                )
            break
    return found


def _has_semicolons(beginning: Sequence[str], delimiter: str) -> bool:
    names = beginning[-1] if beginning else ""
    return ";" in names and delimiter not in names


def _records(reader: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(
            f"{path}: line {reader.line_num}: {error}; close every quote, and double those inside a cell"
        ) from error


def _row(names: Sequence[str], cells: Sequence[str], where: str, file: str, source: str) -> RawRow:
    if len(cells) != len(names):
        raise DataError(
            f"{where}: has {len(cells)} cells, but the first line names {len(names)} columns; quote cells "
            "that hold the separator"
        )
    return RawRow(where, file, source, dict(zip(names, cells, strict=True)), holds_texts=True)


def _names(names: Sequence[str], path: Path, delimiter: str) -> list[str]:
    found = [name.strip() for name in names]
    line = found[0] if len(found) == 1 else ""
    other = next((sign for sign in DELIMITERS if sign != delimiter and sign in line), None)
    if other or not found:
        hint = f"; it looks separated by {DELIMITERS[other]}: {REMEDIES[other]}" if other else ""
        raise DataError(
            f"{path}: line 1: expected the names of the columns, separated by {DELIMITERS[delimiter]}, and "
            f"found {line[:60]!r}{hint}"
        )
    twice = [name for name, count in Counter(found).items() if count > 1]
    if twice:
        raise DataError(f"{path}: line 1: the column {twice[0]!r} is named twice; names must differ")
    return found
