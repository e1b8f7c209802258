"""A finished run as its folder keeps it: reading, refusing what is no run, labels that tell runs apart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kpig.errors import RunError
from kpig.files import true_path
from kpig.runs.folder import DONE, RunDir
from kpig.scoring import scores
from kpig.scoring.records import RunScores, TaskScore


@dataclass(frozen=True)
class RunRecord:
    """What a finished run left behind. `name` is its label: the method, and the folder where needed.

    `config`, `environment` and `stream` are the run's files as plain dicts, `events` the updates of
    events.jsonl; predictions stay on disk until a report shows some.
    """

    path: Path
    name: str
    scores: RunScores
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]] = ()
    stream: Mapping[str, Any] = field(default_factory=dict)


def read_run(path: Path) -> RunRecord:
    """The finished run in a folder. RunError where there is none, and for one of another version."""
    run = RunDir(Path(path))
    if not run.path.is_dir():
        raise RunError(f"{run.path}: there is no such folder; give the folder of a finished run")
    if not (run.path / "scores.json").is_file():
        raise RunError(why_unfinished(run))
    result = scores.read_run(run.path / "scores.json")
    return RunRecord(
        path=run.path,
        name=result.method,
        scores=result,
        config=_read_config(run.path / "config.toml"),
        environment=run.read("environment.json"),
        events=run.updates(),
        stream=run.read("stream.json"),
    )


def why_unfinished(run: RunDir) -> str:
    """Why a folder without scores.json cannot be read, and what to do."""
    if not (run.path / "stream.json").is_file():
        return f"{run.path}: holds no run of kpig (no scores.json); give the folder of a finished run"
    steps = run.read("stream.json").get("steps")
    planned = f" of {len(steps)}" if isinstance(steps, list) else ""
    done = len(list(run.path.glob(f"steps/*/{DONE}"))) - run.is_done(0)
    return (
        f"{run.path}: the run is not finished ({max(done, 0)}{planned} steps done, no scores.json); "
        "finish it with --resume, then ask again"
    )


def _read_config(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); the run folder is not whole") from error


def distinct(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs under labels that differ: the folder is added to a shared label, then a number."""
    counts = Counter(run.name for run in runs)
    numbers: Counter[str] = Counter()
    found = []
    for run in runs:
        label = run.name if counts[run.name] == 1 else f"{run.name} ({true_path(run.path).name})"
        numbers[label] += 1
        found.append(replace(run, name=label if numbers[label] == 1 else f"{label} {numbers[label]}"))
    return found


def final_tasks(runs: Sequence[RunRecord]) -> dict[str, TaskScore]:
    """Every task that some run ends with, in order of appearance."""
    found: dict[str, TaskScore] = {}
    for run in runs:
        for name, entry in run.scores.steps[-1].tasks.items():
            found.setdefault(name, entry)
    return found


def scorers(runs: Sequence[RunRecord]) -> str:
    """The scorers that the runs were scored by, each once."""
    return ", ".join(dict.fromkeys(run.scores.scorer for run in runs))
