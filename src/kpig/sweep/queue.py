"""The queue of a sweep: a few runs at a time, each in a process of its own, until none is left. No torch."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kpig.config import dump
from kpig.progress import Watcher
from kpig.runs import lock
from kpig.sweep import state
from kpig.sweep.sources import PlannedRun
from kpig.sweep.state import State

POLL_SECONDS = 0.2
"""Between two looks at the running processes. Chosen: little beside the seconds that a run takes."""

STOP_SECONDS = 10.0
"""How long runs that were asked to end may take before they are killed. Chosen: time to finish writing a
file."""

LONGEST_ERROR = 1000
"""Characters of a failed run's error that are kept and shown. Chosen; the whole is in the run's log."""


def shard(runs: Sequence[PlannedRun], index: int, count: int) -> tuple[PlannedRun, ...]:
    """Part `index` (from 1) of `count`: of every `count` runs in a row, one.

    Which one moves on from row to row; else a part could get all the runs of the slowest method.
    """
    return tuple(run for number, run in enumerate(runs) if (number + number // count) % count == index - 1)


MOST_DIGITS = 6
"""Of a number of threads. Chosen: no machine has a million cores."""


def num_threads(workers: int) -> int:
    """Threads for each run: OMP_NUM_THREADS where it is set, else an equal share of the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and len(given) <= MOST_DIGITS and int(given) > 0:
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // workers)


def work(runs: Sequence[PlannedRun], out: Path, workers: int, watch: Watcher) -> list[State]:
    """Do every run that is not done, `workers` at a time; how far each is when none is left to try.

    A run that fails is recorded and the others go on. One that another sweep is doing is waited for, and
    taken over if that sweep dies. However this ends, no process is left behind.
    """
    queue = _Queue(runs, out, workers, watch)
    with watch.phase("sweep", len(runs), len(runs) - len(queue.left)):
        try:
            while queue.left or queue.active:
                queue.start_some()
                time.sleep(POLL_SECONDS)
                queue.settle()
        finally:
            queue.stop()
    return [state.look(run, out) for run in runs]


@dataclass(frozen=True)
class _Child:
    """A process at work on a run; `log_start` is where its part of the log begins, in bytes."""

    run: PlannedRun
    process: subprocess.Popen[bytes]
    log_start: int
    started: float


class _Queue:
    """Runs left to do, processes at work, and the runs that were seen in another sweep's hands."""

    def __init__(self, runs: Sequence[PlannedRun], out: Path, workers: int, watch: Watcher):
        self.out, self.workers, self.watch = out, workers, watch
        self.left = [run for run in runs if not state.is_done(out / run.name)]
        for run in runs:
            if run not in self.left:
                state.forget_failure(out / run.name)
        self.active: list[_Child] = []
        self.elsewhere: set[str] = set()
        self.began, self.num_runs, self.num_settled = time.monotonic(), len(runs), 0

    def start_some(self) -> None:
        """Start runs while there is room. Another sweep's are passed over, and settled when it ends them."""
        for run in list(self.left):
            if len(self.active) >= self.workers:
                return
            found = state.look(run, self.out)
            if found.word == state.RUNNING:
                lock.redate(lock.path_of(self.out / run.name))
                self._note_elsewhere(run)
                continue
            self.left.remove(run)
            if found.word == state.DONE or (found.word == state.FAILED and run.name in self.elsewhere):
                self._tell(found, "by another sweep")
            else:
                self.active.append(_start(run, self.out, self.workers))

    def settle(self) -> None:
        """Take in the processes that have ended."""
        for child in [one for one in self.active if one.process.poll() is not None]:
            self.active.remove(child)
            if child.process.returncode == lock.BUSY:
                self.left.append(child.run)
                self._note_elsewhere(child.run)
                continue
            folder = self.out / child.run.name
            if child.process.returncode != 0 or not state.is_done(folder):
                state.record_failure(folder, _why(child, state.log_path(folder)))
            self._tell(state.look(child.run, self.out), f"{time.monotonic() - child.started:.0f} s")

    def stop(self) -> None:
        """End the processes; their runs continue from their checkpoints the next time."""
        try:
            for child in self.active:
                child.process.terminate()
            deadline = time.monotonic() + STOP_SECONDS
            for child in self.active:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, deadline - time.monotonic()))
        finally:
            for child in self.active:
                child.process.kill()
                child.process.wait()

    def _note_elsewhere(self, run: PlannedRun) -> None:
        if run.name not in self.elsewhere:
            self.elsewhere.add(run.name)
            who = lock.holder(lock.path_of(self.out / run.name), time.time()) or "just ended"
            self.watch.say(f"{run.name}: another sweep is doing it ({who})")

    def _tell(self, found: State, note: str) -> None:
        self.num_settled += 1
        name = f"{self.num_runs - len(self.left) - len(self.active)}/{self.num_runs} {found.run.name}"
        if found.word == state.DONE:
            values = (("P seen", found.p_seen), ("P held-out", found.p_held_out))
            scores = [f"{name} {value:.1f}" for name, value in values if value is not None]
            self.watch.say(f"{name}: {', '.join([*scores, note])}")
        else:
            self.watch.say(f"{name}: {found.word}, {note}: {found.error}")
        per_run = (time.monotonic() - self.began) / self.num_settled
        minutes = per_run * (len(self.left) + len(self.active)) / 60
        self.watch.advance(note=f"about {minutes:.0f} min left" if minutes >= 1 else "")


def _start(run: PlannedRun, out: Path, workers: int) -> _Child:
    """A process at work on the run. The main thread starts it: with that thread's end Linux ends it."""
    folder = out / run.name
    with state.log_path(folder).open("ab") as log:
        log_start = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kpig.sweep.child", str(folder), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=os.environ | {"OMP_NUM_THREADS": str(num_threads(workers))},
            start_new_session=True,
        )
    assert process.stdin is not None, "it was asked for as a pipe"
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
        stdin.write(dump(run.config).encode())
    return _Child(run, process, log_start, time.monotonic())


def _why(child: _Child, log: Path) -> str:
    """Why a process ended without its run's scores: the signal, or the last error in its log."""
    code = child.process.returncode
    known = {one.value: one.name for one in signal.Signals}
    number = -code if code < 0 else code - 128
    if code < 0 or number in known:
        hint = "; is memory short?" if number == signal.SIGKILL else ""
        return f"killed by {known.get(number, f'signal {number}')}{hint}"
    with log.open("rb") as file:
        file.seek(child.log_start)
        text = _last_error(file.read().decode(errors="replace").split("\n"))
    return text[:LONGEST_ERROR] or f"exit code {code} without a word"


def _last_error(lines: Sequence[str]) -> str:
    """The last error of a log on one line: ours, or the exception that ends the last traceback."""
    lines = [line for line in lines if line.strip()]
    begins = {
        number: line
        for number, line in enumerate(lines)
        if line.startswith(("error: ", "Traceback (most recent"))
    }
    if not begins:
        return " ".join(lines[-1:]).strip()
    last = max(begins)
    if begins[last].startswith("error: "):
        return " ".join(line.strip() for line in lines[last:]).removeprefix("error: ")
    return " ".join(line.strip() for line in lines[last + 1 :] if not line.startswith(" "))
