"""Gain against a plain forward pass per example, and the laws it keeps."""

import statistics

import pytest
import torch
from scipy.stats import sem

from conftest import ARCHITECTURES
from kpig.model import gain, portions
from kpig.model.readings import reading
from kpig.records import Gain

TOLERANCE = 1e-5


def likelihoods(learner, prompt, response):
    """Mean p and mean log p of the response, from one full forward pass without padding."""
    with torch.no_grad():
        logits = learner.model(input_ids=torch.tensor([[*prompt, *response]])).logits[0]
    log_probs = logits.double().log_softmax(-1)
    chosen = [log_probs[len(prompt) + number - 1, token] for number, token in enumerate(response)]
    return float(torch.stack(chosen).exp().mean()), float(torch.stack(chosen).mean())


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gain_equals_a_loop_of_full_forward_passes(architecture, adapter, make_learner, mixed_examples):
    learner = make_learner(architecture, adapter)
    for example, found in zip(mixed_examples, gain.measure_examples(learner, mixed_examples), strict=True):
        encoded = learner.encoder.encode(example)
        prob, log = likelihoods(learner, encoded.prompt, encoded.response)
        assert found.instructed == pytest.approx(prob, abs=TOLERANCE)
        if example.instruction.key_parts:
            masked_prob, masked_log = likelihoods(learner, encoded.masked_prompt, encoded.response)
            expected = (masked_prob, prob - masked_prob, log - masked_log)
            assert (found.masked, found.prob, found.log) == pytest.approx(expected, abs=TOLERANCE)
            assert found.num_annotated == 1
            assert abs(found.log) > 100 * TOLERANCE, "the models must be wide enough to tell the twins apart"


def test_an_example_without_key_parts_has_gain_exactly_0(make_learner, mixed_examples):
    found = gain.measure_examples(make_learner(), mixed_examples)[2]
    assert (found.prob, found.log, found.num_annotated, found.num_examples) == (0.0, 0.0, 0, 1)
    assert found.instructed == found.masked > 0


def test_examples_without_any_key_parts_can_be_measured_together(make_learner, make_example):
    plain = [make_example("Do it.", "ant", "ant"), make_example("Do it now.", "box egg", "box")]
    found = gain.measure(make_learner(), {"sort": plain})["sort"]
    assert (found.prob, found.log, found.prob_error, found.num_annotated) == (0.0, 0.0, 0.0, 0)
    assert reading(found) == "no key parts"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gain_does_not_depend_on_the_other_examples_of_a_batch(
    architecture, make_learner, mixed_examples, monkeypatch
):
    learner = make_learner(architecture)
    together = gain.measure_examples(learner, mixed_examples)
    backwards = gain.measure_examples(learner, mixed_examples[::-1])[::-1]
    monkeypatch.setattr(portions, "forward", lambda device: 1)
    alone = gain.measure_examples(learner, mixed_examples)
    for name in ("prob", "log", "instructed", "masked"):
        expected = pytest.approx([getattr(one, name) for one in together], abs=TOLERANCE)
        assert [getattr(one, name) for one in backwards] == expected
        assert [getattr(one, name) for one in alone] == expected


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2"])
def test_gain_is_the_same_where_probes_share_rows(architecture, make_learner, mixed_examples, make_example):
    learner = make_learner(architecture)
    more = [make_example(input=words, response=words) for words in ("egg fox", "hat ink jar", "kite")]
    examples = [*mixed_examples, *more]
    alone = gain.measure_examples(learner, examples)
    shared = gain.measure_examples(learner, examples, row_tokens=64)
    for name in ("prob", "log", "instructed", "masked"):
        expected = pytest.approx([getattr(one, name) for one in alone], abs=TOLERANCE)
        assert [getattr(one, name) for one in shared] == expected
    assert [one.num_annotated for one in shared] == [one.num_annotated for one in alone]


def test_measure_is_the_mean_over_each_tasks_probes_and_leaves_out_tasks_without_any(
    make_learner, mixed_examples
):
    learner = make_learner()
    probes = {"first": mixed_examples[:3], "none": (), "second": mixed_examples[3:]}
    singles = gain.measure_examples(learner, mixed_examples)
    found = gain.measure(learner, probes)
    assert list(found) == ["first", "second"]
    for task, part in (("first", singles[:3]), ("second", singles[3:])):
        assert found[task].prob == pytest.approx(statistics.fmean(one.prob for one in part), abs=1e-7)
        assert found[task].num_examples == len(part)
    assert found["first"].num_annotated == 2
    assert learner.ledger.gain_seconds > 0


def test_the_error_of_a_mean_gain_is_scipys_standard_error():
    probs, logs = [0.25, -0.5, 0.125, 0.75, 0.0], [1.0, -2.0, 0.5, 3.0, 0.0]
    pairs = zip(probs, logs, strict=True)
    found = gain.average([Gain(prob, log, 0.5, 0.5 - prob, num_annotated=prob != 0) for prob, log in pairs])
    assert (found.prob_error, found.log_error) == pytest.approx((sem(probs), sem(logs)))
    assert (found.prob, found.log) == pytest.approx((statistics.fmean(probs), statistics.fmean(logs)))
    assert (found.num_examples, found.num_annotated) == (5, 4)


def test_one_probe_has_standard_error_0():
    assert gain.average([Gain(0.25, 1.0, 0.5, 0.25)]).prob_error == 0.0


@pytest.mark.parametrize("training", [True, False])
def test_measuring_leaves_the_learners_mode_gradients_and_weights_alone(
    training, make_learner, mixed_examples
):
    learner = make_learner("gpt2", dropout=0.5)
    learner.model.train(training)
    before = learner.weights()
    first, second = (gain.measure_examples(learner, mixed_examples) for _ in range(2))
    assert first == second, "dropout must be off"
    assert all(module.training == training for module in learner.model.modules())
    assert all(weight.grad is None for weight in learner.parameters().values())
    assert all(torch.equal(before[name], weight) for name, weight in learner.parameters().items())


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_even_when_a_pass_fails(training, make_learner):
    learner = make_learner()
    learner.model.train(training)
    with pytest.raises(RuntimeError, match="out of memory"), learner.evaluating():
        raise RuntimeError("out of memory")
    assert learner.model.training == training


@pytest.mark.parametrize(
    ("instructed", "masked", "expected"),
    [(0.9, 0.1, "listens"), (0.9, 0.8, "half-listens"), (0.2, 0.1, "not learned"), (0.2, 0.8, "misled")],
)
def test_reading_names_the_four_cells_of_the_table(instructed, masked, expected):
    assert reading(Gain(instructed - masked, 0.0, instructed, masked)) == expected
