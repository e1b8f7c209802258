"""What both templates show: plain dicts, lists and text made from the runs."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kpig.records import HELD_OUT, NEW_WORDING, SEED_WORDING, SEEN
from kpig.report import spread
from kpig.report.cells import Cell, cell
from kpig.report.portrait import Portrait
from kpig.report.record import RunRecord, final_tasks, scorers, unscored
from kpig.report.summary import summary
from kpig.report.table import COLUMNS, Row, comparison_rows, p_score
from kpig.report.text import NONE, decimal
from kpig.scoring.meanings import MEANINGS
from kpig.scoring.meanings.meaning import Meaning
from kpig.scoring.metrics import next_step
from kpig.scoring.records import GroupScore, RunScores

MEASURED = {
    "P-score, seen": (SEEN, "p"),
    "P-score, held-out": (HELD_OUT, "p"),
    "V-score, seen": (SEEN, "v"),
    "V-score, held-out": (HELD_OUT, "v"),
    "Mean gain, seen": (SEEN, "gain"),
}
"""Columns of the comparison whose errors the grid of a run has: its mean row, and the measure."""

IN_MAP = ("p_score", "v_score", "gain", "half_listening")
"""What the map of tasks by steps shows."""

TASK_COLUMNS = ("P", "P new wording", "V", "half-listening %", "gain")
TRANSFER = ("backward_transfer", "forgetting", "forward_transfer")
"""What has variants in the literature; the page says which these are."""


def content(found: Sequence[Portrait]) -> dict[str, Any]:
    """The names that the templates use, all but the page's figures. Labels must differ."""
    runs = [one.run for one in found]
    rows = comparison_rows(runs)
    settings = _side_by_side([run.config for run in runs])
    summaries = [summary(one) for one in found]
    return {
        "names": [run.name for run in runs],
        "scorer": scorers(runs),
        "summaries": summaries,
        "questions": list(dict.fromkeys(card.question for one in summaries for card in one.cards)),
        "sentences": _sentences(rows),
        "gates": [(one.run.name, one.gate) for one in found],
        "cautions": _cautions(found, settings),
        "columns": COLUMNS,
        "rows": [(row, _cells(row, found)) for row in rows],
        "details": _details(runs),
        "tasks": _tasks(found),
        "task_columns": TASK_COLUMNS,
        "variants": [
            (MEANINGS[key].title, f"{MEANINGS[key].formula}. {MEANINGS[key].says}") for key in TRANSFER
        ],
        "measures": [_legend(MEANINGS[key]) for key in IN_MAP],
        "commands": [str(run.environment.get("command") or NONE) for run in runs],
        "settings": settings,
        "environment": _side_by_side([{**run.environment, "stream": _stream_notes(run)} for run in runs]),
    }


def _legend(meaning: Meaning) -> str:
    return f"{meaning.title}: {meaning.brief}; {meaning.better} is better."


def _sentences(rows: Sequence[Row]) -> list[tuple[str, list[tuple[str, str]]]]:
    """What the numbers say: a lead, then the value of every row that has one."""
    runs = [row for row in rows if not row.untuned]
    seen, held_out = (group and group.num_tasks for group in (runs[0].seen, runs[0].held_out))
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


def _cautions(found_runs: Sequence[Portrait], settings: Sequence[tuple[str, list[str], bool]]) -> list[str]:
    """What a reader must know before comparing the rows (docs/method.md, section 8)."""
    runs = [one.run for one in found_runs]
    found = ["Each row is one run with one seed; how much another seed would differ is not in these numbers."]
    if len({run.scores.scorer for run in runs}) > 1:
        found.append("The runs were scored by different scorers: their scores do not compare.")
    if len({str(run.stream.get("digest")) for run in runs}) > 1:
        found.append("The runs learned from different task data or in another order.")
    if sum(row.untuned for row in comparison_rows(runs)) > 1:
        found.append("The runs started from different scores: another model, or another evaluation.")
    unequal = [key for key, _, differs in settings if differs and not key.startswith("method.")]
    if unequal:
        found.append(f"Settings beside the method differ: {', '.join(unequal)}.")
    found += [f"{run.name}: {run.going}" for run in runs if run.going]
    found += [f"{run.name}: {told}" for run in runs if (told := unscored(run))]
    notes = [
        (one.run.name, note) for one in found_runs for note in (*one.run.scores.notes, *one.answered.notes)
    ]
    return found + [f"{name}: {note}" for name, note in notes]


def _details(runs: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """Facts beside the comparison, one column per run."""

    def row(name: str, value: Callable[[RunScores], str]) -> tuple[str, list[str]]:
        return name, [value(run.scores) for run in runs]

    return [
        row("Average P-score over the steps (AR)", lambda s: decimal(s.final.average)),
        row("Backward transfer (BWT)", lambda s: decimal(s.final.backward_transfer)),
        row("Forward transfer", lambda s: decimal(s.final.forward_transfer)),
        row("P-score on the next step (FWT without baseline)", lambda s: decimal(next_step(s.matrix))),
        row("Wording gap, seen (own minus new wording)", lambda s: _gap(s.final.seen)),
        row("Wording gap, held-out", lambda s: _gap(s.final.held_out)),
        row("Mean gain, held-out", lambda s: _mean(s.final.held_out, lambda group: group.gain, 2)),
        row("Mean log gain, seen (nats per token)", lambda s: _mean(s.final.seen, lambda g: g.log_gain, 2)),
        row("Mean log gain, held-out", lambda s: _mean(s.final.held_out, lambda group: group.log_gain, 2)),
        row("Tasks with rules a program can check, seen %", lambda s: _constrained(s.final.seen)),
        row("Tasks with rules a program can check, held-out %", lambda s: _constrained(s.final.held_out)),
        row("Examples whose input was shortened", lambda s: _count(s.shortened_examples)),
        row("Seed", lambda s: str(s.seed)),
        row("Scorer", lambda s: s.scorer),
        row("Updates", lambda s: f"{s.cost.updates:,}"),
        row("Train tokens", lambda s: f"{s.cost.train_tokens:,}"),
        row("Forward-only tokens", lambda s: f"{s.cost.forward_tokens:,}"),
        row("Tokens computed, shared ones once", lambda s: _count(s.cost.computed_tokens)),
        row("Replayed examples", lambda s: f"{s.cost.replayed_examples:,}"),
        row("Training seconds", lambda s: f"{s.cost.train_seconds:,.1f}"),
        row("of which measuring gain, seconds", lambda s: f"{s.cost.gain_seconds:,.1f}"),
        row("Evaluation seconds", lambda s: f"{s.cost.eval_seconds:,.1f}"),
    ]


def _mean(group: GroupScore | None, read: Callable[[GroupScore], float | None], digits: int = 1) -> str:
    return NONE if group is None else decimal(read(group), digits)


def _gap(group: GroupScore | None) -> str:
    return _mean(group, lambda one: one.new_wording and one.new_wording.wording_gap)


def _constrained(group: GroupScore | None) -> str:
    return _mean(group, lambda one: one.constrained)


def _count(number: int | None) -> str:
    return NONE if number is None else str(number)


def _cells(row: Row, found: Sequence[Portrait]) -> list[Cell]:
    """The cells of a row of the comparison, with the intervals of means over tasks."""
    one = next(one for one in found if one.run.name in row.runs)
    place = 0 if row.untuned else -1
    cells = []
    for column in COLUMNS:
        group, measure = MEASURED.get(column.name, ("", ""))
        mean = one.grid.means.get(group)
        interval = mean.interval(measure, place) if mean else None
        cells.append(cell(column.text(row), interval, 2 if measure == "gain" else 0))
    return cells


def _tasks(found: Sequence[Portrait]) -> list[dict[str, Any]]:
    """Per task after the last step: name, group, metric and the cells of TASK_COLUMNS for each run."""
    runs = [one.run for one in found]
    return [
        {
            "name": name,
            "group": score.group.replace("_", "-"),
            "metric": score.metric,
            "cells": [_task_cells(one, name) for one in found],
        }
        for name, score in final_tasks(runs).items()
    ]


def _task_cells(found: Portrait, name: str) -> list[Cell]:
    step = found.run.scores.steps[-1]
    score = step.tasks.get(name)
    if score is None:
        return [Cell(NONE)] * len(TASK_COLUMNS)
    answers = found.answered.answers.get((step.step, name), ())
    sure = {
        wording: {key: spread.interval(one, *spread.RANGES[key]) for key, one in values.items()}
        for wording in (SEED_WORDING, NEW_WORDING)
        if (values := spread.values(answers, wording))
    }
    own, new = sure[SEED_WORDING], sure[NEW_WORDING]
    return [
        cell(p_score(score), own["p"]),
        cell(p_score(score.new_wording), new["p"]),
        cell(decimal(score.v_score), own["v"]),
        cell(decimal(score.half_listening), own["half"]),
        cell(decimal(score.gain, 2), own["gain"], 2),
    ]


def _stream_notes(run: RunRecord) -> dict[str, Any]:
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
