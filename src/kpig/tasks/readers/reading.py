"""How rows are read: what a config chooses, a row as its file has it, an example as a row states it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kpig.records import Message
from kpig.tasks.readers.renewal import Renewal

TRAIN_ON = ("last", "all")


@dataclass(frozen=True)
class Reading:
    """The choices of a config's [stream] that concern rows.

    `columns` maps what kpig calls a field to what the file calls it. `train_on` "all" makes an example of
    every assistant turn of a conversation, "last" of the last one. `unanswered`: rows may only ask.
    `borrowed`: this is how other data are read, so that columns may be absent here. Tasks that are not
    `learned` are only asked: rows of theirs without a split are all tested. `renewal`: key parts are to be
    found anew.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    train_on: str = "last"
    unanswered: bool = False
    borrowed: bool = False
    learned: bool = True
    renewal: Renewal | None = None

    @property
    def instructs_by_system(self) -> bool:
        """Whether the system prompt of a conversation is its instruction."""
        return self.columns.get("instruction") == "system"


@dataclass(frozen=True)
class RawRow:
    """One row as its file has it: `source` names the task where the row states none, `where` is for messages.

    `split` is that of the file or table, where it has one. `holds_texts`: its file knows no other values.
    """

    where: str
    file: str
    source: str
    fields: Mapping[str, Any]
    split: str | None = None
    holds_texts: bool = False


@dataclass(frozen=True)
class Stated:
    """One example of a row: its fields by kpig's names, what was said before, and the number of its turn."""

    fields: Mapping[str, Any]
    context: tuple[Message, ...] = ()
    as_system: bool = False
    turn: int = 1
