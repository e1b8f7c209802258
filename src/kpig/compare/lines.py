"""A row of a comparison: a method with its settings, its runs, and what was measured of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kpig.compare.measures import COSTS, MEASURES, Measure
from kpig.compare.runs import Cell, Run, data_digest
from kpig.compare.statistics import Contrast, Estimate, estimate

UNTUNED = "init"
BOUNDS = ("mtl", UNTUNED)
"""Methods that show what is possible, not what competes: they get no rank."""


@dataclass(frozen=True)
class Line:
    """A row of the comparison: a method with its settings, and its runs by cell.

    `estimates` are over the line's own runs, by key of MEASURES and COSTS, None where nothing was
    measured; `contrasts` are over the cells shared with the reference, by key of MEASURES.
    """

    label: str
    runs: Mapping[Cell, Run]
    estimates: Mapping[str, Estimate | None]
    contrasts: Mapping[str, Contrast] = field(default_factory=dict)
    rank: float | None = None

    @property
    def is_bound(self) -> bool:
        """Whether the method is a bound, which gets no rank."""
        return self.method in BOUNDS

    @property
    def method(self) -> str:
        """The method's name, or module:Class."""
        return next(iter(self.runs.values())).method


def values(line: Line, measure: Measure) -> dict[Cell, float]:
    """The measure of every run of the line that has it."""
    read = {cell: measure.read(run.record.scores) for cell, run in line.runs.items()}
    return {cell: value for cell, value in read.items() if value is not None}


def estimates(cells: Mapping[Cell, Run]) -> dict[str, Estimate | None]:
    """By key of MEASURES and COSTS, over the runs that are measurements of their own; None: none has it."""
    found = {}
    for measure in (*MEASURES, *COSTS):
        read = [measure.read(run.record.scores) for run in measurements(cells)]
        found[measure.key] = estimate([value for value in read if value is not None])
    return found


def measurements(cells: Mapping[Cell, Run]) -> list[Run]:
    """The runs whose scores are measurements of their own.

    The untuned model is the same in every run on the same tasks.
    """
    runs = list(cells.values())
    if runs[0].method != UNTUNED:
        return runs
    return list({data_digest(run): run for run in reversed(runs)}.values())
