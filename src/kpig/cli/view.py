"""The command `view`: runs, sweeps and comparisons in a browser, fresh while they go on."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from kpig.cli.app import app
from kpig.cli.screen import say
from kpig.training.notice import Stopped


@app.command()
def view(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, sweeps or other folders that hold runs, and folders of a written comparison.",
            metavar="RUNS...",
        ),
    ],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes one that is free.")
    ] = 0,
) -> None:
    """Show runs in a browser: every report, the comparison, and unfinished runs as they go on.

    The server is on 127.0.0.1 alone. It answers only URLs with the token that it prints, and writes nothing.
    Reports are built when their run's files have changed. Stop it with Ctrl-C. It needs the extra "view".

    Example: [bold]kpig view runs/sweep[/bold]
    """
    from kpig.view import serve

    def tell(url: str) -> None:
        say(f"open {url} in a browser of this machine; Ctrl-C stops the server")
        sys.stdout.flush()  # whoever reads a pipe waits for it while the server runs

    serve(runs, port, tell)
    # It ends when it is asked to, and then raises in most cases: not where the signal met a callback.
    raise Stopped(signal.SIGINT)
