"""Scores of predictions, and transfer between steps (docs/method.md, section 7)."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from kpig.errors import ConfigError
from kpig.records import OwnScore, Prediction
from kpig.scoring.records import Cost, GroupScore, TaskScore
from kpig.tasks.constraints import KINDS, UNDECIDED
from kpig.tasks.matching import refuse_empty
from kpig.tasks.measures import is_own, measure

SCORER = "superni-rouge 1"
"""Names the formulas of kpig.tasks.matching: scores by different scorers do not compare."""


# One task, one group of tasks.


def p_score(predictions: Sequence[Prediction], metric: str) -> float:
    """100 times the mean of a metric of `kpig.tasks.measures` over the predictions; percent.

    Raises ConfigError for a metric that there is not, and ValueError without predictions.
    """
    refuse_empty(predictions, "prediction")
    return 100 * fmean(example_scores(predictions, metric))


def example_scores(predictions: Sequence[Prediction], metric: str) -> list[float]:
    """The metric of each prediction, within [0, 1]: their mean is the P-score / 100. ConfigError as there."""
    stored = [_stored(prediction, metric) for prediction in predictions]
    known = [one for one in stored if one is not None]
    if known and len(known) == len(stored):
        return known
    measured = _kept(metric) or _computed(metric)
    return [measured(prediction) for prediction in predictions]


def with_own_score(prediction: Prediction, metric: str) -> Prediction:
    """The prediction with what a metric of the user's own gives it; as it is for any other metric."""
    if not is_own(metric):
        return prediction
    return replace(prediction, own_score=OwnScore(metric, _computed(metric)(prediction)))


def shown_scores(predictions: Sequence[Prediction], metric: str) -> Sequence[float | None]:
    """As `example_scores`, of what a run's files say: nothing is imported that they name.

    A metric of the user's own has the score that came with the prediction, None where none did. A run that
    comes from someone else may not choose what is run. ConfigError for a metric that there is not.
    """
    if is_own(metric):
        return [_stored(prediction, metric) for prediction in predictions]
    return example_scores(predictions, metric)


def _stored(prediction: Prediction, metric: str) -> float | None:
    """The score by a metric of the user's own that a prediction came with."""
    own = prediction.own_score
    return own.value if own is not None and own.metric == metric and 0 <= own.value <= 1 else None


def _kept(metric: str) -> Callable[[Prediction], float] | None:
    """The two that every prediction carries."""
    kept: Mapping[str, Callable[[Prediction], float]] = {
        "accuracy": lambda prediction: prediction.exact_match,
        "rougeL": lambda prediction: prediction.rouge_l,
    }
    return kept.get(metric)


def _computed(metric: str) -> Callable[[Prediction], float]:
    value = measure(metric)

    def computed(prediction: Prediction) -> float:
        try:
            return value(prediction.response, prediction.references)
        except ConfigError as error:
            raise ConfigError(
                f"task {prediction.task!r}, example {prediction.example!r}: {error} "
                f"(response {prediction.response!r:.80})"
            ) from error

    return computed


def task_scores(predictions: Sequence[Prediction], metrics: Mapping[str, str]) -> dict[str, TaskScore]:
    """The score of every task in the predictions, in order of appearance; `metrics` maps task to metric.

    Raises ValueError for a task without metric.
    """
    by_task: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        by_task.setdefault(prediction.task, []).append(prediction)
    missing = [task for task in by_task if task not in metrics]
    if missing:
        raise ValueError(f"no metric given for {', '.join(missing)}")
    return {task: _task_score(of_task, metrics[task]) for task, of_task in by_task.items()}


def _task_score(predictions: Sequence[Prediction], metric: str) -> TaskScore:
    masked = [p.response == p.masked_response for p in predictions if p.masked_response is not None]
    gains = [p.gain for p in predictions if p.gain is not None]
    return TaskScore(
        p_score=p_score(predictions, metric),
        metric=metric,
        v_score=100 * fmean(any(kind != UNDECIDED for kind in p.violations) for p in predictions),
        violations={
            kind: 100 * fmean(kind in p.violations for p in predictions)
            for kind in _kinds(p.violations for p in predictions)
        },
        half_listening=100 * fmean(masked) if masked else None,
        gain=fmean(gain.prob for gain in gains) if gains else None,
        log_gain=fmean(gain.log for gain in gains) if gains else None,
        n=len(predictions),
        coverage=any(p.num_constraints for p in predictions),
        group=predictions[-1].group,
    )


def _kinds(found: Iterable[Collection[str]]) -> tuple[str, ...]:
    """The kinds to count: those of violations, and UNDECIDED where it occurs."""
    return (*KINDS, UNDECIDED) if any(UNDECIDED in kinds for kinds in found) else KINDS


def group_scores(task_scores: Mapping[str, TaskScore]) -> GroupScore:
    """The means over the tasks of a group. Raises ValueError without tasks."""
    scores = list(task_scores.values())
    refuse_empty(scores, "task")
    return GroupScore(
        p_score=fmean(score.p_score for score in scores),
        v_score=fmean(score.v_score for score in scores),
        violations={
            kind: fmean(score.violations.get(kind, 0.0) for score in scores)
            for kind in _kinds(score.violations for score in scores)
        },
        half_listening=_mean_of_known(score.half_listening for score in scores),
        gain=_mean_of_known(score.gain for score in scores),
        log_gain=_mean_of_known(score.log_gain for score in scores),
        constrained=100 * fmean(score.coverage for score in scores),
        num_tasks=len(scores),
    )


def averaged(task_scores: Mapping[str, TaskScore]) -> str:
    """The metrics that a mean P-score over these tasks is of, the commonest first, in words."""
    counts = Counter(score.metric for score in task_scores.values()).most_common()
    return ", ".join(f"{name} ({count} task{'s' * (count > 1)})" for name, count in counts)


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


# Transfer. `matrix[t][i - 1]` is R[t][i], the score on step i's tasks after learning step t; row 0 is the
# untuned model, so T steps make T + 1 rows of T scores. All raise ValueError for another shape. A score
# that was not measured is None: of steps that were not known yet, or whose test examples are gone. What it
# would have said is left out of a mean.

Matrix = Sequence[Sequence[float | None]]


def average(matrix: Matrix) -> float | None:
    """The mean score over all steps' tasks after the last step; None where one of them was not measured."""
    last = _checked(matrix)[-1]
    return None if None in last else _mean_of_known(last)


def backward_transfer(matrix: Matrix) -> float | None:
    """The mean over i < T of R[T][i] - R[i][i]: below 0 where tasks were forgotten. None for one step."""
    last = _checked(matrix)[-1]
    return _mean_of_known(_difference(last[i - 1], matrix[i][i - 1]) for i in range(1, len(last)))


def forgetting(matrix: Matrix) -> float | None:
    """The mean over i < T of max R[t][i] - R[T][i], t from 1 to T: never below 0. None for one step.

    The untuned row 0 is left out of the maximum [D]: what no step has taught is not forgotten. Steps
    before i count where they were measured, so transfer ahead of learning can be lost too. A step that was
    not measured when it was learned has no best to fall from.
    """
    last = _checked(matrix)[-1]
    best = [
        None if column[place] is None else max(score for score in column if score is not None)
        for place, column in enumerate(zip(*matrix[1:], strict=True))
    ]
    return _mean_of_known(_difference(best[i - 1], last[i - 1]) for i in range(1, len(last)))


def forward_transfer(matrix: Matrix) -> float | None:
    """The mean over i > 1 of R[i-1][i] - R[0][i]: what earlier steps gave a later one. None for one step."""
    untuned = _checked(matrix)[0]
    return _mean_of_known(
        _difference(matrix[i - 1][i - 1], untuned[i - 1]) for i in range(2, len(untuned) + 1)
    )


def next_step(matrix: Matrix) -> float | None:
    """The mean over i > 1 of R[i-1][i]: a step's tasks just before it is learned. None for one step.

    CITB's forward transfer, which takes no baseline off (Zhang et al., 2023); its AR is `average`, its BWT
    `backward_transfer`. Of a run that goes on it is the mean over the steps so far.
    """
    return _mean_of_known(row[number] for number, row in enumerate(matrix) if 0 < number < len(row))


def computing(cost: Cost) -> float:
    """Tokens trained on, plus a third of those only read (docs/method.md, section 8)."""
    return cost.train_tokens + cost.forward_tokens / 3


def _checked(matrix: Matrix) -> Matrix:
    num_steps = len(matrix) - 1
    if num_steps < 1:
        raise ValueError(f"a matrix of scores has two rows or more, not {len(matrix)}")
    for number, row in enumerate(matrix):
        if len(row) != num_steps:
            expected = f"{num_steps} scores, one per step"
            raise ValueError(f"row {number} of a matrix of scores must have {expected}, not {len(row)}")
    return matrix


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other
