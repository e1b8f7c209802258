"""Every answer of a run, by step and task, read from its predictions once, with the score of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kpig.errors import ConfigError
from kpig.records import Prediction
from kpig.report.record import RunRecord
from kpig.runs.folder import RunDir
from kpig.scoring import metrics, predictions


class Answer(NamedTuple):
    """A prediction after a step; `score` is its task's metric, within [0, 1], None where none can be had."""

    step: int
    prediction: Prediction
    score: float | None


@dataclass(frozen=True)
class Answered:
    """The answers by (step, task) in the order of the files; `notes` tell what could not be scored."""

    answers: Mapping[tuple[int, str], Sequence[Answer]]
    notes: tuple[str, ...] = ()


def read(run: RunRecord) -> Answered:
    """All answers that the run's folder still keeps. RunError for a damaged file."""
    found: dict[tuple[int, str], list[Answer]] = {}
    notes: dict[str, None] = {}
    for step in run.scores.steps:
        of_task: dict[str, list[Prediction]] = {}
        for path in sorted((RunDir(run.path).step(step.step) / "predictions").glob("*.jsonl")):
            for one in predictions.read(path):
                of_task.setdefault(one.task, []).append(one)
        for name, rows in of_task.items():
            scores, note = shown(rows, step.tasks[name].metric if name in step.tasks else "rougeL")
            notes |= {note: None} if note else {}
            found[step.step, name] = [Answer(step.step, *pair) for pair in zip(rows, scores, strict=True)]
    return Answered(found, tuple(notes))


def shown(rows: Sequence[Prediction], metric: str) -> tuple[Sequence[float | None], str]:
    """The metric of each answer to one task, None where none can be had, and a sentence on why."""
    why = ""
    try:
        scores = metrics.shown_scores(rows, metric)
        if None in scores:
            why = f"no page imports {metric}, a metric of your own, and the predictions keep no score of it"
    except ConfigError as error:
        scores, why = [None] * len(rows), str(error)
    return scores, f"answers to {rows[0].task} have no score of their own here: {why}" if why else ""
