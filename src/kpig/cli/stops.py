"""Ctrl-C, SIGTERM and SIGUSR1: one line that says what is safe and how to go on, and an exit code that tells.

Ctrl-C ends a command at once. The other two are what schedulers send before they take a machine away: an
update that is at work is ended first, and its checkpoint written (`kpig.training.notice`).
"""

import os
import shlex
import signal
import sys
from types import FrameType

from kpig.cli import several
from kpig.cli.screen import say
from kpig.training import notice
from kpig.training.notice import Stopped

SIGNALS = (signal.SIGINT, *notice.SIGNALS)
CONTINUED = ("run", "continue", "pretrain")
"""Commands that go on with --resume."""

STEPS = "finished steps and checkpoints"
REPEATED = {"sweep": STEPS, "quickstart": STEPS, "predict": "the answers so far"}
"""Commands that go on when they are given again, and what is kept of them."""

SHOW_CURSOR = "\x1b[?25h"
"""What a terminal is told to show the cursor that a live bar hides."""

OVER = -1
"""Stands among the signals that were heeded for a command that ends by itself."""

_begun: list[int] = []
"""The signals heeded so far: the first unwinds the command, the next one ends the process."""


def heed() -> None:
    """Turn the signals into `Stopped`; those that whoever started us has silenced (nohup) stay silent."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def over() -> None:
    """The command has ended, and only says so: notices change nothing any more, Ctrl-C ends it at once.

    A launcher gives notice to the others as soon as one process has failed, while they agree on who says why.
    """
    _begun.append(OVER)
    for number in notice.SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def tell() -> None:
    """Say on standard error what is safe and how to go on."""
    say(message(sys.argv[1:]), file=sys.stderr)
    _begun.append(0)


def exit_code(number: int, arguments: list[str]) -> int:
    """128 + the signal's number, as shells count; notice.UNFINISHED after a notice to what can go on."""
    command = arguments[0] if arguments else ""
    goes_on = command in CONTINUED or command in REPEATED
    return notice.UNFINISHED if number in notice.SIGNALS and goes_on else 128 + number


def message(arguments: list[str]) -> str:
    """What is safe, and the command that goes on, as one line."""
    command = arguments[0] if arguments else ""
    again = shlex.join(["kpig", *arguments])
    if command in CONTINUED:
        more = "" if "--resume" in arguments else " --resume"
        return f"stopped; finished steps and the last checkpoint are kept; continue with: {again}{more}"
    if command == "view":
        return "the server has stopped; runs go on without it"
    if kept := REPEATED.get(command):
        return f"stopped; {kept} are kept; continue with the same command: {again}"
    return "stopped; nothing is lost: no file was left half written. Give the same command again"


def _stop(number: int, frame: FrameType | None) -> None:
    """Unwind at the first signal that is not held back. At a second one end at once: every file is whole."""
    stop = Stopped(number)
    if notice.holds(stop):
        return
    _begun.append(number)
    if len(_begun) == 1:
        raise stop
    code = exit_code(number, sys.argv[1:])
    if 0 not in _begun and several.last_word(stop, code) is None:
        from kpig.rendering import visible

        cursor = SHOW_CURSOR if os.isatty(2) else ""
        os.write(2, f"{cursor}{visible(message(sys.argv[1:]))}\n".encode(errors="backslashreplace"))
    os._exit(code)
