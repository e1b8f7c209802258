"""scores.json: predictions to scores, and the one writer and reader of their files. No model.

The shape is version 1 of the run folder's contract; keys are only ever added to a version. A step's file has
its cost beside its scores and no version; a run's file has the steps without their cost.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from pydantic_core import from_json

from kpig.errors import DataError, RunError, clause, some
from kpig.files import publish_json
from kpig.records import HELD_OUT, LATER, NEW_WORDING, SEED_WORDING, SEEN, Prediction, Task
from kpig.scoring import metrics
from kpig.scoring.records import (
    Cost,
    Coverage,
    Evaluation,
    Final,
    GroupNewWording,
    GroupScore,
    NewWording,
    RunScores,
    StepScores,
    TaskScore,
)
from kpig.scoring.typed_json import Misfit, parse
from kpig.tasks.constraints import MAX_MATCH_SECONDS, UNDECIDED

VERSION = 1

log = logging.getLogger(__name__)

Record = TypeVar("Record")

# --- making ----------------------------------------------------------------------------------


def step_scores(step: int, predictions: Sequence[Prediction], tasks: Sequence[Task]) -> StepScores:
    """Scores of one evaluation: per group of tasks, and per task."""
    seed, new = _by_wording(predictions, tasks)
    seen, later, held_out = (_group(_of(group, seed), new) for group in (SEEN, LATER, HELD_OUT))
    return StepScores(step, seen, later, held_out, _with_new_wordings(seed, new))


def _by_wording(
    predictions: Sequence[Prediction], tasks: Sequence[Task]
) -> tuple[dict[str, TaskScore], dict[str, TaskScore]]:
    """Scores by task under the seed instruction, and under a wording never trained on."""
    kind = {task.name: task.metric for task in tasks}
    _tell_undecided(predictions)
    seed, new = (
        metrics.task_scores([one for one in predictions if one.wording == wording], kind)
        for wording in (SEED_WORDING, NEW_WORDING)
    )
    return seed, new


def _of(group: str, scores: Mapping[str, TaskScore]) -> dict[str, TaskScore]:
    return {name: score for name, score in scores.items() if score.group == group}


def _tell_undecided(predictions: Sequence[Prediction]) -> None:
    undecided = [one for one in predictions if UNDECIDED in one.violations]
    if undecided:
        log.warning(
            "%d of %d responses have a demand whose pattern ran out of time (%g s), or that counts words or "
            "sentences in a script that does not part them, or is held against a number that the input has "
            "not, so it was not judged (%s); write a pattern that backtracks less, or a limit of characters",
            len(undecided),
            len(predictions),
            MAX_MATCH_SECONDS,
            some(list(dict.fromkeys(one.task for one in undecided))),
        )


def evaluation(
    model: str, predictions: Sequence[Prediction], tasks: Sequence[Task], coverage: Coverage | None = None
) -> Evaluation:
    """Scores of one evaluation outside a run; `model` says in words what was evaluated.

    The predictions are of the groups SEEN and HELD_OUT; DataError where there are none.
    """
    seed, new = _by_wording(predictions, tasks)
    every = _group(seed, new)
    if every is None and new:
        raise DataError(
            f'{model}: holds predictions under new wordings alone ("wording": "new"), and scores are of the '
            'tasks\' own; add those, which state no wording or "seed"'
        )
    if every is None:
        raise DataError(f"{model}: there is nothing to score; give tasks that have test examples")
    seen, held_out = (_group(_of(group, seed), new) for group in (SEEN, HELD_OUT))
    apart = (seen, held_out) if seen and held_out else (None, None)
    return Evaluation(model, metrics.SCORER, every, _with_new_wordings(seed, new), coverage, *apart)


def run_scores(
    method: str,
    seed: int,
    steps: Sequence[StepScores],
    learned: Sequence[Sequence[str]],
    cost: Cost,
    shortened_examples: int | None = None,
    notes: Sequence[str] = (),
) -> RunScores:
    """The scores of a run from those of its steps; `learned` names the tasks of each step, in order."""
    matrix = tuple(tuple(_mean_p_score(step, names) for names in learned) for step in steps)
    final = Final(steps[-1].seen, steps[-1].held_out)
    if len(steps) == len(learned) + 1:
        final = replace(
            final,
            average=metrics.average(matrix),
            backward_transfer=metrics.backward_transfer(matrix),
            forgetting=metrics.forgetting(matrix),
            forward_transfer=metrics.forward_transfer(matrix),
        )
    return RunScores(
        method=method,
        seed=seed,
        scorer=metrics.SCORER,
        steps=tuple(steps),
        final=final,
        matrix=matrix,
        cost=cost,
        shortened_examples=shortened_examples,
        notes=tuple(notes),
    )


def _with_new_wordings(seed: Mapping[str, TaskScore], new: Mapping[str, TaskScore]) -> dict[str, TaskScore]:
    worded = {name: NewWording(score.p_score, score.v_score) for name, score in new.items()}
    return {name: replace(score, new_wording=worded.get(name)) for name, score in seed.items()}


def _group(seed: Mapping[str, TaskScore], new: Mapping[str, TaskScore]) -> GroupScore | None:
    """The means over a group's tasks; `new` may hold tasks of other groups too."""
    if not seed:
        return None
    score = metrics.group_scores(seed)
    reworded = [name for name in seed if name in new]
    if not reworded:
        return score
    same_tasks = metrics.group_scores({name: seed[name] for name in reworded})
    worded = metrics.group_scores({name: new[name] for name in reworded})
    gap = same_tasks.p_score - worded.p_score
    return replace(score, new_wording=GroupNewWording(worded.p_score, worded.v_score, gap, worded.num_tasks))


def _mean_p_score(step: StepScores, names: Sequence[str]) -> float | None:
    """R[t][i]: the mean P-score over a step's tasks; None where they were not evaluated."""
    measured = [step.tasks[name].p_score for name in names if name in step.tasks]
    return fmean(measured) if measured and len(measured) == len(names) else None


# --- writing ---------------------------------------------------------------------------------


def write_run(path: Path, scores: RunScores) -> None:
    """The scores of a run as scores.json of its folder."""
    head = {"version": VERSION, "method": scores.method, "seed": scores.seed, "scorer": scores.scorer}
    body = {
        "steps": [_step_json(step) for step in scores.steps],
        "final": _final_json(scores.final),
        "matrix": scores.matrix,
        "cost": _cost_json(scores.cost),
    }
    counted = {} if scores.shortened_examples is None else {"shortened_examples": scores.shortened_examples}
    publish_json(path, head | body | counted | {"notes": scores.notes})


def write_step(path: Path, scores: StepScores, cost: Cost) -> None:
    """The scores of a step, and what the run had cost by then, as scores.json of the step's folder."""
    publish_json(path, _step_json(scores) | {"cost": _cost_json(cost)})


def _cost_json(cost: Cost) -> dict[str, Any]:
    """What was not counted is left out."""
    return {name: value for name, value in asdict(cost).items() if value is not None}


def write_evaluation(path: Path, scores: Evaluation) -> None:
    """The scores of an evaluation outside a run."""
    head = {"version": VERSION, "model": scores.model, "scorer": scores.scorer}
    groups = {SEEN: scores.seen, HELD_OUT: scores.held_out}
    apart = {name: _group_json(group) for name, group in groups.items() if group}
    body = {"all": _group_json(scores.all), **apart, "tasks": _tasks_json(scores.tasks)}
    publish_json(path, head | body | ({"coverage": asdict(scores.coverage)} if scores.coverage else {}))


def _step_json(step: StepScores) -> dict[str, Any]:
    groups = {name: _group_json(step.group(name)) for name in (SEEN, LATER, HELD_OUT)}
    return {"step": step.step, **groups, "tasks": _tasks_json(step.tasks)}


def _final_json(final: Final) -> dict[str, Any]:
    """Without the keys of transfer where nothing of it could be measured."""
    groups = {name: _group_json(final.group(name)) for name in (SEEN, HELD_OUT)}
    transfer = {key: value for key, value in asdict(final).items() if key not in groups}
    return groups | (transfer if any(one is not None for one in transfer.values()) else {})


def _tasks_json(tasks: Mapping[str, TaskScore]) -> dict[str, Any]:
    return {name: _score_json(score) for name, score in tasks.items()}


def _group_json(group: GroupScore | None) -> dict[str, Any]:
    return _score_json(group) if group else {}


def _score_json(score: TaskScore | GroupScore) -> dict[str, Any]:
    """Without the key of the new wording where there is none."""
    found = asdict(score)
    if score.new_wording is None:
        del found["new_wording"]
    return found


# --- reading ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _StepCost:
    """What stands in a step's file beside its scores."""

    cost: Cost


def read_run(path: Path) -> RunScores:
    """The scores of a finished run. RunError for a file that is damaged, incomplete or of another version."""
    return _versioned(path, RunScores)


def read_step(path: Path) -> tuple[StepScores, Cost]:
    """The scores of a step, and what the run had cost by then. RunError for a file that is damaged."""
    text = _text(path)
    return _parsed(path, text, StepScores), _parsed(path, text, _StepCost).cost


def read_evaluation(path: Path) -> Evaluation:
    """What `kpig eval` and `kpig score` wrote. RunError for a file that is damaged or of another version."""
    return _versioned(path, Evaluation)


def _versioned(path: Path, kind: type[Record]) -> Record:
    text = _text(path)
    try:
        found = from_json(text)
    except ValueError as error:
        raise RunError(f"{path}: cannot be read (no valid JSON: {error}); restore it") from error
    version = found.get("version") if isinstance(found, dict) else None
    if version is None:
        raise RunError(f"{path}: this is no scores.json of kpig (it has no version)")
    if type(version) is not int or version != VERSION:
        raise RunError(
            f"{path}: has version {version!r}, this kpig reads version {VERSION}; "
            "make the report with the kpig that made the run, or run again"
        )
    return _parsed(path, text, kind)


def _parsed(path: Path, text: bytes, kind: type[Record]) -> Record:
    try:
        return parse(text, kind)
    except Misfit as error:
        raise RunError(
            f"{path}: cannot be read as scores: {clause(error)}; restore it, or leave it out"
        ) from None


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read ({error.strerror or error}); expected a file that kpig wrote"
        ) from error
