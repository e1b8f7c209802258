"""Finished runs at or under the folders that a user names, each in its cell of seed and stream order."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from kpig.config import SUITE, load_resolved, settings_of
from kpig.errors import ConfigError, RunError
from kpig.files import true_path
from kpig.report.record import RunRecord, read_run, why_unfinished
from kpig.runs.folder import RunDir
from kpig.runs.places import runs_at
from kpig.runs.starts import configs

Cell = tuple[int, str]
"""The seed and the stream order of a run: what two methods must share to be compared as a pair."""


def as_text(value: object) -> str:
    """A value of a config; text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Run:
    """A finished run. `settings` is its config with dotted keys and defaults filled in; `order` names the
    order of its stream, the same name for the same order. `earlier` are the settings of the starts before
    the last one, of a run that went on with others (`kpig continue`, or another [train])."""

    record: RunRecord
    settings: Mapping[str, Any]
    order: str = ""
    earlier: tuple[Mapping[str, Any], ...] = ()

    def is_changed(self, key: str) -> bool:
        """Whether a key of the config had another value before."""
        return any(start.get(key) != self.settings.get(key) for start in self.earlier)

    def text(self, key: str, text_of: Callable[[Any], str] = as_text) -> str:
        """The value of a key of the config as text; "a then b" where it was changed on the way."""
        values = [text_of(start.get(key)) for start in (*self.earlier, self.settings)]
        return " then ".join(one for one, _ in groupby(values))

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.record.path

    @property
    def method(self) -> str:
        """The method's name, or module:Class."""
        return self.record.scores.method

    @property
    def cell(self) -> Cell:
        """Seed and stream order."""
        return int(self.settings["seed"]), self.order


def read_all(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The finished runs at or under the paths, and a sentence about each one that is left out.

    Raises RunError for a path without any run, for a damaged run, and where no run is finished.
    """
    found = list({true_path(folder): folder for path in paths for folder in _folders(path)}.values())
    finished = [folder for folder in found if (folder / "scores.json").is_file()]
    unfinished = [folder for folder in found if not (folder / "scores.json").is_file()]
    left_out = [why_unfinished(RunDir(folder)) for folder in unfinished]
    if not finished:
        raise RunError("no run is finished, so there is nothing to compare:\n  " + "\n  ".join(left_out))
    return _ordered([_read(folder) for folder in finished]), left_out


def cell_name(cell: Cell) -> str:
    """A cell as a reader knows it."""
    return f"seed {cell[0]}, order {cell[1]}"


def learned_tasks(run: Run) -> list[list[dict[str, Any]]]:
    """What stream.json says of the tasks of every step."""
    return [step["tasks"] for step in run.record.stream["steps"]]


def held_out_tasks(run: Run) -> list[dict[str, Any]]:
    """What stream.json says of the held-out tasks."""
    found: list[dict[str, Any]] = run.record.stream["held_out"]
    return found


def data_digest(run: Run) -> str:
    """A digest of all tasks and of which of them are learned together, whatever the order of the steps."""
    steps = sorted(sorted(task["digest"] for task in step) for step in learned_tasks(run))
    held_out = sorted(task["digest"] for task in held_out_tasks(run))
    return hashlib.sha256(json.dumps([steps, held_out]).encode()).hexdigest()[:12]


def has_suite_per_seed(runs: Sequence[Run]) -> bool:
    """Whether every seed has a stream of its own from the built-in suite, the same one for all its runs."""
    data: dict[int, set[str]] = {}
    for run in runs:
        data.setdefault(run.cell[0], set()).add(data_digest(run))
    sizes = [{k: v for k, v in run.settings.items() if k.startswith("suite.")} for run in runs]
    drawn = all(
        run.settings["stream.path"] == SUITE and size.pop("suite.seed") == run.cell[0]
        for run, size in zip(runs, sizes, strict=True)
    )
    alike = all(size == sizes[0] for size in sizes) and all(len(found) == 1 for found in data.values())
    return drawn and alike and len(data) > 1


def _folders(path: Path) -> list[Path]:
    """Run folders at or under a path; RunError where there are none."""
    if not path.is_dir():
        raise RunError(f"{path}: there is no such folder; give run folders, or folders that hold some")
    found = runs_at(path, links=True)
    if not found:
        raise RunError(f"{path}: holds no run of kpig; give run folders, or folders that hold some")
    return found


def _read(folder: Path) -> Run:
    record = read_run(folder)
    *earlier, last = (_settings(folder, path) for path in (*configs(folder), folder / "config.toml"))
    _check_stream(record)
    return Run(record, last, earlier=tuple(earlier))


def _settings(folder: Path, path: Path) -> dict[str, Any]:
    try:
        return settings_of(load_resolved(path))
    except ConfigError as error:
        name = path.relative_to(folder)
        raise RunError(f"{folder}: its {name} cannot be used: {error}") from error


def _check_stream(record: RunRecord) -> None:
    """Raises RunError where stream.json does not name every task with its digest."""
    try:
        stream = record.stream
        tasks = [task for step in stream["steps"] for task in step["tasks"]] + list(stream["held_out"])
        whole = all(isinstance(task[key], str) for task in tasks for key in ("task", "digest"))
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise RunError(
            f"{record.path / 'stream.json'}: does not name every task with its digest; restore it, or leave "
            "the run out"
        )


def _ordered(runs: Sequence[Run]) -> list[Run]:
    """The runs with the names of their stream orders, which tell every two orders apart."""
    by_data: dict[str, dict[tuple[tuple[str, ...], ...], str]] = {}
    named = []
    for run in runs:
        names = by_data.setdefault(data_digest(run), {})
        sequence = tuple(tuple(task["task"] for task in step) for step in learned_tasks(run))
        if sequence not in names:
            name = _order_name(run.settings)
            alike = sum(known == name or known.startswith(f"{name} (") for known in names.values())
            names[sequence] = f"{name} ({alike + 1})" if alike else name
        named.append(replace(run, order=names[sequence]))
    return named


def _order_name(settings: Mapping[str, Any]) -> str:
    order = settings["stream.order"]
    if order == "shuffled":
        return f"shuffled {settings['stream.order_seed']}"
    return order if isinstance(order, str) else "-".join(map(str, order))
