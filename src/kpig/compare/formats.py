"""A comparison as Markdown, as CSV, or as tables on a terminal; LaTeX has a file of its own."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kpig.compare.comparison import Comparison
from kpig.compare.latex import latex
from kpig.compare.lines import Line
from kpig.compare.measures import COSTS, MEASURES, Measure
from kpig.compare.sheets import UNEQUAL, Sheet, sheets
from kpig.rendering import markdown_cell, plain
from kpig.report.text import csv_cell, csv_comment

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Cells = tuple[str, ...]
"""A column: its heading, then its cells."""

MAX_LABEL_WIDTH = 28
"""Characters of a row's label on one line of a terminal. Chosen: of 80 columns it leaves most to the
numbers."""

GAP = "  "
"""What a terminal's table puts between two columns."""

ESTIMATE_COLUMNS = ("mean", "low", "high", "n")
TEST_COLUMNS = (
    "reference",
    "difference",
    "difference_low",
    "difference_high",
    "pairs",
    "p",
    "p_adjusted",
)


def markdown(comparison: Comparison) -> str:
    """Every table under a heading of its own, notes beneath."""
    parts = ["# Comparison"]
    if comparison.unequal:
        parts.append(f"**{UNEQUAL}**\n\n{_bullets(comparison.unequal)}")
    parts += [_markdown_table(sheet) for sheet in sheets(comparison)]
    if comparison.notes:
        parts.append(f"## Notes\n\n{_bullets(comparison.notes)}")
    return "\n\n".join(parts) + "\n"


def as_csv(comparison: Comparison) -> str:
    """A row per label and measure, costs and average rank included; empty where there is no number.

    What should be equal over the runs and is not stands in comment lines (#) on top.
    """
    text = io.StringIO()
    text.writelines(f"{csv_comment(line)}\n" for line in comparison.unequal)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("method", "measure", "better", *ESTIMATE_COLUMNS, *TEST_COLUMNS))
    for line in comparison.lines:
        writer.writerows(_csv_row(line, measure, comparison.reference) for measure in (*MEASURES, *COSTS))
        if line.rank is not None:
            rank = (line.rank, None, None, comparison.num_ranked)
            writer.writerow(
                (csv_cell(line.label), "average_rank", "lower", *rank, *(None for _ in TEST_COLUMNS))
            )
    return text.getvalue()


FORMATS: dict[str, Callable[[Comparison], str]] = {"markdown": markdown, "csv": as_csv, "latex": latex}
"""How to render a comparison as text; each names unequal runs on top."""


def show(comparison: Comparison, console: "Console") -> None:
    """Print the tables to a console, unequal runs on top, notes at the end."""
    from rich.text import Text

    if comparison.unequal:
        console.print(Text(UNEQUAL, style="bold red"))
        _print_bullets(comparison.unequal, console)
        console.print()
    for sheet in sheets(comparison):
        _print_sheet(sheet, console)
    if comparison.notes:
        console.print(Text("Notes", style="bold"))
        _print_bullets(comparison.notes, console)


def _bullets(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {markdown_cell(line)}" for line in lines)


def _markdown_table(sheet: Sheet) -> str:
    def row(cells: tuple[str, ...]) -> str:
        return f"| {' | '.join(map(markdown_cell, cells))} |"

    rule = "| --- |" + " ---: |" * (len(sheet.headings) - 1)
    table = "\n".join([row(sheet.headings), rule, *map(row, sheet.rows)])
    return "\n\n".join([f"## {markdown_cell(sheet.title)}", table, *map(markdown_cell, sheet.notes)])


def _csv_row(line: Line, measure: Measure, reference: str) -> tuple[str | float | None, ...]:
    found, contrast = line.estimates[measure.key], line.contrasts.get(measure.key)
    estimate = (found.mean, found.low, found.high, found.n) if found else (None, None, None, 0)
    tested: tuple[str | float | None, ...] = (None,) * len(TEST_COLUMNS)
    if contrast:
        gap = contrast.difference
        tested = (csv_cell(reference), gap.mean, gap.low, gap.high, gap.n, contrast.p, contrast.adjusted)
    return csv_cell(line.label), measure.key, measure.better, *estimate, *tested


def _print_sheet(sheet: Sheet, console: "Console") -> None:
    """The sheet beneath its title; columns without room stand in further tables under the same labels."""
    from rich.text import Text

    console.print(Text(plain(sheet.title), style="bold"))
    (heading, *labels), *columns = zip(sheet.headings, *sheet.rows, strict=True)
    label_width = min(MAX_LABEL_WIDTH, max(map(len, (heading, *labels))))
    for part in _side_by_side(columns, console.width - label_width):
        console.print(_terminal_table((heading, *labels), label_width, part))
        console.print()
    for note in sheet.notes:
        console.print(Text(plain(note), style="dim"))
    if sheet.notes:
        console.print()


def _side_by_side(columns: Sequence[Cells], room: int) -> list[list[Cells]]:
    """The columns in groups that fit into so many characters, at least one in each."""
    groups: list[list[Cells]] = [[]]
    left = room
    for column in columns:
        needed = _width(column) + len(GAP)
        if groups[-1] and needed > left:
            groups.append([])
            left = room
        groups[-1].append(column)
        left -= needed
    return groups


def _terminal_table(labels: Cells, label_width: int, columns: Sequence[Cells]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column(labels[0], overflow="fold", width=label_width)
    for column in columns:
        table.add_column(column[0], justify="right", width=_width(column))
    for cells in list(zip(labels, *columns, strict=True))[1:]:
        table.add_row(*(Text("\n".join(map(plain, cell.split("\n")))) for cell in cells))
    return table


def _width(column: Cells) -> int:
    """The room of the widest line; headings break between words."""
    heading, *cells = column
    return max(len(part) for part in (*heading.split(), *(line for c in cells for line in c.split("\n"))))


def _print_bullets(lines: tuple[str, ...], console: "Console") -> None:
    from rich.text import Text

    for line in lines:
        console.print(Text(f"- {plain(line)}"))
