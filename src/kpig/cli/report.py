"""The command `report`: one run, or several side by side, as a page and as a table."""

from pathlib import Path
from typing import Annotated

import typer

from kpig.cli.app import app, show_report


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(help="One or several finished run folders.", metavar="RUN...")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the report goes; default: the first run.")
    ] = None,
) -> None:
    """Write report.html and report.md for one run, or for several side by side.

    Example: [bold]kpig report runs/quickstart/sequential runs/quickstart/kpig --out runs/quickstart[/bold]
    """
    from kpig.report import read_run

    show_report([read_run(path) for path in runs], out or runs[0])
