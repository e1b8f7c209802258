"""The comparison table: the same rows and columns in HTML, Markdown and the terminal."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kpig.records import HELD_OUT, LATER, SEEN
from kpig.report.record import RunRecord, distinct, scorers
from kpig.report.text import compact, decimal, pair, plain

if TYPE_CHECKING:
    from rich.table import Table


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


def new_wording(group: Mapping[str, Any]) -> Mapping[str, Any]:
    """The scores of a group or task in a wording never trained on; empty where not measured."""
    return group.get("new_wording") or {}


def _minutes(cost: Mapping[str, Any]) -> float | None:
    return cost["train_seconds"] / 60 if "train_seconds" in cost else None


COLUMNS = (
    Column("P-score, seen", "P\nseen", "higher", lambda r: decimal(r.seen.get("p_score"))),
    Column("P-score, held-out", "P\nheld", "higher", lambda r: decimal(r.held_out.get("p_score"))),
    Column(
        "P-score, held-out in a new wording",
        "P\nnew",
        "higher",
        lambda r: decimal(new_wording(r.held_out).get("p_score")),
    ),
    Column("V-score, seen", "V\nseen", "lower", lambda r: decimal(r.seen.get("v_score"))),
    Column("V-score, held-out", "V\nheld", "lower", lambda r: decimal(r.held_out.get("v_score"))),
    Column("Forgetting", "for-\nget", "lower", lambda r: decimal(r.final.get("forgetting"))),
    Column("Backward transfer", "\nbwt", "higher", lambda r: decimal(r.final.get("backward_transfer"))),
    Column(
        "Half-listening %, seen/held-out",
        "\nhalf %",
        "lower",
        lambda r: pair(r.seen.get("half_listening"), r.held_out.get("half_listening")),
    ),
    Column("Mean gain, seen", "\ngain", "higher", lambda r: decimal(r.seen.get("gain"), 2)),
    Column("Updates", "up-\ndates", "", lambda r: compact(r.cost.get("updates"))),
    Column("Train tokens", "train\ntokens", "", lambda r: compact(r.cost.get("train_tokens"))),
    Column("Forward-only tokens", "fwd\ntokens", "", lambda r: compact(r.cost.get("forward_tokens"))),
    Column("Training minutes", "\nmin", "", lambda r: decimal(_minutes(r.cost))),
)


def comparison_rows(runs: Sequence[RunRecord]) -> list[Row]:
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


def terminal_table(runs: Sequence[RunRecord]) -> "Table":
    """One row per run beneath the untuned model, for a terminal of 100 columns or more."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    runs = distinct(runs)
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=0, caption_justify="left")
    table.add_column("method", overflow="fold")
    for column in COLUMNS:
        table.add_column(column.short, justify="right", no_wrap=True)
    for row in comparison_rows(runs):
        table.add_row(Text(plain(row.name)), *(column.text(row) for column in COLUMNS))
    table.caption = Text(
        "P: score on the task, 0 to 100, higher is better. V: % of responses that break a rule of the "
        "instruction, lower. new: held-out tasks in a wording never trained on. forget: points lost, lower. "
        "bwt: backward transfer, higher. half: % of answers that do not change when the key parts are "
        "masked, seen/held-out, lower. gain: of key parts on seen tasks, higher. Cost: updates, tokens "
        f"trained on, tokens only read, minutes of training. Scorer: {scorers(runs)}."
    )
    return table
