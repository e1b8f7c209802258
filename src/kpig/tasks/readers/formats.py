"""What a row's columns mean: in which of the known formats it is, and its examples as that has them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpig.errors import DataError, nearest, some
from kpig.tasks.problems import Problems
from kpig.tasks.readers import alpaca, chat, completion, dolly, prompts
from kpig.tasks.readers.columns import (
    CONTENTS,
    FIELDS,
    SHARED,
    by_field,
    tell_hidden,
    tell_lists,
    tell_unknown,
    with_context,
)
from kpig.tasks.readers.reading import RawRow, Reading, Stated

Examples = Callable[[Mapping[str, Any], Reading, str], Sequence[Stated]]


@dataclass(frozen=True)
class Format:
    """A format of rows: the columns without which it is another one, all that it uses, how it is read."""

    name: str
    needs: tuple[str, ...]
    known: frozenset[str]
    examples: Examples


FORMATS = (
    Format(
        "JSONL of kpig's own, or Alpaca",
        ("instruction", "output"),
        frozenset((*FIELDS, "system", "history")),
        lambda row, reading, where: alpaca.examples(row, where),
    ),
    Format(
        "Dolly",
        ("instruction", "response"),
        frozenset((*FIELDS, "response", "system", "history")),
        lambda row, reading, where: dolly.examples(row, where),
    ),
    Format(
        "chat",
        ("messages",),
        frozenset((*SHARED, "messages", "system")),
        lambda row, reading, where: chat.examples(row, row["messages"], reading, where),
    ),
    Format(
        "ShareGPT",
        ("conversations",),
        frozenset((*SHARED, "conversations", "system")),
        lambda row, reading, where: chat.examples(row, row["conversations"], reading, where),
    ),
    Format(
        "prompt and completion",
        ("prompt", "completion"),
        frozenset((*SHARED, "prompt", "completion", "system")),
        completion.examples,
    ),
)
"""The first whose needs a row meets is its format."""


def examples_of(row: RawRow, reading: Reading, problems: Problems) -> Sequence[Stated]:
    """The examples of a row, in whichever format it is.

    Raises DataError for a row of no known format, naming the nearest, and for what its format refuses.
    """
    fields = by_field(row, reading)
    if reading.unanswered:
        fields = prompts.answered(fields)
    found = _format_of(fields, reading, row)
    known = found.known | ({"instruction"} & reading.columns.keys())
    if "input" in known:
        fields = with_context(fields, row, problems)
    tell_unknown(fields, known, row, problems)
    tell_hidden(row, reading, problems)
    for column in CONTENTS:
        for key in sorted(chat.unused_keys(fields.get(column))):
            problems.unused.setdefault(row.file, Counter())[f"{column}: {key}"] += 1
    tell_lists(fields, row, problems)
    return found.examples({key: value for key, value in fields.items() if key in known}, reading, row.where)


def _format_of(fields: Mapping[str, Any], reading: Reading, row: RawRow) -> Format:
    mapped_first = sorted(FORMATS, key=lambda one: reading.columns.keys().isdisjoint(one.needs))
    for one in mapped_first:
        if {*one.needs} <= fields.keys():
            return one
    raise DataError(f"{row.where}: {_unknown_format(fields, row)}")


def _unknown_format(fields: Mapping[str, Any], row: RawRow) -> str:
    """What the row has, and the format that it is nearest to."""
    has = f"has the columns {some(sorted(map(repr, row.fields)), 8)}" if row.fields else "has no columns"
    if "chosen" in fields and "rejected" in fields:
        return (
            f"{has}: it is preference data, from which kpig does not learn; to learn the chosen answers, set "
            '[stream.columns] completion = "chosen"'
        )
    closest = max(FORMATS, key=lambda one: _nearness(one, fields))
    absent = [name for name in closest.needs if name not in fields]
    near = {name: nearest(name, fields) for name in absent}
    meant = next((f'{name} = "{column}"' for name, column in near.items() if column), f'{absent[0]} = "..."')
    guess = next((f" (did you mean '{column}'?)" for column in near.values() if column), "")
    return (
        f"{has}; the nearest format is {closest.name}, which needs {' and '.join(map(repr, absent))} too"
        f"{guess}: rename the columns, or name them as in [stream.columns] {meant}"
    )


def _nearness(one: Format, fields: Mapping[str, Any]) -> float:
    """The share of the columns that a format needs which the row has; half for one of a similar name."""
    found = [1.0 if name in fields else 0.5 if nearest(name, fields) else 0.0 for name in one.needs]
    return sum(found) / len(found)
