"""The columns of a row by kpig's names: as a config maps them, as other mixtures call them; unknown ones."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kpig.errors import DataError, nearest
from kpig.tasks.problems import Problems
from kpig.tasks.readers.files import loaded
from kpig.tasks.readers.reading import RawRow, Reading
from kpig.tasks.readers.values import noted_text

SHARED = ("wording_of", "task", "id", "key_parts", "constraints", "categories", "metric", "split", "step")
"""Fields that a row of any format may have."""

SPOKEN = ("system", "history", "context")
FIELDS = ("instruction", "input", "output", *SHARED)
CONTENTS = ("messages", "conversations", "prompt", "completion")
MAPPED = (*FIELDS, *SPOKEN, *CONTENTS)
"""What [stream.columns] may name a column for."""

OTHER_NAMES = {"definition": "instruction", "category": "categories"}
"""Names that other mixtures use for the fields above."""

WRITTEN_AS_JSON = ("messages", "conversations", "history", "key_parts", "constraints")
"""Lists, which a table of texts holds as JSON."""

KEPT_WHEN_NULL = ("output", "response", "completion")
"""A row without an answer is skipped and counted, where one without the column is refused."""

MAY_BE_EMPTY = ("instruction", "input", "output", "response", "prompt", "completion")
"""Of these an empty text is a value, which is refused where there must be one; of others it is none."""

CUTOFF = 0.85
"""How near an unknown column must be to the name of a field to be taken for a slip. Chosen."""


def by_field(row: RawRow, reading: Reading) -> dict[str, Any]:
    """The values of a row by field: columns that are mapped first, then those of known names, then others.

    Null is no value, and empty text is none where a field may be absent. Raises DataError for bad JSON.
    """
    raw = row.fields
    taken = {
        name: column
        for name, column in reading.columns.items()
        if column in raw and not (column == "system" and name == "instruction" and _is_spoken(raw, reading))
    }
    left = {key: value for key, value in raw.items() if key not in taken.values()}
    named = {
        key if OTHER_NAMES.get(key, key) in raw else OTHER_NAMES.get(key, key): value
        for key, value in left.items()
    }
    found = {**named, **{name: raw[column] for name, column in taken.items()}}
    return {
        key: _parsed(_without_nulls(value), key, row.where)
        for key, value in found.items()
        if not _is_absent(key, value)
    }


def _is_spoken(raw: Mapping[str, Any], reading: Reading) -> bool:
    """Whether the row holds a conversation, whose system prompt is a message."""
    keys = (reading.columns.get(name, name) for name in ("messages", "conversations"))
    return any(key in raw for key in keys) or isinstance(
        raw.get(reading.columns.get("prompt", "prompt")), list
    )


def _is_absent(key: str, value: object) -> bool:
    if value is None:
        return key not in KEPT_WHEN_NULL
    return value == "" and key not in MAY_BE_EMPTY


def _without_nulls(value: object) -> object:
    """Lists of mappings without the null entries that tables put where a key is absent."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [_without_nulls(item) for item in value]
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def _parsed(value: object, key: str, where: str) -> object:
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    if key in ("prompt", "completion"):
        return _conversation_or_text(value)
    if key not in WRITTEN_AS_JSON:
        return value
    try:
        return loaded(value)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: '{key}' is a text that is no JSON list ({error}); mend it") from error


def _conversation_or_text(text: str) -> object:
    """The messages where the text is a list of such in JSON, else the text itself: it may begin with "["."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    is_spoken = all(isinstance(one, dict) and {"role", "from"} & one.keys() for one in found)
    return found if found and is_spoken else text


def with_context(fields: dict[str, Any], row: RawRow, problems: Problems) -> dict[str, Any]:
    """The fields with a context, which is a text, in front of the input, a blank line between them."""
    if "context" not in fields:
        return fields
    context, given = fields["context"], fields.get("input", "")
    if isinstance(context, list | dict) or (isinstance(given, float) and math.isnan(given)):
        return fields
    texts = [
        noted_text(value, f"{row.where}: '{name}'", row.file, name, problems)
        for name, value in (("context", context), ("input", given))
    ]
    rest = {key: value for key, value in fields.items() if key != "context"}
    return {**rest, "input": "\n\n".join(filter(None, texts))}


def tell_unknown(fields: Mapping[str, Any], known: frozenset[str], row: RawRow, problems: Problems) -> None:
    """Count the columns that are not used. Raises DataError for a likely slip of a field's name."""
    for key in sorted(fields.keys() - known):
        near = _slip_of(key, known, frozenset(fields))
        if near:
            raise DataError(f"{row.where}: there is no field '{key}'; did you mean '{near}'?")
        problems.unused.setdefault(row.file, Counter())[key] += 1


def tell_hidden(row: RawRow, reading: Reading, problems: Problems) -> None:
    """Count the columns that have the name of a field for which [stream.columns] names another one."""
    used = {column for column in reading.columns.values() if column in row.fields}
    for name, column in reading.columns.items():
        if column in used and name in row.fields and name not in used:
            problems.unused.setdefault(row.file, Counter())[name] += 1


def tell_lists(fields: Mapping[str, Any], row: RawRow, problems: Problems) -> None:
    """Note an output in a table of texts that looks like several: it is one text, which JSON answers need."""
    for key in KEPT_WHEN_NULL:
        if row.holds_texts and _is_list_of_texts(fields.get(key)):
            problems.note(
                f"{row.file}: '{key}' holds lists of texts in JSON, which a table has no way to state; each "
                "is read as one text. Where they are several good answers, use JSON Lines",
                row.where,
            )


def _is_list_of_texts(value: object) -> bool:
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return False
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, list) and len(found) > 0 and all(isinstance(one, str) for one in found)


@lru_cache(maxsize=4096)
def _slip_of(key: str, known: frozenset[str], present: frozenset[str]) -> str | None:
    return nearest(key, (name for name in FIELDS if name in known and name not in present), cutoff=CUTOFF)
