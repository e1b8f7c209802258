"""Hugging Face datasets on disk, as `save_to_disk` wrote them: one table, or several named splits."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kpig.errors import DataError
from kpig.tasks.problems import Problems
from kpig.tasks.readers.parquet import as_written, named, narrow
from kpig.tasks.readers.reading import RawRow
from kpig.tasks.readers.splits import SPLIT_NAMES, split_of


def rows(path: Path, source: str, problems: Problems) -> Iterator[RawRow]:
    """The rows of every split that is known; splits of other names are noted. Class numbers become names.

    Raises DataError without the package, for a folder that it cannot read, and where no split is known.
    """
    for split, table in _tables(path, problems):
        features, kinds = table.features.to_dict(), narrow(table.features.arrow_schema)
        for number, fields in enumerate(table, start=1):
            where = f"{path}: {split + ' ' if split else ''}row {number}"
            yield RawRow(where, str(path), source, named(as_written(fields, kinds), features), split)


def _tables(path: Path, problems: Problems) -> Sequence[tuple[str | None, Any]]:
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{path}: the package 'datasets' is needed; pip install 'kpig[datasets]'") from error
    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a dataset that datasets.load_from_disk can read ({error})") from error
    return (
        _known(dict(loaded), path, problems) if isinstance(loaded, datasets.DatasetDict) else [(None, loaded)]
    )


def _known(tables: Mapping[str, Any], path: Path, problems: Problems) -> list[tuple[str | None, Any]]:
    known: list[tuple[str | None, Any]] = [
        (split, table) for split, table in tables.items() if split_of(split)
    ]
    if not known:
        raise DataError(
            f"{path}: has the splits {', '.join(tables)}; expected one or more of {', '.join(SPLIT_NAMES)}"
        )
    for split, table in tables.items():
        if not split_of(split):
            problems.notes[f"{path}: the split '{split}' is not read"] += len(table)
    return known
