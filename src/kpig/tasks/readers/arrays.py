"""A JSON file that is one list of objects, as Alpaca and ShareGPT data often are."""

from collections.abc import Iterator
from pathlib import Path

from kpig.errors import DataError
from kpig.tasks.problems import Problems
from kpig.tasks.readers.files import parse_json, read_text, typed
from kpig.tasks.readers.reading import RawRow


def rows(path: Path, source: str, problems: Problems) -> Iterator[RawRow]:
    """The objects of the list, numbered from 1. Raises DataError where the file holds something else."""
    value = parse_json(read_text(path), str(path))
    if not isinstance(value, list):
        raise DataError(
            f"{path}: holds a JSON value of type {type(value).__name__}; expected a list of objects, "
            'or [stream] kind = "jsonl" for an object per line, "superni" for a task file'
        )
    for number, entry in enumerate(value, start=1):
        with problems.rows.collected():
            where = f"{path}: row {number}"
            fields = typed(entry, dict, where, "an object with the columns of one example")
            yield RawRow(where, str(path), source, fields)
