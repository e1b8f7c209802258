"""Parquet files, through pyarrow."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kpig.errors import DataError
from kpig.tasks.drafts import Problems
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
            labels = _labels(file.schema_arrow.metadata or {})
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for fields in batch.to_pylist():
                    number += 1
                    with problems.rows.collected():
                        yield RawRow(f"{path}: row {number}", str(path), source, named(fields, labels))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a whole Parquet file ({str(error)[:200]}); write it again") from error


def named(fields: Mapping[str, Any], labels: Mapping[str, list[str]]) -> dict[str, Any]:
    """The fields with the names of their classes in place of numbers; a number without a name stays.

    NO_LABEL is null, as it is where a test split is published without its answers.
    """
    return {
        key: _name(value, labels[key]) if key in labels and isinstance(value, int) else value
        for key, value in fields.items()
    }


def _name(number: int, names: Sequence[str]) -> str | int | None:
    if number == NO_LABEL:
        return None
    return names[number] if 0 <= number < len(names) else number


def _labels(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Names of the classes by column, as `datasets` notes them; none where it did not."""
    try:
        features = json.loads(metadata.get(FEATURES_KEY, b"{}"))["info"]["features"]
        return {key: list(one["names"]) for key, one in features.items() if one.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
