"""The process that does one run of a sweep: `python -m kpig.sweep.child RUN_DIR PARENT`, config on stdin.

A crash or a kill takes this run along and no other one. Given notice (`kpig.training.notice`) it ends after
the checkpoint of its present update. It ends with the process that started it: Linux kills it at once,
elsewhere it looks every second. A process is handed to another parent when its own one ends, so the parent's
number tells; where numbers of dead parents stay (Windows), psutil tells.
"""

import ctypes
import os
import signal
import sys
import threading
import time
import tomllib
from pathlib import Path
from types import FrameType

import psutil

from kpig.config import RunConfig, build
from kpig.errors import KpigError
from kpig.progress import Bars
from kpig.rendering import say
from kpig.runs import lock, restart
from kpig.runs.lock import Claim
from kpig.sweep import state
from kpig.training import notice
from kpig.training.notice import Stopped

LOOK_SECONDS = 1.0
"""Between two looks whether the process that started it is still there. Chosen: where the system does not end
the one with the other, as Linux does, the run outlives it by about that."""

PR_SET_PDEATHSIG = 1
"""The option of Linux' prctl(2) that sends a signal when the parent dies; Python has no name for it."""


def main() -> None:
    """Do the run unless another process does; exit code 0, or that of the error on stderr.

    It is notice.UNFINISHED where another process does the run, and after notice to end.
    """
    try:
        for number in notice.SIGNALS:
            signal.signal(number, _stop)
        _do(Path(sys.argv[1]), _die_with(int(sys.argv[2])))
    except KpigError as error:
        say(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Stopped:
        say("asked to end; finished steps and the last checkpoint are kept", file=sys.stderr)
        sys.exit(notice.UNFINISHED)


def _do(folder: Path, parent: psutil.Process) -> None:
    """Hold the run's lock and do it.

    The command line becomes the one that would continue this run alone: its environment.json keeps it.
    """
    sys.argv = ["kpig", "run", str(folder / "config.toml"), "--out", str(folder), "--resume"]
    config = build(tomllib.loads(sys.stdin.read()), where=folder.name)
    with lock.held(folder) as claim:
        threading.Thread(target=_watch, args=(claim, parent), daemon=True).start()
        _run(config, folder, claim)


def _stop(number: int, frame: FrameType | None) -> None:
    """Unwind, unless an update is to be ended first. Further notices change nothing any more."""
    stop = Stopped(number)
    if not notice.holds(stop):
        for further in notice.SIGNALS:
            signal.signal(further, signal.SIG_IGN)
        raise stop


def _run(config: RunConfig, folder: Path, claim: Claim) -> None:
    state.forget_failure(folder)
    if (folder / "scores.json").is_file():
        return
    from kpig.runs.job import run

    run(restart.going_on(folder, config), folder, resume=folder.exists(), watch=Bars(), claim=claim)


def _die_with(number: int) -> psutil.Process:
    """The parent, with which this process ends, however it ends; exits where it has ended already."""
    if sys.platform == "linux":
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        parent = psutil.Process(number)
    except psutil.NoSuchProcess:
        sys.exit(1)
    if _has_ended(parent):
        sys.exit(1)
    return parent


def _has_ended(parent: psutil.Process) -> bool:
    return os.getppid() != parent.pid or not parent.is_running()


def _watch(claim: Claim, parent: psutil.Process) -> None:
    """End the process when its parent is gone or its lock is lost."""
    while True:
        time.sleep(LOOK_SECONDS)
        if _has_ended(parent):
            os._exit(1)
        if claim.lost.is_set():
            os._exit(lock.BUSY)


if __name__ == "__main__":
    main()
