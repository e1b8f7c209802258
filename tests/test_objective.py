"""The formulas against SciPy, PyTorch and loops."""

import math

import numpy
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr, softmax

from kpig.model.objective import (
    cross_entropy_sum,
    jsd,
    kl,
    mean_by_example,
    token_log_probs,
    top_log_probs,
)

SCALES = (0.1, 1.0, 30.0)


def random_logits(scale, seed=0, dtype=torch.float64, shape=(5, 7)):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("scale", SCALES)
def test_token_log_probs_equal_log_softmax_and_gather_in_float64(scale):
    logits, target = random_logits(scale), torch.tensor([0, 6, 3, 3, 1])
    expected = logits.log_softmax(-1).gather(-1, target[:, None])[:, 0]
    torch.testing.assert_close(token_log_probs(logits, target), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_logits_are_widened_before_the_formula(dtype):
    logits, target = random_logits(3.0).to(dtype), torch.tensor([0, 6, 3, 3, 1])
    found = token_log_probs(logits, target)
    expected = logits.double().log_softmax(-1).gather(-1, target[:, None])[:, 0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert jsd(logits, logits.flip(0)).dtype == torch.float32


def test_cross_entropy_sum_equals_pytorchs():
    logits, target = random_logits(2.0), torch.tensor([0, 6, 3, 3, 1])
    expected = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
    torch.testing.assert_close(cross_entropy_sum(logits, target), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_jsd_equals_the_square_of_scipys_distance_in_float64(scale):
    one, other = random_logits(scale, 1), random_logits(scale, 2)
    expected = jensenshannon(softmax(one.numpy(), -1), softmax(other.numpy(), -1), axis=-1) ** 2
    numpy.testing.assert_allclose(jsd(one, other).numpy(), expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [*SCALES, 1000.0])
def test_jsd_is_symmetric_and_between_zero_and_ln_2(scale, dtype):
    one, other = random_logits(scale, 1, dtype), random_logits(scale, 2, dtype)
    found = jsd(one, other)
    torch.testing.assert_close(found, jsd(other, one))
    rounding = 4 * torch.finfo(dtype).eps
    assert (found >= 0).all() and (found <= math.log(2) + rounding).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [*SCALES, 1000.0])
def test_jsd_of_logits_with_themselves_is_zero(scale, dtype):
    logits = random_logits(scale, 1, dtype)
    assert jsd(logits, logits + 5.0).max() <= 10 * torch.finfo(dtype).eps * max(1.0, scale)
    assert jsd(logits, logits).max() <= 2 * torch.finfo(dtype).eps


def test_jsd_of_disjoint_distributions_is_ln_2():
    one, other = torch.tensor([[100.0, -100.0, -100.0]]), torch.tensor([[-100.0, -100.0, 100.0]])
    torch.testing.assert_close(jsd(one, other), torch.tensor([math.log(2)]))


@pytest.mark.parametrize("scale", [*SCALES, 1000.0])
def test_gradients_of_the_jsd_are_finite_also_where_both_sides_agree(scale):
    one = random_logits(scale, 1, torch.float32).requires_grad_()
    other = random_logits(scale, 2, torch.float32).requires_grad_()
    for pair in ((one, other), (one, one.detach())):
        one.grad = other.grad = None
        jsd(*pair).sum().backward()
        assert torch.isfinite(one.grad).all()
    assert one.grad.abs().max() <= 1e-6


def test_gradient_of_the_jsd_passes_gradcheck():
    one, other = random_logits(1.0, 1).requires_grad_(), random_logits(1.0, 2).requires_grad_()
    assert torch.autograd.gradcheck(jsd, (one, other))


def top_ids(logits, k):
    return logits.topk(k).indices


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("k", [1, 3, 6])
def test_top_log_probs_equal_a_loop_over_tokens_in_float64(k, scale):
    logits = random_logits(scale)
    ids = top_ids(random_logits(scale, 2), k)  # another model's, not in this one's order
    for found, row, chosen in zip(top_log_probs(logits, ids), logits, ids.tolist(), strict=True):
        p = softmax(row.numpy())
        rest = sum(p[token] for token in range(7) if token not in chosen)
        numpy.testing.assert_allclose(found, numpy.log([*p[chosen], rest]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [*SCALES, 1000.0])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_top_log_probs_are_finite_and_their_probabilities_sum_to_one(k, scale):
    logits = random_logits(scale, dtype=torch.float32)
    found = top_log_probs(logits, top_ids(logits, k))
    assert torch.isfinite(found).all() and found.shape == (5, k + 1)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(5))
    assert k < 7 or (found[:, -1].exp() == 0).all()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("k", [1, 3, 6])
def test_kl_over_k_and_one_classes_equals_scipys_and_is_at_most_that_over_all(k, scale):
    then, now = random_logits(scale, 1), random_logits(scale, 2)
    ids = top_ids(then, k)
    p, q = (top_log_probs(logits, ids).exp().numpy() for logits in (then, now))
    found = kl(top_log_probs(then, ids), top_log_probs(now, ids)).numpy()
    numpy.testing.assert_allclose(found, rel_entr(p, q).sum(-1), rtol=1e-9, atol=1e-12)
    full = rel_entr(softmax(then.numpy(), -1), softmax(now.numpy(), -1)).sum(-1)
    assert (found <= full * (1 + 1e-12)).all()


@pytest.mark.parametrize("scale", SCALES)
def test_kl_over_all_of_the_vocabulary_equals_scipys(scale):
    then, now = random_logits(scale, 1), random_logits(scale, 2)
    ids = top_ids(then, 7)
    found = kl(top_log_probs(then, ids), top_log_probs(now, ids)).numpy()
    full = rel_entr(softmax(then.numpy(), -1), softmax(now.numpy(), -1)).sum(-1)
    numpy.testing.assert_allclose(found, full, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [*SCALES, 1000.0])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_kl_is_zero_on_itself_and_never_negative(k, scale, dtype):
    then, now = random_logits(scale, 1, dtype), random_logits(scale, 2, dtype)
    ids = top_ids(then, k)
    reference = top_log_probs(then, ids)
    found = kl(reference, top_log_probs(now, ids))
    assert found.dtype == reference.dtype and found.dtype != torch.bfloat16
    assert torch.equal(kl(reference, reference), torch.zeros_like(found))
    assert (found >= 0).all() and (kl(top_log_probs(now, ids), reference) >= 0).all()


@pytest.mark.parametrize("scale", [*SCALES, 1000.0])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_gradients_of_the_kl_are_finite_reach_one_side_only_and_vanish_on_itself(k, scale):
    then = random_logits(scale, 1, torch.float32).requires_grad_()
    now = random_logits(scale, 2, torch.float32).requires_grad_()
    same = then.detach().clone().requires_grad_()
    ids = top_ids(then, k)
    for current in (now, same):
        kl(top_log_probs(then, ids), top_log_probs(current, ids)).sum().backward()
    assert then.grad is None and torch.isfinite(now.grad).all() and now.grad.abs().max() > 0
    assert same.grad.abs().max() <= 1e-6


@pytest.mark.parametrize("k", [1, 3, 7])
def test_gradient_of_the_kl_passes_gradcheck(k):
    then, now = random_logits(1.0, 1), random_logits(1.0, 2).requires_grad_()
    ids = top_ids(then, k)
    assert torch.autograd.gradcheck(lambda x: kl(top_log_probs(then, ids), top_log_probs(x, ids)), (now,))


def test_no_response_tokens_give_zero_loss_and_zero_gradient():
    logits, target = torch.zeros(0, 7, requires_grad=True), torch.zeros(0, dtype=torch.long)
    weight = torch.ones(7, requires_grad=True)
    total = cross_entropy_sum(logits * weight, target) + jsd(logits * weight, logits.detach()).sum()
    total.backward()
    assert total.item() == 0.0
    assert torch.equal(weight.grad, torch.zeros(7))


def test_mean_by_example_equals_a_loop_and_is_zero_for_an_example_without_tokens():
    values, example = torch.tensor([1.0, 5.0, 2.0, 4.0, 0.0]), torch.tensor([0, 0, 3, 3, 3])
    expected = [values[example == number].mean().item() if number in example else 0.0 for number in range(4)]
    assert mean_by_example(values, example, 4).tolist() == pytest.approx(expected)
