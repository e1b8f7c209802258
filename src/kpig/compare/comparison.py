"""Runs in, everything a comparison says out: a line per label, tests against one of them, notes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kpig.compare.equality import differences, sentence, some
from kpig.compare.labels import TUNED, label_runs
from kpig.compare.measures import COSTS, MEASURES, RANKED, Measure
from kpig.compare.runs import Cell, Run, cell_name, data_digest, has_suite_per_seed, read_all
from kpig.compare.statistics import Contrast, Estimate, average_ranks, contrasts, estimate
from kpig.config import RunConfig, flat
from kpig.errors import RunError, UsageError, nearest

UNTUNED = "init"
BOUNDS = ("mtl", UNTUNED)
"""Methods that show what is possible, not what competes: they get no rank."""

DEFAULT_REFERENCE = "kpig"
MAX_NAMED_CELLS = 5
FLOOR = 3.0
"""A P-score below which all methods are when nothing can be told from it."""

MIN_SEEDS, MIN_ORDERS = 3, 2


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


@dataclass(frozen=True)
class Comparison:
    """Lines by average rank, bounds last; `reference` is the label that the others are tested against.

    `unequal` says what should be equal over the runs and is not, `notes` what else a reader must know.
    `num_ranked` counts the rankings (measures times shared cells) behind each average rank.
    """

    lines: tuple[Line, ...]
    reference: str
    scorer: str
    unequal: tuple[str, ...]
    notes: tuple[str, ...]
    num_ranked: int


def compare(paths: Sequence[Path], against: str = "", anyway: bool = False) -> Comparison:
    """Compare the finished runs at or under the paths, tested against the label or method `against`.

    Without `against` the reference is kpig where there is such a run, else the first. Of several rows of a
    method it is the one with the most runs, then the one nearest to the default settings; a note says which.
    Raises RunError where no run is finished, for a damaged one, and, unless `anyway`, for runs whose budgets,
    data, starting weights or scorer differ; UsageError for an unknown `against`.
    """
    runs, left_out = read_all(paths)
    unequal = differences(runs)
    sentences = tuple(sentence(one, runs) for one in unequal)
    if unequal and not anyway:
        raise RunError(
            "these runs do not compare, because what must be equal differs:\n  "
            + "\n  ".join(sentences)
            + "\nleave some out, or give --anyway to see the table all the same with these lines on top"
        )
    grouped, repeated = _grouped(runs, label_runs(runs, unequal))
    lines = [Line(label, cells, _estimates(cells)) for label, cells in grouped.items()]
    reference, chosen = _reference(lines, against)
    lines, num_ranked = _ranked(_tested(lines, reference))
    return Comparison(
        lines=tuple(sorted(lines, key=lambda line: (line.is_bound, line.rank or len(lines) + 1))),
        reference=reference,
        scorer=", ".join(dict.fromkeys(str(run.record.scores["scorer"]) for run in runs)),
        unequal=sentences,
        notes=(*chosen, *_notes(lines, [f"left out: {one}" for one in (*left_out, *repeated)])),
        num_ranked=num_ranked,
    )


def values(line: Line, measure: Measure) -> dict[Cell, float]:
    """The measure of every run of the line that has it."""
    read = {cell: measure.read(run.record.scores) for cell, run in line.runs.items()}
    return {cell: value for cell, value in read.items() if value is not None}


def _grouped(runs: Sequence[Run], labels: Sequence[str]) -> tuple[dict[str, dict[Cell, Run]], list[str]]:
    """The runs by label and cell, and a sentence about each that repeats an earlier one's cell."""
    grouped: dict[str, dict[Cell, Run]] = {}
    repeated = []
    for run, label in zip(runs, labels, strict=True):
        first = grouped.setdefault(label, {}).setdefault(run.cell, run)
        if first is not run:
            repeated.append(f"{run.path}: the same method, settings, seed and order as {first.path}")
    return grouped, repeated


def _estimates(cells: Mapping[Cell, Run]) -> dict[str, Estimate | None]:
    found = {}
    for measure in (*MEASURES, *COSTS):
        read = [measure.read(run.record.scores) for run in _measurements(cells)]
        found[measure.key] = estimate([value for value in read if value is not None])
    return found


def _measurements(cells: Mapping[Cell, Run]) -> list[Run]:
    """The runs whose scores are measurements of their own: the untuned model is the same in every run on the same tasks."""
    runs = list(cells.values())
    if runs[0].method != UNTUNED:
        return runs
    return list({data_digest(run): run for run in reversed(runs)}.values())


def _reference(lines: Sequence[Line], against: str) -> tuple[str, list[str]]:
    """The label that `against` names, by itself or by its method, and a note where it was chosen among several."""
    wanted = against or DEFAULT_REFERENCE
    labels = [line.label for line in lines]
    if wanted in labels:
        return wanted, []
    of_method = [line for line in lines if line.method == wanted]
    if of_method:
        chosen = min(of_method, key=lambda line: (-len(line.runs), _num_changed(line)))
        rest = len(of_method) - 1
        why = "the one with the most runs, then the one nearest to the default settings"
        note = f"tested against {chosen.label}, of {rest + 1} rows of {wanted} {why}; --against names another"
        return chosen.label, [note] if rest else []
    if not against:
        return labels[0], [
            f"no run of {DEFAULT_REFERENCE} here: tested against {labels[0]}; --against names another"
        ]
    close = nearest(against, labels)
    raise UsageError(
        f"--against {against!r} is none of the compared: {', '.join(map(repr, labels))}"
        + (f"; did you mean {close!r}?" if close else "")
    )


def _num_changed(line: Line) -> int:
    """In how many of its method's settings a line differs from the defaults."""
    settings = next(iter(line.runs.values())).settings
    defaults = flat(RunConfig().model_dump(mode="json"))
    own = [key for key in settings if key == TUNED or key.startswith(f"method.{line.method}.")]
    return sum(settings[key] != defaults.get(key) for key in own)


def _tested(lines: Sequence[Line], reference: str) -> list[Line]:
    """The lines with their contrasts from the reference."""
    by_measure = {
        measure.key: contrasts({line.label: values(line, measure) for line in lines}, reference)
        for measure in MEASURES
    }
    return [
        replace(
            line,
            contrasts={key: found[line.label] for key, found in by_measure.items() if line.label in found},
        )
        for line in lines
    ]


def _ranked(lines: Sequence[Line]) -> tuple[list[Line], int]:
    """The lines with their average ranks, bounds without, and the number of rankings behind each."""
    ranked = [line for line in lines if not line.is_bound]
    measures = [measure for measure in MEASURES if measure.key in RANKED]
    found, num_ranked = average_ranks(
        [{line.label: values(line, measure) for line in ranked} for measure in measures]
    )
    return [replace(line, rank=found.get(line.label)) for line in lines], num_ranked


def _notes(lines: Sequence[Line], left_out: Sequence[str]) -> list[str]:
    """What a reader must know beside the numbers."""
    runs = [run for line in lines for run in line.runs.values()]
    return [
        *left_out,
        *_missing_cells(lines),
        *_too_few([run.cell for run in runs]),
        *_shared_streams(runs),
        *_repeated_measurements(lines),
        *_at_the_floor(lines),
        *_varying("learning rate", lines, lambda run: f"{run.settings[TUNED]:g}"),
        *_varying("device", lines, lambda run: _of_environment(run, "device")),
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


def _shared_streams(runs: Sequence[Run]) -> list[str]:
    if not has_suite_per_seed(runs):
        return []
    note = "every seed has a stream of its own from the built-in suite"
    if len({run.order for run in runs}) == 1:
        return [note]
    return [
        f"{note}, which its orders share: runs of one seed are less independent than their number says, and intervals "
        "and p values speak of these streams"
    ]


def _repeated_measurements(lines: Sequence[Line]) -> list[str]:
    found = [(line, len(_measurements(line.runs))) for line in lines]
    return [
        f"{line.label}: its {len(line.runs)} runs are {number} measurement{'s' * (number > 1)} of the same untuned "
        "model; the interval counts each once"
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
                f"{measure.short} is {highest:.1f} at most: too near to 0 to rank by, so average ranks mean little"
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
