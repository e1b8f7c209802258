"""One example of a row, as it is before its task is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kpig.errors import DataError
from kpig.records import Message
from kpig.tasks.names import check_name
from kpig.tasks.problems import Problems
from kpig.tasks.readers.reading import RawRow, Stated
from kpig.tasks.readers.splits import SPLIT_NAMES, split_of
from kpig.tasks.readers.values import noted_text, text_of

MOST_STEP_DIGITS = 18
"""Of the number of a step that is written as a text. Chosen: a longer one is a slip."""


@dataclass(frozen=True, slots=True)
class Record:
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


def checked_record(row: RawRow, stated: Stated, line: int, problems: Problems) -> Record:
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
    return Record(
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


def seed_of(record: Record) -> str:
    """The instruction that the record's is a wording of: as it states, else its own."""
    return str(record.fields.get("wording_of", record.fields["instruction"]))


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
