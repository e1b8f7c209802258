"""Answer test examples greedily and score each answer: the one evaluation loop of every method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from kpig.config import EvaluateSection
from kpig.model import gain
from kpig.model.encoding import Encoded
from kpig.model.generation import Answer
from kpig.model.learner import Learner
from kpig.records import NEW_WORDING, SEED_WORDING, Example, Gain, Prediction, Task
from kpig.scoring.judge import judge


@dataclass(frozen=True)
class Probe:
    """One test example to answer: its task, the group the task is in, and the kind of its wording."""

    task: Task
    example: Example
    group: str
    wording: str


def probes(groups: Mapping[str, Sequence[Task]], settings: EvaluateSection) -> list[Probe]:
    """Every test example of every group, and again under a wording never trained on where there is one."""
    chosen = []
    for group, tasks in groups.items():
        for task in tasks:
            chosen += [Probe(task, example, group, SEED_WORDING) for example in task.test]
            if settings.new_wordings:
                chosen += [Probe(task, example, group, NEW_WORDING) for example in _in_new_words(task)]
    return chosen


def score(
    learner: Learner,
    probes: Sequence[Probe],
    settings: EvaluateSection,
    advance: Callable[[int], None] = lambda count: None,
) -> list[Prediction]:
    """The learner's greedy answer to every probe with its scores, in order.

    `advance` is told how many answers have come in; `num_answers` tells the total beforehand.
    The seconds go to the ledger, the tokens do not.
    """
    with learner.ledger.timed("eval_seconds"), learner.ledger.unspent():
        asked = (probe.example for probe in probes)
        encoded = list(learner.encoder.encode_all(asked, settings.max_new_tokens))
        answers = _answers(learner, [one.prompt for one in encoded], settings, advance)
        masked = _masked_answers(learner, probes, encoded, settings, advance)
        gains = _gains(learner, probes, settings)
    return [
        _prediction(probe, one.text, answer, masked.get(number), gains.get(number))
        for number, (probe, one, answer) in enumerate(zip(probes, encoded, answers, strict=True))
    ]


def num_answers(probes: Sequence[Probe], settings: EvaluateSection) -> int:
    """How many responses `score` will generate."""
    return len(probes) + sum(_is_masked_too(probe, settings) for probe in probes)


def _answers(
    learner: Learner,
    prompts: Sequence[tuple[int, ...]],
    settings: EvaluateSection,
    advance: Callable[[int], None],
) -> list[Answer]:
    return learner.answers(prompts, settings.max_new_tokens, settings.tokens_per_batch, advance)


def _masked_answers(
    learner: Learner,
    probes: Sequence[Probe],
    encoded: Sequence[Encoded],
    settings: EvaluateSection,
    advance: Callable[[int], None],
) -> dict[int, str]:
    chosen = [number for number, probe in enumerate(probes) if _is_masked_too(probe, settings)]
    prompts = [encoded[number].masked_prompt or () for number in chosen]
    answers = _answers(learner, prompts, settings, advance)
    return {number: one.text for number, one in zip(chosen, answers, strict=True)}


def _gains(learner: Learner, probes: Sequence[Probe], settings: EvaluateSection) -> dict[int, Gain]:
    """Task by task: which other tasks are asked beside it changes no bit of a task's gain."""
    if not settings.gain:
        return {}
    chosen: dict[str, list[int]] = {}
    for number, probe in enumerate(probes):
        of_task = chosen.setdefault(probe.task.name, [])
        if probe.wording == SEED_WORDING and len(of_task) < settings.num_gain_examples:
            of_task.append(number)
    found: dict[int, Gain] = {}
    for numbers in chosen.values():
        examples = [probes[number].example for number in numbers]
        found |= zip(numbers, gain.measure_examples(learner, examples), strict=True)
    return found


def _is_masked_too(probe: Probe, settings: EvaluateSection) -> bool:
    has_key_parts = bool(probe.example.instruction.key_parts)
    return settings.half_listening and probe.wording == SEED_WORDING and has_key_parts


def _prediction(
    probe: Probe, prompt: str, answer: Answer, masked: str | None, measured: Gain | None
) -> Prediction:
    return judge(
        probe.task,
        probe.example,
        answer.text,
        group=probe.group,
        wording=probe.wording,
        prompt=prompt,
        finished=answer.finished,
        masked_response=masked,
        gain=measured,
    )


def _in_new_words(task: Task) -> list[Example]:
    """The test examples under the evaluation wordings in turn, but those with an instruction of their own."""
    found = []
    for number, example in enumerate(task.test):
        if wordings := task.new_wordings(example):
            found.append(replace(example, instruction=wordings[number % len(wordings)]))
    return found
