"""A run as its folder keeps it: reading, refusing what is no run, labels that tell runs apart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kpig.errors import RunError, some
from kpig.files import true_path
from kpig.records import SEEN
from kpig.runs.folder import DONE, RunDir
from kpig.scoring import scores
from kpig.scoring.metrics import SCORER
from kpig.scoring.records import Cost, Final, RunScores, StepScores, TaskScore


@dataclass(frozen=True)
class RunRecord:
    """What a run left behind. `name` is its label: the method, and the folder where needed.

    `config`, `environment` and `stream` are the run's files as plain dicts, `events` the updates of
    events.jsonl; predictions stay on disk until a report shows some. Of a run that is not finished (`going`
    says how far it is) the scores are those of the steps that are.
    """

    path: Path
    name: str
    scores: RunScores
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]] = ()
    stream: Mapping[str, Any] = field(default_factory=dict)
    going: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether every step of the stream is learned and scored."""
        return not self.going

    @property
    def num_steps(self) -> int:
        """The steps of the stream that the run is to learn, as far as its files say."""
        planned = self.stream.get("steps")
        return max(len(planned) if isinstance(planned, list) else 0, self.scores.steps[-1].step)


def read_run(path: Path) -> RunRecord:
    """The finished run in a folder. RunError where there is none, and for one of another version."""
    run = RunDir(Path(path))
    if not run.path.is_dir():
        raise RunError(f"{run.path}: there is no such folder; give the folder of a finished run")
    if not (run.path / "scores.json").is_file():
        raise RunError(why_unfinished(run))
    return _record(run, scores.read_run(run.path / "scores.json"))


def read_begun(path: Path) -> RunRecord:
    """The run in a folder as far as it is, finished or not. RunError before its first step 0 is scored."""
    run = RunDir(Path(path))
    if (run.path / "scores.json").is_file():
        return read_run(path)
    why = why_unfinished(run)
    if not run.is_done(0):
        raise RunError(f"{why} There is nothing to show yet: the untuned model is not scored.")
    done = [scores.read_step(run.step(number) / "scores.json") for number in range(run.current)]
    steps = [step for step, _ in done]
    method, seed = _method_and_seed(run.path / "config.toml")
    learned = _learned(steps, run.read("stream.json"))
    result = scores.run_scores(method, seed, steps, learned, done[-1][1]) if learned else None
    return _record(run, result or _untuned(method, seed, steps, done[-1][1]), why)


def _method_and_seed(path: Path) -> tuple[str, int]:
    """What a run's config names; RunError where one of them is of another type."""
    config = _read_config(path)
    section, seed = config.get("method", {}), config.get("seed", 0)
    if not isinstance(section, Mapping) or type(seed) is not int:
        raise RunError(
            f"{path}: cannot be read: expected a table [method], and a whole number as seed; restore it"
        )
    return str(section.get("name", "?")), seed


def _learned(steps: Sequence[StepScores], stream: Mapping[str, Any]) -> list[list[str]]:
    """The tasks of each step after the first: as the stream has them, whose steps may repeat a task.

    Where the file of the stream does not say, those that the step is the first to have among the seen ones.
    """
    planned = _planned(stream)
    known: set[str] = set()
    found = []
    for number, step in enumerate(steps[1:]):
        seen = [name for name, score in step.tasks.items() if score.group == SEEN]
        told = planned[number] if number < len(planned) else []
        names = [name for name in seen if name in told] or [name for name in seen if name not in known]
        found.append((names or seen) if step.tasks else told)
        known.update(seen)
    return found


def learned_at(run: RunRecord) -> dict[str, int]:
    """The step that taught each task that was scored as a learned one.

    Where the steps between were not scored (`evaluate.every`), it is as the file of the stream says.
    """
    planned = _planned(run.stream)
    found: dict[str, int] = {}
    before = 0
    for step in run.scores.steps:
        between = range(step.step, before, -1)
        told = {name: at for at in between if at <= len(planned) for name in planned[at - 1]}
        for name, score in step.tasks.items():
            if score.group == SEEN:
                found.setdefault(name, told.get(name, step.step))
        before = step.step if step.tasks else before
    return found


def unscored(run: RunRecord) -> str:
    """Which steps have no scores, and what that leaves out; "" where all have some."""
    found = [str(step.step) for step in run.scores.steps if not step.tasks]
    if not found:
        return ""
    return (
        f"no task was scored after {len(found)} of {len(run.scores.steps) - 1} steps (evaluate.every; "
        f"{some(found)}): forgetting and transfer are over the steps whose tasks were scored when they were "
        "learned, and not given where there are none"
    )


def _planned(stream: Mapping[str, Any]) -> list[list[str]]:
    """The names of each step's tasks in the file of the stream, as far as it has the shape kpig writes."""
    steps = stream.get("steps")
    return [_named(step) for step in steps] if isinstance(steps, list) else []


def _named(step: Any) -> list[str]:
    tasks = step.get("tasks") if isinstance(step, dict) else None
    names = [one.get("task") for one in tasks if isinstance(one, dict)] if isinstance(tasks, list) else []
    return [name for name in names if isinstance(name, str)]


def _untuned(method: str, seed: int, steps: Sequence[StepScores], cost: Cost) -> RunScores:
    """The scores of a run that has learned no step yet."""
    final = Final(steps[-1].seen, steps[-1].held_out)
    return RunScores(method, seed, SCORER, tuple(steps), final, ((),), cost)


def _record(run: RunDir, result: RunScores, going: str = "") -> RunRecord:
    return RunRecord(
        path=run.path,
        name=f"{result.method}, unfinished" if going else result.method,
        scores=result,
        config=_read_config(run.path / "config.toml"),
        environment=run.read("environment.json"),
        events=run.updates(),
        stream=run.read("stream.json"),
        going=going,
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
