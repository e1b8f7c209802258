"""The command `report`: one run, or several side by side, as a page and as a table."""

from pathlib import Path
from typing import Annotated

import typer

from kpig.cli.app import app, show_report
from kpig.cli.screen import say, show


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="One or several run folders.", metavar="RUN...")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the report goes; default: the first finished run.")
    ] = None,
) -> None:
    """Write report.html and report.md for one run, or for several side by side.

    Of a run that is not finished it says how far it is, with the scores of its steps so far.

    Example: [bold]kpig report runs/quickstart/sequential runs/quickstart/kpig --out runs/quickstart[/bold]
    """
    from kpig.report import is_unfinished, read_run, read_unfinished

    finished = [path for path in runs if not is_unfinished(path)]
    records = [read_run(path) for path in finished]
    for path in runs:
        if path not in finished:
            found = read_unfinished(path)
            show(found.table())
            say(found.sentence)
    if records:
        show_report(records, out or finished[0])
