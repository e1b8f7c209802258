"""The command `report`: one run, or several side by side, as a page and as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from kpig.cli.app import app, show_report
from kpig.cli.screen import say, show
from kpig.files import true_path


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders, or folders that hold some at any depth.", metavar="RUN..."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Where the report goes, unfinished runs included; default: the first with a finished run.",
        ),
    ] = None,
) -> None:
    """Write report.html and report.md for one run, or for several side by side.

    Of a run that is not finished it says how far it is, with the scores of its steps so far. Its page needs
    --out: nothing is written into the folder of a run that goes on.

    Example: [bold]kpig report runs/quickstart/sequential runs/quickstart/kpig --out runs/quickstart[/bold]
    """
    from kpig.report import is_unfinished, read_begun, read_run, read_unfinished

    found = {path: _runs(path) for path in runs}
    every = list({true_path(one): one for folders in found.values() for one in folders}.values())
    unfinished = [path for path in every if is_unfinished(path)]
    records = [read_run(path) for path in every if path not in unfinished]
    for path in unfinished:
        begun = read_unfinished(path)
        show(begun.table())
        say(begun.sentence)
        if out and begun.steps:
            records.append(read_begun(path))
    if records:
        show_report(records, out or _first_finished(found, unfinished))


def _first_finished(found: Mapping[Path, Sequence[Path]], unfinished: Sequence[Path]) -> Path:
    """The first of the given folders that holds a finished run."""
    return next(path for path, folders in found.items() if not set(folders) <= set(unfinished))


def _runs(path: Path) -> list[Path]:
    """The runs at or under a folder; the path itself where there are none, to be refused by its reader."""
    from kpig.runs.places import runs_at

    return runs_at(path, links=True) or [path]
