"""Answer test examples and score each answer: the one evaluation loop of every method."""

from collections.abc import Callable, Sequence
from itertools import chain

from kpig.config import EvaluateSection
from kpig.model import gain
from kpig.model.encoding import Encoded
from kpig.model.generation import Answer
from kpig.model.learner import Learner
from kpig.records import SEED_WORDING, Gain, Prediction
from kpig.scoring import choice
from kpig.scoring.choice import Question
from kpig.scoring.judge import judge
from kpig.scoring.probing import Probe


def score(
    learner: Learner,
    probes: Sequence[Probe],
    settings: EvaluateSection,
    advance: Callable[[int], None] = lambda count: None,
) -> list[Prediction]:
    """The learner's answer to every probe with its scores, in order: greedy, or chosen where that is asked.

    `advance` is told how many answers have come in; `num_answers` tells the total beforehand.
    The seconds go to the ledger, the tokens do not.
    """
    ledger = learner.ledger
    with ledger.timed("eval_seconds"), ledger.unspent(), learner.computing(settings.precision):
        asked = (probe.example for probe in probes)
        encoded = list(learner.encoder.encode_all(asked, settings.max_new_tokens))
        answers, masked = _answers(learner, probes, encoded, settings, advance)
        gains = _gains(learner, probes, settings)
    return [
        _prediction(probe, one.text, answer, masked.get(number), gains.get(number))
        for number, (probe, one, answer) in enumerate(zip(probes, encoded, answers, strict=True))
    ]


def num_answers(probes: Sequence[Probe], settings: EvaluateSection) -> int:
    """How many responses `score` will generate."""
    return len(probes) + len(_masked_too(probes, settings))


def _answers(
    learner: Learner,
    probes: Sequence[Probe],
    encoded: Sequence[Encoded],
    settings: EvaluateSection,
    advance: Callable[[int], None],
) -> tuple[list[Answer], dict[int, str]]:
    """The answers to all prompts, and to their masked twins by number: together, for both begin alike."""
    labels = [_labels(learner, probe, settings) for probe in probes]
    chosen = _masked_too(probes, settings)
    questions = [Question(one, one.prompt, own) for one, own in zip(encoded, labels, strict=True)]
    questions += [Question(encoded[n], encoded[n].masked_prompt or (), labels[n]) for n in chosen]
    found = _answered(learner, questions, settings, advance)
    masked = {number: one.text for number, one in zip(chosen, found[len(encoded) :], strict=True)}
    return found[: len(encoded)], masked


def _labels(learner: Learner, probe: Probe, settings: EvaluateSection) -> tuple[str, ...]:
    """The labels that a probe's answer is chosen from; () where it is written."""
    if settings.answers != "choose":
        return ()
    found = choice.labels((*probe.task.constraints, *probe.example.constraints))
    return found if choice.fit(learner, found, settings.max_new_tokens) else ()


def _answered(
    learner: Learner,
    questions: Sequence[Question],
    settings: EvaluateSection,
    advance: Callable[[int], None],
) -> list[Answer]:
    """The answers to questions in order: those without labels written, the others chosen."""
    written = [one.prompt for one in questions if not one.labels]
    portions = (settings.max_new_tokens, settings.tokens_per_batch)
    given = iter(learner.answers(written, *portions, advance, settings.row_tokens))
    closed = [one for one in questions if one.labels]
    picked = iter(choice.choose(learner, closed, settings.row_tokens))
    advance(len(closed))
    return [next(picked if one.labels else given) for one in questions]


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
        found |= zip(numbers, gain.measure_examples(learner, examples, settings.row_tokens), strict=True)
    return found


def _masked_too(probes: Sequence[Probe], settings: EvaluateSection) -> list[int]:
    """The numbers of the probes whose masked twin is answered, of each task the first ones."""
    if not settings.half_listening:
        return []
    chosen: dict[str, list[int]] = {}
    for number, probe in enumerate(probes):
        of_task = chosen.setdefault(probe.task.name, [])
        has_twin = probe.wording == SEED_WORDING and bool(probe.example.instruction.key_parts)
        if has_twin and not 0 < settings.num_half_listening <= len(of_task):
            of_task.append(number)
    return sorted(chain.from_iterable(chosen.values()))


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
