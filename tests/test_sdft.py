"""SDFT against TRL's formula and a literal loop; who answers, who teaches, and what is drawn."""

import dataclasses
import math
from collections import Counter

import pytest
import torch
from torch.nn import functional

from kpig import config
from kpig.errors import ConfigError
from kpig.methods.base import Clock, Step
from kpig.methods.chosen import create
from kpig.model import loading, objective
from kpig.model.generation import Sampling
from kpig.tasks import stream, suite
from kpig.testing.models import scatter
from kpig.training import checkpoint, loop

TASKS = tuple(suite.task(pair, 9, 2, seed=0) for pair in (("reverse", "upper"), ("count", "period")))


def configured(adapter="none", **settings):
    return config.build(
        {
            "model": {"adapter": adapter},
            "train": {"batch_size": 4, "learning_rate": 3e-3, "device": "cpu"},
            "method": {"name": "sdft", "sdft": {"max_new_tokens": 6} | settings},
        }
    )


def begun(learner, **settings):
    method = create(configured("lora" if learner.is_adapter else "none", **settings))
    method.begin_step(Step(1, TASKS, 3), learner)
    return method


def clock(update=0):
    return Clock(0, 1, update, 3, 4)


def examples(count=5):
    return [*TASKS[0].train[: count - 2], *TASKS[1].train[:2]]


def as_trl(student, teacher, alpha):
    """TRL 1.16, `experimental/sdft/loss_utils.py`, `compute_divergence` on full logits, restated."""
    p, q = student.log_softmax(-1), teacher.log_softmax(-1)
    if alpha in (0.0, 1.0):
        given, target = (p, q) if alpha == 0 else (q, p)
        return functional.kl_div(given, target, reduction="none", log_target=True).sum(-1)
    share = torch.tensor(alpha)
    mixture = torch.logsumexp(torch.stack([p + torch.log(1 - share), q + torch.log(share)]), dim=0)
    to_teacher = functional.kl_div(mixture, q, reduction="none", log_target=True)
    to_student = functional.kl_div(mixture, p, reduction="none", log_target=True)
    return torch.lerp(to_student, to_teacher, alpha).sum(-1)


@pytest.mark.parametrize("alpha", [0.0, 0.13, 0.5, 0.81, 1.0])
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_the_divergence_and_its_gradient_are_trls(alpha, scale):
    torch.manual_seed(1)
    student, teacher = scale * torch.randn(7, 50), scale * torch.randn(7, 50)
    sides = [student.clone().requires_grad_() for _ in range(2)]
    ours, theirs = objective.mixed_divergence(sides[0], teacher, alpha), as_trl(sides[1], teacher, alpha)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    ours.sum().backward()
    theirs.sum().backward()
    torch.testing.assert_close(sides[0].grad, sides[1].grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_divergence_is_zero_on_itself_without_a_gradient(alpha):
    logits = torch.randn(5, 11, requires_grad=True)
    found = objective.mixed_divergence(logits, logits, alpha)
    found.sum().backward()
    assert found.abs().max() < 1e-6 and logits.grad.abs().max() < 1e-6


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize(("rate", "alpha"), [(0.0, 1.0), (0.25, 0.5), (1.0, 0.0)])
def test_the_loss_of_batches_is_that_of_a_literal_loop_over_examples(adapter, rate, alpha, make_learner):
    """One example after the other, each prompt alone, with the weights that the rate means."""
    learner = make_learner("llama", adapter)
    start = learner.weights()
    method = begun(learner, teacher_rate=rate, divergence=alpha)
    method.current(examples(), clock(0), learner)
    scatter(learner.model, 1, 0.05)
    taught = method.current(examples(), clock(1), learner)
    now = learner.weights()
    teacher = {name: (1 - rate) * start[name] + rate * now[name] for name in now}
    expected = 0.0
    for one, own in zip(examples(), taught, strict=True):
        hint = method.settings.hint.replace("{demonstration}", one.response)
        shown = dataclasses.replace(own, input=f"{one.input}\n\n{hint}")
        (batch,), (seen,) = list(learner.batches([own])), list(learner.batches([shown]))
        assert batch.rows.target.tolist() == seen.rows.target.tolist()
        pair = learner.forward_logits(batch.rows), learner.forward_logits(seen.rows, teacher)
        expected += float(as_trl(*pair, alpha).sum())
    total = sum(float(method.loss(learner, batch).sum.detach()) for batch in learner.batches(taught))
    assert total == pytest.approx(expected, rel=1e-4)


def test_the_answers_are_the_models_own_and_the_teacher_alone_sees_the_response(make_learner):
    learner = make_learner("llama")
    method = begun(learner, temperature=0.0)
    taught = method.current(examples(), clock(), learner)
    prompts = [one.prompt for one in learner.encoder.encode_all(examples(), 6)]
    assert [one.response for one in taught] == [one.text for one in learner.answers(prompts, 6)]
    assert len({one.id for one in taught}) == 5
    for one, own in zip(examples(), taught, strict=True):
        assert one.response in learner.tokenizer.decode(method._prompts[own.id])
        assert one.response not in learner.encoder.prompt_text(own).replace(one.input, "")


def test_what_is_written_and_what_the_teacher_reads_counts_in_the_ledger(make_learner):
    learner = make_learner("llama")
    method = begun(learner, temperature=0.0)
    taught = method.current(examples(), clock(), learner)
    prompts = [one.prompt for one in learner.encoder.encode_all(examples(), 6)]
    other = make_learner("llama")
    other.answers(prompts, 6)
    assert learner.ledger.forward_tokens == other.ledger.forward_tokens > sum(map(len, prompts))
    before = learner.ledger.forward_tokens
    for batch in learner.batches(taught):
        method.loss(learner, batch)
    responses = [len(learner.encoder.response_ids(one.response)) for one in taught]
    read = sum(map(len, method._prompts.values())) + sum(responses)
    assert learner.ledger.forward_tokens - before == read
    assert learner.ledger.train_tokens == sum(map(len, prompts)) + sum(responses)


def test_draws_follow_the_softmax_and_hang_on_no_neighbour(make_learner):
    learner = make_learner("llama")
    prompt, other = [5, 6, 7], [9, 8, 7, 6, 5]
    sampling = Sampling(tuple(range(400)), 0.5)
    drawn = [one.text for one in learner.answers([prompt] * 400, 1, sampling=sampling)]
    (batch,) = [learner.rows([(prompt, (0,))], 0)]
    chances = (learner.forward_logits(batch)[0] / 0.5).softmax(-1)
    likeliest = int(chances.argmax())
    share = Counter(drawn)[learner.tokenizer.decode([likeliest]).strip()] / 400
    chance = float(chances[likeliest])
    assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / 400) + 1e-3
    beside = learner.answers([other, prompt], 5, sampling=Sampling((77, 3), 1.0))[1]
    assert beside == learner.answers([prompt], 5, sampling=Sampling((3,), 1.0))[0]
    assert beside != learner.answers([prompt], 5, sampling=Sampling((4,), 1.0))[0]


def test_an_update_asked_for_twice_draws_the_same_and_another_update_does_not(make_learner):
    learner = make_learner("llama")
    method = begun(learner)
    first, again, later = (
        [one.response for one in method.current(examples(), clock(update), learner)] for update in (0, 0, 1)
    )
    assert first == again != later


def test_an_example_without_room_for_its_response_twice_is_learned_as_it_stands_and_told(make_learner):
    learner = make_learner("llama")
    method = begun(learner)
    needed = max(one.num_tokens for one in learner.encoder.encode_all(examples(), 6))
    learner.encoder.max_length = needed + 8
    assert method.current(examples(), clock(), learner) == examples()
    plain = create(config.build({"method": {"name": "sequential"}}))
    for batch in learner.batches(examples()):
        assert torch.equal(method.loss(learner, batch).sum, plain.loss(learner, batch).sum)
    assert any(f"3 times an example of task {TASKS[0].name!r}" in note for note in method.notes())


def test_a_hint_stands_behind_input_or_instruction(make_example):
    method = create(configured(hint="Like {demonstration}!"))
    with_input = make_example(input="a {b}", response="{demonstration} c")
    assert method._shown(with_input).input == "a {b}\n\nLike {demonstration} c!"
    assert method._shown(with_input).instruction == with_input.instruction
    bare = make_example(input="", response="yes")
    assert method._shown(bare).instruction.text == f"{bare.instruction.text}\n\nLike yes!"
    assert method._shown(bare).instruction.key_parts == bare.instruction.key_parts
    assert method._shown(dataclasses.replace(bare, as_system=True)).input == "Like yes!"


def test_a_hint_without_the_response_is_refused():
    with pytest.raises(ConfigError, match=r"method\.sdft.*hint.*\{demonstration\}"):
        create(configured(hint="Think of an example."))


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_the_teacher_is_gone_when_the_step_has_ended(rate, make_learner):
    learner = make_learner("llama")
    chosen = configured(teacher_rate=rate)
    method, saved = create(chosen), []
    every = chosen.model_copy(update={"train": chosen.train.model_copy(update={"checkpoint_every": 1})})
    loop.fit_step(learner, method, Step(1, TASKS, 2), every, lambda _: None, saved.append)
    assert method.state_dict() == {"teacher": {}, "without_room": {}}
    assert [bool(one.method["teacher"]) for one in saved] == [0 < rate < 1] * 2


def test_a_resumed_step_shares_what_prompts_begin_with_as_the_straight_one(tmp_path):
    """With dropout in a LoRA, and so many prompts that the proof for shared rows is made in an update."""
    sizes = {"num_steps": 1, "tasks_per_step": 1, "num_train": 70, "num_test": 4}
    train = {"updates_per_step": 2, "batch_size": 64, "learning_rate": 3e-3, "checkpoint_every": 1}
    chosen = config.build(
        {
            "model": {"path": "tiny", "adapter": "lora", "lora_rank": 4, "lora_dropout": 0.1},
            "suite": sizes,
            "train": train | {"device": "cpu"},
            "method": {"name": "sdft", "sdft": {"temperature": 0.0, "max_new_tokens": 6}},
        }
    )
    step = Step(1, stream.configured(chosen).steps[0], 2)

    def learned(kept=None, keep=lambda state: None):
        method = create(chosen)
        learner = loading.load(chosen.model, method.needs_initial, "cpu", 0, None)
        loop.fit_step(learner, method, step, chosen, lambda event: None, keep, kept)
        return learner.weights()

    straight = learned(keep=lambda state: checkpoint.publish(state, tmp_path / str(state.update)))
    resumed = learned(checkpoint.read(checkpoint.find(tmp_path / "1")))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
