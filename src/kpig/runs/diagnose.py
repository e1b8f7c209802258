"""Judge a model without training it: its scores on tasks, and the half-listening diagnosis."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kpig.config import EvaluateSection, ModelSection
from kpig.errors import DataError
from kpig.model import gain, loading
from kpig.model.encoding import Encoder
from kpig.model.readings import reading
from kpig.progress import Watcher
from kpig.records import SEEN, Example, Gain, Prediction, Task
from kpig.scoring import answers, scores
from kpig.scoring.records import Evaluation
from kpig.tasks.show import shown_example


def evaluate_model(
    section: ModelSection,
    tasks: Sequence[Task],
    settings: EvaluateSection,
    device: str,
    watch: Watcher,
    clock: str | None = None,
) -> tuple[Evaluation, list[Prediction]]:
    """Scores of a model on the test examples of tasks, and its predictions; `clock` as in `loading.load`."""
    learner = loading.load(section, device=device, clock=clock)
    probes = answers.probes({SEEN: tasks}, settings)
    with watch.phase("evaluate", answers.num_answers(probes, settings)):
        predictions = answers.score(learner, probes, settings, watch.advance)
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
    learner = loading.load(section, device=device, clock=clock)
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


def prompts_of(section: ModelSection) -> Callable[[Task], list[tuple[str, str]]]:
    """What gives the prompts of a task's first example to a model, under headings; its weights stay away.

    The prompt exactly as the model sees it, that of the masked twin, and the messages that a server which
    applies the same chat template is to be sent.
    """
    encoder = loading.load_encoder(section)

    def of_task(task: Task) -> list[tuple[str, str]]:
        example = shown_example(task)
        return [] if example is None else _prompts(encoder, example)

    return of_task


def _prompts(encoder: Encoder, example: Example) -> list[tuple[str, str]]:
    try:
        encoded = encoder.encode(example)
    except DataError as error:
        return [("no prompt", str(error))]
    cut = f", {encoded.num_cut} characters of the input cut" if encoded.num_cut else ""
    found = [(f"prompt, exactly{cut}", encoded.text)]
    if example.instruction.key_parts:
        found.append(("prompt of the masked twin", encoder.prompt_text(example, True, encoded.num_cut)))
    if encoder.chat:
        messages = encoder.messages(example, num_cut=encoded.num_cut)
        found.append(("messages to send", json.dumps(messages, ensure_ascii=False)))
    return found


def _probes(task: Task, count: int) -> tuple[Example, ...]:
    examples = (task.test or task.train)[:count]
    if not examples:
        raise DataError(f"task {task.name!r} has no examples to measure")
    return examples
