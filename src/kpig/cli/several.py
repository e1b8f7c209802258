"""One job in several processes, as its terminal sees it: which commands may be, who speaks, how all end."""

import os
import sys
from collections.abc import Sequence

from kpig import ranks
from kpig.errors import UsageError
from kpig.ranks import launch

DIVIDED = ("run", "continue", "eval", "gain", "predict", "annotate", "select")
"""Commands whose work processes share. The others are refused where a launcher has started several."""


def begin(arguments: Sequence[str]) -> None:
    """Join the processes that a launcher has started with this one, all but the main one silent.

    Raises UsageError where the command is none that they can share, or where they cannot find each other.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else a lost process is a page of stack frames
    if launch.is_other(os.environ):
        _be_silent()
    if not arguments or arguments[0].startswith("-"):
        return
    command = arguments[0]
    if command in DIVIDED:
        ranks.join()
    elif num_started := launch.num_started(os.environ):
        raise UsageError(
            f"kpig {command} is none of the commands that processes can share ({', '.join(DIVIDED)}), and a "
            f"launcher has started {num_started}; start it without torchrun or accelerate launch"
        )


def last_word(error: BaseException, code: int) -> int | None:
    """None where this process is to say why the job ends; else the code with which it ends silently."""
    if launch.is_other(os.environ) and not ranks.has_joined():
        return code
    told = ranks.last_word(error, code)
    if told is None:
        sys.stdout, sys.stderr = sys.__stdout__ or sys.stdout, sys.__stderr__ or sys.stderr
    return told


def _be_silent() -> None:
    nowhere = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    sys.stdout = sys.stderr = nowhere
