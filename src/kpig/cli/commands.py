"""All commands, joined to the app."""

import importlib
from typing import Annotated

import typer

from kpig import __version__
from kpig.cli.app import app
from kpig.cli.screen import say

COMMANDS = (
    "quickstart",
    "init",
    "citb",
    "run",
    "continue",
    "check",
    "plan",
    "report",
    "gate",
    "export",
    "predict",
    "methods",
    "config",
    "explain",
    "sweep",
    "compare",
    "view",
    "annotate",
    "diversify",
    "select",
    "show",
    "eval",
    "score",
    "gain",
    "pretrain",
)
"""Each has a module of its name; they join the app, and its help, in this order."""

for _name in COMMANDS:
    importlib.import_module(f"kpig.cli.{_name}")
app.registered_commands.sort(key=lambda one: COMMANDS.index(str(one.callback.__module__).rpartition(".")[2]))


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        say(f"kpig {__version__}")
        raise typer.Exit
