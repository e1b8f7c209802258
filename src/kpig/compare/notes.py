"""What a reader of a comparison must know beside the numbers, a sentence each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kpig.compare.equality import INDIFFERENT
from kpig.compare.labels import TUNED
from kpig.compare.lines import Line, measurements
from kpig.compare.measures import MEASURES, RANKED
from kpig.compare.runs import Cell, Run, cell_name, has_suite_per_seed
from kpig.compare.statistics import COVERAGE
from kpig.errors import some
from kpig.report.record import unscored

MAX_NAMED_CELLS = 5
"""Chosen, so that a note stays a sentence; the others are counted."""

FLOOR = 3.0
"""A P-score below which all methods are when nothing can be told from it. Chosen: on the held-out tasks of
the real stream every method was at 2.2 or below (docs/results.md)."""

LEARNING = ("train.", "replay.", "method.")
"""Sections of a config that may change on the way, and what is learned with them."""

MIN_SEEDS, MIN_ORDERS = 3, 2
"""What a claim needs (docs/method.md, section 8)."""


def notes(lines: Sequence[Line], left_out: Sequence[str]) -> list[str]:
    """What a reader must know beside the numbers."""
    runs = [run for line in lines for run in line.runs.values()]
    return [
        *left_out,
        *_missing_cells(lines),
        *_too_few([run.cell for run in runs]),
        *_narrow(lines),
        *_shared_streams(runs),
        *_begun_anew(runs),
        *_unscored(runs),
        *_repeated_measurements(lines),
        *_at_the_floor(lines),
        *_varying("learning rate", lines, lambda run: f"{run.settings[TUNED]:g}"),
        *_varying("device", lines, lambda run: _of_environment(run, "device")),
        *_varying("precision of training", lines, lambda run: _of_environment(run, "train_precision")),
        *_varying("commit of kpig", lines, lambda run: _of_environment(run, "commit")),
        *_varying("version of kpig", lines, lambda run: _package(run, "kpig")),
        *_varying("version of torch", lines, lambda run: _package(run, "torch")),
    ]


def _missing_cells(lines: Sequence[Line]) -> list[str]:
    every = list(dict.fromkeys(cell for line in lines for cell in line.runs))
    notes = []
    for line in lines:
        missing = [cell_name(cell) for cell in every if cell not in line.runs]
        if missing:
            rest = len(missing) - MAX_NAMED_CELLS
            named = "; ".join(missing[:MAX_NAMED_CELLS]) + (f"; and {rest} more" if rest > 0 else "")
            notes.append(
                f"{line.label} lacks {len(missing)} of {len(every)} runs ({named}): its mean is over the "
                "others, and it is tested over those it shares with the reference"
            )
    return notes


def _too_few(cells: Iterable[Cell]) -> list[str]:
    seeds, orders = ({cell[place] for cell in cells} for place in (0, 1))
    if len(seeds) >= MIN_SEEDS and len(orders) >= MIN_ORDERS:
        return []
    return [
        f"a claim needs at least {MIN_SEEDS} seeds and {MIN_ORDERS} stream orders; here the number of seeds "
        f"is {len(seeds)} and that of orders {len(orders)}"
    ]


def _narrow(lines: Sequence[Line]) -> list[str]:
    """That intervals over few runs promise too much, by the line that has the fewest."""
    fewest = min((num for line in lines if (num := len(measurements(line.runs))) > 1), default=0)
    if fewest not in COVERAGE:
        return []
    return [
        f"intervals over few runs are too narrow: one over {fewest} holds the true mean about "
        f"{COVERAGE[fewest]} times in a hundred, not 95, where scores are normal; p is exact"
    ]


def _shared_streams(runs: Sequence[Run]) -> list[str]:
    if not has_suite_per_seed(runs):
        return []
    note = "every seed has a stream of its own from the built-in suite"
    if len({run.order for run in runs}) == 1:
        return [note]
    return [
        f"{note}, which its orders share: runs of one seed are less independent than their number says, and "
        "intervals and p values speak of these streams"
    ]


def _begun_anew(runs: Sequence[Run]) -> list[str]:
    """A sentence about runs that learned with other settings earlier on."""
    found = [str(run.path) for run in runs if any(map(run.is_changed, _learned_by(run)))]
    if not found:
        return []
    return [
        f"{len(found)} of {len(runs)} runs changed how they learn on the way; their reports say how: "
        f"{some(found)}"
    ]


def _learned_by(run: Run) -> list[str]:
    """The keys of its config that change what is learned of the same data."""
    return [key for key in run.settings if key.startswith(LEARNING) and key not in INDIFFERENT - {TUNED}]


def _unscored(runs: Sequence[Run]) -> list[str]:
    """The same in all runs, since evaluate.every must be equal; of runs of other lengths once each."""
    return list(dict.fromkeys(told for run in runs if (told := unscored(run.record))))


def _repeated_measurements(lines: Sequence[Line]) -> list[str]:
    found = [(line, len(measurements(line.runs))) for line in lines]
    return [
        f"{line.label}: its {len(line.runs)} runs are {number} measurement{'s' * (number > 1)} of the same "
        "untuned model; the interval counts each once"
        for line, number in found
        if number < len(line.runs)
    ]


def _at_the_floor(lines: Sequence[Line]) -> list[str]:
    """A note for each score that average ranks count though no method has any of it to speak of."""
    notes = []
    for measure in (one for one in MEASURES if one.key in RANKED):
        found = [line.estimates[measure.key] for line in lines if not line.is_bound]
        highest = max((one.mean for one in found if one is not None), default=FLOOR)
        if highest < FLOOR:
            notes.append(
                f"{measure.short} is {highest:.1f} at most: too near to 0 to rank by, so average ranks mean "
                "little"
            )
    return notes


def _varying(what: str, lines: Sequence[Line], read: Callable[[Run], str]) -> list[str]:
    """A note where runs differ in something that may matter; a value shared by most lines is named once."""
    by_line = {line.label: ", ".join(dict.fromkeys(map(read, line.runs.values()))) for line in lines}
    holders: dict[str, list[str]] = {}
    for label, value in by_line.items():
        holders.setdefault(value, []).append(label)
    if len(holders) == 1 and ", " not in next(iter(holders)):
        return []
    return [f"{what} differs: " + "; ".join(f"{value} ({some(labels)})" for value, labels in holders.items())]


def _of_environment(run: Run, key: str) -> str:
    return str(run.record.environment.get(key) or "unknown")[:12]


def _package(run: Run, name: str) -> str:
    packages: Any = run.record.environment.get("packages")
    return str(packages.get(name, "unknown")) if isinstance(packages, Mapping) else "unknown"
