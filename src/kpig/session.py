"""Runs from Python, a notebook too: they say how far they are, and end with their report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kpig import ranks
from kpig.config import RunConfig
from kpig.progress import Watcher, here
from kpig.report import portraits, read_run, terminal_table, write
from kpig.scoring.records import RunScores


def run(
    config: RunConfig,
    out: str | Path,
    resume: bool = False,
    watch: Watcher | None = None,
    track: Sequence[str] = (),
) -> RunScores:
    """Learn the stream with one method; the scores of the run, which is kept in folder `out` with its report.

    How far it is stands in the notebook's cell, or else on standard error; `watch=kpig.Watcher()` keeps it
    quiet. A run that was interrupted goes on with `resume=True`, on CPU to the same bits. `track` names
    trackers that are told of it as well (docs/trackers.md). Raises a KpigError that says what to do for
    anything the user can mend, as `kpig.runs.job.run`.
    """
    watch = watch or here()
    from kpig.runs import job

    found = job.run(config, out, resume, watch, track=track)
    _report(Path(out), watch)
    return found


def extend(
    path: str | Path,
    tasks: str,
    overrides: Sequence[str] = (),
    metrics: Mapping[str, str] | None = None,
    watch: Watcher | None = None,
    forget: bool = False,
    track: Sequence[str] = (),
) -> RunScores:
    """Learn the steps of further task files after a finished run, in its folder; the scores of all steps.

    The report is written anew. `watch` as in `run`; all else, and what is raised, as in
    `kpig.runs.job.extend`.
    """
    watch = watch or here()
    from kpig.runs import job

    found = job.extend(path, tasks, overrides, metrics, watch, forget, track)
    _report(Path(path), watch)
    return found


def _report(path: Path, watch: Watcher) -> None:
    """Write report.html and report.md of a finished run into its folder, and show the table and the gate."""

    def reported() -> None:
        record = read_run(path)
        (found,) = portraits([record])
        page = write([record], path, [found])
        watch.show(terminal_table([record]))
        watch.say(f"gate: {path}: {found.gate}")
        watch.say(f"report: {page}")

    ranks.by_main(reported)
