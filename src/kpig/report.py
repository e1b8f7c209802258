"""Finished runs, one or several side by side: report.html, report.md and a table for the terminal. No model.

Task names, predictions and settings are other people's text: they are escaped wherever they are shown.
"""

import html
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpig import metrics, rundir, scores
from kpig.errors import RunError
from kpig.records import HELD_OUT, LATER, SEEN
from kpig.rundir import RunDir

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from rich.table import Table

NONE = "–"
MAX_SHOWN_CHARACTERS = 1500
_REQUIRED = ("method", "scorer", "steps", "final", "matrix", "cost")


@dataclass(frozen=True)
class RunRecord:
    """What a finished run left behind. `name` is its label: the method, and the folder where needed.

    `scores`, `config`, `environment` and `stream` are the run's files as plain dicts, `events` the lines of
    events.jsonl; predictions stay on disk until a report shows some.
    """

    path: Path
    name: str
    scores: Mapping[str, Any]
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
        raise RunError(_why_unfinished(run))
    result = run.read("scores.json")
    _check_scores(run.path / "scores.json", result)
    return RunRecord(
        path=run.path,
        name=str(result["method"]),
        scores=result,
        config=_read_config(run.path / "config.toml"),
        environment=run.read("environment.json"),
        events=_losses(run.events()),
        stream=run.read("stream.json"),
    )


def write(runs: Sequence[RunRecord], out_dir: Path) -> Path:
    """Write report.html and report.md of the runs into a folder; the path of report.html.

    Everything is rendered before the first file is written. Raises RunError without runs, for damaged
    predictions, and where the disk does not take the files.
    """
    if not runs:
        raise RunError("a report needs at least one run")
    runs = _distinct(runs)
    content = _content(runs)
    page = _render("report.html.j2", True, content | {"figures": _figures(runs), "examples": _examples(runs)})
    text = _render("report.md.j2", False, content)
    rundir.publish(Path(out_dir) / "report.md", text)
    rundir.publish(Path(out_dir) / "report.html", page)
    return Path(out_dir) / "report.html"


def terminal_table(runs: Sequence[RunRecord]) -> "Table":
    """One row per run beneath the untuned model, for a terminal of 100 columns or more."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    runs = _distinct(runs)
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=0, caption_justify="left")
    table.add_column("method", overflow="fold")
    for column in COLUMNS:
        table.add_column(column.short, justify="right", no_wrap=True)
    for row in _rows(runs):
        table.add_row(Text(_plain(row.name)), *(column.text(row) for column in COLUMNS))
    table.caption = Text(
        "P: score on the task, 0 to 100, higher is better. V: % of responses that break a rule of the "
        "instruction, lower. new: held-out tasks in a wording never trained on. forget: points lost, lower. "
        "bwt: backward transfer, higher. half: % of answers that do not change when the key parts are "
        "masked, seen/held-out, lower. gain: of key parts on seen tasks, higher. Cost: updates, tokens "
        f"trained on, tokens only read, minutes of training. Scorer: {_scorers(runs)}."
    )
    return table


# Reading.


def _why_unfinished(run: RunDir) -> str:
    if not (run.path / "stream.json").is_file():
        return f"{run.path}: holds no run of kpig (no scores.json); give the folder of a finished run"
    planned = f" of {len(run.read('stream.json').get('steps', ()))}"
    done = len(list(run.path.glob(f"steps/*/{rundir.DONE}"))) - run.is_done(0)
    return (
        f"{run.path}: the run is not finished ({max(done, 0)}{planned} steps done, no scores.json); "
        "finish it with --resume, then ask again"
    )


def _check_scores(path: Path, result: Any) -> None:
    version = result.get("version") if isinstance(result, dict) else None
    if version is None:
        raise RunError(f"{path}: this is no scores.json of kpig (it has no version)")
    if version != scores.VERSION:
        raise RunError(
            f"{path}: has version {version!r}, this kpig reads version {scores.VERSION}; "
            "make the report with the kpig that made the run, or run again"
        )
    missing = [key for key in _REQUIRED if not result.get(key)]
    if missing:
        raise RunError(f"{path}: is incomplete, {', '.join(missing)} missing or empty; finish with --resume")


def _read_config(path: Path) -> dict:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); the run folder is not whole") from error


def _losses(events: Iterable[Any]) -> list[dict]:
    """The events of updates in order; of an update done twice, before and after a resume, the later one."""
    kept = {
        (e["step"], e["update"]): e for e in events if isinstance(e, dict) and {"step", "update"} <= e.keys()
    }
    return [kept[key] for key in sorted(kept)]


def _distinct(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs under labels that differ: the folder is added to a shared label, then a number."""
    labels = [run.name for run in runs]
    if len(set(labels)) < len(labels):
        folders = [f"{run.name} ({run.path.resolve().name})" for run in runs]
        labels = [
            long if labels.count(short) > 1 else short for short, long in zip(labels, folders, strict=True)
        ]
    numbers = [labels[: i + 1].count(label) for i, label in enumerate(labels)]
    return [
        replace(run, name=label if number == 1 else f"{label} {number}")
        for run, label, number in zip(runs, labels, numbers, strict=True)
    ]


# The comparison table: the same columns in HTML, Markdown and the terminal.


@dataclass(frozen=True)
class Row:
    """One line of the comparison: a run after its last step, or the untuned model."""

    name: str
    seen: Mapping[str, Any]
    held_out: Mapping[str, Any]
    final: Mapping[str, Any]
    cost: Mapping[str, Any]
    untuned: bool = False


@dataclass(frozen=True)
class Column:
    """A heading, its short form of two lines, which way is better, and the text of a cell."""

    name: str
    short: str
    better: str
    text: Callable[[Row], str]


def _number(value: float | None, digits: int = 1) -> str:
    return NONE if value is None else f"{value:z.{digits}f}"


def _compact(value: float | None) -> str:
    """A count in at most six characters: 950, 120.5k, 1.2M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value is not None and value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.1f}{unit}"
    return NONE if value is None else f"{value:.0f}"


def _pair(first: float | None, second: float | None) -> str:
    return NONE if first is None and second is None else f"{_number(first)}/{_number(second)}"


def _new(group: Mapping[str, Any]) -> Mapping[str, Any]:
    return group.get("new_wording") or {}


def _minutes(cost: Mapping[str, Any]) -> float | None:
    return cost["train_seconds"] / 60 if "train_seconds" in cost else None


COLUMNS = (
    Column("P-score, seen", "P\nseen", "higher", lambda r: _number(r.seen.get("p_score"))),
    Column("P-score, held-out", "P\nheld", "higher", lambda r: _number(r.held_out.get("p_score"))),
    Column(
        "P-score, held-out in a new wording",
        "P\nnew",
        "higher",
        lambda r: _number(_new(r.held_out).get("p_score")),
    ),
    Column("V-score, seen", "V\nseen", "lower", lambda r: _number(r.seen.get("v_score"))),
    Column("V-score, held-out", "V\nheld", "lower", lambda r: _number(r.held_out.get("v_score"))),
    Column("Forgetting", "for-\nget", "lower", lambda r: _number(r.final.get("forgetting"))),
    Column("Backward transfer", "\nbwt", "higher", lambda r: _number(r.final.get("backward_transfer"))),
    Column(
        "Half-listening %, seen/held-out",
        "\nhalf %",
        "lower",
        lambda r: _pair(r.seen.get("half_listening"), r.held_out.get("half_listening")),
    ),
    Column("Mean gain, seen", "\ngain", "higher", lambda r: _number(r.seen.get("gain"), 2)),
    Column("Updates", "up-\ndates", "", lambda r: _compact(r.cost.get("updates"))),
    Column("Train tokens", "train\ntokens", "", lambda r: _compact(r.cost.get("train_tokens"))),
    Column("Forward-only tokens", "fwd\ntokens", "", lambda r: _compact(r.cost.get("forward_tokens"))),
    Column("Training minutes", "\nmin", "", lambda r: _number(_minutes(r.cost))),
)


def _rows(runs: Sequence[RunRecord]) -> list[Row]:
    """The untuned model, once per distinct start, then the runs."""
    starts: dict[str, tuple[list[str], Mapping]] = {}
    for run in runs:
        start = run.scores["steps"][0]
        key = json.dumps([start.get(LATER), start.get(HELD_OUT)], sort_keys=True)
        starts.setdefault(key, ([], start))[0].append(run.name)
    rows = [
        Row(
            "untuned" if len(starts) == 1 else f"untuned ({', '.join(names)})",
            start.get(LATER) or {},
            start.get(HELD_OUT) or {},
            {},
            {},
            untuned=True,
        )
        for names, start in starts.values()
    ]
    for run in runs:
        final = run.scores["final"]
        rows.append(
            Row(run.name, final.get(SEEN) or {}, final.get(HELD_OUT) or {}, final, run.scores["cost"])
        )
    return rows


# What the templates show.


def _content(runs: Sequence[RunRecord]) -> dict:
    rows = _rows(runs)
    settings = _side_by_side([run.config for run in runs])
    return {
        "names": [run.name for run in runs],
        "scorer": _scorers(runs),
        "sentences": _sentences(rows),
        "cautions": _cautions(runs, settings),
        "columns": COLUMNS,
        "rows": [(row, [column.text(row) for column in COLUMNS]) for row in rows],
        "details": _details(runs),
        "tasks": _tasks(runs),
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
    """What a reader must know before comparing the rows (METHOD.md section 8)."""
    found = ["Each row is one run with one seed; how much another seed would differ is not in these numbers."]
    if len({run.scores["scorer"] for run in runs}) > 1:
        found.append("The runs were scored by different scorers: their scores do not compare.")
    if len({run.stream.get("digest") for run in runs}) > 1:
        found.append("The runs learned from different task data or in another order.")
    if sum(row.untuned for row in _rows(runs)) > 1:
        found.append("The runs started from different scores: another model, or another evaluation.")
    unequal = [key for key, _, differs in settings if differs and not key.startswith("method.")]
    if unequal:
        found.append(f"Settings beside the method differ: {', '.join(unequal)}.")
    return found


def _details(runs: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """Facts beside the comparison, one column per run."""

    def row(name: str, value: Callable[[Mapping[str, Any]], str]) -> tuple[str, list[str]]:
        return name, [value(run.scores) for run in runs]

    def group(name: str, key: str, digits: int = 1) -> Callable[[Mapping[str, Any]], str]:
        return lambda s: _number((s["final"].get(name) or {}).get(key), digits)

    def gap(name: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda s: _number(_new(s["final"].get(name) or {}).get("wording_gap"))

    def cost(key: str, form: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda s: format(s["cost"][key], form) if key in s["cost"] else NONE

    return [
        row("Average P-score over the steps", lambda s: _number(s["final"].get("average"))),
        row("Forward transfer", lambda s: _number(s["final"].get("forward_transfer"))),
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


TASK_COLUMNS = ("P", "P new wording", "V", "half-listening %", "gain")


def _tasks(runs: Sequence[RunRecord]) -> list[dict]:
    """Per task after the last step: name, group, metric and the cells of TASK_COLUMNS for each run."""
    return [
        {
            "name": name,
            "group": entry["group"].replace("_", "-"),
            "metric": entry["metric"],
            "cells": [_task_cells(run.scores["steps"][-1]["tasks"].get(name)) for run in runs],
        }
        for name, entry in _final_tasks(runs).items()
    ]


def _final_tasks(runs: Sequence[RunRecord]) -> dict[str, Mapping]:
    """Every task that some run ends with, in order of appearance."""
    found: dict[str, Mapping] = {}
    for run in runs:
        for name, entry in run.scores["steps"][-1]["tasks"].items():
            found.setdefault(name, entry)
    return found


def _task_cells(entry: Mapping[str, Any] | None) -> list[str]:
    if entry is None:
        return [NONE] * len(TASK_COLUMNS)
    values = [entry["p_score"], _new(entry).get("p_score"), entry["v_score"], entry["half_listening"]]
    return [*map(_number, values), _number(entry["gain"], 2)]


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


def _scorers(runs: Sequence[RunRecord]) -> str:
    return ", ".join(dict.fromkeys(str(run.scores["scorer"]) for run in runs))


def _first_paragraph(function: Callable) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


# Examples.


def _examples(runs: Sequence[RunRecord]) -> list[dict]:
    """Up to two test examples per task after the last step, each with the answer of every run.

    They are the first of each wording (the first two where there is one wording): not chosen by score.
    """
    tasks: dict[str, dict[tuple[str, str], dict]] = {}
    for run in runs:
        folder = RunDir(run.path).step(run.scores["steps"][-1]["step"]) / "predictions"
        for path in sorted(folder.glob("*.jsonl")):
            for row in _first_predictions(path):
                of_task = tasks.setdefault(row["task"], {})
                item = of_task.setdefault((row["example"], row["prompt"]), _example(row))
                item["answers"].append(_answer(run.name, row))
    order = {name: position for position, name in enumerate(_final_tasks(runs))}
    names = sorted(tasks, key=lambda name: order.get(name, len(order)))
    return [{"task": name, "items": list(tasks[name].values())} for name in names]


def _first_predictions(path: Path) -> list[dict]:
    first: list[dict] = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if first and row["wording"] != first[0]["wording"]:
                    return [first[0], row]
                first = [*first, row][:2]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path}: cannot be read as predictions ({error}); restore or remove it") from error
    return first


def _example(row: Mapping[str, Any]) -> dict:
    references = [_shortened(reference) for reference in row["references"]]
    return {
        "wording": row["wording"],
        "group": row["group"].replace("_", "-"),
        "prompt": _shortened(row["prompt"]),
        "references": references,
        "answers": [],
    }


def _answer(name: str, row: Mapping[str, Any]) -> dict:
    masked = row["masked_response"]
    return {
        "run": name,
        "response": _shortened(row["response"]),
        "masked": None if masked is None else _shortened(masked),
        "same": masked == row["response"],
        "violations": [kind.replace("_", " ") for kind in row["violations"]],
        "exact_match": _number(row["exact_match"], 0),
        "rouge_l": _number(row["rouge_l"], 2),
    }


def _shortened(text: str) -> str:
    rest = len(text) - MAX_SHOWN_CHARACTERS
    return text if rest <= 0 else f"{text[:MAX_SHOWN_CHARACTERS]} … ({rest} more characters)"


# Plots. Categories sit at numbers with tick texts, so that two labels that look alike stay two.

COLOURS = ("#3f73c4", "#d9803a", "#2f9e77", "#b1559b", "#8c7a2b", "#c0504d", "#5aa7c7", "#7463c1")
KIND_COLOURS = ("#c0504d", "#e0a03c", "#5b8fc7", "#8a6fb5", "#6f7782", "#4fa08b")
UNTUNED_COLOUR = "#8d949e"


def _figures(runs: Sequence[RunRecord]) -> list[dict]:
    """Titles, notes and the HTML of every plot; the first HTML brings plotly.js along."""
    rows = _rows(runs)
    groups: list[tuple[str, str, list[tuple[str, Figure]]]] = [
        (
            "P-score after each step",
            "Higher is better. Step 0 is the untuned model, on all tasks of the stream; step t shows the "
            "tasks learned up to then. A run that learns everything at once has a single step.",
            [
                ("Seen tasks", _step_figure(runs, SEEN)),
                ("Held-out tasks", _step_figure(runs, HELD_OUT)),
            ],
        ),
        (
            "Broken rules by kind, after the last step",
            "Lower is better. Bars: percentage of responses that break a rule of that kind; a response can "
            "break several kinds, so a stack may be taller than the V-score (diamond).",
            [
                ("Seen tasks", _violation_figure(rows, SEEN)),
                ("Held-out tasks", _violation_figure(rows, HELD_OUT)),
            ],
        ),
        (
            "What each step did to the tasks of every step",
            "P-score on the tasks of step i (across) after learning step t (down). Blank: not measured. "
            "Read down a column to see a step's tasks being learned and then kept or lost.",
            [(run.name, _matrix_figure(run.scores["matrix"])) for run in runs],
        ),
        (
            "Loss of every update",
            "Dotted lines: a new step begins. Where a method adds terms to its loss, hover for the "
            "cross-entropy, which compares between methods.",
            [("", _loss_figure(runs))],
        ),
        (
            "Key-part gain per task, after the last step",
            "How much likelier the reference becomes when the key parts of the instruction are readable, "
            "from -1 to 1. Near 0: the model answers without them.",
            [("", _gain_figure(runs))],
        ),
    ]
    shown = []
    for title, note, figures in groups:
        drawn = [(caption, figure) for caption, figure in figures if figure is not None]
        numbered = [
            (caption, _figure_html(figure, f"{len(shown)}-{i}")) for i, (caption, figure) in enumerate(drawn)
        ]
        if numbered:
            shown.append({"title": title, "note": note, "figures": numbered})
    return shown


def _figure_html(figure: "Figure", number: str) -> str:
    import plotly.io

    return plotly.io.to_html(
        figure,
        full_html=False,
        include_plotlyjs=number == "0-0",
        div_id=f"figure-{number}",
        config={"displayModeBar": False, "responsive": True},
    )


def _figure(traces: list[dict], height: int, **layout: Any) -> "Figure":
    from plotly.graph_objects import Figure

    axis = {"gridcolor": "rgba(128,136,148,.25)", "zeroline": False, "automargin": True, "fixedrange": True}
    axes = {name: axis | layout.pop(name, {}) for name in ("xaxis", "yaxis", *_second_axes(layout))}
    common = {
        "template": "none",
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "traceorder": "normal"},
    }
    return Figure(data=traces, layout=common | axes | layout)


def _second_axes(layout: Mapping[str, Any]) -> list[str]:
    return [name for name in layout if name in ("xaxis2", "yaxis2")]


def _label(text: str, limit: int = 40) -> str:
    """Text for plotly, which would read tags in it; at most `limit` characters."""
    plain = _plain(text)
    return html.escape(plain if len(plain) <= limit else plain[: limit - 1] + "…", quote=False)


def _plain(text: str) -> str:
    """On one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _ticks(labels: Sequence[str]) -> dict:
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": [_label(x) for x in labels],
    }


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _step_figure(runs: Sequence[RunRecord], group: str) -> "Figure | None":
    traces = []
    for number, run in enumerate(runs):
        steps = [
            (
                step["step"],
                (step.get(group) or (step.get(LATER) if group == SEEN and not step["step"] else None)),
            )
            for step in run.scores["steps"]
        ]
        points = [(step, scored["p_score"]) for step, scored in steps if scored]
        if points:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": _label(run.name),
                    "x": [step for step, _ in points],
                    "y": [score for _, score in points],
                    "line": {"color": _colour(number), "width": 2.5},
                    "marker": {"size": 8},
                    "hovertemplate": "step %{x}: %{y:.1f}",
                }
            )
    if not traces:
        return None
    last = max(max(trace["x"]) for trace in traces)
    return _figure(
        traces,
        330,
        showlegend=True,
        xaxis={"title": {"text": "step"}, "dtick": 1 + last // 12, "showgrid": False},
        yaxis={"title": {"text": "P-score"}, "range": [-3, 103]},
    )


def _violation_figure(rows: Sequence[Row], group: str) -> "Figure | None":
    found = [(row.name, row.seen if group == SEEN else row.held_out) for row in rows]
    found = [(name, scored) for name, scored in found if scored]
    if not found:
        return None
    positions = list(range(len(found)))
    kinds = dict.fromkeys(kind for _, scored in found for kind in scored["violations"])
    traces: list[dict] = [
        {
            "type": "bar",
            "name": _label(kind.replace("_", " ")),
            "x": positions,
            "y": [scored["violations"].get(kind, 0) for _, scored in found],
            "marker": {"color": KIND_COLOURS[number % len(KIND_COLOURS)]},
            "width": 0.55,
            "hovertemplate": "%{y:.1f} %",
        }
        for number, kind in enumerate(kinds)
        if any(scored["violations"].get(kind) for _, scored in found)
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "V-score",
            "x": positions,
            "y": [scored["v_score"] for _, scored in found],
            "marker": {
                "symbol": "diamond",
                "size": 11,
                "color": "#fff",
                "line": {"color": "#20242b", "width": 2},
            },
            "hovertemplate": "%{y:.1f} %",
        }
    )
    return _figure(
        traces,
        380,
        barmode="stack",
        showlegend=True,
        xaxis=_ticks([name for name, _ in found]) | {"showgrid": False, "range": [-0.6, len(found) - 0.4]},
        yaxis={"title": {"text": "% of responses"}, "rangemode": "tozero"},
    )


def _matrix_figure(matrix: Sequence[Sequence[float | None]]) -> "Figure | None":
    if not matrix or not matrix[0]:
        return None
    num_columns = len(matrix[0])
    trace = {
        "type": "heatmap",
        "z": [list(row) for row in matrix],
        "x": list(range(1, num_columns + 1)),
        "y": list(range(len(matrix))),
        "text": [["" if value is None else _number(value) for value in row] for row in matrix],
        "texttemplate": "%{text}" if num_columns <= 10 else "",
        "zmin": 0,
        "zmax": 100,
        "colorscale": [[0, "#eef2f8"], [0.5, "#86abdd"], [1, "#1f4d96"]],
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "hovertemplate": "after step %{y}, tasks of step %{x}: %{text}<extra></extra>",
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickvals": [0, 50, 100]},
    }
    return _figure(
        [trace],
        120 + 34 * min(len(matrix), 18),
        xaxis={"title": {"text": "tasks of step i"}, "dtick": 1 + num_columns // 12, "showgrid": False},
        yaxis={
            "title": {"text": "after step t"},
            "dtick": 1 + len(matrix) // 18,
            "autorange": "reversed",
            "showgrid": False,
        },
    )


def _loss_figure(runs: Sequence[RunRecord]) -> "Figure | None":
    series = [(number, run, [e for e in run.events if "loss" in e]) for number, run in enumerate(runs)]
    series = [one for one in series if one[2]]
    if not series:
        return None
    traces = []
    for number, run, events in series:
        line = {"color": _colour(number), "width": 1.6}
        updates = list(range(1, len(events) + 1))
        common = {"type": "scatter", "mode": "lines", "x": updates, "line": line, "legendgroup": str(number)}
        traces.append(
            common
            | {
                "name": _label(run.name),
                "y": [e["loss"] for e in events],
                "customdata": [_number(e.get("cross_entropy"), 4) for e in events],
                "hovertemplate": "update %{x}: loss %{y:.4f}, cross-entropy %{customdata}",
            }
        )
        if any("divergence" in e for e in events):
            traces.append(
                common
                | {
                    "name": f"{_label(run.name)}: divergence",
                    "showlegend": False,
                    "y": [e.get("divergence") for e in events],
                    "yaxis": "y2",
                    "hovertemplate": "update %{x}: divergence %{y:.4f}",
                }
            )
    positive = all(e["loss"] > 0 for _, _, events in series for e in events)
    two = any(trace.get("yaxis") == "y2" for trace in traces)
    lower = {"title": {"text": "divergence<br>(nats)"}, "domain": [0, 0.26], "rangemode": "tozero"}
    longest = max((events for _, _, events in series), key=lambda events: events[-1]["step"])
    return _figure(
        traces,
        460 if two else 340,
        showlegend=True,
        shapes=_step_lines(longest),
        xaxis={"title": {"text": "update"}, "showgrid": False, "anchor": "y2" if two else "y"},
        yaxis={
            "title": {"text": "loss" + " (log scale)" * positive},
            "type": "log" if positive else "linear",
            "domain": [0.34 if two else 0, 1],
            "dtick": 1 if positive else None,
        },
        **({"yaxis2": lower} if two else {}),
    )


def _step_lines(events: Sequence[Mapping[str, Any]]) -> list[dict]:
    """Dotted lines between the last update of a step and the first of the next."""
    line = {"color": UNTUNED_COLOUR, "width": 1, "dash": "dot"}
    return [
        {"type": "line", "yref": "paper", "x0": i + 0.5, "x1": i + 0.5, "y0": 0, "y1": 1, "line": line}
        for i in range(1, len(events))
        if events[i]["step"] != events[i - 1]["step"]
    ]


def _gain_figure(runs: Sequence[RunRecord]) -> "Figure | None":
    tasks = _final_tasks(runs)
    same_start = sum(row.untuned for row in _rows(runs)) == 1
    series = [("untuned", runs[0].scores["steps"][0]["tasks"], UNTUNED_COLOUR)] if same_start else []
    series += [(run.name, run.scores["steps"][-1]["tasks"], _colour(i)) for i, run in enumerate(runs)]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": _label(name),
            "y": list(range(len(tasks))),
            "x": [entries.get(task, {}).get("gain") for task in tasks],
            "marker": {"color": colour},
            "hovertemplate": "%{y}: %{x:.2f}",
        }
        for name, entries, colour in series
    ]
    if all(value is None for trace in traces[same_start:] for value in trace["x"]):
        return None
    labels = [name + " (held-out)" * (entry["group"] == HELD_OUT) for name, entry in tasks.items()]
    return _figure(
        traces,
        110 + len(tasks) * (14 + 11 * len(traces)),
        barmode="group",
        bargap=0.25,
        showlegend=True,
        xaxis={"title": {"text": "gain"}, "zeroline": True, "zerolinecolor": UNTUNED_COLOUR},
        yaxis=_ticks(labels) | {"autorange": "reversed", "showgrid": False},
    )


# Templates.


def _render(template: str, autoescape: bool, content: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("kpig", "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _markdown_cell, "fenced": _fenced, "plain": _plain}
    return environment.get_template(template).render(content | {"task_columns": TASK_COLUMNS})


def _markdown_cell(text: str) -> str:
    """Text inside a Markdown table or line, shown as it is."""
    escaped = html.escape(_plain(str(text)), quote=False)
    return "".join(f"\\{c}" if c in "\\|`*[]" else c for c in escaped)


def _fenced(text: str) -> str:
    """A code block with a fence longer than any run of backticks inside."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"
