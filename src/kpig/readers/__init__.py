"""Read task files into drafts, whatever their format."""

from pathlib import Path

from kpig.drafts import Draft, Problems
from kpig.errors import ConfigError, DataError
from kpig.readers.files import STREAM_FILE, missing
from kpig.readers.superni import read_superni, task_files
from kpig.readers.tables import read_hf, read_jsonl

KINDS = ("auto", "superni", "jsonl", "hf")


def read(path: Path, kind: str, problems: Problems) -> list[Draft]:
    """The tasks at `path`, in the order stated there, else by name (`kind` is one of KINDS).

    Problems inside the files are collected in `problems`, and what has one is left out of the result.
    Raises DataError where nothing at `path` can be read at all, ConfigError for an unknown kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"'{kind}' is not a kind of task data; expected one of {', '.join(KINDS)}")
    if not path.exists():
        raise missing(path)
    found = detect(path) if kind == "auto" else kind
    readers = {"superni": read_superni, "jsonl": read_jsonl, "hf": read_hf}
    return readers[found](path, problems)


def detect(path: Path) -> str:
    """The kind of task data at `path`: "superni", "jsonl" or "hf". Raises DataError where it is none."""
    if path.is_dir():
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            return "hf"
        if (path / STREAM_FILE).exists() or task_files(path):
            return "superni"
        if any(path.glob("*.jsonl")):
            return "jsonl"
    elif path.suffix in (".json", ".jsonl"):
        return {".json": "superni", ".jsonl": "jsonl"}[path.suffix]
    raise DataError(
        f"{path}: no tasks found; looked for {STREAM_FILE}, tasks/*.json or *.json "
        "(Super-NaturalInstructions), *.jsonl, and dataset_dict.json or state.json (datasets.save_to_disk)"
    )
