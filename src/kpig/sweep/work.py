"""A run as work that a process does: started on this machine at once, or carried to another. No torch."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kpig.config import dump
from kpig.processes import has_ended
from kpig.sweep import state
from kpig.sweep.sources import PlannedRun

POLL_SECONDS = 0.2
"""Between two looks at processes. Chosen: little beside the seconds that a run takes."""

CARRIED = ("OMP_NUM_THREADS", "PYTHONPATH")
"""Of the sweep's environment, what goes along to other machines: it decides about bits, and which code."""

MOST_DIGITS = 6
"""Of a number of threads. Chosen: no machine has a million cores."""


@dataclass(frozen=True)
class Ended:
    """How work ended: the exit code of the run's process, or `trouble` where its launcher saw none."""

    code: int
    trouble: str = ""


class Job(Protocol):
    """A run that was given to a launcher."""

    def ended(self) -> Ended | None:
        """How it ended; None while it waits or is at work."""

    def give_notice(self) -> None:
        """Ask it to end when its present update has a checkpoint."""

    def kill(self) -> None:
        """End it at once."""


class Launcher(Protocol):
    """Who starts the processes of runs."""

    def start(self, run: PlannedRun, folder: Path) -> Job:
        """Have a run done in its folder. RunError where the launcher takes no work."""


def num_threads(workers: int) -> int:
    """Threads for each run: OMP_NUM_THREADS where it is set, else an equal share of the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and len(given) <= MOST_DIGITS and int(given) > 0:
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // workers)


def begin(folder: Path, config: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A process at work on the run in a folder, its config as TOML. It ends with this one, however that ends.

    The main thread starts it: with that thread's end Linux ends it.
    """
    with state.log_path(folder).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kpig.sweep.child", str(folder), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=os.environ | environment,
            start_new_session=True,
        )
    assert process.stdin is not None, "it was asked for as a pipe"
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
        stdin.write(config.encode())
    return process


class Errand:
    """A run that a process of another machine does when it is called; it can be pickled."""

    def __init__(self, run: PlannedRun, folder: Path):
        self.folder, self.config = folder.absolute(), dump(run.config)
        self.directory = Path.cwd()
        self.environment = {name: os.environ[name] for name in CARRIED if name in os.environ}
        self._pid: int | None = None

    def __call__(self) -> int:
        """Do the run; the exit code of its process.

        An exception that ends this one (a job that is cancelled) gives it notice.
        """
        os.environ.update(self.environment)
        if self.directory.is_dir():
            os.chdir(self.directory)
        threads = {"OMP_NUM_THREADS": str(num_threads(1))}
        process = begin(self.folder, self.config, threads)
        self._pid = process.pid
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
            self._pid = None
        finally:
            self.give_notice()
        return process.returncode

    def give_notice(self) -> None:
        """Have the process write a checkpoint and end, and wait until it has.

        It looks by itself, as a signal may have come while `Popen` was looking.
        """
        pid, self._pid = self._pid, None
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        while not has_ended(pid):
            time.sleep(POLL_SECONDS)
