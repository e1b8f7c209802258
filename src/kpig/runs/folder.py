"""The run folder: whole files, events, DONE markers, and the refusal to mix two runs. No torch."""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpig.config import RunConfig, differing_keys, dump, load_resolved
from kpig.errors import ConfigError, RunError
from kpig.files import as_json, as_line, disk_error, drop_unpublished, publish
from kpig.model import identity
from kpig.runs import lock
from kpig.runs.lock import Claim

DONE = "DONE"
FIRST_FILES = ("config.toml", "environment.json", "stream.json")
"""What a run writes before anything else; the last of them says that it has begun."""


@dataclass(frozen=True)
class RunDir:
    """Paths inside one run folder and the few ways to write there, under its lock where a run goes on."""

    path: Path
    claim: Claim | None = None

    def step(self, number: int) -> Path:
        """The folder of a step; 0 is the untuned model."""
        return self.path / "steps" / f"{number:02d}"

    def is_done(self, number: int) -> bool:
        """Whether a step was trained, saved and scored."""
        return (self.step(number) / DONE).is_file()

    def finish(self, number: int) -> None:
        """Mark a step as done, then drop the checkpoints that it no longer needs."""
        self.check_ours()
        publish(self.step(number) / DONE, "")
        self.drop_checkpoints(number)

    def drop_checkpoints(self, number: int) -> None:
        """Remove what a step that is done needs no more; a kill meanwhile leaves it to the next start."""
        for folder in self.step(number).glob("checkpoint*"):
            shutil.rmtree(folder, ignore_errors=True)

    def check_ours(self) -> None:
        """Raise BusyError once another process has taken the run over: from then on it alone may write."""
        if self.claim is not None:
            self.claim.check()

    def log(self, event: Mapping[str, Any]) -> None:
        """Append one line to events.jsonl."""
        self.check_ours()
        line = as_line({"t": round(time.time(), 3), **event})
        try:
            with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise disk_error(self.path / "events.jsonl", error) from error

    def events(self) -> Iterator[dict[str, Any]]:
        """Every event, oldest first; a line cut short by a kill is passed over."""
        path = self.path / "events.jsonl"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        for line in text.splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue

    def read(self, name: str) -> Any:
        """A JSON file of the run; RunError when it is missing or damaged."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.path / name}: cannot be read ({error}); is {self.path} a finished run of kpig?"
            ) from error


def is_run(path: Path) -> bool:
    """Whether a folder holds a run, finished or not, whole or damaged."""
    return sum((path / name).is_file() for name in FIRST_FILES) >= 2


def check_no_run(path: Path) -> None:
    """Refuse a folder of scores that is a run's: its own scores would be lost; writes nothing."""
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; give a folder")
    if is_run(path):
        raise RunError(f"{path} holds a run, whose scores.json would be lost; give --out another folder")


def check_free(path: Path, config: RunConfig, stream: Mapping[str, Any], resume: bool) -> None:
    """Refuse a folder that this run may not use; writes nothing.

    Raises RunError when the folder holds another run (or anything else) and `resume` is not given, and
    when config or data differ from those the run began with.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; give a folder for the run")
    if path.exists() and any(path.iterdir()):
        _check_continues(RunDir(path), config, stream, resume)


def check_same_model(path: Path, model: str, found: Mapping[str, str | None]) -> None:
    """Refuse to go on with a run that began with another model, tokenizer or chat template; writes nothing.

    `found` are the digests of the model at the path `model`, as `kpig.model.identity` makes them. What either
    side does not know is not compared: runs of earlier versions kept the weights' alone.
    """
    begun = _environment(path)
    differing = [
        identity.NAMES[key]
        for key, value in found.items()
        if value is not None and begun.get(key) not in (None, value)
    ]
    if differing:
        raise RunError(
            f"{path}: the run began with another model at {model}; different: {', '.join(differing)} "
            "(environment.json keeps the digests). Restore them, or give --out another folder."
        )


def begun_at(path: Path) -> str | None:
    """The moment that the run in a folder tells chat templates; None before it begins, and of old runs."""
    found = _environment(path).get("clock")
    return found if isinstance(found, str) else None


def _environment(path: Path) -> dict[str, Any]:
    """environment.json of a run that has begun, else {}; RunError where it is damaged."""
    if not all((path / name).is_file() for name in ("environment.json", "stream.json")):
        return {}
    found = RunDir(path).read("environment.json")
    if not isinstance(found, dict):
        raise RunError(
            f"{path / 'environment.json'}: is of type {type(found).__name__}; expected an object. Restore "
            "it, or give --out another folder."
        )
    return found


def open_run(
    path: Path,
    config: RunConfig,
    stream: Mapping[str, Any],
    environment: Mapping[str, Any],
    claim: Claim | None = None,
) -> RunDir:
    """The run in a folder that `check_free` found usable, begun if it was not.

    What kills left half written there is removed.
    """
    drop_unpublished(path)
    if not (path / "stream.json").is_file():
        publish(path / "config.toml", dump(config))
        publish(path / "environment.json", as_json(environment))
        publish(path / "stream.json", as_json(stream))
    return RunDir(path, claim)


def _check_continues(run: RunDir, config: RunConfig, stream: Mapping[str, Any], resume: bool) -> None:
    if not (run.path / "stream.json").is_file():
        _refuse_foreign(run.path)
        return
    if not resume:
        raise RunError(
            f"{run.path} already holds a run; continue it with --resume, or give --out another folder"
        )
    try:
        begun = load_resolved(run.path / "config.toml")
    except ConfigError as error:
        raise RunError(f"{run.path}: its config.toml cannot be used: {error}") from error
    keys = differing_keys(begun, config)
    if keys:
        raise RunError(
            f"{run.path}: the run began with another config; different: {', '.join(keys)}. "
            "Resume with the same config and --set options, or give --out another folder."
        )
    if run.read("stream.json").get("digest") != stream["digest"]:
        raise RunError(
            f"{run.path}: the task data have changed since the run began (stream.json keeps the old "
            "digests). Restore them, or give --out another folder."
        )


def _refuse_foreign(path: Path) -> None:
    """A kill can leave a run without its stream.json, the last of its first files; all else is not ours."""
    begun = tuple(f".{name}." for name in FIRST_FILES)
    names = {file.name for file in path.iterdir()} - {*FIRST_FILES, lock.INSIDE}
    if any(not name.startswith(begun) for name in names):
        raise RunError(
            f"{path} is not empty and holds no run that can be continued; give --out another folder"
        )
