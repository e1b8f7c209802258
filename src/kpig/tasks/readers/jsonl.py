"""JSONL: one JSON object per line."""

from collections.abc import Iterator
from pathlib import Path

from kpig.tasks.drafts import Problems
from kpig.tasks.readers.files import parse_object, read_text
from kpig.tasks.readers.reading import RawRow


def rows(path: Path, source: str, problems: Problems) -> Iterator[RawRow]:
    """The objects of the lines, with the number of each; empty lines are passed over."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            with problems.rows.collected():
                fields = parse_object(line, str(path), first_line=number)
                yield RawRow(f"{path}: line {number}", str(path), source, fields)
