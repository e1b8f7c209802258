"""What all compared runs answered to the same test examples in the end: every score, and some texts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kpig.compare.lines import Line
from kpig.compare.runs import Cell, Run, cell_name
from kpig.records import NEW_WORDING, Prediction
from kpig.report import answered
from kpig.report.text import shortened
from kpig.runs.folder import RunDir
from kpig.scoring import predictions
from kpig.tasks.constraints import UNDECIDED

MOST_READ = 200_000
"""Answers whose scores a page holds at most. Chosen: their scores are about 1 MB of the page, and they are
read in about ten seconds."""

MOST_CHARACTERS = 5_000_000
"""Of prompts and answers in a page. Chosen: about 1 MB of page, for texts of a task resemble each other."""

Key = tuple[int, str, str, str, int]
"""Place of the cell, task, example, wording, and which one of that name: what runs of a cell answer alike."""


@dataclass
class Asked:
    """A test example as the lines answered it in a cell: predictions and scores by the place of the line.

    A score is the task's metric within [0, 1]; None for a metric of the user's own, which no page runs.
    """

    cell: int
    first: Prediction
    answers: dict[int, Prediction] = field(default_factory=dict)
    scores: dict[int, float | None] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Whether two lines have another score."""
        return len(set(self.scores.values())) > 1

    @property
    def num_characters(self) -> int:
        """Of the answers that a page would show, twins included."""
        return sum(len(one.response) + len(one.masked_response or "") for one in self.answers.values())


@dataclass(frozen=True)
class Answers:
    """The examples in the order of cells and files, and the cells that were too many to read."""

    examples: Sequence[Asked]
    cells_left_out: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()
    """Which answers have no score here, and why."""


def cells_of(lines: Sequence[Line]) -> list[Cell]:
    """Every cell that some line has, in order of appearance."""
    return list(dict.fromkeys(cell for line in lines for cell in line.runs))


def read(lines: Sequence[Line]) -> Answers:
    """The answers of the runs that keep them, cell by cell up to MOST_READ. RunError for a damaged file."""
    found: dict[Key, Asked] = {}
    notes: dict[str, None] = {}
    cells = cells_of(lines)
    num_read = 0
    for place, cell in enumerate(cells):
        if num_read >= MOST_READ:
            return Answers(list(found.values()), tuple(cells[place:]), tuple(notes))
        for number, line in enumerate(lines):
            if cell in line.runs:
                num_read += _add(found, place, number, line.runs[cell], notes)
    return Answers(list(found.values()), (), tuple(notes))


def _add(found: dict[Key, Asked], cell: int, line: int, run: Run, notes: dict[str, None]) -> int:
    """Join the answers of a run to those of others to the same examples; how many it has."""
    named: Counter[tuple[str, str, str]] = Counter()
    for prediction, score in _scored(run, notes):
        name = (prediction.task, prediction.example, prediction.wording)
        asked = found.setdefault((cell, *name, named[name]), Asked(cell, prediction))
        asked.answers[line], asked.scores[line] = prediction, score
        named[name] += 1
    return named.total()


def _scored(run: Run, notes: dict[str, None]) -> Iterator[tuple[Prediction, float | None]]:
    """Each answer with its score; `notes` get why some have none."""
    last = run.record.scores.steps[-1]
    for path in sorted((RunDir(run.path).step(last.step) / "predictions").glob("*.jsonl")):
        by_task: dict[str, list[Prediction]] = {}
        for one in predictions.read(path):
            by_task.setdefault(one.task, []).append(one)
        for name, rows in by_task.items():
            metric = last.tasks[name].metric if name in last.tasks else "rougeL"
            scores, note = answered.shown(rows, metric)
            notes |= {note: None} if note else {}
            yield from zip(rows, scores, strict=True)


def as_data(answers: Answers, lines: Sequence[Line]) -> dict[str, Any]:
    """What the page's script reads: every example with its scores, and the texts of a bounded choice.

    Those on which lines differ come first, the same number of every task and cell as long as there are any.
    An example is [task, cell, id, whether its wording is new, scores in percent by line, place of its texts].
    """
    tasks = {name: place for place, name in enumerate(dict.fromkeys(x.first.task for x in answers.examples))}
    shown = {place: number for number, place in enumerate(_choice(answers.examples))}
    texts = _Texts()
    kept = [texts.of(answers.examples[place], len(lines)) for place in shown]
    return {
        "cells": [cell_name(cell) for cell in cells_of(lines)],
        "notes": answers.notes,
        "left_out": [cell_name(cell) for cell in answers.cells_left_out],
        "tasks": list(tasks),
        "examples": [
            [
                tasks[one.first.task],
                one.cell,
                one.first.example,
                int(one.first.wording == NEW_WORDING),
                [_percent(one.scores.get(number)) for number in range(len(lines))],
                shown.get(place, -1),
            ]
            for place, one in enumerate(answers.examples)
        ],
        "prompts": list(texts.prompts),
        "texts": kept,
    }


def _percent(score: float | None) -> float | None:
    return None if score is None else round(100 * score, 1)


def _choice(examples: Sequence[Asked]) -> list[int]:
    """The places of the examples whose texts are kept, in their order."""
    counts: Counter[tuple[int, str, bool]] = Counter()
    ranked = []
    for place, one in enumerate(examples):
        kind = (one.cell, one.first.task, one.differs)
        ranked.append((not one.differs, counts[kind], place))
        counts[kind] += 1
    return sorted(_within(examples, (place for *_, place in sorted(ranked))))


def _within(examples: Sequence[Asked], places: Iterable[int]) -> Iterator[int]:
    """The first places, up to MOST_CHARACTERS of text; a prompt that several share counts once."""
    prompts: set[str] = set()
    room = MOST_CHARACTERS
    for place in places:
        one = examples[place]
        room -= one.num_characters + (0 if one.first.prompt in prompts else len(one.first.prompt))
        if room < 0:
            return
        prompts.add(one.first.prompt)
        yield place


class _Texts:
    """The texts of examples; prompts, which many share, are kept once and named by their place."""

    def __init__(self) -> None:
        self.prompts: dict[str, int] = {}

    def of(self, asked: Asked, num_lines: int) -> dict[str, Any]:
        """Prompt, references and the answer of every line, null where it has none."""
        prompt = shortened(asked.first.prompt)
        return {
            "prompt": self.prompts.setdefault(prompt, len(self.prompts)),
            "references": [shortened(one) for one in asked.first.references],
            "answers": [_answer(asked.answers.get(number)) for number in range(num_lines)],
        }


def _answer(one: Prediction | None) -> Mapping[str, Any] | None:
    """Without what is usual: a script reads a missing key as undefined."""
    if one is None:
        return None
    found = {
        "response": shortened(one.response),
        "same": one.masked_response == one.response,
        "masked": None
        if one.masked_response in (None, one.response)
        else shortened(one.masked_response or ""),
        "violations": [kind.replace("_", " ") for kind in dict.fromkeys(one.violations) if kind != UNDECIDED],
        "undecided": UNDECIDED in one.violations,
        "cut": not one.finished,
    }
    return {name: value for name, value in found.items() if name == "response" or value}
