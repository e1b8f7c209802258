"""Read task files into drafts, whatever their format."""

from pathlib import Path

from kpig.errors import ConfigError, DataError
from kpig.tasks.drafts import Draft, Problems
from kpig.tasks.readers.files import (
    CONSTRAINTS_FILE,
    KEY_PARTS_FILE,
    STREAM_FILE,
    annotation_path,
    missing,
)
from kpig.tasks.readers.superni import read_superni, task_files
from kpig.tasks.readers.tables import read_hf, read_jsonl
from kpig.tasks.readers.variants import Wordings, read_wordings, reworded, wordings_beside

KINDS = ("auto", "superni", "jsonl", "hf")


__all__ = ["KINDS", "annotation_paths", "detect", "read", "read_wordings"]


def annotation_paths(path: Path) -> tuple[Path, Path]:
    """The files of key parts and of constraints that are read with the tasks at `path`."""
    folder = _folder(path, detect(path))
    return annotation_path(folder, KEY_PARTS_FILE), annotation_path(folder, CONSTRAINTS_FILE)


def _folder(path: Path, kind: str) -> Path:
    """Where the files beside the tasks lie: in their folder, but not inside a dataset."""
    return path if path.is_dir() and kind != "hf" else path.parent


def read(path: Path, kind: str, problems: Problems, wordings: Wordings | None = None) -> list[Draft]:
    """The tasks at `path`, in the order stated there, else by name (`kind` is one of KINDS).

    They get the variants of `wordings`, without it those of a variants.json beside the tasks.
    Problems inside the files are collected in `problems`, and what has one is left out of the result.
    Raises DataError where nothing at `path` can be read at all, ConfigError for an unknown kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"'{kind}' is not a kind of task data; expected one of {', '.join(KINDS)}")
    if not path.exists():
        raise missing(path)
    found = detect(path) if kind == "auto" else kind
    readers = {"superni": read_superni, "jsonl": read_jsonl, "hf": read_hf}
    drafts = readers[found](path, problems)
    if wordings is None:
        wordings = wordings_beside(_folder(path, found), problems)
        if path.is_dir() and not problems.found:
            wordings.refuse_strangers(_names(drafts, path), problems)
    return reworded(drafts, wordings, problems)


def _names(drafts: list[Draft], path: Path) -> set[str]:
    """The tasks of a folder, with those that its stream file leaves out."""
    return {draft.name for draft in drafts} | {file.stem for file in task_files(path)}


def detect(path: Path) -> str:
    """The kind of task data at `path`: "superni", "jsonl" or "hf". Raises DataError where it is none."""
    if path.is_dir():
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            return "hf"
        if (path / STREAM_FILE).exists() or task_files(path):
            return "superni"
        if any(path.glob("*.jsonl")) or any(path.glob("*.jsonl.gz")):
            return "jsonl"
    elif path.name.endswith((".jsonl", ".jsonl.gz")):
        return "jsonl"
    elif path.suffix == ".json":
        return "superni"
    raise DataError(
        f"{path}: no tasks found; looked for {STREAM_FILE}, tasks/*.json or *.json "
        "(Super-NaturalInstructions), *.jsonl, *.jsonl.gz, and dataset_dict.json or state.json "
        "(datasets.save_to_disk)"
    )
