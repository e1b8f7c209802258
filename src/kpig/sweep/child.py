"""The process that does one run of a sweep: `python -m kpig.sweep.child RUN_DIR PARENT`, config on stdin.

A crash or a kill takes this run along and no other one. It ends with the sweep that started it.
"""

import ctypes
import os
import signal
import sys
import threading
import time
import tomllib
from pathlib import Path

from kpig.config import RunConfig, build
from kpig.errors import KpigError
from kpig.progress import Bars
from kpig.sweep import lock, state
from kpig.sweep.lock import Claim

LOOK_SECONDS = 1.0
"""Between two looks whether the sweep is still there. Chosen: where the system does not end a run with its
sweep, as Linux does, the run outlives it by about that."""

PR_SET_PDEATHSIG = 1
"""The option of Linux' prctl(2) that sends a signal when the parent dies; Python has no name for it."""


def main() -> None:
    """Do the run unless another process does; exit code 0, lock.BUSY, or that of the error on stderr.

    The command line becomes the one that would continue this run alone: its environment.json keeps it.
    """
    folder, parent = Path(sys.argv[1]), int(sys.argv[2])
    _die_with(parent)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.argv = ["kpig", "run", str(folder / "config.toml"), "--out", str(folder), "--resume"]
    config = build(tomllib.loads(sys.stdin.read()), where=folder.name)
    try:
        claim = lock.claim(state.lock_path(folder))
        if claim is None:
            sys.exit(lock.BUSY)
        threading.Thread(target=_keep, args=(claim, parent), daemon=True).start()
        try:
            _run(config, folder)
        finally:
            claim.release()
    except KpigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _run(config: RunConfig, folder: Path) -> None:
    if (folder / "scores.json").is_file():
        return
    state.failure_path(folder).unlink(missing_ok=True)
    from kpig.runs import job

    job.run(config, folder, resume=folder.exists(), watch=Bars())


def _die_with(parent: int) -> None:
    """End when the sweep ends, however it ends: at once on Linux, elsewhere `_keep` sees it soon."""
    if sys.platform == "linux":
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def _keep(claim: Claim, parent: int) -> None:
    """Touch the lock now and then; end the process when its sweep is gone or its lock is lost."""
    beaten = time.monotonic()
    while True:
        time.sleep(LOOK_SECONDS)
        if os.getppid() != parent:
            os._exit(1)
        if time.monotonic() - beaten >= lock.BEAT_SECONDS:
            beaten = time.monotonic()
            if not claim.beat():
                os._exit(lock.BUSY)


if __name__ == "__main__":
    main()
