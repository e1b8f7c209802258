"""Parquet files, through pyarrow."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kpig.errors import DataError
from kpig.tasks.problems import Problems
from kpig.tasks.readers.reading import RawRow

ROWS_AT_ONCE = 1000
FEATURES_KEY = b"huggingface"
"""Where `datasets` writes what its columns mean, among the file's own notes."""

NO_LABEL = -1
"""The number of a class that data of `datasets` have where the class is not known."""


def rows(path: Path, source: str, problems: Problems) -> Iterator[RawRow]:
    """The rows, numbered from 1. Class numbers become names where `datasets` wrote these into the file.

    Raises DataError without pyarrow, and for a file that is none of Parquet's or is damaged.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path}: Parquet needs the package 'pyarrow'; pip install 'kpig[datasets]'"
        ) from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            features, kinds = _features(schema.metadata or {}), narrow(schema)
            if twice := [name for name, count in Counter(schema.names).items() if count > 1]:
                raise DataError(f"{path}: has the column {twice[0]!r} several times; rename all but one")
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for fields in batch.to_pylist():
                    number += 1
                    with problems.rows.collected():
                        found = named(as_written(fields, kinds), features)
                        yield RawRow(f"{path}: row {number}", str(path), source, found)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a whole Parquet file ({str(error)[:200]}); write it again") from error
    except (OverflowError, ValueError) as error:
        raise DataError(
            f"{path}: after row {number} stands a value that cannot be read ({str(error)[:200]}), such as a "
            "date after the year 9999; write its column as texts, or leave it out"
        ) from error


def narrow(schema: Any) -> dict[str, Any]:
    """The columns of a schema of pyarrow that hold numbers of 16 or 32 bits, with their types."""
    names = {"float", "halffloat"}
    return {one.name: one.type for one in schema if not names.isdisjoint(re.findall(r"\w+", str(one.type)))}


def as_written(fields: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with numbers of 16 and 32 bits as they were meant: 0.1, and not 0.10000000149011612.

    `kinds` are those of `narrow`. Of all numbers that such a one may stand for it is the shortest.
    """
    return {key: _shortest(value, kinds[key]) if key in kinds else value for key, value in fields.items()}


def _shortest(value: Any, kind: Any) -> Any:
    import numpy
    from pyarrow import types

    if isinstance(value, float) and types.is_float32(kind):
        return float(str(numpy.float32(value)))
    if isinstance(value, float) and types.is_float16(kind):
        return float(str(numpy.float16(value)))
    if isinstance(value, list) and (types.is_list(kind) or types.is_large_list(kind)):
        return [_shortest(one, kind.value_type) for one in value]
    if isinstance(value, dict) and types.is_struct(kind):
        return {key: _shortest(one, kind.field(key).type) for key, one in value.items()}
    return value


def named(fields: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with the names of their classes in place of numbers, inside lists and objects too.

    `features` are those of `datasets`, as it notes them. A number without a name stays. NO_LABEL is null, as
    it is where a test split is published without its answers.
    """
    return {key: _named(value, features.get(key)) for key, value in fields.items()}


def _named(value: Any, feature: Any) -> Any:
    """A value with the names of its classes; the value itself where its feature is none that is known.

    A list is noted as [feature] or, as the class List or Sequence, with its feature under "feature". A
    Sequence of an object is stored as an object of lists.
    """
    if isinstance(feature, list) and len(feature) == 1:
        feature = {"feature": feature[0], "_type": "List"}
    if not isinstance(feature, Mapping):
        return value
    if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        if isinstance(value, list):
            return [_named(one, feature) for one in value]
        return _name(value, feature["names"]) if type(value) is int else value
    if "feature" in feature and isinstance(feature.get("_type"), str):
        inner = feature["feature"]
        return [_named(one, inner) for one in value] if isinstance(value, list) else _named(value, inner)
    if isinstance(value, dict):
        return {key: _named(one, feature.get(key)) for key, one in value.items()}
    return value


def _name(number: int, names: Sequence[str]) -> str | int | None:
    if number == NO_LABEL:
        return None
    return names[number] if 0 <= number < len(names) else number


def _features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    """What `datasets` notes of the columns; nothing where it did not."""
    try:
        found = json.loads(metadata.get(FEATURES_KEY, b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
