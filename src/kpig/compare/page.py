"""compare.md, compare.csv, compare.tex and compare.html: rendered first, then written."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpig import pages
from kpig.compare import answers, budgets, pairs
from kpig.compare.comparison import Comparison
from kpig.compare.cost_plots import cost_figures, difference_figure
from kpig.compare.drawing import looks_of
from kpig.compare.formats import FORMATS
from kpig.compare.plots import GROUPS, hidden_note, step_figure, violations
from kpig.compare.sheets import UNEQUAL, Sheet, sheets
from kpig.compare.sheets import budgets as budget_sheet
from kpig.compare.verdict import leads, verdicts
from kpig.files import publish
from kpig.rendering import plain
from kpig.report.drawing import as_data

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SUFFIXES = {"markdown": "md", "csv": "csv", "latex": "tex"}


def write(comparison: Comparison, out_dir: Path) -> Path:
    """Write the tables in every format and the page; the path of compare.html.

    Raises RunError for damaged predictions, and where the disk does not take the files.
    """
    texts = {SUFFIXES[name]: form(comparison) for name, form in FORMATS.items()}
    texts["html"] = page(comparison)
    for suffix, text in texts.items():
        publish(Path(out_dir) / f"compare.{suffix}", text)
    return Path(out_dir) / "compare.html"


def page(comparison: Comparison) -> str:
    """The page to explore a comparison with. Raises RunError for damaged predictions of its runs."""
    read = answers.read(comparison.lines)
    data = {
        "plots": _figures(comparison),
        "lines": _lines(comparison),
        "pairs": pairs.as_data(comparison),
        "answers": answers.as_data(read, comparison.lines),
    }
    return pages.render(
        "compare.html.j2",
        _shown(comparison),
        data=data,
        styles=["compare/compare.css"],
        scripts=["compare/compare.js"],
        filters={"plain": plain},
    )


def _shown(comparison: Comparison) -> dict[str, Any]:
    runs = [run for line in comparison.lines for run in line.runs.values()]
    main, *others = sheets(comparison)
    return {
        "labels": [line.label for line in comparison.lines],
        "colours": {
            line.label: one.colour
            for line, one in zip(comparison.lines, looks_of(comparison.lines), strict=True)
        },
        "reference": comparison.reference,
        "scorer": comparison.scorer,
        "num_runs": len(runs),
        "num_seeds": len({run.cell[0] for run in runs}),
        "num_orders": len({run.order for run in runs}),
        "unequal_lead": UNEQUAL,
        "unequal": comparison.unequal,
        "notes": comparison.notes,
        "leads": leads(comparison),
        "verdicts": verdicts(comparison),
        "readings": budgets.sentences(comparison),
        "budget": rows(budget_sheet(comparison)),
        "main": rows(main),
        "sheets": [rows(sheet) for sheet in others],
        "groups": GROUPS,
        "hidden_note": hidden_note(comparison.lines),
    }


def rows(sheet: Sheet) -> dict[str, Any]:
    """A sheet for the template: each cell with its first line, the rest, and the number it sorts by."""
    return {
        "title": sheet.title,
        "headings": sheet.headings,
        "notes": sheet.notes,
        "rows": [
            (label, [_cell(text, value) for text, value in zip(cells, values, strict=True)])
            for (label, *cells), values in zip(sheet.rows, sheet.values, strict=True)
        ],
    }


def _cell(text: str, value: float | None) -> tuple[str, str, float | None]:
    first, _, rest = text.partition("\n")
    return first, rest, value


def _lines(comparison: Comparison) -> list[dict[str, Any]]:
    """What the page's script says of each line."""
    return [
        {"label": plain(line.label), "colour": one.colour, "bound": line.is_bound}
        | {"reference": line.label == comparison.reference}
        for line, one in zip(comparison.lines, looks_of(comparison.lines), strict=True)
    ]


def _figures(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Every plot, by its place on the page and its name there."""
    found: dict[str, Mapping[str, Figure | None]] = {
        "costs": cost_figures(comparison),
        "steps": {group: step_figure(comparison.lines, group, comparison.reference) for group in GROUPS},
        "differences": {one.key: difference_figure(comparison, one) for one in pairs.MAIN},
        "broken": {group: violations(comparison.lines, group) for group in GROUPS},
    }
    return {
        place: {name: as_data(one) for name, one in figures.items() if one is not None}
        for place, figures in found.items()
    }
