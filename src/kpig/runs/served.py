"""Which model a user names: a run, a step of one, or a model's own folder or hub name. No torch."""

import os
from dataclasses import dataclass
from pathlib import Path

from kpig.config import EvaluateSection, ModelSection, RunConfig, load_resolved
from kpig.errors import ConfigError, RunError
from kpig.runs.folder import RunDir, begun_at, is_run

KINDS = ("model", "adapter")
"""The folders of a step that hold what it learned: one or the other."""


@dataclass(frozen=True)
class Served:
    """A model to load and how it is asked: of a run as the run does, else by the defaults.

    `clock` is what a chat template that asks for the date is told; None for the present.
    """

    section: ModelSection
    evaluate: EvaluateSection
    clock: str | None
    of_run: bool


@dataclass(frozen=True)
class Tuned:
    """A finished step of a run, with the run's config; step 0 is the untuned model."""

    run: RunDir
    number: int
    config: RunConfig

    @property
    def folder(self) -> Path:
        """The folder of its model or adapter. RunError where the step keeps none."""
        places = [self.run.step(self.number) / kind for kind in KINDS]
        found = next((place for place in places if place.is_dir()), None)
        if found is None:
            raise RunError(
                f"{self.run.step(self.number)} holds no model; steps of {self.run.path} that hold one: "
                f"{', '.join(map(str, _with_models(self.run))) or 'none'}"
            )
        return found

    @property
    def is_adapter(self) -> bool:
        """Whether it is an adapter that needs its base model."""
        return self.folder.name == "adapter"

    @property
    def section(self) -> ModelSection:
        """How it is loaded; the run's [model] where the step is 0."""
        path = str(self.folder) if self.number else self.config.model.path
        return self.config.model.model_copy(update={"path": path, "adapter": "none"})


def served(path: str) -> Served:
    """The model at a path; a run stands for its last finished step.

    Raises RunError for a run without one, and for a step that is not finished or keeps no model.
    """
    found = step_at(path)
    if found is None:
        return Served(ModelSection(path=path), EvaluateSection(), None, False)
    return Served(found.section, found.config.evaluate, begun_at(found.run.path), True)


def step_at(path: str) -> Tuned | None:
    """The step that a path names, None where it is no run's; RunError as `served`."""
    if not os.path.isdir(os.path.expanduser(path)):
        return None
    place = Path(os.path.abspath(os.path.expanduser(path)))
    if is_run(place):
        return step_of(place)
    run = place.parent.parent
    if place.parent.name == "steps" and place.name.isdecimal() and is_run(run):
        return step_of(run, int(place.name))
    return None


def step_of(path: Path, number: int | None = None) -> Tuned:
    """A finished step of the run in a folder, the last one where no number is given; RunError where none."""
    if not is_run(path):
        raise RunError(f"{path}: holds no run of kpig; give the folder that kpig run wrote")
    run = RunDir(path)
    last = run.current - 1
    if number is None and not last:
        raise RunError(f"{path}: no step of the run is finished yet; continue it with --resume")
    chosen = last if number is None else number
    if not run.is_done(chosen):
        raise RunError(
            f"{path}: has no finished step {chosen}; "
            + (f"finished are steps 0 to {last}" if run.is_done(0) else "none is finished")
        )
    try:
        return Tuned(run, chosen, load_resolved(path / "config.toml"))
    except ConfigError as error:
        raise RunError(f"{path}: its config.toml cannot be used: {error}") from error


def _with_models(run: RunDir) -> list[int]:
    """The numbers of the finished steps that keep what they learned."""
    return [
        number
        for number in range(1, run.current)
        if any((run.step(number) / kind).is_dir() for kind in KINDS)
    ]
