"""Is a tuned model safe to ship? Every task's change of score, and which got worse beyond noise. No torch.

A step is held against the step scored before it and against the untuned model. Each change has its standard
error over the test examples, paired where both answered the same ones, and the one-sided p value of a
permutation test that the task got worse (`kpig.scoring.significance`). Holm's correction counts every change
of the step in which some answer's score differs: of the others no test could say anything (Tarone 1990), and
counting them would hide a task that fell from 75 to 0 on 12 examples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

from kpig.errors import RunError, some
from kpig.records import SEED_WORDING, Prediction
from kpig.runs import kept
from kpig.runs.folder import RunDir, is_run
from kpig.scoring import metrics, predictions, scores, significance
from kpig.scoring.records import TaskScore

MAX_DROP = 5.0
"""Points of P-score that a task may lose. Chosen: fewer are seldom told from noise by 200 test examples."""

LEVEL = 0.05
"""The corrected p value below which a change is more than noise: the usual one."""

RESAMPLES_PER_CHANGE = 200
"""Random flips for each change, at least: so a correction for many tasks leaves p values that can pass."""

Answers = Mapping[str, Sequence[Prediction]]
"""The answers to the test examples of each task, in the task's own wording."""


@dataclass(frozen=True)
class Change:
    """The change of one task's P-score, in points, since the step `since`.

    `error` is its standard error over the test examples, None where there are too few; `adjusted` the
    one-sided p value of a drop after Holm's correction; `is_blind` says that there are too few examples for
    any drop to pass it.
    """

    task: str
    group: str
    since: int
    before: float
    now: float
    error: float | None
    num_examples: int
    is_paired: bool
    adjusted: float
    is_blind: bool

    @property
    def points(self) -> float:
        """Below 0 where the task got worse."""
        return self.now - self.before

    @property
    def is_worse(self) -> bool:
        """Whether it is a drop that chance alone would seldom make."""
        return self.adjusted < LEVEL

    @property
    def verdict(self) -> str:
        """In three words at most."""
        if self.is_worse:
            return "worse"
        if self.points >= 0:
            return "not worse"
        return "too few examples" if self.is_blind else "within noise"


@dataclass(frozen=True)
class Verdict:
    """The changes of a step of the run in `path`; `max_drop` points may be lost.

    `unscored` are tasks that were scored at an earlier of the steps and are no more.
    """

    path: Path
    step: int
    max_drop: float
    changes: tuple[Change, ...]
    unscored: tuple[str, ...]

    @cached_property
    def worse(self) -> list[Change]:
        """What got worse beyond noise, the largest drop first."""
        return sorted((one for one in self.changes if one.is_worse), key=lambda one: one.points)

    @cached_property
    def dropped(self) -> list[Change]:
        """What of it lost more than `max_drop` points: why the gate is shut."""
        return [one for one in self.worse if -one.points > self.max_drop]

    @cached_property
    def undecided(self) -> list[Change]:
        """What lost more than `max_drop` points, but within noise."""
        return [one for one in self.changes if -one.points > self.max_drop and not one.is_worse]

    @property
    def is_open(self) -> bool:
        """Whether nothing says that the step must not be shipped."""
        return not self.dropped

    @property
    def sentence(self) -> str:
        """The verdict on one line."""
        num_tasks = len({one.task for one in self.changes})
        head = f"step {self.step}, {num_tasks} tasks: "
        if not self.worse:
            return head + "none got worse beyond noise" + self._doubt()
        worst = self.worse[0]
        error = "" if worst.error is None else f" ± {worst.error:.1f}"
        num_worse, num_dropped = (len({one.task for one in found}) for found in (self.worse, self.dropped))
        return (
            f"{head}{num_worse} got worse beyond noise, {num_dropped or 'none'} by more than "
            f"{self.max_drop:g} points; most: {worst.task} {worst.points:.1f}{error} since "
            f"{since_text(worst.since)}{self._doubt()}"
        )

    def _doubt(self) -> str:
        names = list(dict.fromkeys(one.task for one in self.undecided))
        if not names:
            return ""
        return (
            f"; {len(names)} lost more than {self.max_drop:g} points within noise ({some(names)}): more test "
            "examples would tell"
        )


def since_text(step: int) -> str:
    """The step that a change is counted from, in words."""
    return f"step {step}" if step else "the untuned model"


def judge(path: Path, max_drop: float = MAX_DROP, step: int | None = None) -> Verdict:
    """The verdict on a finished step of the run in a folder; the last one where no step is given.

    Raises RunError where there is no such step, and where predictions or scores are missing or damaged.
    Nothing is imported that the run names: a metric of the user's own has the scores that were kept.
    """
    run = RunDir(path)
    if not is_run(path):
        raise RunError(f"{path}: holds no run of kpig; give the folder that kpig run wrote")
    last = run.current - 1
    number = last if step is None else step
    if not (number and run.is_done(number) and run.is_done(0)):
        raise RunError(
            f"{path}: step {number} cannot be judged: the run has finished {last or 'none'} of its steps; "
            "give one from 1 on that is finished"
        )
    told = _told(run, number)
    if not told:
        raise RunError(
            f"{path}: step {number} cannot be judged: no task was scored after it (evaluate.every); give a "
            "step that was scored"
        )
    now = _answers(run, number)
    earlier = {since: _answers(run, since) for since in dict.fromkeys((_scored_before(run, number), 0))}
    pairs = [(since, name) for since, answers in earlier.items() for name in told if name in answers]
    changes = [
        _measured(name, told[name].group, since, told[name].metric, earlier[since][name], now[name])
        for since, name in pairs
    ]
    gone = {name for since in earlier for name in _told(run, since)} - now.keys()
    return Verdict(path, number, max_drop, tuple(_corrected(changes)), tuple(sorted(gone)))


@dataclass(frozen=True)
class _Measured:
    """A change before it is tested: the scores of both sides, in points, in the same order if `is_paired`."""

    task: str
    group: str
    since: int
    before: Sequence[float]
    now: Sequence[float]
    is_paired: bool

    @property
    def differences(self) -> list[float]:
        return [now - before for before, now in zip(self.before, self.now, strict=True)]

    @property
    def error(self) -> float | None:
        sides = [self.differences] if self.is_paired else [self.before, self.now]
        if min(map(len, sides)) < 2:
            return None
        return math.sqrt(sum(stdev(side) ** 2 / len(side) for side in sides))

    @property
    def is_testable(self) -> bool:
        """Whether some score differs: without one every flip, or parting, gives the same change."""
        return any(self.differences) if self.is_paired else len({*self.before, *self.now}) > 1

    def p_value(self, num_resamples: int) -> float:
        """One-sided, of a drop. Pairs without a difference are left out: they change no flipped sum."""
        if fmean(self.now) >= fmean(self.before):
            return 1.0
        if not self.is_paired:
            return significance.lower_mean_test(self.now, self.before, significance.SEED, num_resamples)
        moved = [one for one in self.differences if one]
        zeros = [0.0] * len(moved)
        both = significance.paired_permutation_test(moved, zeros, significance.SEED, num_resamples)
        return both / 2 if len(moved) > 1 else 0.5


def _scored_before(run: RunDir, number: int) -> int:
    """The last step before one after which tasks were scored; 0 is the untuned model."""
    earlier = range(number - 1, 0, -1)
    return next((one for one in earlier if _told(run, one)), 0)


def _told(run: RunDir, number: int) -> Mapping[str, TaskScore]:
    """The scores of a step by task."""
    return scores.read_step(run.step(number) / "scores.json")[0].tasks


def _answers(run: RunDir, number: int) -> dict[str, list[Prediction]]:
    """What was answered after a step, by task, in the task's own wording: all that the step was scored on.

    Tasks that the run has forgotten have no answers. RunError where any other is not whole: a task that is
    lost must not count as one that held.
    """
    found: dict[str, list[Prediction]] = {}
    folder = run.step(number) / "predictions"
    for path in sorted(folder.glob("*.jsonl")):
        for one in predictions.read(path):
            if one.wording == SEED_WORDING:
                found.setdefault(one.task, []).append(one)
    told = _told(run, number)
    if not found and told and not all(_is_forgotten(run, name) for name in told):
        raise RunError(f"{run.step(number)} keeps no predictions; restore them, or give another step")
    for name, score in told.items():
        num_there = len(found.get(name, ()))
        if num_there != score.n and (num_there or not _is_forgotten(run, name)):
            raise RunError(
                f"{folder}: task '{name}' was scored on {score.n} answers, and {num_there} are there; "
                "restore its file, or give another step"
            )
    return {name: found[name] for name in told if name in found}


def _is_forgotten(run: RunDir, name: str) -> bool:
    """Whether the run has dropped the examples of a task (kpig continue --forget-data): it keeps no test."""
    steps = [run.step(number) for number in range(1, run.current)]
    return any(kept.are_there(one, [name]) and not kept.read(one, name).test for one in steps)


def _measured(
    task: str, group: str, since: int, metric: str, before: Sequence[Prediction], now: Sequence[Prediction]
) -> _Measured:
    """Paired where both sides answered the same examples: those of the same id and references."""
    known = {(one.example, one.references): one for one in before}
    asked = [(one.example, one.references) for one in now]
    is_paired = len(before) == len(now) and known.keys() == set(asked)
    if is_paired:
        before = [known[key] for key in asked]
    old, new = (_percent(task, side, metric) for side in (before, now))
    return _Measured(task, group, since, old, new, is_paired)


def _percent(task: str, answered: Sequence[Prediction], metric: str) -> list[float]:
    """The score of each answer. RunError where a metric of the user's own has none that was kept."""
    known = [one for one in metrics.shown_scores(answered, metric) if one is not None]
    if len(known) < len(answered):
        raise RunError(
            f"task '{task}' is scored by {metric}, a metric of your own, and the run's predictions keep no "
            "score of it: an earlier version ran it. Run it again; nothing that it names is imported"
        )
    return [100 * one for one in known]


def _corrected(changes: Sequence[_Measured]) -> list[Change]:
    tested = [number for number, one in enumerate(changes) if one.is_testable]
    num_resamples = max(significance.NUM_RESAMPLES, RESAMPLES_PER_CHANGE * len(tested))
    p_values = significance.holm([changes[number].p_value(num_resamples) for number in tested])
    adjusted = dict(zip(tested, p_values, strict=True))
    return [
        Change(
            task=one.task,
            group=one.group,
            since=one.since,
            before=fmean(one.before),
            now=fmean(one.now),
            error=one.error,
            num_examples=len(one.now),
            is_paired=one.is_paired,
            adjusted=adjusted.get(number, 1.0),
            is_blind=one.is_paired and _is_blind(len(one.now), len({*tested, number}), num_resamples),
        )
        for number, one in enumerate(changes)
    ]


def _is_blind(num_examples: int, num_tested: int, num_resamples: int) -> bool:
    """Whether even a drop of every example would be within noise, as one of so many tests."""
    return significance.smallest_p(num_examples, num_resamples) / 2 * max(1, num_tested) >= LEVEL
