"""Laws of what a reference answered and is kept: the same loss and gradient, asked once, resumed alike."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from kpig import config
from kpig.methods.base import Clock, Step
from kpig.methods.chosen import create
from kpig.model import kept
from kpig.testing import models
from kpig.training import checkpoint, loop
from test_sharing import MODELS, TASKS, learner_of, prepared, update

OFF = {"kept_mib": 0}


def kpig(learner=None, train=(), gains=True, **method):
    """The method in the middle of a step, every example with its twin."""
    asked = {"twin_share": 1.0} | method
    made = create(config.build({"method": {"name": "kpig", "kpig": asked}, "train": dict(train)}))
    made.gains = prepared("kpig").gains if gains else {}
    if learner is not None:
        made.begin_step(Step(1, TASKS, 9), learner)
    return made


def some(*numbers):
    return [TASKS[task].train[number] for task, number in numbers]


def agree(one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    assert (one[1] - other[1]).norm() <= 1e-5 * other[1].norm()


@pytest.mark.parametrize("reference", ["initial", "previous"])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", MODELS)
def test_a_kept_answer_gives_the_loss_and_gradient_of_one_asked_anew(name, adapter, reference):
    learner = learner_of(name, adapter)
    method = kpig(learner, reference=reference)
    update(learner, method, some((0, 1), (1, 2), (2, 3), (0, 4)))
    models.scatter(
        learner.model, 3, 0.02
    )  # the weights move, and with full tuning the head; the answers stay
    before = learner.ledger.forward_tokens
    again = some((0, 4), (2, 3), (0, 1))
    found = update(learner, method, again)
    assert learner.ledger.forward_tokens == before
    off = kpig(reference=reference, **OFF)
    off._previous = method._previous
    agree(found, update(learner, off, again))
    assert learner.ledger.forward_tokens > before and not off.kept


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_answers_are_kept_where_bfloat16_computes(adapter):
    learner = learner_of("llama", adapter)
    method, examples = kpig(learner), some((0, 1), (1, 2), (2, 3))
    with torch.autocast("cpu", torch.bfloat16):
        first = update(learner, method, examples)
        before = learner.ledger.forward_tokens
        again = update(learner, method, examples)
    assert len(method.kept) == 3 and learner.ledger.forward_tokens == before
    assert again[0] == first[0] and torch.equal(again[1], first[1])


def test_chunks_and_kept_answers_are_the_plain_way_of_all_logits(monkeypatch):
    learner = learner_of("llama")
    examples = some((0, 1), (1, 2), (2, 3), (0, 4))
    found = update(learner, kpig(learner), examples)
    monkeypatch.setattr(type(learner), "head", lambda self: None)
    method = kpig(learner)
    agree(found, update(learner, method, examples))
    assert not method.kept


def test_an_adapter_on_the_head_has_the_plain_way():
    base = learner_of("llama")
    torch.manual_seed(0)
    lora = LoraConfig(r=2, target_modules=["lm_head", "q_proj"])
    learner = models.as_learner(get_peft_model(base.model, lora), base.tokenizer, False)
    models.scatter(learner.model, 1, 0.1)
    method = kpig(learner)
    loss, gradient, _ = update(learner, method, some((0, 1), (1, 2)))
    assert loss > 0 and gradient.norm() > 0 and not method.kept


LEARNER = learner_of("llama")


@settings(max_examples=25, deadline=None)
@given(
    updates=st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=5),
        min_size=1,
        max_size=4,
    ),
    budget=st.sampled_from([1, 90, 5000]),
    row_tokens=st.sampled_from([0, "auto", 60]),
    room=st.sampled_from([0, 3000, 1 << 20]),
)
def test_any_examples_split_rows_and_room_give_the_same_update(updates, budget, row_tokens, room):
    train = {"tokens_per_micro_batch": budget, "row_tokens": row_tokens}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "MEBI", room)
        method = kpig(LEARNER, train, kept_mib=1)
        for picks in updates:
            agree(update(LEARNER, method, some(*picks)), update(LEARNER, kpig(**OFF), some(*picks)))
    sizes = [
        state.numel() * 4 for state in itertools.chain.from_iterable(one.states for one in groups(method))
    ]
    assert sum(sizes) <= room


def groups(method):
    return {id(one): one for one in method.kept.values()}.values()


def read_back(state):
    """A method's state as a checkpoint gives it back."""
    return checkpoint.as_read(state)


@pytest.mark.parametrize("train", [{}, {"row_tokens": 0}, {"tokens_per_micro_batch": 60}])
def test_a_resumed_step_gets_the_bits_and_the_ledger_of_a_straight_one(train):
    learner = learner_of("llama")
    first, second, third = (
        some((0, 1), (1, 2), (2, 3), (0, 4)),
        some((0, 1), (1, 5), (0, 4)),
        some((1, 2), (1, 5)),
    )
    straight = kpig(learner, train)
    update(learner, straight, first)
    state, spent = read_back(straight.state_dict()), learner.ledger.as_dict()
    one = [update(learner, straight, examples)[:2] for examples in (second, third)]
    total = learner.ledger.as_dict()
    resumed = kpig(learner, train)
    resumed.load_state_dict(state)
    learner.ledger.restore(spent)
    other = [update(learner, resumed, examples)[:2] for examples in (second, third)]
    for (loss, gradient), (same_loss, same_gradient) in zip(one, other, strict=True):
        assert loss == same_loss and torch.equal(gradient, same_gradient)
    assert learner.ledger.as_dict() == total
    assert str(straight.state_dict()) == str(resumed.state_dict())


def test_a_state_holds_no_hidden_states_and_none_of_a_step_that_is_over():
    learner = learner_of("llama")
    method = kpig(learner)
    update(learner, method, some((0, 1), (1, 2)))
    assert "kept" in method.state_dict() and not checkpoint.parted(method.state_dict())[1]
    method.end_step(Step(1, TASKS, 9), learner)
    assert "kept" not in method.state_dict() and not method.kept
    update(learner, method, some((0, 1)))
    method.begin_step(Step(2, TASKS, 9), learner)
    assert not method.kept


def test_twins_of_equal_ids_are_asked_once():
    learner = learner_of("llama")
    method = kpig(learner, {"row_tokens": 0})
    update(learner, method, some((0, 1), (0, 1)))
    once = learner.ledger.forward_tokens
    assert once == len(next(iter(method.kept))[0]) + len(next(iter(method.kept))[1])


def test_memory_that_runs_out_takes_back_what_the_attempt_kept(monkeypatch):
    from kpig.training.passes import Passes

    learner = learner_of("llama")
    method = kpig(learner, gains=True)
    settings = method.config.train
    examples = some((0, 1), (1, 2), (2, 3), (0, 4))
    asked = []
    own = method.loss

    def loss(learner, batch):
        found = own(learner, batch)
        asked.append(len(method.kept))
        if len(asked) == 1:
            raise MemoryError
        return found

    monkeypatch.setattr(type(method), "loss", lambda self, *given: loss(*given))

    class Plain:
        def autocast(self):
            return torch.autocast("cpu", enabled=False)

        def backward(self, loss):
            loss.backward()

    passes = Passes(Plain(), learner, method, settings, lambda _: None)
    passes.read(examples, 0, Clock(0, 1, 0, 9, 4))
    assert asked[0] == 4 and asked[1] < 4 and len(method.kept) == 4
    assert max(len(one.pairs) for one in groups(method)) < 4


def test_training_is_the_same_with_and_without():
    steps = []
    for room in (0, 256):
        learner = learner_of("gpt2")
        run = config.build(
            {
                "method": {"name": "kpig", "kpig": {"kept_mib": room, "num_probes": 2}},
                "train": {"epochs": 3, "batch_size": 9, "device": "cpu"},
            }
        )
        records = []
        method = create(run)
        step = Step(1, TASKS, loop.num_updates(TASKS, run.train), loop.bounds(TASKS, run.train))
        loop.fit_step(learner, method, step, run, records.append, lambda _: None)
        steps.append((records, learner.ledger))
    (off, spent), (on, less) = steps
    for one, other in zip(off, on, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
    assert less.forward_tokens < spent.forward_tokens and less.train_tokens == spent.train_tokens
