"""report.html and report.md: content into the templates, text onto the disk."""

from collections.abc import Sequence
from pathlib import Path

from kpig.errors import RunError
from kpig.files import publish
from kpig.rendering import markdown_cell, plain, render
from kpig.report.content import content
from kpig.report.examples import examples
from kpig.report.plots import figures
from kpig.report.record import RunRecord, distinct
from kpig.report.text import fenced

FILTERS = {"cell": markdown_cell, "fenced": fenced, "plain": plain}


def write(runs: Sequence[RunRecord], out_dir: Path) -> Path:
    """Write report.html and report.md of the runs into a folder; the path of report.html.

    Everything is rendered before the first file is written. Raises RunError without runs, for damaged
    predictions, and where the disk does not take the files.
    """
    if not runs:
        raise RunError("a report needs at least one run")
    runs = distinct(runs)
    shown = content(runs)
    page = render(
        "report.html.j2", shown | {"figures": figures(runs), "examples": examples(runs)}, True, FILTERS
    )
    text = render("report.md.j2", shown, False, FILTERS)
    publish(Path(out_dir) / "report.md", text)
    publish(Path(out_dir) / "report.html", page)
    return Path(out_dir) / "report.html"
