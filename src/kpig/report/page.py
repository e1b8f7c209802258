"""report.html and report.md: content into the templates, text onto the disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kpig import rundir
from kpig.errors import RunError
from kpig.report.content import content
from kpig.report.examples import examples
from kpig.report.plots import figures
from kpig.report.record import RunRecord, distinct
from kpig.report.text import fenced, markdown_cell, plain


def write(runs: Sequence[RunRecord], out_dir: Path) -> Path:
    """Write report.html and report.md of the runs into a folder; the path of report.html.

    Everything is rendered before the first file is written. Raises RunError without runs, for damaged
    predictions, and where the disk does not take the files.
    """
    if not runs:
        raise RunError("a report needs at least one run")
    runs = distinct(runs)
    shown = content(runs)
    page = _render("report.html.j2", True, shown | {"figures": figures(runs), "examples": examples(runs)})
    text = _render("report.md.j2", False, shown)
    rundir.publish(Path(out_dir) / "report.md", text)
    rundir.publish(Path(out_dir) / "report.html", page)
    return Path(out_dir) / "report.html"


def _render(template: str, autoescape: bool, shown: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("kpig", "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": markdown_cell, "fenced": fenced, "plain": plain}
    return environment.get_template(template).render(shown)
