"""Judge a model without training it: its scores on tasks, and the half-listening diagnosis."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kpig import ranks
from kpig.config import EvaluateSection, ModelSection
from kpig.errors import DataError
from kpig.model import gain, loading
from kpig.model.readings import reading
from kpig.progress import Watcher
from kpig.records import Example, Gain, Prediction, Task
from kpig.scoring import answers, probing, scores
from kpig.scoring.records import Evaluation


def evaluate_model(
    section: ModelSection,
    groups: Mapping[str, Sequence[Task]],
    settings: EvaluateSection,
    device: str,
    watch: Watcher,
    clock: str | None = None,
) -> tuple[Evaluation, list[Prediction]]:
    """Scores of a model on the test examples of tasks, and its predictions; `clock` as in `loading.load`.

    `groups` are tasks under SEEN, HELD_OUT or both.
    """
    learner = ranks.everywhere(lambda: loading.load(section, device=device, clock=clock))
    probes = probing.probes(groups, settings)
    with watch.phase("evaluate", answers.num_answers(probes, settings)):
        predictions = answers.score(learner, probes, settings, watch.advance)
    tasks = [task for chosen in groups.values() for task in chosen]
    return scores.evaluation(section.path, predictions, tasks), predictions


def measure_tasks(
    section: ModelSection,
    tasks: Sequence[Task],
    num_probes: int,
    device: str,
    watch: Watcher,
    clock: str | None = None,
) -> dict[str, Gain]:
    """The key-part gain of each task over its first `num_probes` test examples, training ones without any.

    `clock` as in `loading.load`.
    """
    learner = ranks.everywhere(lambda: loading.load(section, device=device, clock=clock))
    chosen = {task.name: _probes(task, num_probes) for task in tasks}
    gains: dict[str, Gain] = {}
    with watch.phase("gain", len(chosen)):
        for name, examples in chosen.items():
            gains |= gain.measure(learner, {name: examples})
            watch.advance()
    return gains


def gain_json(section: ModelSection, gains: Mapping[str, Gain]) -> dict[str, Any]:
    """The diagnosis as plain data: both gains, both likelihoods, the reading."""
    tasks = {name: asdict(found) | {"reading": reading(found)} for name, found in gains.items()}
    return {
        "version": 1,
        "model": section.path,
        "units": {"prob": "probability", "log": "nats per token"},
        "tasks": tasks,
    }


def _probes(task: Task, count: int) -> tuple[Example, ...]:
    examples = (task.test or task.train)[:count]
    if not examples:
        raise DataError(f"task {task.name!r} has no examples to measure")
    return examples
