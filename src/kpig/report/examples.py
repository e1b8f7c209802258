"""Test examples with the answer of every run, read from the predictions on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kpig.records import Prediction
from kpig.report.record import RunRecord, final_tasks
from kpig.report.text import decimal, shortened
from kpig.runs.folder import RunDir
from kpig.scoring import predictions


def examples(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Up to two test examples per task after the last step, each with the answer of every run.

    They are the first of each wording (the first two where there is one wording): not chosen by score.
    """
    tasks: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for run in runs:
        folder = RunDir(run.path).step(run.scores.steps[-1].step) / "predictions"
        for path in sorted(folder.glob("*.jsonl")):
            for row in _first_predictions(path):
                of_task = tasks.setdefault(row.task, {})
                item = of_task.setdefault((row.example, row.prompt), _example(row))
                item["answers"].append(_answer(run.name, row))
    order = {name: position for position, name in enumerate(final_tasks(runs))}
    names = sorted(tasks, key=lambda name: order.get(name, len(order)))
    return [{"task": name, "items": list(tasks[name].values())} for name in names]


def _first_predictions(path: Path) -> list[Prediction]:
    first: list[Prediction] = []
    for row in predictions.read(path):
        if first and row.wording != first[0].wording:
            return [first[0], row]
        first = [*first, row][:2]
    return first


def _example(row: Prediction) -> dict[str, Any]:
    return {
        "wording": row.wording,
        "group": row.group.replace("_", "-"),
        "prompt": shortened(row.prompt),
        "references": [shortened(reference) for reference in row.references],
        "answers": [],
    }


def _answer(name: str, row: Prediction) -> dict[str, Any]:
    return {
        "run": name,
        "response": shortened(row.response),
        "masked": None if row.masked_response is None else shortened(row.masked_response),
        "same": row.masked_response == row.response,
        "violations": [kind.replace("_", " ") for kind in row.violations],
        "exact_match": decimal(row.exact_match, 0),
        "rouge_l": decimal(row.rouge_l, 2),
    }
