"""compare.md, compare.csv, compare.tex and compare.html: rendered first, then written."""

from pathlib import Path

from kpig.compare.comparison import Comparison
from kpig.compare.formats import FORMATS
from kpig.compare.plots import figures
from kpig.compare.sheets import UNEQUAL, sheets
from kpig.files import publish
from kpig.rendering import plain, render

SUFFIXES = {"markdown": "md", "csv": "csv", "latex": "tex"}


def write(comparison: Comparison, out_dir: Path) -> Path:
    """Write the tables in every format and the page with the plots; the path of compare.html.

    Raises RunError where the disk does not take the files.
    """
    shown = {
        "labels": [line.label for line in comparison.lines],
        "reference": comparison.reference,
        "num_runs": sum(len(line.runs) for line in comparison.lines),
        "unequal_lead": UNEQUAL,
        "unequal": comparison.unequal,
        "notes": comparison.notes,
        "sheets": sheets(comparison),
        "figures": figures(comparison),
    }
    texts = {SUFFIXES[name]: form(comparison) for name, form in FORMATS.items()}
    texts["html"] = render("compare.html.j2", shown, True, {"plain": plain})
    for suffix, text in texts.items():
        publish(Path(out_dir) / f"compare.{suffix}", text)
    return Path(out_dir) / "compare.html"
