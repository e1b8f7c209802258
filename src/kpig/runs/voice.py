"""What a run says while it learns: how far it is, how fast, how long it will take, and each step's scores."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any

from rich.table import Table
from rich.text import Text

from kpig.config import RunConfig
from kpig.methods.base import Step
from kpig.model.learner import Learner
from kpig.progress import Watcher, duration
from kpig.records import HELD_OUT, SEEN
from kpig.rendering import plain
from kpig.runs.folder import RunDir
from kpig.runs.forecast import Forecast
from kpig.scoring import scores
from kpig.scoring.records import GroupScore, StepScores, TaskScore
from kpig.training import loop

NUM_FIRST = 5
"""Updates after which a start says once how long the rest of the run will take. Chosen: the first is slower
than the others, and nobody wants to wait long."""


class Voice:
    """Tells a watcher what a start of a run does, step by step.

    `steps` are those of the whole run. Numbers come from the run folder and the learner's ledger.
    """

    def __init__(
        self, watch: Watcher, folder: RunDir, config: RunConfig, steps: Sequence[Step], forecast: Forecast
    ):
        self.watch, self.folder, self.config, self.steps = watch, folder, config, steps
        watch.pace(config.train.progress_seconds)
        self._forecast = forecast
        self._has_told, self._since, self._num_tokens, self._first = False, 0.0, 0, 0

    def say(self, line: str) -> None:
        """One line worth reading."""
        self.watch.say(line)

    @contextmanager
    def training(self, step: Step, done: int, learner: Learner) -> Iterator[None]:
        """The updates of a step, `done` of them behind us."""
        self._forecast.begin("train", step.number, done)
        self._since, self._num_tokens, self._first = time.monotonic(), _num_tokens(learner), done
        with self.watch.phase(self._name(step.number, "train"), step.num_updates, done):
            yield
        self._forecast.end()

    def updated(self, step: Step, event: Mapping[str, Any], learner: Learner) -> None:
        """Tell of an update: its loss, learning rate, tokens per second, and the time left of the run."""
        update = event["update"]
        rate = loop.learning_rate(self.config.train, update - 1, step.num_updates)
        speed = (_num_tokens(learner) - self._num_tokens) / max(1e-9, time.monotonic() - self._since)
        left = self._forecast.left(update)
        words = [
            f"loss {event['loss']:.3f}",
            f"learning rate {rate:.2g}",
            f"{speed:,.0f} tokens/s",
            *_in_all(left),
        ]
        self.watch.advance(note=", ".join(words))
        if left is not None and not self._has_told and update - self._first >= NUM_FIRST:
            self._has_told = True
            self.say(
                f"time: about {duration(left)} until the whole run ends, as the first updates of this go"
            )

    @contextmanager
    def evaluating(self, number: int, total: int) -> Iterator[Callable[[int], None]]:
        """The answers after a step; gives what is to be told how many more have come in."""
        self._forecast.begin("evaluate", number)
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self.watch.advance(count, ", ".join(_in_all(self._forecast.left(done))))

        with self.watch.phase(self._name(number, "evaluate"), total):
            yield advance
        self._forecast.end()

    def scored(self, number: int, result: StepScores) -> None:
        """Show the scores after a step; nothing for the untuned model, or where no task was scored."""
        if number and result.tasks:
            earlier = [scores.read_step(self.folder.step(n) / "scores.json")[0] for n in range(number)]
            learned = [[task.name for task in step.tasks] for step in self.steps]
            self.watch.show(step_table([*earlier, result], learned))

    def _name(self, number: int, what: str) -> str:
        return f"step {number}/{len(self.steps)} {self.config.method.name}: {what}"


def step_table(steps: Sequence[StepScores], learned: Sequence[Sequence[str]]) -> Table:
    """The scores of every task after the last of `steps`, which begin with the untuned model.

    `learned` names the tasks of each step from the first on. Beside the P-score of a task stands by how much
    it has changed since it was learned; of a held-out task since the untuned model.
    """
    now = steps[-1]
    table = Table(title=f"scores after step {now.step} of {len(learned)}", title_justify="left")
    for heading in ("task", "P-score", "since", "change", "V-score"):
        table.add_column(heading, justify="left" if heading in ("task", "since") else "right")
    since = {name: number for number, names in enumerate(learned, 1) for name in names}
    for group, words in ((SEEN, "all seen"), (HELD_OUT, "all held-out")):
        names = [name for name, task in now.tasks.items() if task.group == group]
        begun = {name: since[name] if group == SEEN else 0 for name in names}
        changes = {name: _change(now, steps[begun[name]], name) for name in names}
        for name in names:
            place = f"step {begun[name]}" if begun[name] else "untuned"
            _add_row(table, name, now.tasks[name], place, changes[name])
        if mean := now.group(group):
            known = [one for one in changes.values() if one is not None]
            _add_row(table, words, mean, "", fmean(known) if known else None)
            table.add_section()
    return table


def _change(now: StepScores, then: StepScores, name: str) -> float | None:
    """Points of P-score since another step; None where it is the same one, or had no score."""
    before = then.tasks.get(name)
    return None if before is None or then.step == now.step else now.tasks[name].p_score - before.p_score


def _add_row(
    table: Table, name: str, score: TaskScore | GroupScore, since: str, change: float | None
) -> None:
    told = "" if change is None else f"{change:+z.1f}"
    table.add_row(Text(plain(name)), f"{score.p_score:.1f}", since, told, f"{score.v_score:.1f}")


def _in_all(left: float | None) -> list[str]:
    """The time left of the run in words, nothing where it is not known yet."""
    return [] if left is None else [f"whole run {duration(left)} left"]


def _num_tokens(learner: Learner) -> int:
    """Of all passes so far."""
    return learner.ledger.train_tokens + learner.ledger.forward_tokens
