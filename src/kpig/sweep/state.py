"""How far each run of a sweep is, read from the sweep's folder: the disk is the only memory. No torch."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpig.errors import RunError
from kpig.files import publish_json
from kpig.runs import lock
from kpig.scoring import scores
from kpig.scoring.records import GroupScore, RunScores
from kpig.sweep.sources import PlannedRun

DONE, RUNNING, FAILED, BEGUN, TO_DO = "done", "running", "failed", "begun", "to do"


@dataclass(frozen=True)
class State:
    """A run and how far it is; `scores` where it is done, `error` where its last attempt failed."""

    run: PlannedRun
    word: str
    scores: RunScores | None = None
    error: str = ""

    @property
    def p_seen(self) -> float | None:
        """P-score on seen tasks after the last step, in percent."""
        return self._seen and self._seen.p_score

    @property
    def p_held_out(self) -> float | None:
        """P-score on held-out tasks after the last step, in percent; None without such tasks."""
        return self._held_out and self._held_out.p_score

    @property
    def v_held_out(self) -> float | None:
        """V-score on held-out tasks after the last step, in percent; None without such tasks."""
        return self._held_out and self._held_out.v_score

    @property
    def forgetting(self) -> float | None:
        """Forgetting in points of P-score; None for a stream of one step."""
        return self.scores and self.scores.final.forgetting

    @property
    def seconds(self) -> float | None:
        """Seconds of training and evaluation, over all its sessions."""
        return self.scores and self.scores.cost.train_seconds + self.scores.cost.eval_seconds

    @property
    def _seen(self) -> GroupScore | None:
        return self.scores and self.scores.final.seen

    @property
    def _held_out(self) -> GroupScore | None:
        return self.scores and self.scores.final.held_out


def look(run: PlannedRun, out: Path) -> State:
    """How far the run is. A finished one is done whatever lies beside it, unless its scores are damaged."""
    folder = out / run.name
    if is_done(folder):
        try:
            return State(run, DONE, scores.read_run(folder / "scores.json"))
        except RunError as error:
            why = f"scores.json is damaged ({error}); restore it, or delete the folder to run it again"
            return State(run, FAILED, error=why)
    if lock.holder(lock.path_of(folder), time.time()):
        return State(run, RUNNING)
    if failure_path(folder).is_file():
        return State(run, FAILED, error=str(_read(failure_path(folder)).get("error", "unknown")))
    return State(run, BEGUN if folder.is_dir() and any(folder.iterdir()) else TO_DO)


def is_done(folder: Path) -> bool:
    """Whether the run in a folder is finished."""
    return (folder / "scores.json").is_file()


def record_failure(folder: Path, error: str) -> None:
    """Keep why the last attempt failed, beside the run folder; the next attempt removes it."""
    publish_json(failure_path(folder), {"error": error, "t": round(time.time(), 3)})


def forget_failure(folder: Path) -> None:
    """Drop what an earlier attempt left: the run is tried again, or done by now, be it by hand."""
    failure_path(folder).unlink(missing_ok=True)


def log_path(folder: Path) -> Path:
    """What the run in a folder printed, in all its sessions."""
    return folder.with_name(folder.name + ".log")


def failure_path(folder: Path) -> Path:
    """Why the last attempt at the run in a folder failed."""
    return folder.with_name(folder.name + ".failed")


def _read(path: Path) -> dict[str, Any]:
    """A JSON file, empty where it is damaged: a table of states must not fail over one run."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
