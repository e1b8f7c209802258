"""The comparison table: the same rows and columns in HTML, Markdown and the terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kpig.rendering import plain
from kpig.report.record import RunRecord, distinct, scorers
from kpig.report.text import NONE, compact, decimal, pair
from kpig.scoring.meanings import legend
from kpig.scoring.metrics import computing
from kpig.scoring.records import Cost, Final, GroupNewWording, GroupScore, NewWording, StepScores, TaskScore

if TYPE_CHECKING:
    from rich.table import Table


LEGEND = {
    "P": "p_score",
    "V": "v_score",
    "new": "new_wording",
    "forget": "forgetting",
    "bwt": "backward_transfer",
    "half": "half_listening",
    "gain": "gain",
}
"""The short headings of the terminal's table, by the numbers that they stand for."""

BRIEF_LEGEND = {
    "P": "p_score",
    "V": "v_score",
    "forgets": "forgetting",
    "half-listens": "half_listening",
    "gain": "gain",
}
"""Those of the brief table."""


@dataclass(frozen=True)
class Row:
    """One line of the comparison: a run after its last step, or the untuned model, which has cost nothing.

    `seen` and `held_out` are None without such tasks. `runs` are the labels of the runs that it is of.
    """

    name: str
    runs: tuple[str, ...]
    seen: GroupScore | None
    held_out: GroupScore | None
    final: Final | None = None
    cost: Cost | None = None

    @property
    def untuned(self) -> bool:
        """Whether this is the model that the runs started from."""
        return self.final is None


@dataclass(frozen=True)
class Column:
    """A heading, its short form of two lines, which way is better, and the text of a cell."""

    name: str
    short: str
    better: str
    text: Callable[[Row], str]


def p_score(score: GroupScore | TaskScore | NewWording | GroupNewWording | None) -> str:
    """The P-score as a cell; a dash where there is none, as in a wording that was not asked for."""
    return NONE if score is None else decimal(score.p_score)


def v_score(group: GroupScore | None) -> str:
    """The V-score of a group of tasks as a cell."""
    return NONE if group is None else decimal(group.v_score)


def _final(read: Callable[[Final], float | None]) -> Callable[[Row], str]:
    return lambda row: NONE if row.final is None else decimal(read(row.final))


def _cost(read: Callable[[Cost], str]) -> Callable[[Row], str]:
    return lambda row: NONE if row.cost is None else read(row.cost)


COLUMNS = (
    Column("P-score, seen", "P\nseen", "higher", lambda r: p_score(r.seen)),
    Column("P-score, held-out", "P\nheld", "higher", lambda r: p_score(r.held_out)),
    Column(
        "P-score, held-out in a new wording",
        "P\nnew",
        "higher",
        lambda r: p_score(r.held_out and r.held_out.new_wording),
    ),
    Column("V-score, seen", "V\nseen", "lower", lambda r: v_score(r.seen)),
    Column("V-score, held-out", "V\nheld", "lower", lambda r: v_score(r.held_out)),
    Column("Forgetting", "for-\nget", "lower", _final(lambda final: final.forgetting)),
    Column("Backward transfer", "\nbwt", "higher", _final(lambda final: final.backward_transfer)),
    Column(
        "Half-listening %, seen/held-out",
        "\nhalf %",
        "lower",
        lambda r: pair(r.seen and r.seen.half_listening, r.held_out and r.held_out.half_listening),
    ),
    Column("Mean gain, seen", "\ngain", "higher", lambda r: decimal(r.seen and r.seen.gain, 2)),
    Column("Updates", "up-\ndates", "", _cost(lambda cost: compact(cost.updates))),
    Column("Train tokens", "train\ntokens", "", _cost(lambda cost: compact(cost.train_tokens))),
    Column("Forward-only tokens", "fwd\ntokens", "", _cost(lambda cost: compact(cost.forward_tokens))),
    Column("Training minutes", "\nmin", "", _cost(lambda cost: decimal(cost.train_seconds / 60))),
)

BRIEF = (
    Column("P-score, seen", "\nP", "higher", lambda r: p_score(r.seen)),
    Column("V-score, seen", "\nV", "lower", lambda r: v_score(r.seen)),
    Column("Forgetting", "\nforgets", "lower", _final(lambda final: final.forgetting)),
    Column(
        "Half-listening %, seen",
        "half-\nlistens",
        "lower",
        lambda r: decimal(r.seen and r.seen.half_listening),
    ),
    Column("Mean gain, seen", "\ngain", "higher", lambda r: decimal(r.seen and r.seen.gain, 2)),
    Column("Updates", "\nupdates", "", _cost(lambda cost: compact(cost.updates))),
    Column("Computing", "com-\nputing", "", _cost(lambda cost: compact(computing(cost)))),
    Column("Training minutes", "\nminutes", "", _cost(lambda cost: decimal(cost.train_seconds / 60))),
)
"""What a first look needs, on the tasks that were learned, for a terminal of 80 columns."""


def comparison_rows(runs: Sequence[RunRecord]) -> list[Row]:
    """The untuned model, once per distinct start, then the runs."""
    starts: list[tuple[StepScores, list[str]]] = []
    for run in runs:
        start = run.scores.steps[0]
        same = [names for known, names in starts if _alike(known, start)]
        if same:
            same[0].append(run.name)
        else:
            starts.append((start, [run.name]))
    untuned = [
        Row(
            "untuned" if len(starts) == 1 else f"untuned ({', '.join(names)})",
            tuple(names),
            start.later,
            start.held_out,
        )
        for start, names in starts
    ]
    tuned = [(run.name, run.scores.final, run.scores.cost) for run in runs]
    return untuned + [
        Row(name, (name,), final.seen, final.held_out, final, cost) for name, final, cost in tuned
    ]


def _alike(one: StepScores, other: StepScores) -> bool:
    """Whether two untuned models score the same."""
    return (one.later, one.held_out) == (other.later, other.held_out)


def terminal_table(runs: Sequence[RunRecord]) -> "Table":
    """One row per run beneath the untuned model, for a terminal of 100 columns or more."""
    from rich.text import Text

    runs = distinct(runs)
    table = _drawn(runs, COLUMNS, padding=0)
    table.caption = Text(
        f"{legend(LEGEND)} In half, seen/held-out. Cost: updates, train tokens, forward-only tokens, "
        f"minutes of training. Scorer: {scorers(runs)}. More of a number: kpig explain NAME."
    )
    return table


def brief_table(runs: Sequence[RunRecord]) -> "Table":
    """The columns of BRIEF, for a terminal of 80 columns or more."""
    from rich.text import Text

    table = _drawn(distinct(runs), BRIEF, padding=(0, 1))
    table.caption = Text(
        f"On tasks that were learned. {legend(BRIEF_LEGEND)} computing: tokens trained on, and a third of "
        "those only read."
    )
    return table


def _drawn(runs: Sequence[RunRecord], columns: Sequence[Column], padding: int | tuple[int, int]) -> "Table":
    """One row per run beneath the untuned model."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=padding, caption_justify="left")
    table.add_column("method", overflow="fold")
    for column in columns:
        table.add_column(column.short, justify="right", no_wrap=True)
    for row in comparison_rows(runs):
        table.add_row(Text(plain(row.name)), *(column.text(row) for column in columns))
    return table
