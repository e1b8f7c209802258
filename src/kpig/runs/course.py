"""What a run learns: its stream from task files, or where it went on, from its folder. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kpig.config import PORTIONS, SUITE, RunConfig, StreamSection, build, differing_keys, load_resolved
from kpig.config.data import READING
from kpig.errors import ConfigError, DataError, RunError, clause, some
from kpig.methods import chosen
from kpig.records import Stream, Task
from kpig.runs import fitting, kept, restart
from kpig.runs.folder import RunDir
from kpig.scoring import scores
from kpig.scoring.typed_json import Misfit, parse
from kpig.tasks import stream

HELD_OUT_KEYS = ("stream.held_out", "stream.held_out_tasks", "stream.max_held_out")
"""Held-out tasks stay those of the first start; the other keys of [stream] say how new tasks are read."""


@dataclass(frozen=True)
class Grown:
    """How a run had ended that went on: its steps, how many examples were shortened, what its notes said."""

    num_steps: int
    shortened_examples: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Course:
    """Everything that one start of a run needs to know of its data."""

    config: RunConfig
    """That of this start."""

    tasks: Stream
    """All steps. Tasks of earlier starts have no training examples any more."""

    new: Stream
    """What this start reads from task files: all of the first one, else the steps that are added."""

    summary: Mapping[str, Any]
    """What stream.json says."""

    grown: tuple[Grown, ...] = ()
    """The earlier starts, the first one first."""


@dataclass(frozen=True)
class _Named:
    task: str
    digest: str


@dataclass(frozen=True)
class _Step:
    tasks: tuple[_Named, ...]


@dataclass(frozen=True)
class _Summary:
    """What is read again of stream.json."""

    digest: str
    steps: tuple[_Step, ...]
    held_out: tuple[_Named, ...]
    grown: tuple[Grown, ...] = ()


def read(path: Path, config: RunConfig, tasks: Stream | None = None) -> Course:
    """The course of a run that begins, or goes on where it was interrupted; writes nothing.

    `config` has every setting of its method written out. Of a run that went on with further steps it may be
    that of the very first start. `tasks` is its stream, where the caller has read it. Raises RunError where
    task data have changed or what the folder keeps of them is damaged, and as `fitting.stream_of`.
    """
    grown = growth_of(path)
    if not grown:
        tasks = tasks or fitting.stream_of(config)
        return Course(config, tasks, tasks, stream.summary(tasks))
    going_on = restart.going_on(path, config)
    is_same = (going_on.stream, going_on.suite) == (config.stream, config.suite)
    return _joined(path, going_on, (is_same and tasks) or fitting.stream_of(going_on), grown)


def extended(
    path: Path, tasks: str, overrides: Sequence[str] = (), metrics: Mapping[str, str] | None = None
) -> Course:
    """The course of a finished run that is to go on with the steps of `tasks`; writes nothing.

    Raises ConfigError for settings that cannot differ, DataError for tasks whose names the run has, and
    RunError where the run is not finished or damaged.
    """
    begun = configuration(path)
    config = _going_on(begun, tasks, overrides, metrics or {})
    known = _summary(path)
    ended = scores.read_run(path / "scores.json")
    grown = Grown(len(known.steps), ended.shortened_examples, ended.notes)
    return _joined(path, config, fitting.stream_of(config), (*known.grown, grown))


def forgetful(course: Course, told: str) -> Course:
    """The same course without any example of the learned tasks; the run's notes say `told`."""
    *before, last = course.grown
    steps = course.tasks.steps
    learned = [tuple(map(kept.instructed, step)) for step in steps[: last.num_steps]]
    tasks = replace(course.tasks, steps=(*learned, *steps[last.num_steps :]))
    grown = (*before, replace(last, notes=(*last.notes, told)))
    summary = {**course.summary, "grown": [asdict(one) for one in grown]}
    return replace(course, tasks=tasks, summary=summary, grown=grown)


def configuration(path: Path) -> RunConfig:
    """The config of a run's last start; RunError where it cannot be used."""
    try:
        return load_resolved(path / "config.toml")
    except ConfigError as error:
        raise RunError(f"{path}: its config.toml cannot be used: {clause(error)}") from error


def whole(path: Path) -> Stream:
    """All tasks of a run that went on with further steps, as it keeps them; see `growth_of`."""
    return _kept(path, _summary(path))


def growth_of(path: Path) -> tuple[Grown, ...]:
    """The earlier starts of a run that has gone on with further steps; () of any other."""
    return _summary(path).grown if (path / "stream.json").is_file() else ()


def keep_missing(path: Path, course: Course) -> None:
    """Keep the tasks of the earlier steps where a run of an earlier version has not."""
    num_learned = course.grown[-1].num_steps
    for number, tasks in enumerate((course.tasks.held_out, *course.tasks.steps[:num_learned])):
        if not kept.are_there(RunDir(path).step(number), [task.name for task in tasks]):
            kept.write(RunDir(path).step(number), tasks)


def _going_on(
    begun: RunConfig, tasks: str, overrides: Sequence[str], metrics: Mapping[str, str]
) -> RunConfig:
    """The config of a start that adds `tasks`; ConfigError that names what cannot differ."""
    table = chosen.as_then(begun).model_dump(mode="json")
    common = {key: value for key, value in begun.stream.metrics.items() if key == stream.EVERY}
    beginning = StreamSection().model_dump(mode="json")
    caps = ("train_per_task", "test_per_task", "validation_per_task", "tasks_per_step", "max_tasks_per_step")
    reading = READING if tasks != SUITE else ()
    inherited = {key: table["stream"][key] for key in (*caps, *reading)}
    table["stream"] = beginning | inherited | {"path": tasks, "metrics": {**common, **metrics}}
    if tasks != SUITE:
        del table["suite"]
    config = chosen.complete(build(table, overrides))
    lasting = {f"method.{begun.method.table}.{key}" for key in chosen.load(begun.method.name).lasting}
    given = begun.model_copy(update={"stream": StreamSection(path=tasks)})
    fixed = [key for key in differing_keys(given, config) if key in lasting or not _may_differ(key, begun)]
    if fixed:
        raise ConfigError(
            f"a run that goes on keeps {', '.join(fixed)}: with another value its scores so far would be of "
            "another thing. [train], [replay], the settings of its method and how the new tasks are read may "
            "change; for all else begin a new run"
        )
    return config


def _may_differ(key: str, begun: RunConfig) -> bool:
    own = ("train.", "replay.", "stream.", "suite.", f"method.{begun.method.table}.")
    return key in PORTIONS or (key.startswith(own) and key not in HELD_OUT_KEYS)


def _joined(path: Path, config: RunConfig, new: Stream, grown: tuple[Grown, ...]) -> Course:
    """The course of the steps that the folder keeps and those that `new` adds."""
    known, told = _summary(path), RunDir(path).read("stream.json")
    num_learned = grown[-1].num_steps
    old = _kept(path, replace(known, steps=known.steps[:num_learned]))
    new = replace(new, held_out=())
    _check_apart(path, old, new)
    added = stream.summary(new)["steps"]
    steps = [*told["steps"][:num_learned], *(one | {"step": num_learned + one["step"]} for one in added)]
    digests = [[task["digest"] for task in step["tasks"]] for step in steps]
    digest = stream.digest_of(digests, [task.digest for task in known.held_out])
    summary = {**told, "digest": digest, "steps": steps, "grown": [asdict(one) for one in grown]}
    tasks = replace(old, steps=(*old.steps, *new.steps))
    return Course(config, tasks, new, summary, grown)


def _check_apart(path: Path, old: Stream, new: Stream) -> None:
    known = {task.name for task in (*old.tasks, *old.held_out)}
    if twice := [task.name for task in new.tasks if task.name in known]:
        raise DataError(
            f"{path}: the run has {len(twice)} of the new tasks already ({some(twice)}), learned or held "
            "out; leave them out, or give them names of their own, such as urgent-june for new examples of "
            "urgent"
        )


def _kept(path: Path, known: _Summary) -> Stream:
    """The tasks of the steps in `known`, as their folders keep them, or as earlier versions kept none.

    Those had not grown, so that the config says where all of their tasks are.
    """
    run = RunDir(path)
    names = [[one.task for one in step.tasks] for step in known.steps]
    held_out = [one.task for one in known.held_out]
    if not all(kept.are_there(run.step(n), one) for n, one in enumerate((held_out, *names))):
        return _from_files(path, known)
    return Stream(
        name=path.name,
        steps=tuple(_tasks(run.step(number), one) for number, one in enumerate(names, start=1)),
        held_out=_tasks(run.step(0), held_out),
    )


def _tasks(step_dir: Path, names: Sequence[str]) -> tuple[Task, ...]:
    return tuple(kept.read(step_dir, name) for name in names)


def _from_files(path: Path, known: _Summary) -> Stream:
    found = fitting.stream_of(configuration(path))
    if known.grown or stream.digest(found) != known.digest:
        raise RunError(
            f"{path}: the run lacks some of the tasks that it keeps in steps/NN/tasks/, and cannot go on "
            "without them; put them back, or the task files that it began with"
        )
    return replace(
        found,
        steps=tuple(tuple(map(kept.untaught, step)) for step in found.steps),
        held_out=tuple(map(kept.untaught, found.held_out)),
    )


def _summary(path: Path) -> _Summary:
    try:
        return parse((path / "stream.json").read_bytes(), _Summary)
    except (OSError, Misfit) as error:
        raise RunError(f"{path / 'stream.json'}: cannot be read ({clause(error)}); restore it") from error
