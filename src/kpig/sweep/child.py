"""The process that does one run of a sweep: `python -m kpig.sweep.child RUN_DIR PARENT`, config on stdin.

A crash or a kill takes this run along and no other one. It ends with the sweep that started it: Linux kills
it at once, elsewhere it looks every second. A process is handed to another parent when its own one ends, so
the parent's number tells; where numbers of dead parents stay (Windows), psutil tells.
"""

import ctypes
import os
import signal
import sys
import threading
import time
import tomllib
from pathlib import Path

import psutil

from kpig.config import RunConfig, build
from kpig.errors import KpigError
from kpig.progress import Bars
from kpig.rendering import say
from kpig.runs import lock, restart
from kpig.runs.lock import Claim
from kpig.sweep import state

LOOK_SECONDS = 1.0
"""Between two looks whether the sweep is still there. Chosen: where the system does not end a run with its
sweep, as Linux does, the run outlives it by about that."""

PR_SET_PDEATHSIG = 1
"""The option of Linux' prctl(2) that sends a signal when the parent dies; Python has no name for it."""


def main() -> None:
    """Do the run unless another process does; exit code 0, lock.BUSY, or that of the error on stderr.

    The command line becomes the one that would continue this run alone: its environment.json keeps it.
    """
    folder, sweep = Path(sys.argv[1]), _die_with(int(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.argv = ["kpig", "run", str(folder / "config.toml"), "--out", str(folder), "--resume"]
    config = build(tomllib.loads(sys.stdin.read()), where=folder.name)
    try:
        with lock.held(folder) as claim:
            threading.Thread(target=_watch, args=(claim, sweep), daemon=True).start()
            _run(config, folder, claim)
    except KpigError as error:
        say(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _run(config: RunConfig, folder: Path, claim: Claim) -> None:
    state.forget_failure(folder)
    if (folder / "scores.json").is_file():
        return
    from kpig.runs.job import run

    run(restart.going_on(folder, config), folder, resume=folder.exists(), watch=Bars(), claim=claim)


def _die_with(parent: int) -> psutil.Process:
    """The sweep, with which this process ends, however it ends; exits where the sweep has ended already."""
    if sys.platform == "linux":
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        sweep = psutil.Process(parent)
    except psutil.NoSuchProcess:
        sys.exit(1)
    if _has_ended(sweep):
        sys.exit(1)
    return sweep


def _has_ended(sweep: psutil.Process) -> bool:
    return os.getppid() != sweep.pid or not sweep.is_running()


def _watch(claim: Claim, sweep: psutil.Process) -> None:
    """End the process when its sweep is gone or its lock is lost."""
    while True:
        time.sleep(LOOK_SECONDS)
        if _has_ended(sweep):
            os._exit(1)
        if claim.lost.is_set():
            os._exit(lock.BUSY)


if __name__ == "__main__":
    main()
