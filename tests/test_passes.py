"""The one pass over examples, the one loop that generates, and what a batch says of its examples."""

import dataclasses

import pytest
import torch

from kpig import config
from kpig.methods.base import Method, Step
from kpig.model.batch import Layout
from kpig.model.ledger import Ledger
from kpig.model.objective import cross_entropy_sum, token_log_probs
from kpig.model.rows import join
from kpig.tasks import suite
from kpig.testing.models import scatter
from kpig.training import loop

TASKS = tuple(suite.task(pair, 9, 2, seed=0) for pair in (("reverse", "upper"), ("count", "period")))
LAYOUTS = [
    {},
    {"max_tokens": 1},
    {"max_tokens": 90},
    {"row_tokens": 64},
    {"row_tokens": 64, "max_tokens": 90},
    {"row_tokens": "auto"},
    {"row_tokens": "auto", "max_tokens": 90},
]


def sums(batch, logits):
    """Σ log p of each example's response, and of its masked twin's; None where it has none."""
    own = torch.zeros(len(batch.examples)).index_add(
        0, batch.example, token_log_probs(logits.rows, batch.rows.target)
    )
    found = {}
    if batch.twins is not None:
        owner = batch.example[batch.twin_of]
        values = token_log_probs(logits.twins, batch.twins.target)
        found = {int(one): float(values[owner == one].sum()) for one in owner.unique()}
    return [(float(value), found.get(number)) for number, value in enumerate(own)]


def alone(learner, prompt, response):
    """Minus the cross-entropy of one response, without padding."""
    with torch.no_grad():
        logits = learner.model(torch.tensor([[*prompt, *response]])).logits[0]
    return -float(cross_entropy_sum(logits[len(prompt) - 1 : -1], torch.tensor(response)))


# Per example


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_values_come_in_the_order_of_the_examples_however_they_are_batched(
    layout, twins, make_learner, mixed_examples
):
    learner = make_learner("llama")
    examples = [*mixed_examples, *mixed_examples[::-1]]
    found = learner.per_example(examples, sums, twins=twins, **layout)
    for example, (own, masked) in zip(examples, found, strict=True):
        encoded = learner.encoder.encode(example)
        assert own == pytest.approx(alone(learner, encoded.prompt, encoded.response), rel=1e-4)
        if not twins or encoded.masked_prompt is None:
            assert masked is None
        else:
            expected = alone(learner, encoded.masked_prompt, encoded.response)
            assert masked == pytest.approx(expected, rel=1e-4)


def test_examples_that_are_encoded_already_are_taken_as_they_are(make_learner, mixed_examples):
    learner = make_learner("llama")
    encoded = [learner.encoder.encode(one) for one in mixed_examples]
    other = dataclasses.replace(encoded[0], prompt=encoded[1].prompt)
    found = [own for own, _ in learner.per_example([other, *encoded[1:]], sums)]
    expected = [alone(learner, one.prompt, one.response) for one in (other, *encoded[1:])]
    assert found == pytest.approx(expected, rel=1e-4)
    assert learner.per_example([], sums) == []


def test_a_pass_over_examples_has_no_gradient_no_dropout_and_counts_forward_tokens(
    make_learner, mixed_examples
):
    learner = make_learner("gpt2", dropout=0.5)
    learner.model.train()
    seen = []

    def look(batch, logits):
        seen.append((torch.is_grad_enabled(), logits.rows.requires_grad))
        return sums(batch, logits)

    first, second = (learner.per_example(mixed_examples, look, twins=True) for _ in range(2))
    assert first == second and set(seen) == {(False, False)}
    assert all(module.training for module in learner.model.modules())
    encoded = [learner.encoder.encode(one) for one in mixed_examples]
    tokens = sum(len(one.prompt) + len(one.response) for one in encoded)
    tokens += sum(len(one.masked_prompt) + len(one.response) for one in encoded if one.masked_prompt)
    assert (learner.ledger.train_tokens, learner.ledger.forward_tokens) == (0, 2 * tokens)


def test_other_weights_are_those_of_the_pass_alone(make_learner, mixed_examples):
    learner, other = make_learner("llama"), make_learner("llama")
    scatter(other.model, 1, 0.1)
    before = learner.weights()
    found = learner.per_example(mixed_examples, sums, twins=True, weights=other.weights())
    assert found == other.per_example(mixed_examples, sums, twins=True)
    assert found != learner.per_example(mixed_examples, sums, twins=True)
    batches = learner.training_batches(mixed_examples, config.TrainSection())
    assert learner.mean_loss(batches, other.weights()) == other.mean_loss(batches)
    assert all(torch.equal(before[name], weight) for name, weight in learner.parameters().items())


def test_a_value_for_each_example_is_asked_for(make_learner, mixed_examples):
    with pytest.raises(ValueError, match="shorter"):
        make_learner().per_example(mixed_examples, lambda batch, logits: [0.0])


def test_the_mean_loss_is_that_of_all_response_tokens_whatever_is_read_besides(make_learner, mixed_examples):
    learner = make_learner("llama")
    encoded = [learner.encoder.encode(one) for one in mixed_examples]
    expected = -sum(alone(learner, one.prompt, one.response) for one in encoded)
    expected /= sum(len(one.response) for one in encoded)
    for row_tokens in (0, "auto", 200):
        settings = config.TrainSection(tokens_per_micro_batch=90, row_tokens=row_tokens)
        for reading in {False, row_tokens == 200}:
            batches = learner.training_batches(mixed_examples, settings, reading=reading)
            assert learner.mean_loss(batches) == pytest.approx(expected, rel=1e-5)


# Batches


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_places_say_where_each_example_of_a_batch_came_from(layout, make_learner, mixed_examples):
    found = list(make_learner().batches(mixed_examples, Layout(twins=True, **layout)))
    assert all(batch.examples == tuple(mixed_examples[p] for p in batch.places) for batch in found)
    assert sorted(place for batch in found for place in batch.places) == list(range(len(mixed_examples)))
    assert not any(batch.replayed.any() for batch in found)


@pytest.mark.parametrize("row_tokens", [0, 64, "auto"])
@pytest.mark.parametrize("budget", [1, 160, 100_000])
def test_replayed_examples_are_told_from_current_ones_in_every_micro_batch(
    row_tokens, budget, make_learner, mixed_examples
):
    """Batches are sorted by length, or by instruction where rows are shared: both kinds stand in one."""
    settings = config.TrainSection(row_tokens=row_tokens, tokens_per_micro_batch=budget)
    current, past = [*mixed_examples, *mixed_examples[:2]], [*mixed_examples[2:], mixed_examples[0]]
    learner = make_learner()
    batches = learner.training_batches([*current, *past], settings, True, num_replayed=len(past))
    marks = {
        place: mark
        for batch in batches
        for place, mark in zip(batch.places, batch.replayed.tolist(), strict=True)
    }
    assert marks == {place: place >= len(current) for place in range(len(current) + len(past))}
    if budget > 160:
        mixed = [marks for marks in (batch.replayed.tolist() for batch in batches) if len(set(marks)) > 1]
        assert any(marks != sorted(marks) for marks in mixed)
    for batch in batches:
        assert batch.replayed.dtype == torch.bool and batch.replayed.shape == (len(batch.examples),)
        assert batch.replayed[batch.example].shape == (batch.num_tokens,)


class Watching(Method):
    """Replays examples that are equal to current ones, and keeps what its loss is shown."""

    def __init__(self, settings):
        super().__init__(settings)
        self.seen = []

    def replay(self, clock, learner):
        return TASKS[clock.update % 2].train[: 1 + clock.update]

    def loss(self, learner, batch):
        self.seen.append(batch)
        return super().loss(learner, batch)


@pytest.mark.parametrize("row_tokens", [0, 300])
def test_the_training_loop_marks_what_the_method_replayed(row_tokens, make_learner):
    train = {"batch_size": 4, "row_tokens": row_tokens, "device": "cpu", "tokens_per_micro_batch": 300}
    settings = config.build({"train": train})
    method, records = Watching(settings), []
    loop.fit_step(
        make_learner(), method, Step(1, TASKS, 3), settings, records.append, lambda checkpoint: None
    )
    replayed = [
        example
        for batch in method.seen
        for example, mark in zip(batch.examples, batch.replayed, strict=True)
        if mark
    ]
    expected = [one for update in range(3) for one in TASKS[update % 2].train[: 1 + update]]
    assert {one.id for one in replayed} <= {one.id for one in expected}
    assert len(replayed) == len(expected) == sum(record["replayed"] for record in records)
    assert sum(len(batch.examples) for batch in method.seen) == 3 * 4 + len(expected)


def test_batches_are_made_where_the_weights_are_and_passes_move_nothing(make_learner, mixed_examples):
    """The meta device computes shapes only, and refuses to mix with tensors of another device."""
    learner = make_learner("llama")
    learner.model.to("meta")
    for layout in (Layout(twins=True), Layout(twins=True, row_tokens=200, reading=True)):
        batch, *_ = learner.batches(mixed_examples, layout, num_replayed=2)
        tensors = [batch.example, batch.twin_of, batch.replayed]
        for rows in (batch.rows, batch.twins, batch.both):
            fields = (getattr(rows, field.name) for field in dataclasses.fields(rows))
            tensors += [value for value in fields if isinstance(value, torch.Tensor)]
        assert len(tensors) == 21 and {tensor.device.type for tensor in tensors} == {"meta"}
    together = join(batch.rows, batch.twins, learner.pad_id)
    assert learner.forward_logits(together).shape == (len(together.target), 4096)


# Answers


@pytest.mark.parametrize("tokens_per_batch", [0, 1, 90])
def test_answers_come_in_order_with_their_tokens_counted(tokens_per_batch, make_learner, mixed_examples):
    learner = make_learner("llama")
    prompts = [learner.encoder.encode(one).prompt for one in mixed_examples]
    done = []
    found = learner.answers(prompts, 7, tokens_per_batch, done.append)
    assert [(one.text, one.finished) for one in found] == learner.generate(prompts, 7)
    assert len({one.text for one in found}) > 1
    batches = learner.prompt_batches(prompts, 7, tokens_per_batch)
    assert done == [len(batch) for batch in batches]
    assert (len(batches) == len(prompts)) == (tokens_per_batch == 1)
    written = [
        len(learner.tokenizer.encode(one.text, add_special_tokens=False)) + 1 if one.finished else 7
        for one in found
    ]
    assert [one.num_tokens for one in found] == written
    assert learner.ledger.forward_tokens == sum(map(len, prompts)) + sum(written)
    assert learner.answers([], 7) == []


@pytest.mark.parametrize("computed", [None, 0, 17])
def test_what_work_costs_apart_is_told_and_the_ledger_is_as_it_was(computed):
    """A run that began before computed tokens were counted does not count them here either."""
    ledger = Ledger(updates=3, train_tokens=70, computed_tokens=computed, gain_seconds=1.5)
    before = ledger.as_dict()

    def work():
        ledger.train_tokens += 5
        ledger.forward_tokens += 7
        ledger.add_computed(13)
        return "done"

    assert ledger.apart(work) == ("done", Ledger(train_tokens=5, forward_tokens=7, computed_tokens=13))
    assert ledger.as_dict() == before
    with pytest.raises(ZeroDivisionError):
        ledger.apart(lambda: (work(), 1 / 0))
    assert ledger.as_dict() == before
