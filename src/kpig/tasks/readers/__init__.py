"""Read task files into drafts, whatever their format."""

import gzip
import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from kpig.errors import ConfigError, DataError, some
from kpig.tasks.drafts import Draft
from kpig.tasks.problems import Problems
from kpig.tasks.readers.annotations import annotation_path
from kpig.tasks.readers.files import (
    CONSTRAINTS_FILE,
    KEY_PARTS_FILE,
    NO_TASK_FILES,
    STREAM_FILE,
    missing,
    name_of,
    require_at_rest,
    within,
)
from kpig.tasks.readers.reading import Reading
from kpig.tasks.readers.superni import read_superni, task_files
from kpig.tasks.readers.tables import ENDINGS, Rows, read_files, read_hf
from kpig.tasks.readers.variants import Wordings, read_wordings, reworded, wordings_beside

KINDS = ("auto", "superni", *ENDINGS, "hf")
JSON_KINDS = ("jsonl", "json")
DATA_SUFFIXES = frozenset(
    {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".xlsx", ".xls"}
)
"""Of the name of a file that looks like one of tasks."""

MOST_SNIFFED = 2**20
"""Bytes of a line that are looked at to tell the kind of a file."""

RUN_FILES = ("config.toml", "environment.json", STREAM_FILE)
"""Files that a folder has together where it is a run: `kpig.runs.folder` writes these first."""

log = logging.getLogger(__name__)

__all__ = ["KINDS", "Reading", "annotation_paths", "detect", "read", "read_wordings"]


def annotation_paths(path: Path) -> tuple[Path, Path]:
    """The files of key parts and of constraints that are read with the tasks at `path`."""
    folder = _folder(path, detect(path))
    return annotation_path(folder, KEY_PARTS_FILE), annotation_path(folder, CONSTRAINTS_FILE)


def _folder(path: Path, kind: str) -> Path:
    """Where the files beside the tasks lie: in their folder, but not inside a dataset."""
    return path if path.is_dir() and kind != "hf" else path.parent


def read(
    path: Path,
    kind: str,
    problems: Problems,
    wordings: Wordings | None = None,
    reading: Reading | None = None,
) -> list[Draft]:
    """The tasks at `path`, in the order stated there, else by name (`kind` is one of KINDS).

    They get the variants of `wordings`, without it those of a variants.json beside the tasks.
    Problems inside the files are collected in `problems`, and what has one is left out of the result.
    Raises DataError where nothing at `path` can be read at all, ConfigError for an unknown kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"'{kind}' is not a kind of task data; expected one of {', '.join(KINDS)}")
    if not path.exists():
        raise missing(path)
    require_at_rest(path)
    found, reading = detect(path) if kind == "auto" else kind, reading or Reading()
    if found == "superni":
        drafts = read_superni(path, problems, reading.renewal)
        if reading.columns and not reading.borrowed:
            log.warning(
                "%s: [stream.columns] is for files of rows; these are task files, it has no effect", path
            )
    elif found == "hf":
        drafts = read_hf(path, reading, problems)
    else:
        files = _files(path, kind)
        if path.is_dir():
            _tell_unread(path, files)
        drafts = read_files(files, path, reading, problems)
    if wordings is None:
        wordings = wordings_beside(_folder(path, found), problems)
        if path.is_dir() and not problems.found:
            wordings.refuse_strangers(_names(drafts, path), problems)
    return reworded(drafts, wordings, problems)


def _names(drafts: list[Draft], path: Path) -> set[str]:
    """The tasks of a folder, with those that its stream file leaves out."""
    return {draft.name for draft in drafts} | {name_of(file) for file in task_files(path)}


def detect(path: Path) -> str:
    """The kind of task data at `path`: "superni", "hf", or one of ENDINGS. DataError where it is none.

    A folder of files of rows is of the kind of the first. A run is none: its stream file holds no tasks.
    """
    require_at_rest(path)
    if path.is_dir():
        if all((path / name).is_file() for name in RUN_FILES):
            raise DataError(
                f"{path}: is a run, not tasks; give those that it learned, which its config.toml names under "
                "[stream]"
            )
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            return "hf"
        tasks = task_files(path)
        files = row_files(path)
        if (path / STREAM_FILE).exists() or any(_kind_of(file) == "superni" for file in tasks):
            if others := [file.name for file in files if file not in tasks]:
                log.warning("%s: beside task files, not read: %s; give them alone", path, some(others))
            return "superni"
        if files:
            return _kind_of(files[0])
    elif kind := _kind_of(path):
        return kind
    endings = ", ".join(f"*{ending}" for endings, _ in ENDINGS.values() for ending in endings)
    raise DataError(
        f"{path}: no tasks found; looked for {STREAM_FILE}, tasks/*.json or *.json "
        f"(Super-NaturalInstructions), {endings} (rows), and dataset_dict.json or state.json "
        "(datasets.save_to_disk)"
    )


def row_files(folder: Path, kind: str = "auto") -> list[Path]:
    """The files of rows in a folder, by name; those of one kind unless it is "auto"."""
    kinds = ENDINGS if kind == "auto" else {kind: ENDINGS[kind]}
    ends = tuple(ending for endings, _ in kinds.values() for ending in endings)
    return [
        file
        for file in within(folder)
        if file.name.casefold().endswith(ends) and file.name not in NO_TASK_FILES and file.is_file()
    ]


def _tell_unread(folder: Path, read: Iterable[Path]) -> None:
    """Log what else of the folder looks like data: packed otherwise, a broken link, a folder of files."""
    known = {*read, *(folder / name for name in NO_TASK_FILES)}
    found = [
        one.name + "/" * one.is_dir()
        for one in within(folder)
        if one not in known and (bool(row_files(one)) if one.is_dir() else _looks_like_data(one))
    ]
    if found:
        log.warning("%s: not read: %s; give them alone, or put them beside the others", folder, some(found))


def _looks_like_data(file: Path) -> bool:
    return not DATA_SUFFIXES.isdisjoint(suffix.casefold() for suffix in file.suffixes)


def _files(path: Path, kind: str) -> Mapping[Path, Rows]:
    """The files of rows at `path`, each with what reads it. Raises DataError where there are none."""
    files = row_files(path, kind) if path.is_dir() else [path]
    if not files:
        endings = " or ".join(f"*{ending}" for ending in ENDINGS[kind][0])
        raise DataError(f"{path}: no {endings} files; expected examples in at least one of them")
    return {file: ENDINGS[_kind_of_rows(file, kind)][1] for file in files}


def _kind_of_rows(file: Path, kind: str) -> str:
    """The kind of a file of rows; a list of objects and an object per line may go by each other's name."""
    if kind not in ("auto", *JSON_KINDS):
        return kind
    found = _kind_of(file)
    return found if found in ENDINGS else kind


def _kind_of(file: Path) -> str:
    """The kind of a file: as its name says, save that JSON is told by its beginning; "" for none.

    Raises DataError for JSONL whose first line is no object of its own.
    """
    name = file.name.casefold()
    named = next((kind for kind, (endings, _) in ENDINGS.items() if name.endswith(endings)), "")
    if named and named not in JSON_KINDS:
        return named
    first, *further = _first_lines(file)
    if first.startswith("["):
        return "json"
    if named == "jsonl":
        if first == "{":
            raise DataError(
                f"{file}: line 1 is no whole JSON object; expected one in each line. A task of "
                "Super-NaturalInstructions, which is one object over many lines, is named .json"
            )
        return "jsonl"
    return "jsonl" if further and _is_object(first) else "superni" if named else ""


def _first_lines(file: Path) -> list[str]:
    """The first lines that are not empty, two at most, each as far as MOST_SNIFFED; at least one text."""
    try:
        with gzip.open(file, "rb") if file.suffix.casefold() == ".gz" else file.open("rb") as content:
            texts = (line.decode("utf-8-sig", "replace").strip() for line in _lines(content))
            return list(islice(filter(None, texts), 2)) or [""]
    except (OSError, EOFError, zlib.error):
        return [""]  # whoever reads the file says what is wrong with it


def _lines(content: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    while line := content.readline(MOST_SNIFFED):
        yield line


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
