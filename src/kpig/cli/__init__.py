"""The command line. Heavy imports wait inside each command, so help and checks start in a blink."""

import importlib
import sys
from typing import NoReturn

from kpig.cli import arguments, failures, notes, pipes, stops
from kpig.errors import DiskError, KpigError
from kpig.training.notice import Stopped


def main() -> NoReturn:
    """Entry point: whatever ends a command becomes one message and its exit code, never a traceback.

    Typer is loaded inside, so that a signal during the imports finds its handler too.
    """
    try:
        stops.heed()
        pipes.outlast_readers()
        arguments.require_text(sys.argv[1:])
        told = notes.listen()
        try:
            importlib.import_module("kpig.cli.commands").app()
        finally:
            told.count()
    except Stopped as stop:
        stops.tell()
        sys.exit(stops.exit_code(stop.number, sys.argv[1:]))
    except KpigError as error:
        more = failures.going_on(sys.argv[1:]) if isinstance(error, DiskError) else ""
        failures.tell(f"{error}{more}")
        sys.exit(error.exit_code)
    except Exception as error:
        words = failures.in_words(error)
        if words is None:
            raise
        failures.tell(words)
        sys.exit(1)
    raise AssertionError("typer ends the process itself")
