"""report.html and report.md: content into the templates, text onto the disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kpig import pages
from kpig.errors import RunError
from kpig.files import publish
from kpig.rendering import markdown_cell, plain, render
from kpig.report import grid
from kpig.report.content import content
from kpig.report.course_plots import course_plots
from kpig.report.drawing import as_data
from kpig.report.explorer import explorer
from kpig.report.plots import Group, loss_plots, score_plots
from kpig.report.portrait import Portrait, portraits
from kpig.report.prompts import Examples
from kpig.report.record import RunRecord
from kpig.report.text import fenced

FILTERS = {"cell": markdown_cell, "fenced": fenced, "plain": plain}


def write(runs: Sequence[RunRecord], out_dir: Path, found: Sequence[Portrait] = ()) -> Path:
    """Write report.html and report.md of the runs into a folder; the path of report.html.

    `found` are the portraits of these runs where they are made already, which takes minutes for many tasks.
    Everything is rendered before the first file is written. Raises RunError without runs, for damaged
    predictions, and where the disk does not take the files.
    """
    page, text = rendered(runs, found)
    publish(Path(out_dir) / "report.md", text)
    publish(Path(out_dir) / "report.html", page)
    return Path(out_dir) / "report.html"


def rendered(runs: Sequence[RunRecord], found: Sequence[Portrait] = ()) -> tuple[str, str]:
    """The texts of report.html and report.md. Raises RunError without runs, and for damaged predictions.

    `found` as in `write`.
    """
    if not runs:
        raise RunError("a report needs at least one run")
    found = found or portraits(runs)
    shown = content(found)
    scored, learned = score_plots(found), loss_plots(found)
    values = shown | {"score_plots": _numbered(scored, 0), "loss_plots": _numbered(learned, _count(scored))}
    data: dict[str, Any] = {
        "figures": [as_data(figure) for group in (*scored, *learned) for _, figure in group.figures]
    }
    data |= {f"run-{number}": _run_data(one, 1 / len(found)) for number, one in enumerate(found)}
    page = pages.render(
        "report.html.j2",
        values,
        data=data,
        styles=("report/report.css",),
        scripts=("report/heatmap.js", "report/predictions.js", "report/report.js"),
        filters=FILTERS,
    )
    return page, render("report.md.j2", shown, False, FILTERS)


def _run_data(found: Portrait, share: float) -> dict[str, Any]:
    """What the page's scripts read of one run; `share` of the page's room is its own."""
    worse = found.verdict.worse if found.verdict else ()
    return {
        "name": found.run.name,
        "grid": grid.as_data(found.grid, worse),
        "explorer": explorer(found.answered, Examples(found.run), share),
        "plots": [
            {"title": one.title, "note": one.note, "figure": as_data(one.figure)}
            for one in course_plots(found.run)
        ],
    }


def _count(groups: Sequence[Group]) -> int:
    return sum(len(group.figures) for group in groups)


def _numbered(groups: Sequence[Group], first: int) -> list[Mapping[str, Any]]:
    """The groups with the caption of each figure, and its place among the data of the page."""
    found: list[Mapping[str, Any]] = []
    for group in groups:
        figures = [(caption, first + place) for place, (caption, _) in enumerate(group.figures)]
        found.append({"title": group.title, "note": group.note, "figures": figures})
        first += len(group.figures)
    return found
