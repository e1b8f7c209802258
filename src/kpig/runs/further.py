"""What `kpig continue` is asked for: new steps for a finished run, or the rest of those that were begun."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kpig import ranks
from kpig.config import GENERAL, SUITE, build
from kpig.errors import RunError, UsageError
from kpig.files import true_path
from kpig.progress import Watcher
from kpig.runs import course, job, starts
from kpig.runs.forgetting import FORGET
from kpig.scoring.records import RunScores


def learn(
    path: Path,
    tasks: str | None,
    overrides: Sequence[str] = (),
    metrics: Mapping[str, str] | None = None,
    resume: bool = False,
    watch: Watcher | None = None,
    forget: bool = False,
) -> RunScores:
    """Learn the steps of `tasks` after the finished run in a folder, or with `resume` what is left of them.

    With `resume`, only `overrides` of [train] may differ from what was given first, and the rest need not be
    given. `forget` as in `job.extend`. Raises
    UsageError for options that do not go together, RunError for a folder without a run that can go on, and
    as `job.run` and `job.extend` do.
    """
    if tasks is None and not resume:
        raise UsageError("kpig continue: give --tasks with the new tasks, or --resume for those begun before")
    if not (path / "stream.json").is_file():
        raise RunError(f"{path}: holds no run of kpig; give the folder of a finished run")
    ranks.by_main(lambda: starts.settle(path))
    place = None if tasks is None else _place(tasks)
    grown = course.growth_of(path)
    if grown and resume and place in (None, course.configuration(path).stream.path):
        if forget and not any(FORGET in note for note in grown[-1].notes):
            raise UsageError(
                f"{FORGET} cannot be added to new steps that were begun without it; leave it out"
            )
        return _resumed(path, overrides, metrics or {}, watch)
    if not (path / "scores.json").is_file():
        raise RunError(_unfinished(path, bool(grown)))
    if place is None:
        raise RunError(f"{path}: nothing was begun here with kpig continue; give --tasks with the new tasks")
    return job.extend(path, place, overrides, metrics, watch, forget)


def _resumed(
    path: Path, overrides: Sequence[str], metrics: Mapping[str, str], watch: Watcher | None
) -> RunScores:
    table = course.configuration(path).model_dump(mode="json")
    table["stream"]["metrics"] |= metrics
    return job.run(build(table, overrides), path, resume=True, watch=watch)


def _place(tasks: str) -> str:
    """Where the tasks are, from wherever the run goes on."""
    return tasks if tasks in (SUITE, GENERAL) else str(true_path(tasks))


def _unfinished(path: Path, begun: bool) -> str:
    if begun:
        place = course.configuration(path).stream.path
        return (
            f"{path}: is not finished with the tasks at {place}; finish it with kpig continue {path} "
            "--resume, then give --tasks again"
        )
    return f"{path}: the run is not finished; finish it with kpig run ... --resume, then continue it"
