"""scores.json: predictions to the scores of a step, and the steps to the scores of a run. No model.

The shape is version 1 of the run folder's contract; keys are only ever added to a version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean

from kpig.records import HELD_OUT, LATER, NEW_WORDING, SEED_WORDING, SEEN, Prediction, Task
from kpig.scoring import metrics

VERSION = 1


def step_scores(step: int, predictions: Sequence[Prediction], tasks: Sequence[Task]) -> dict:
    """Scores of one evaluation: per group of tasks, and per task.

    "seen" are the tasks learned so far, "later" those evaluated before they are learned.
    """
    kind = {task.name: task.metric for task in tasks}
    seed = metrics.task_scores([p for p in predictions if p.wording == SEED_WORDING], kind)
    new = metrics.task_scores([p for p in predictions if p.wording == NEW_WORDING], kind)
    group_of = {p.task: p.group for p in predictions}
    entries = {name: _task_entry(score, group_of[name], new.get(name)) for name, score in seed.items()}
    groups = {}
    for group in (SEEN, LATER, HELD_OUT):
        members = {name: score for name, score in seed.items() if group_of[name] == group}
        groups[group] = _group_entry(members, {n: new[n] for n in members if n in new}) if members else {}
    return {"step": step, **groups, "tasks": entries}


def evaluation(model: str, predictions: Sequence[Prediction], tasks: Sequence[Task]) -> dict:
    """Scores of one evaluation outside a run: "all" over the tasks, and "tasks", shaped as in a step's scores.

    The predictions are of the group SEEN; `model` says in words what was evaluated.
    """
    found = step_scores(0, predictions, tasks)
    result = {"version": VERSION, "model": model, "scorer": metrics.SCORER}
    return result | {"all": found[SEEN], "tasks": found["tasks"]}


def run_scores(
    method: str,
    seed: int,
    steps: Sequence[Mapping],
    learned: Sequence[Sequence[str]],
    cost: Mapping,
    notes: Mapping,
) -> dict:
    """The scores of a run from those of its steps; `learned` names the tasks of each step, in order."""
    matrix = [[_mean_p_score(step, names) for names in learned] for step in steps]
    final = {"seen": steps[-1][SEEN], "held_out": steps[-1][HELD_OUT]}
    if len(steps) == len(learned) + 1:
        final |= {
            "average": metrics.average(matrix),
            "backward_transfer": metrics.backward_transfer(matrix),
            "forgetting": metrics.forgetting(matrix),
            "forward_transfer": metrics.forward_transfer(matrix),
        }
    return {
        "version": VERSION,
        "method": method,
        "seed": seed,
        "scorer": metrics.SCORER,
        "steps": list(steps),
        "final": final,
        "matrix": matrix,
        "cost": dict(cost),
        **notes,
    }


def _task_entry(score: metrics.TaskScore, group: str, new: metrics.TaskScore | None) -> dict:
    entry = asdict(score) | {"group": group}
    return entry | ({"new_wording": {"p_score": new.p_score, "v_score": new.v_score}} if new else {})


def _group_entry(seed: Mapping[str, metrics.TaskScore], new: Mapping[str, metrics.TaskScore]) -> dict:
    entry = asdict(metrics.group_scores(seed))
    if new:
        same_tasks = metrics.group_scores({name: seed[name] for name in new})
        worded = metrics.group_scores(new)
        entry["new_wording"] = {
            "p_score": worded.p_score,
            "v_score": worded.v_score,
            "wording_gap": same_tasks.p_score - worded.p_score,
            "num_tasks": worded.num_tasks,
        }
    return entry


def _mean_p_score(step: Mapping, names: Sequence[str]) -> float | None:
    """R[t][i]: the mean P-score over a step's tasks; None where they were not evaluated."""
    measured = [step["tasks"][name]["p_score"] for name in names if name in step["tasks"]]
    return fmean(measured) if len(measured) == len(names) else None
