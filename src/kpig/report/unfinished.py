"""A run that is not finished: how far it is, and the scores of the steps that are."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpig.report.record import why_unfinished
from kpig.report.table import p_score, v_score
from kpig.runs.folder import RunDir, is_number
from kpig.scoring import scores
from kpig.scoring.records import StepScores

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Unfinished:
    """The scored steps of a run, and the record of its last update, None before the first one."""

    path: Path
    steps: tuple[StepScores, ...]
    why: str
    last_update: Mapping[str, Any] | None

    @property
    def sentence(self) -> str:
        """How far it is, and what to do, on one line."""
        last = self.last_update
        if last is None:
            return f"{self.why}; no update was done yet"
        seconds = max(0, round(time.time() - last["t"])) if is_number(last.get("t")) else None
        ago = "" if seconds is None else f", {seconds} s ago"
        return f"{self.why}; last update: {last['update']} of step {last['step']}{ago}"

    def table(self) -> "Table":
        """A row for each step that is scored."""
        from rich.table import Table

        table = Table(title=f"{self.path}: not finished", title_justify="left")
        for heading in ("step", "P seen", "P held-out", "V seen", "V held-out"):
            table.add_column(heading, justify="right")
        for one in self.steps:
            seen, held_out = one.seen, one.held_out
            cells = (p_score(seen), p_score(held_out), v_score(seen), v_score(held_out))
            table.add_row(str(one.step) if one.step else "untuned", *cells)
        return table


def is_unfinished(path: Path) -> bool:
    """Whether a folder holds a run that has begun and has no scores of the whole yet."""
    return (path / "stream.json").is_file() and not (path / "scores.json").is_file()


def read_unfinished(path: Path) -> Unfinished:
    """How far the run in a folder is. RunError where one of its files is damaged."""
    run = RunDir(path)
    done = [number for number in range(run.current) if run.is_done(number)]
    found = tuple(scores.read_step(run.step(number) / "scores.json")[0] for number in done)
    updates = run.updates()
    return Unfinished(path, found, why_unfinished(run), updates[-1] if updates else None)
