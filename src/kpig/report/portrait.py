"""What a report measures of one run, once: its answers, its grid, and whether it is safe to ship."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kpig.errors import KpigError, clause
from kpig.report import answered
from kpig.report.answered import Answered
from kpig.report.grid import Grid, grid
from kpig.report.record import RunRecord, distinct
from kpig.runs import gate
from kpig.runs.gate import Verdict


@dataclass(frozen=True)
class Portrait:
    """A run with what was measured of it; `verdict` is None where it cannot be told, and `why` says why."""

    run: RunRecord
    answered: Answered
    grid: Grid
    verdict: Verdict | None
    why: str = ""

    @property
    def gate(self) -> str:
        """The verdict on one line, or why there is none."""
        return self.verdict.sentence if self.verdict else f"this cannot be told: {self.why}"


def portraits(runs: Sequence[RunRecord]) -> list[Portrait]:
    """The portraits of runs under labels that differ. RunError for damaged predictions."""
    return [_portrait(run) for run in distinct(runs)]


def _portrait(run: RunRecord) -> Portrait:
    answers = answered.read(run)
    found = Portrait(run, answers, grid(run, answers), None)
    try:
        return replace(found, verdict=gate.judge(run.path))
    except KpigError as error:
        return replace(found, why=clause(error))
