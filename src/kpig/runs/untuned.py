"""The untuned model's answers, taken over from a run beside this one that asked the same model the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpig import ranks
from kpig.config import RunConfig, load_resolved, settings_of
from kpig.errors import KpigError
from kpig.files import name_for
from kpig.model import identity
from kpig.records import Prediction
from kpig.runs.folder import RunDir
from kpig.scoring import predictions

if TYPE_CHECKING:
    from kpig.model.learner import Learner
    from kpig.scoring.probing import Probe

MACHINE = ("packages", "python", "platform", "cpu", "commit", "device", "threads", *identity.NAMES)
"""Of environment.json, what decides the bits of an answer. The time that a chat template is told is seen in
the prompts."""

LEARNING = ("method.", "replay.", "train.")
"""Sections that do not touch a model before its first update, but for PLACES."""

PLACES = ("train.device", "train.shard")


@dataclass(frozen=True)
class Untuned:
    """Answers to all that was to be asked, in order, and the name of the run that they are of."""

    run: str
    answers: tuple[Prediction, ...]


def beside(folder: RunDir, learner: Learner, probes: Sequence[Probe], config: RunConfig) -> Untuned | None:
    """The answers of the first run in the same folder that has asked the same; None where none has.

    It must have had this one's model, data, evaluation, seed, packages and machine, and one process: then
    the answers have the bits that this run would find. None, too, where `run.share_untuned` is off.
    """
    if not config.run.share_untuned or ranks.num_started() > 1 or not probes:
        return None
    own = _circumstances(folder)
    asked: list[tuple[str, ...]] | None = None
    for other in _siblings(folder.path):
        if own is None or _circumstances(other) != own:
            continue
        asked = asked or _asked(learner, probes, config)
        try:
            found = _answers(other, probes)
        except KpigError:
            continue  # damage there is told to whoever reads that run
        if [_question(one) for one in found] == asked:
            return Untuned(other.path.name, tuple(found))
    return None


def _siblings(path: Path) -> Iterator[RunDir]:
    """Runs in the same folder that have asked their untuned model; one that may not be read is none."""
    with suppress(OSError):
        for place in sorted(path.absolute().parent.iterdir()):
            with suppress(OSError):
                if place.name != path.name and not place.is_symlink() and RunDir(place).is_done(0):
                    yield RunDir(place)


def _circumstances(folder: RunDir) -> Mapping[str, Any] | None:
    """All but the questions that decides the answers of an untuned model; None where it is not to be had."""
    try:
        environment, stream = folder.read("environment.json"), folder.read("stream.json")
        settings = settings_of(load_resolved(folder.path / "config.toml"))
    except KpigError:
        return None
    starts = environment.get("starts")
    if not isinstance(starts, list) or not all(map(_is_alone, starts)):
        return None
    return {
        "machine": {name: environment.get(name) for name in MACHINE},
        "data": stream.get("digest"),
        "settings": {
            key: value for key, value in settings.items() if key in PLACES or not key.startswith(LEARNING)
        },
    }


def _is_alone(start: object) -> bool:
    """Whether a start of a run was in one process: several round otherwise."""
    return isinstance(start, dict) and start.get("processes") == 1


def _asked(learner: Learner, probes: Sequence[Probe], config: RunConfig) -> list[tuple[str, ...]]:
    encoded = learner.encoder.encode_all((one.example for one in probes), config.evaluate.max_new_tokens)
    return [
        (one.task.name, one.example.id, one.group, one.wording, text.text)
        for one, text in zip(probes, encoded, strict=True)
    ]


def _question(answer: Prediction) -> tuple[str, ...]:
    return answer.task, answer.example, answer.group, answer.wording, answer.prompt


def _answers(other: RunDir, probes: Sequence[Probe]) -> list[Prediction]:
    """What a run has kept of the tasks of the probes, in the order of these; RunError for damage."""
    files = {name: other.step(0) / "predictions" / f"{name_for(name)}.jsonl" for name in _tasks(probes)}
    kept = {name: predictions.read(path) for name, path in files.items()}
    found = [next(kept[one.task.name], None) for one in probes]
    return [one for one in found if one is not None]


def _tasks(probes: Sequence[Probe]) -> list[str]:
    return list(dict.fromkeys(one.task.name for one in probes))
