"""What both templates show: plain dicts, lists and text made from the runs."""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kpig.records import HELD_OUT, SEEN
from kpig.report.record import RunRecord, final_tasks, scorers
from kpig.report.table import COLUMNS, Row, comparison_rows, new_wording
from kpig.report.text import NONE, decimal
from kpig.scoring import metrics

TASK_COLUMNS = ("P", "P new wording", "V", "half-listening %", "gain")


def content(runs: Sequence[RunRecord]) -> dict:
    """The names that the templates use, all but the page's figures and examples. Labels must differ."""
    rows = comparison_rows(runs)
    settings = _side_by_side([run.config for run in runs])
    return {
        "names": [run.name for run in runs],
        "scorer": scorers(runs),
        "sentences": _sentences(rows),
        "cautions": _cautions(runs, settings),
        "columns": COLUMNS,
        "rows": [(row, [column.text(row) for column in COLUMNS]) for row in rows],
        "details": _details(runs),
        "tasks": _tasks(runs),
        "task_columns": TASK_COLUMNS,
        "variants": [
            (name, _first_paragraph(function))
            for name, function in (
                ("Backward transfer", metrics.backward_transfer),
                ("Forgetting", metrics.forgetting),
                ("Forward transfer", metrics.forward_transfer),
            )
        ],
        "commands": [str(run.environment.get("command") or NONE) for run in runs],
        "settings": settings,
        "environment": _side_by_side([{**run.environment, "stream": _stream_notes(run)} for run in runs]),
    }


def _sentences(rows: Sequence[Row]) -> list[tuple[str, list[tuple[str, str]]]]:
    """What the numbers say: a lead, then the value of every row that has one."""
    runs = [row for row in rows if not row.untuned]
    seen, held_out = runs[0].seen.get("num_tasks"), runs[0].held_out.get("num_tasks")
    leads = (
        (f"P-score on {_tasks_text(seen, 'learned')} (0 to 100, higher is better)", COLUMNS[0]),
        (f"P-score on {_tasks_text(held_out, 'held-out')}, which no step trains on", COLUMNS[1]),
        (
            "V-score on the learned tasks, the percentage of responses that break a rule the instruction "
            "states (lower is better)",
            COLUMNS[3],
        ),
        ("Points of P-score forgotten between a step's best and the end (lower is better)", COLUMNS[5]),
    )
    found = [(lead, [(row.name, column.text(row)) for row in rows]) for lead, column in leads]
    found = [(lead, [pair for pair in values if pair[1] != NONE]) for lead, values in found]
    return [(lead, values) for lead, values in found if values]


def _tasks_text(count: int | None, kind: str) -> str:
    return f"the {kind} tasks" if count is None else f"{count} {kind} task{'s' * (count != 1)}"


def _cautions(runs: Sequence[RunRecord], settings: Sequence[tuple[str, list[str], bool]]) -> list[str]:
    """What a reader must know before comparing the rows (docs/method.md, section 8)."""
    found = ["Each row is one run with one seed; how much another seed would differ is not in these numbers."]
    if len({run.scores["scorer"] for run in runs}) > 1:
        found.append("The runs were scored by different scorers: their scores do not compare.")
    if len({run.stream.get("digest") for run in runs}) > 1:
        found.append("The runs learned from different task data or in another order.")
    if sum(row.untuned for row in comparison_rows(runs)) > 1:
        found.append("The runs started from different scores: another model, or another evaluation.")
    unequal = [key for key, _, differs in settings if differs and not key.startswith("method.")]
    if unequal:
        found.append(f"Settings beside the method differ: {', '.join(unequal)}.")
    return found + [f"{run.name}: {note}" for run in runs for note in run.scores.get("notes", ())]


def _details(runs: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """Facts beside the comparison, one column per run."""

    def row(name: str, value: Callable[[Mapping[str, Any]], str]) -> tuple[str, list[str]]:
        return name, [value(run.scores) for run in runs]

    def group(name: str, key: str, digits: int = 1) -> Callable[[Mapping[str, Any]], str]:
        return lambda s: decimal((s["final"].get(name) or {}).get(key), digits)

    def gap(name: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda s: decimal(new_wording(s["final"].get(name) or {}).get("wording_gap"))

    def cost(key: str, form: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda s: format(s["cost"][key], form) if key in s["cost"] else NONE

    return [
        row("Average P-score over the steps", lambda s: decimal(s["final"].get("average"))),
        row("Forward transfer", lambda s: decimal(s["final"].get("forward_transfer"))),
        row("Wording gap, seen (own minus new wording)", gap(SEEN)),
        row("Wording gap, held-out", gap(HELD_OUT)),
        row("Mean gain, held-out", group(HELD_OUT, "gain", 2)),
        row("Mean log gain, seen (nats per token)", group(SEEN, "log_gain", 2)),
        row("Mean log gain, held-out", group(HELD_OUT, "log_gain", 2)),
        row("Tasks with rules a program can check, seen %", group(SEEN, "constrained")),
        row("Tasks with rules a program can check, held-out %", group(HELD_OUT, "constrained")),
        row("Examples whose input was shortened", lambda s: str(s.get("shortened_examples", NONE))),
        row("Seed", lambda s: str(s.get("seed", NONE))),
        row("Scorer", lambda s: str(s["scorer"])),
        row("Updates", cost("updates", ",")),
        row("Train tokens", cost("train_tokens", ",")),
        row("Forward-only tokens", cost("forward_tokens", ",")),
        row("Replayed examples", cost("replayed_examples", ",")),
        row("Training seconds", cost("train_seconds", ",.1f")),
        row("of which measuring gain, seconds", cost("gain_seconds", ",.1f")),
        row("Evaluation seconds", cost("eval_seconds", ",.1f")),
    ]


def _tasks(runs: Sequence[RunRecord]) -> list[dict]:
    """Per task after the last step: name, group, metric and the cells of TASK_COLUMNS for each run."""
    return [
        {
            "name": name,
            "group": entry["group"].replace("_", "-"),
            "metric": entry["metric"],
            "cells": [_task_cells(run.scores["steps"][-1]["tasks"].get(name)) for run in runs],
        }
        for name, entry in final_tasks(runs).items()
    ]


def _task_cells(entry: Mapping[str, Any] | None) -> list[str]:
    if entry is None:
        return [NONE] * len(TASK_COLUMNS)
    values = [entry["p_score"], new_wording(entry).get("p_score"), entry["v_score"], entry["half_listening"]]
    return [*map(decimal, values), decimal(entry["gain"], 2)]


def _stream_notes(run: RunRecord) -> dict:
    return {key: run.stream[key] for key in ("name", "digest") if key in run.stream}


def _side_by_side(trees: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str], bool]]:
    """Every dotted key with its value in each tree, and whether the values differ."""
    flat = [dict(_flatten(tree)) for tree in trees]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = [(key, [one.get(key, NONE) for one in flat]) for key in keys]
    return [(key, values, len(set(values)) > 1) for key, values in rows]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _first_paragraph(function: Callable) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
