"""The queue of a sweep: a few runs at a time, whoever starts them, until none is left. No torch."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kpig.progress import Watcher
from kpig.runs import lock
from kpig.sweep import state
from kpig.sweep.local import Local
from kpig.sweep.sources import PlannedRun
from kpig.sweep.state import State
from kpig.sweep.work import POLL_SECONDS, Ended, Job, Launcher
from kpig.training import notice

STOP_SECONDS = 10.0
"""How long runs may take to end after Ctrl-C before they are killed. Chosen: time for an update and a file.
After a scheduler's notice it is the scheduler who kills."""

UNFINISHED = (notice.UNFINISHED, *(-number for number in notice.SIGNALS))
"""How a process of a run ends that is to be started again: its run is another's just now, or it had notice,
be it before it could heed it."""

LONGEST_ERROR = 1000
"""Characters of a failed run's error that are kept and shown. Chosen; the whole is in the run's log."""


def shard(runs: Sequence[PlannedRun], index: int, count: int) -> tuple[PlannedRun, ...]:
    """Part `index` (from 1) of `count`: of every `count` runs in a row, one.

    Which one moves on from row to row; else a part could get all the runs of the slowest method.
    """
    return tuple(run for number, run in enumerate(runs) if (number + number // count) % count == index - 1)


def work(
    runs: Sequence[PlannedRun], out: Path, workers: int, watch: Watcher, launcher: Launcher | None = None
) -> list[State]:
    """Do every run that is not done, `workers` at a time; how far each is when none is left to try.

    The launcher starts them, by default on this machine. A run that fails is recorded and the others go on.
    One that another sweep is doing is waited for, and taken over if that sweep dies. However this ends, no
    process is left behind. A notice to end (`kpig.training.notice`) is handed on to the runs; Stopped is
    raised when they have ended.
    """
    queue = _Queue(runs, out, workers, watch, launcher or Local(workers))
    with watch.phase("sweep", len(runs), len(runs) - len(queue.left)), notice.held_back():
        try:
            while (queue.left or queue.active) and not notice.is_given():
                queue.start_some()
                time.sleep(POLL_SECONDS)
                queue.settle()
            queue.end(float("inf"))
        except BaseException:
            try:
                queue.end(STOP_SECONDS)
            finally:
                queue.kill()
            raise
    return [state.look(run, out) for run in runs]


@dataclass(frozen=True)
class _Active:
    """A run in a launcher's hands; `log_start` is where its part of the log begins, in bytes."""

    run: PlannedRun
    job: Job
    log_start: int
    started: float


class _Queue:
    """Runs left to do, jobs at work, and the runs that were seen in another sweep's hands."""

    def __init__(
        self, runs: Sequence[PlannedRun], out: Path, workers: int, watch: Watcher, launcher: Launcher
    ):
        self.out, self.workers, self.watch, self.launcher = out, workers, watch, launcher
        self.left = [run for run in runs if not state.is_done(out / run.name)]
        for run in runs:
            if run not in self.left:
                state.forget_failure(out / run.name)
        self.active: list[_Active] = []
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
                self.active.append(self._start(run))

    def _start(self, run: PlannedRun) -> _Active:
        folder = self.out / run.name
        log = state.log_path(folder)
        log_start = log.stat().st_size if log.exists() else 0
        return _Active(run, self.launcher.start(run, folder), log_start, time.monotonic())

    def settle(self) -> None:
        """Take in the jobs that have ended."""
        for one in list(self.active):
            ended = one.job.ended()
            if ended is None:
                continue
            self.active.remove(one)
            folder = self.out / one.run.name
            if ended.code in UNFINISHED and not state.is_done(folder):
                self.left.append(one.run)
                if lock.holder(lock.path_of(folder), time.time()):
                    self._note_elsewhere(one.run)
                continue
            if ended.code not in (0, *UNFINISHED) or not state.is_done(folder):
                state.record_failure(folder, _why(ended, state.log_path(folder), one.log_start))
            self._tell(state.look(one.run, self.out), f"{time.monotonic() - one.started:.0f} s")

    def end(self, seconds: float) -> None:
        """Give the jobs notice, and so long to end; the next time their runs go on from their checkpoints."""
        for one in self.active:
            one.job.give_notice()
        deadline = time.monotonic() + seconds
        while self.active and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            self.active = [one for one in self.active if one.job.ended() is None]

    def kill(self) -> None:
        """End at once what is left."""
        for one in self.active:
            one.job.kill()

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


def _why(ended: Ended, log: Path, log_start: int) -> str:
    """Why a job ended without its run's scores: the signal, the last error in its log, or its launcher's."""
    known = {one.value: one.name for one in signal.Signals}
    number = -ended.code if ended.code < 0 else ended.code - 128
    if ended.code < 0 or number in known:
        hint = "; is memory short?" if number == signal.SIGKILL else ""
        return f"killed by {known.get(number, f'signal {number}')}{hint}"
    text = _last_error(_since(log, log_start)) or ended.trouble
    return text[:LONGEST_ERROR] or f"exit code {ended.code} without a word"


def _since(log: Path, start: int) -> list[str]:
    """The lines of a log from so many bytes on; none where there is no log."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace").split("\n")


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
