"""The command line. Heavy imports wait inside each command, so help and checks start in a blink."""

import importlib
import sys
from typing import Annotated

import typer

from kpig import __version__
from kpig.cli.app import app
from kpig.errors import KpigError

COMMANDS = (
    "quickstart",
    "run",
    "check",
    "report",
    "methods",
    "sweep",
    "compare",
    "annotate",
    "diversify",
    "show",
    "eval",
    "score",
    "gain",
    "pretrain",
)
"""Each has a module of its name; they join the app, and its help, in this order."""

for _name in COMMANDS:
    importlib.import_module(f"kpig.cli.{_name}")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"kpig {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point: a KpigError becomes one message and its exit code, never a traceback."""
    try:
        app()
    except KpigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped; continue a run with the same command and --resume", file=sys.stderr)
        sys.exit(130)
