"""`kpig` in a forked child, which has what this process imported and so begins at once; and in a new one."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Child:
    """The command in a child, and the files that hold what it said."""

    process: BaseProcess
    out: IO[str]
    errors: IO[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.is_alive()

    def ended(self, longest: float = LONGEST) -> subprocess.CompletedProcess[str]:
        """Waits; exit code (negative: the signal) and what was said. AssertionError where it hangs."""
        self.process.join(longest)
        if self.is_running:
            self.process.kill()
            raise AssertionError(f"the child did not end within {longest:.0f} seconds")
        with self.out, self.errors:
            self.out.seek(0), self.errors.seek(0)
            said = self.out.read(), self.errors.read()
        return subprocess.CompletedProcess(self.process.name, self.process.exitcode, *said)


def start(*arguments: object, first: Callable[[], None] = lambda: None) -> Child:
    """The command in a child, which calls `first` before it."""
    words = [str(one) for one in arguments]
    out, errors = _file(), _file()
    process = multiprocessing.get_context("fork").Process(target=_become, args=(words, out, errors, first))
    process.start()
    return Child(process, out, errors)


def kpig(*arguments: object, first: Callable[[], None] = lambda: None) -> subprocess.CompletedProcess[str]:
    """The command, waited for."""
    return start(*arguments, first=first).ended()


def anew(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a new process, which imports what it needs by itself, with more of an environment."""
    command = [sys.executable, "-m", "kpig", *map(str, arguments)]
    more = os.environ | environment
    return subprocess.run(command, env=more, capture_output=True, text=True, timeout=LONGEST, check=False)


def _file() -> IO[str]:
    """What is written there is read back as it is: no end of a line is translated, no byte refused."""
    return TemporaryFile("w+", encoding="utf-8", errors="surrogateescape", newline="")


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
