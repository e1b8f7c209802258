"""The run folder: whole files, events, DONE markers, and the refusal to mix two runs. No torch."""

import itertools
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kpig.config import PORTIONS, RunConfig, differing_keys, dump
from kpig.errors import ConfigError, RunError
from kpig.files import as_json, as_line, disk_error, drop_unpublished, publish, refuse_links
from kpig.methods import chosen
from kpig.model import identity
from kpig.runs import lock
from kpig.runs.lock import Claim

DONE = "DONE"
FIRST_FILES = ("config.toml", "environment.json", "stream.json")
"""What a run writes before anything else; the last of them says that it has begun."""

TRACKERS = "trackers"
"""Where a run keeps what its trackers are told; see `kpig.runs.tracking`."""

LATER_FILES = ("events.jsonl", "steps", "starts", TRACKERS)
"""What a run that goes on writes beside its first files."""

GROWN_AT = "grown_at_step"
"""The key of environment.json with the first step of those that a finished run went on with."""

MODELS = ("model", "adapter")
"""Folders of what a step has learned: all weights, or an adapter."""

DRAWN = ("loss", "cross_entropy", "divergence", "held_out_loss", "validation_loss", "tokens")
"""The numbers of an update's record that are read again."""

MOST = 2**53
"""Larger numbers are damage: no count of a run reaches it, and a float is not exact beyond."""


class Follower(Protocol):
    """Told what a run has written down, after it is written. It never raises an error."""

    def logged(self, event: Mapping[str, Any]) -> None:
        """An event stands in events.jsonl."""

    def finished(self, number: int) -> None:
        """A step is done."""


@dataclass(frozen=True)
class RunDir:
    """Paths inside one run folder and the few ways to write there, under its lock where a run goes on."""

    path: Path
    claim: Claim | None = None
    followers: tuple[Follower, ...] = ()

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
        for follower in self.followers:
            follower.finished(number)

    def drop_checkpoints(self, number: int) -> None:
        """Remove what a step that is done needs no more; a kill meanwhile leaves it to the next start."""
        for folder in self.step(number).glob("checkpoint*"):
            shutil.rmtree(folder, ignore_errors=True)

    def drop_models(self, num_kept: int) -> None:
        """Remove the models and adapters of done steps but the last `num_kept` of them; the last one stays.

        A kill meanwhile leaves it to the next start.
        """
        for number in range(1, self.current - max(1, num_kept)):
            for name in MODELS:
                shutil.rmtree(self.step(number) / name, ignore_errors=True)

    def check_ours(self) -> None:
        """Raise BusyError once another process has taken the run over: from then on it alone may write.

        Raises RunError where the folder was deleted meanwhile: what is written then would be no run.
        """
        if self.claim is None:
            return
        self.claim.check()
        if not (self.path / "stream.json").is_file():
            raise RunError(
                f"{self.path}: the run's folder was deleted or moved while it ran; put it back and continue "
                "with --resume, or delete what is left of it and give the command again"
            )

    def log(self, event: Mapping[str, Any]) -> None:
        """Append one line to events.jsonl."""
        self.check_ours()
        line = as_line({"t": round(time.time(), 3), **event})
        try:
            with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise disk_error(self.path / "events.jsonl", error) from error
        for follower in self.followers:
            follower.logged(event)

    def events(self) -> Iterator[dict[str, Any]]:
        """Every event, oldest first; what a kill cut short or damage made no event is passed over."""
        path = self.path / "events.jsonl"
        try:
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        except OSError as error:
            raise RunError(
                f"{path}: cannot be read ({error.strerror or error}); restore or remove it"
            ) from error
        for line in text.splitlines():
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                yield found

    def updates(self) -> list[dict[str, Any]]:
        """The events of updates in order, each update once: as it was done last.

        What was done of a step before it was begun anew is left out.
        """
        kept: dict[tuple[int, int], dict[str, Any]] = {}
        for event in self.events():
            if is_anew(event):
                kept = {key: one for key, one in kept.items() if key[0] < event["step"]}
            elif is_update(event):
                kept[event["step"], event["update"]] = event
        return [kept[key] for key in sorted(kept)]

    @property
    def current(self) -> int:
        """The number of the step that a resumed run learns next."""
        return next(number for number in itertools.count(1) if not self.is_done(number))

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the run, which holds a table; RunError when it is missing or damaged."""
        path = self.path / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(
                f"{path}: cannot be read ({error}); is {self.path} a finished run of kpig?"
            ) from error
        if not isinstance(found, dict):
            raise RunError(f"{path}: is damaged (it holds no table); restore it, or leave the run out")
        return found


def is_anew(event: Mapping[str, Any]) -> bool:
    """Whether an event says that a step was begun anew, with other settings of [train]."""
    return event.get("anew") is True and _is_count(event.get("step"))


def is_update(event: Mapping[str, Any]) -> bool:
    """Whether an event is the record of an update, with values that can be drawn and added up."""
    numbers = [event[name] for name in DRAWN if event.get(name) is not None]
    replayed = event.get("replayed_tasks", {})
    return (
        _is_count(event.get("step"))
        and _is_count(event.get("update"))
        and all(map(is_number, numbers))
        and isinstance(replayed, dict)
        and all(_is_count(one) for one in replayed.values())
    )


def is_number(value: object) -> bool:
    """Whether a value of an event can be drawn and added up: a number, not NaN, and not beyond MOST."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < MOST


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

    Raises RunError when the folder holds another run (or anything else) and `resume` is not given, when
    config or data differ from those the run began with (see `may_change`), and where a part of it is a
    symbolic link.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; give a folder for the run")
    if path.exists() and any(path.iterdir()):
        _check_continues(RunDir(path), config, stream, resume)
        refuse_links(path, others=path / TRACKERS)


def may_change(key: str) -> bool:
    """Whether a run that is not finished may go on with another value of a key of its config.

    What [train] says from the current step on may: that step is begun anew, unless only portions change.
    """
    return key.startswith("train.") or key in PORTIONS


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
    """What the run in a folder began in; empty before it begins. RunError where it is damaged."""
    if not all((path / name).is_file() for name in ("environment.json", "stream.json")):
        return {}
    return RunDir(path).read("environment.json")


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
        _drop_leftovers(path)
        publish(path / "config.toml", dump(config))
        publish(path / "environment.json", as_json(environment))
        publish(path / "stream.json", as_json(stream))
    return RunDir(path, claim)


def _drop_leftovers(path: Path) -> None:
    """Remove what is left of a run whose first files are gone; see `_refuse_foreign`."""
    for name in LATER_FILES:
        if (path / name).is_dir():
            shutil.rmtree(path / name, ignore_errors=True)
        else:
            (path / name).unlink(missing_ok=True)


def _check_continues(run: RunDir, config: RunConfig, stream: Mapping[str, Any], resume: bool) -> None:
    if not (run.path / "stream.json").is_file():
        _refuse_foreign(run.path, resume)
        return
    if not resume:
        raise RunError(
            f"{run.path} already holds a run; continue it with --resume, or give --out another folder"
        )
    try:
        begun = chosen.begun_with(run.path / "config.toml")
    except ConfigError as error:
        raise RunError(f"{run.path}: its config.toml cannot be used: {error}") from error
    keys = differing_keys(begun, config)
    is_finished = (run.path / "scores.json").is_file()
    if keys and (is_finished or not all(map(may_change, keys))):
        raise RunError(
            f"{run.path}: the run began with another config; different: {', '.join(keys)}. "
            "Resume with the same config and --set options, or give --out another folder. Only [train] may "
            "change, and only before the run is finished."
        )
    if not (run.path / "environment.json").is_file():
        raise RunError(
            f"{run.path}: its environment.json is missing, which says what the run began with; put it back, "
            "or delete the folder and give the command again"
        )
    if run.read("stream.json").get("digest") != stream["digest"]:
        raise RunError(
            f"{run.path}: the task data have changed since the run began (stream.json keeps the old "
            "digests). Restore them, or give --out another folder."
        )


def _refuse_foreign(path: Path, resume: bool) -> None:
    """A kill can leave a run without its stream.json, the last of its first files; all else is not ours.

    So can a deletion that was cut short, or that came while the run was writing: with `resume`, what is left
    of a run begins anew, as long as no finished step is among it.
    """
    begun = tuple(f".{name}." for name in FIRST_FILES)
    names = {file.name for file in path.iterdir()} - {*FIRST_FILES, lock.INSIDE}
    strange = [name for name in names if not name.startswith(begun)]
    if strange and not (resume and _is_leftover(path, strange)):
        why = "holds no run that can be continued"
        if (path / "steps").is_dir() and any(path.glob(f"steps/*/{DONE}")):
            why = "holds finished steps but no stream.json: put that back, or delete the folder,"
        raise RunError(f"{path} is not empty and {why}; give --out another folder")


def _is_leftover(path: Path, names: Iterable[str]) -> bool:
    """Whether names are those of a run's own files, without a finished step among them."""
    steps = list(path.glob("steps/*"))
    return (
        set(names) <= set(LATER_FILES)
        and all(one.is_dir() and one.name.isdecimal() for one in steps)
        and not any((one / DONE).exists() for one in steps)
    )
