"""JSONL: one JSON object per line."""

from collections.abc import Iterator
from pathlib import Path

from kpig.tasks.problems import Problems
from kpig.tasks.readers.files import parse_line, read_lines
from kpig.tasks.readers.reading import RawRow


def rows(path: Path, source: str, problems: Problems) -> Iterator[RawRow]:
    """The objects of the lines, with the number of each; empty lines are passed over."""
    for number, line in read_lines(path):
        with problems.rows.collected():
            yield RawRow(f"{path}: line {number}", str(path), source, parse_line(line, path, number))
