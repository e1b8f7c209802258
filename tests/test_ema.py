"""The moving average of the weights against torch's own, and the rate found against NumPy."""

import copy
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import optimize
from torch.optim import swa_utils

from kpig import config
from kpig.methods import ema
from kpig.methods.base import Clock, Step
from kpig.model.objective import cross_entropy_sum
from kpig.training import checkpoint, loop
from test_weight_methods import TASKS, configured, equal_states, equal_weights, fit, started, through_files


def walked(method, learner, values, gradients, step=1):
    """A step in which the weights take these values, one after each update, under these gradients."""
    method.begin_step(Step(step, TASKS[:1], len(values)), learner)
    seen = []
    for update, (following, gradient) in enumerate(zip(values, gradients, strict=True)):
        for name, weight in learner.parameters().items():
            weight.grad = gradient[name].clone()
        method.shape_gradients(learner, Clock(0, step, update, len(values), 2))
        seen.append(method.measured(Clock(0, step, update, len(values), 2)))
        learner.load_weights(following)
    method.end_step(Step(step, TASKS[:1], len(values)), learner)
    return seen


def drawn(weights, count, spread, seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        {name: one + spread * torch.randn(one.shape, generator=generator) for name, one in weights.items()}
        for _ in range(count)
    ]


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("decay", [0.0, 0.37, 0.99])
def test_a_fixed_rate_gives_the_average_that_torch_gives(decay, adapter, make_learner):
    learner = make_learner("gpt2", adapter)
    begun = learner.weights()
    values, zeros = drawn(begun, 5, 0.1, 3), {name: torch.zeros_like(one) for name, one in begun.items()}
    reference = torch.nn.ParameterDict({name.replace(".", "/"): one for name, one in begun.items()})
    averaged = swa_utils.AveragedModel(reference, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(decay))
    averaged.update_parameters(reference)
    for value in values:
        with torch.no_grad():
            for name, one in value.items():
                reference[name.replace(".", "/")].copy_(one)
        averaged.update_parameters(reference)
    method = started(configured("ema", adapter, settings={"decay": decay}))
    walked(method, learner, values, [zeros] * 5)
    for name, weight in learner.weights().items():
        expected = averaged.module[name.replace(".", "/")]
        torch.testing.assert_close(weight, expected.detach(), rtol=1e-6, atol=1e-6)


def by_numpy(begun, values, gradients, fallback):
    """The average of one weight by the formula in NumPy, with every rate that was found."""
    path = [begun, *values]
    average, used, found = path[0], fallback, []
    for update in range(1, len(path)):
        if update < len(values):
            above = np.abs(gradients[update] + 1).sum() * np.abs(path[update] - path[update - 1]).sum()
            below = np.abs(path[update] - average).sum()
            below *= np.abs(gradients[update] - gradients[update - 1]).sum()
            found.append(above / below)
            used = found[-1] if 0 < found[-1] < 1 else fallback
        average = used * average + (1 - used) * path[update]
    return average, found


@pytest.mark.parametrize("spread", [0.001, 3.0, 11.0], ids=["outside", "some", "inside"])
@pytest.mark.parametrize("fallback", [0.99, 0.25])
def test_the_rate_found_is_that_of_the_formula_in_numpy(spread, fallback, make_learner):
    learner = make_learner("gpt2")
    begun = learner.weights()
    values = drawn(begun, 6, 0.05, 1)
    zeros = {name: torch.zeros_like(one) for name, one in begun.items()}
    gradients = drawn(zeros, 6, spread, 2)
    method = started(configured("ema", settings={"fallback": fallback}))
    seen = walked(method, learner, values, gradients)
    every = []
    for name, weight in learner.weights().items():
        parts = ([one[name].double().numpy() for one in series] for series in (values, gradients))
        expected, found = by_numpy(begun[name].double().numpy(), *parts, fallback)
        np.testing.assert_allclose(weight.double().numpy(), expected, rtol=1e-4, atol=1e-5)
        every.append(found)
    inside = np.array([[0 < one < 1 for one in found] for found in every])
    assert [one["decays_found"] for one in seen[1:]] == pytest.approx(inside.mean(0), abs=1e-6)
    assert seen[0] == {} and method.num_found == inside.sum() and method.num_asked == inside.size
    assert f"{inside.sum()} of the {inside.size} rates" in method.notes()[0]
    assert inside.any() == (spread > 1)


# What the formula says, where it can be said otherwise: one weight, and a loss that is a parabola


def one_weight(value):
    return torch.tensor([value], dtype=torch.float64)


@pytest.mark.parametrize(
    ("curvature", "lowest", "former", "weight", "average"),
    [
        (2.0, 0.0, 1.9, 1.7, 0.2),
        (9.0, -0.4, 0.31, 0.3, -1.5),
        (0.7, 5.0, 3.5, 4.2, 1.1),
        (150.0, 1.0, 1.02, 1.004, 0.9),
        (1.0, 0.0, 0.5, 0.25, 0.0),
    ],
)
def test_the_rate_found_of_one_weight_is_that_of_the_least_loss_and_distance(
    curvature, lowest, former, weight, average
):
    """Of a weight above its average, on a parabola: where the loss at the new average and its distance from
    the former one are least together. There every factor is positive, so that norms change nothing.
    """

    def slope(at):
        return curvature * (at - lowest)

    def cost(rate):
        new = rate * average + (1 - rate) * weight
        return 0.5 * curvature * (new - lowest) ** 2 + (new - average)

    found = ema.found_decay(
        *map(one_weight, (weight, former, slope(weight), slope(former), average)),
    )
    assert found == pytest.approx((slope(weight) + 1) / ((weight - average) * curvature), rel=1e-9)
    assert found == pytest.approx(optimize.minimize_scalar(cost).x, rel=1e-5)


@pytest.mark.parametrize(
    ("curvature", "begun", "rate", "is_found"),
    [(4.0, -1.0, 0.2, True), (0.6, -9.0, 1.6, True), (30.0, -0.5, 0.033, True), (0.9, -1.0, 1.0, False)],
)
def test_a_rate_that_is_found_on_a_parabola_puts_the_average_where_the_slope_is_minus_1(
    curvature, begun, rate, is_found
):
    """Gradient descent from below on ½ a x². There loss and distance are least together at x = -1 / a."""
    weight = torch.nn.Parameter(one_weight(begun))
    learner = SimpleNamespace(
        device=torch.device("cpu"),
        parameters=lambda: {"w": weight},
        weights=lambda: {"w": weight.detach().clone()},
        load_weights=lambda given: weight.data.copy_(given["w"]),
    )
    path = [begun * (1 - rate * curvature) ** number for number in range(3)]
    gradients = [{"w": one_weight(curvature * one)} for one in path[:-1]]
    method = started(configured("ema", settings={"fallback": 0.7}))
    seen = walked(method, learner, [{"w": one_weight(one)} for one in path[1:]], gradients)
    used, between = 0.7, 0.7 * path[0] + 0.3 * path[1]
    if is_found:
        used = (curvature * path[1] + 1) / ((path[1] - path[0]) * curvature)
        between = -1 / curvature
    assert seen[1] == {"decay": pytest.approx(used, abs=1e-6), "decays_found": float(is_found)}
    assert float(weight.detach()) == pytest.approx(used * between + (1 - used) * path[2], rel=1e-9)


def test_the_gradients_and_their_quotients_are_slopes_and_curvatures_of_the_models_loss(make_learner):
    """A step of equal updates in float64, against finite differences and against autograd's second order."""
    learner, seen = make_learner("gpt2"), []
    learner.model.double().set_attn_implementation("eager")  # the other has no second derivative
    chosen = configured("ema", train={"batch_size": 8, "clip": 1e9, "learning_rate": 1e-5})
    step = Step(1, (dataclasses.replace(TASKS[0], instructions=TASKS[0].instructions[:1]),), 3)
    method = started(chosen)
    find = method._find
    method._find = lambda given: (find(given), seen.append(method.state_dict()["former"]))
    loop.fit_step(learner, method, step, chosen, lambda _: None, lambda _: None)
    (batch,) = learner.batches(loop.current_examples(step, loop.clock_at(chosen, step, 0)))

    def loss(weights):
        learner.load_weights(weights)
        with learner.evaluating():
            return (
                cross_entropy_sum(learner.response_logits(batch.rows), batch.rows.target) / batch.num_tokens
            )

    first, second = seen[0], seen[1]
    generator = torch.Generator().manual_seed(4)
    for name in list(first["weights"])[::3]:
        way = torch.randn(first["weights"][name].shape, generator=generator, dtype=torch.float64)
        ahead, behind = (
            float(loss(first["weights"] | {name: first["weights"][name] + by * way}).detach())
            for by in (1e-5, -1e-5)
        )
        expected = float((first["gradients"][name] * way).sum())
        assert (ahead - behind) / 2e-5 == pytest.approx(expected, rel=1e-4, abs=1e-7), name
    moved = {name: second["weights"][name] - one for name, one in first["weights"].items()}
    middle = {name: one + 0.5 * moved[name] for name, one in first["weights"].items()}
    parameters = learner.parameters()
    slopes = torch.autograd.grad(loss(middle), list(parameters.values()), create_graph=True)
    along = sum((one * moved[name]).sum() for name, one in zip(parameters, slopes, strict=True))
    curved = torch.autograd.grad(along, list(parameters.values()))
    for name, expected in zip(parameters, curved, strict=True):
        found = second["gradients"][name] - first["gradients"][name]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_a_weight_that_has_not_moved_takes_the_fallback():
    zero, one = torch.zeros(3), torch.ones(3)
    assert ema.found_decay(zero, zero, one, zero, zero) == 0.0
    assert ema.found_decay(one, zero, zero, zero, zero) == 0.0
    assert ema.found_decay(one, zero, one, zero, zero) == pytest.approx(2.0)


def test_a_rate_of_0_is_sequential_tuning_to_the_bit(make_learner):
    learners = {}
    for name, settings in (("ema", {"decay": 0.0}), ("sequential", None)):
        chosen = configured(name, settings=settings) if settings else configured_plain()
        learners[name] = make_learner("gpt2", dropout=0.1)
        method = started(chosen)
        for number in (1, 2):
            fit(learners[name], method, number, chosen)
    assert equal_weights(learners["ema"].weights(), learners["sequential"].weights())


def configured_plain():
    return config.build(configured("ema").model_dump() | {"method": {"name": "sequential"}})


@pytest.mark.parametrize("decay", [0.9, 0.999])
def test_the_slower_the_rate_the_nearer_the_step_stays_to_its_beginning(decay, make_learner):
    moved = {}
    for rate in (decay, 0.5):
        chosen = configured("ema", settings={"decay": rate})
        learner = make_learner("gpt2")
        begun = learner.weights()
        fit(learner, started(chosen), 1, chosen)
        moved[rate] = sum(float((one - begun[name]).abs().sum()) for name, one in learner.weights().items())
    assert 0 < moved[decay] < moved[0.5]


@pytest.mark.parametrize("decay", [0.6, "found"])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_run_interrupted_anywhere_in_the_second_step_equals_a_straight_one(
    decay, adapter, at, make_learner, tmp_path
):
    chosen = configured("ema", adapter, settings={"decay": decay}, train={"checkpoint_every": 1})
    method, learner = started(chosen), make_learner("gpt2", adapter, dropout=0.1)
    fit(learner, method, 1, chosen)
    between, kept = learner.weights(), through_files(method.state_dict(), tmp_path / "state")
    log, saved = fit(learner, method, 2, chosen)

    resumed, again = make_learner("gpt2", adapter, dropout=0.1), started(chosen)
    resumed.load_weights(between)
    again.load_state_dict(kept)
    checkpoint.publish(saved[at], tmp_path / "step")
    begun = checkpoint.read(checkpoint.find(tmp_path / "step"))
    tail, _ = fit(resumed, again, 2, chosen, begun)
    assert begun.update == at + 1 and tail == log[at + 1 :]
    assert equal_weights(resumed.weights(), learner.weights())
    assert equal_states(again.state_dict(), method.state_dict())


def test_nothing_of_an_average_is_kept_between_steps(make_learner):
    chosen = configured("ema")
    method, learner = started(chosen), make_learner("gpt2")
    fit(learner, method, 1, chosen)
    _, tensors = checkpoint.parted(copy.deepcopy(method.state_dict()))
    assert tensors == {}
