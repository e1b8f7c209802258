"""`kpig` in a forked child: a process of its own, which has what this one imported and so begins at once."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from tempfile import TemporaryFile
from typing import IO

import torch

from kpig import cli
from kpig.cli import commands, stops

LONGEST = 300.0
"""Seconds until a child counts as hanging."""

SILENT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""Warnings that Python by itself does not show."""

assert commands.app  # loaded here, once, and not in every child


def kpig(*arguments: object, longest: float = LONGEST) -> subprocess.CompletedProcess[str]:
    """The command, waited for, with what it said. Raises AssertionError where it hangs."""
    with TemporaryFile("w+", encoding="utf-8") as out, TemporaryFile("w+", encoding="utf-8") as errors:
        process = start(arguments, out, errors)
        code = ended(process, longest)
        return subprocess.CompletedProcess(arguments, code, _written(out), _written(errors))


def start(
    arguments: object, out: IO[str], errors: IO[str], first: Callable[[], None] = lambda: None
) -> BaseProcess:
    """The command in a child, which calls `first` before it. What it says goes into the two open files."""
    words = [str(one) for one in arguments]
    process = multiprocessing.get_context("fork").Process(target=_become, args=(words, out, errors, first))
    process.start()
    return process


def ended(process: BaseProcess, longest: float = LONGEST) -> int:
    """Its exit code (negative: the signal). Raises AssertionError where it does not end."""
    process.join(longest)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"the child did not end within {longest:.0f} seconds")
    return process.exitcode


def _written(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _become(words: list[str], out: IO[str], errors: IO[str], first: Callable[[], None]) -> None:
    """As a new process begins, and not as this one goes on in the middle of a test."""
    for number in stops.SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.dup2(out.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)
    _tell_as_python_does()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # else they tell that they were forked
    torch.set_num_threads(1)
    sys.modules["__main__"].__package__ = None  # how click finds the name of the program
    sys.argv = ["kpig", *words]
    first()
    cli.main()


def _tell_as_python_does() -> None:
    """Warnings and log lines go to standard error again, and not to pytest."""
    warnings.resetwarnings()
    for category in SILENT:
        warnings.simplefilter("ignore", category)
    warnings.showwarning = lambda *told, **_: print(warnings.formatwarning(*told[:4]), file=sys.stderr)
    logging.root.handlers.clear()
    for logger in logging.root.manager.loggerDict.values():
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(sys.stderr)
