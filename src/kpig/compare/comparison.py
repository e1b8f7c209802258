"""Runs in, everything a comparison says out: a line per label, tests against one of them, notes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kpig.compare.equality import differences, sentence
from kpig.compare.labels import label_runs, num_changed
from kpig.compare.lines import Line, estimates, values
from kpig.compare.measures import MEASURES, RANKED
from kpig.compare.notes import notes
from kpig.compare.runs import Cell, Run, read_all
from kpig.compare.statistics import average_ranks, contrasts
from kpig.errors import RunError, UsageError, nearest

DEFAULT_REFERENCE = "kpig"


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
    lines = [Line(label, cells, estimates(cells)) for label, cells in grouped.items()]
    reference, chosen = _reference(lines, against)
    lines, num_ranked = _ranked(_tested(lines, reference))
    return Comparison(
        lines=tuple(sorted(lines, key=lambda line: (line.is_bound, line.rank or len(lines) + 1))),
        reference=reference,
        scorer=", ".join(dict.fromkeys(run.record.scores.scorer for run in runs)),
        unequal=sentences,
        notes=(*chosen, *notes(lines, [f"left out: {one}" for one in (*left_out, *repeated)])),
        num_ranked=num_ranked,
    )


def _grouped(runs: Sequence[Run], labels: Sequence[str]) -> tuple[dict[str, dict[Cell, Run]], list[str]]:
    """The runs by label and cell, and a sentence about each that repeats an earlier one's cell."""
    grouped: dict[str, dict[Cell, Run]] = {}
    repeated = []
    for run, label in zip(runs, labels, strict=True):
        first = grouped.setdefault(label, {}).setdefault(run.cell, run)
        if first is not run:
            repeated.append(f"{run.path}: the same method, settings, seed and order as {first.path}")
    return grouped, repeated


def _reference(lines: Sequence[Line], against: str) -> tuple[str, list[str]]:
    """The label that `against` names, itself or by its method, and a note where it was one of several."""
    wanted = against or DEFAULT_REFERENCE
    labels = [line.label for line in lines]
    if wanted in labels:
        return wanted, []
    of_method = [line for line in lines if line.method == wanted]
    if of_method:
        chosen = min(of_method, key=_distance)
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


def _distance(line: Line) -> tuple[int, int]:
    """Lowest for the line that is to stand for its method: many runs, then few changed settings."""
    return -len(line.runs), num_changed(next(iter(line.runs.values())))


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
