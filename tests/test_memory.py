"""Memory that runs out in an update: halved batches, the update repeated, and the same results."""

import pytest
import torch

from kpig.errors import DivergedError, TrainingError
from kpig.methods.base import Loss, Method
from kpig.methods.chosen import create
from test_train import TASKS, configured, equal_weights, fit, step_of


def short_of_memory(method, fits, error, attempts):
    """The method's loss, which runs out of memory after its backward graph is made, with too many rows."""
    real = method.loss

    def loss(learner, batch):
        found = real(learner, batch)
        attempts.append(len(batch.examples))
        if not fits(batch, attempts):
            found.sum.backward(retain_graph=True)
            raise error
        return found

    method.loss = loss
    return method


ERRORS = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
)


def run(make_learner, settings, method, **learner):
    learner = make_learner("gpt2", dropout=0.2, **learner)
    log, saved = fit(learner, method, step_of(2, *TASKS), settings)
    return log, saved, learner


@pytest.mark.parametrize("error", ERRORS, ids=["cpu", "cuda", "allocator"])
@pytest.mark.parametrize("name", ["sequential", "kpig", "migu", "l2"])
def test_an_update_that_runs_out_of_memory_is_repeated_in_halves_to_the_bits_of_such_halves(
    name, error, make_learner
):
    """Two tries fail: the run equals one whose batches were as small from the beginning."""
    keep = {"keep_initial": name == "kpig"}
    settings = configured(name, train={"tokens_per_micro_batch": 700, "checkpoint_every": 2})
    attempts: list[int] = []
    method = short_of_memory(create(settings), lambda _, seen: len(seen) > 2, error, attempts)
    log, saved, learner = run(make_learner, settings, method, **keep)
    *_, told = tries = [event for event in log if "memory" in event.get("warning", "")]
    assert "update 1:" in told["warning"] and told["step"] == 2 and len(tries) == 2
    assert attempts[0] > attempts[1] > attempts[2]
    small = configured(name, train={"tokens_per_micro_batch": told["tokens_per_micro_batch"]})
    straight, _, other = run(make_learner, small, create(small), **keep)
    assert [event for event in log if "update" in event] == [one for one in straight if "update" in one]
    assert equal_weights(learner.weights(), other.weights())
    counted = ("updates", "train_tokens", "forward_tokens", "replayed_examples")
    assert all(getattr(learner.ledger, key) == getattr(other.ledger, key) for key in counted)
    assert saved[0].update == 2


@pytest.mark.parametrize("late", [2, 3])
def test_memory_that_runs_out_among_several_batches_leaves_no_gradient_behind(late, make_learner):
    settings = configured(train={"tokens_per_micro_batch": 120, "batch_size": 13})
    found, attempts = [], []
    for fits in (lambda _, seen: True, lambda _, seen: len(seen) != late):
        method, tried = create(settings), []
        short_of_memory(method, fits, MemoryError(), tried)
        log, _ = fit(make_learner(), method, step_of(1, *TASKS), settings)
        found.append([event["loss"] for event in log if "update" in event])
        attempts.append(len(tried))
    assert found[0] == pytest.approx(found[1], rel=1e-4) and found[0] != found[1]
    assert attempts[1] > attempts[0] >= 3 * 5


@pytest.mark.parametrize("row_tokens", [0, 64])
def test_one_example_that_does_not_fit_ends_in_advice(row_tokens, make_learner):
    settings = configured(train={"row_tokens": row_tokens})
    learner, attempts = make_learner(), []
    before = learner.weights()
    method = short_of_memory(create(settings), lambda *_: False, MemoryError(), attempts)
    with pytest.raises(TrainingError, match=r"one example at a time.*model\.max_length"):
        fit(learner, method, step_of(1, *TASKS), settings)
    assert attempts[-1] == 1 and len(attempts) <= 4
    assert equal_weights(before, learner.weights())


def test_memory_that_runs_out_elsewhere_and_other_errors_are_not_repeated(make_learner):
    settings = configured()

    class Greedy(Method):
        def shape_gradients(self, learner, clock):
            raise MemoryError

    with pytest.raises(TrainingError, match=r"memory ran out at step 1, update 1.*--resume"):
        fit(make_learner(), Greedy(settings), step_of(1, *TASKS), settings)
    attempts: list[int] = []
    method = short_of_memory(create(settings), lambda *_: False, RuntimeError("shapes differ"), attempts)
    with pytest.raises(RuntimeError, match="shapes differ"):
        fit(make_learner(), method, step_of(1, *TASKS), settings)
    assert len(attempts) == 1


@pytest.mark.parametrize("name", ["loss", "tokens", "gradient_norm", "penalty", "update", "t"])
@pytest.mark.parametrize("hook", ["loss", "measured"])
def test_a_method_that_writes_under_the_loops_names_is_refused_by_name(name, hook, make_learner):
    class Mine(Method):
        def loss(self, learner, batch):
            found = super().loss(learner, batch)
            more = {name: found.sum.detach()} if hook == "loss" else {}
            return Loss(found.sum, found.log | more)

        def measured(self, clock):
            return {name: 1} if hook == "measured" else {}

    settings = configured()
    with pytest.raises(TrainingError, match=rf"Mine\.{hook} writes '{name}'.*another name"):
        fit(make_learner(), Mine(settings), step_of(1, *TASKS), settings)
    assert not issubclass(TrainingError, DivergedError)
