"""The command `compare`: finished runs of several methods in one table."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kpig.cli.app import app
from kpig.cli.screen import say, wide


class Format(StrEnum):
    """Tables on the terminal, or one of `kpig.compare.FORMATS`."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    CSV = "csv"
    LATEX = "latex"


@app.command("compare")
def compare_runs(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Finished run folders, or folders that hold some at any depth.", metavar="RUNS..."
        ),
    ],
    against: Annotated[
        str, typer.Option("--against", help="The method or row to test the others against; default kpig.")
    ] = "",
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TERMINAL,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A folder for compare.html (with plots), .md, .csv and .tex."),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Compare runs of unequal budgets or data too, and say so on top.")
    ] = False,
) -> None:
    """Compare methods over seeds and stream orders: intervals, paired tests, average rank, cost.

    Runs of one method that differ in their settings become rows of their own. What must be equal (starting
    weights, data, budgets, evaluation, scorer) is checked first; with --anyway what differs stands on top, in
    CSV as lines that begin with # (pandas: comment="#").

    Example: [bold]kpig compare runs/sweep --against kpig --out runs/compared[/bold]
    """
    from kpig.compare import FORMATS, compare, show, write

    comparison = compare(runs, against, anyway)
    if form == Format.TERMINAL:
        show(comparison, wide())
    else:
        say(FORMATS[form](comparison), end="")
    if out is not None:
        page = write(comparison, out)
        say(f"tables and plots: {page}", file=sys.stdout if form == Format.TERMINAL else sys.stderr)
