"""The command line. Heavy imports wait inside each command, so help and checks start in a blink."""

import importlib
import sys
from typing import NoReturn

from kpig import ranks
from kpig.cli import arguments, failures, notes, pipes, several, stops
from kpig.errors import KpigError
from kpig.training.notice import Stopped


def main() -> NoReturn:
    """Entry point: whatever ends a command becomes one message and its exit code, never a traceback.

    Typer is loaded inside, so that a signal during the imports finds its handler too.
    """
    try:
        stops.heed()
        pipes.outlast_readers()
        arguments.require_text(sys.argv[1:])
        several.begin(sys.argv[1:])
        told = notes.listen()
        try:
            importlib.import_module("kpig.cli.commands").app()
        finally:
            told.count()
    except SystemExit:
        stops.over()
        ranks.leave()
        raise
    except Stopped as stop:
        stops.over()
        ends = stops.exit_code(stop.number, sys.argv[1:])
        code = several.last_word(stop, ends)
        if code is None:
            stops.tell()
        sys.exit(ends if code is None else code)
    except Exception as error:
        stops.over()
        ends = error.exit_code if isinstance(error, KpigError) else 1
        if (code := several.last_word(error, ends)) is not None:
            sys.exit(code)
        words = failures.in_words(error)
        if words is None:
            raise
        failures.tell(words)
        sys.exit(ends)
    raise AssertionError("typer ends the process itself")
