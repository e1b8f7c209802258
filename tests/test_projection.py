"""Laws of losses whose logits are made a few tokens at a time: value and gradient of all at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import CohereConfig, Gemma2Config, GraniteConfig, LlamaConfig

from architectures import CAUSAL
from kpig.model import portions
from kpig.model.head import Head
from kpig.model.objective import cross_entropy_slopes, cross_entropy_sum, jsd, jsd_slopes, token_log_probs
from kpig.model.projection import CrossEntropy, Divergence, summed
from kpig.model.rows import pad
from kpig.testing import models

SIZE = {
    "vocab_size": 4096,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
TAILS = {
    "capped at 30": lambda: Gemma2Config(**SIZE, head_dim=8, final_logit_softcapping=30.0),
    "capped at 0.5": lambda: Gemma2Config(**SIZE, head_dim=8, final_logit_softcapping=0.5),
    "divided by 7": lambda: GraniteConfig(**SIZE, logits_scaling=7.0),
    "times 0.0625": lambda: CohereConfig(**SIZE, logit_scale=0.0625),
    "tied": lambda: LlamaConfig(**SIZE, tie_word_embeddings=True),
    "with a bias": CAUSAL["gptj"],
}


def drawn(*shape, seed=0, scale=1.0, dtype=torch.float64):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0, 1000.0])
def test_slopes_of_the_divergence_are_autograds(scale):
    one, other = drawn(5, 7, seed=1, scale=scale).requires_grad_(), drawn(5, 7, seed=2, scale=scale)
    target = torch.tensor([0, 6, 3, 3, 1])
    divergence, log_probs, slopes = jsd_slopes(one, other, target)
    expected = jsd(one, other)
    (gradient,) = torch.autograd.grad(expected.sum(), one)
    torch.testing.assert_close(divergence, expected.detach(), rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(slopes, gradient, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(log_probs, token_log_probs(one, target).detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.1, 30.0, 1000.0])
def test_the_divergence_from_itself_and_its_slopes_are_exactly_zero(scale, dtype):
    one = drawn(3, 11, scale=scale).to(dtype)
    divergence, _, slopes = jsd_slopes(one, one.clone(), torch.tensor([0, 5, 10]))
    assert not divergence.any() and not slopes.any()


def test_of_distributions_far_apart_the_divergence_is_ln_2_and_no_slope_is_lost():
    one, other = torch.tensor([[0.0, 200.0, -200.0]]), torch.tensor([[200.0, 0.0, -1000.0]])
    divergence, _, slopes = jsd_slopes(one, other, torch.tensor([1]))
    torch.testing.assert_close(divergence, torch.tensor([2.0]).log())
    assert torch.isfinite(slopes).all()


def test_slopes_of_the_cross_entropy_are_autograds():
    logits, target = drawn(5, 7, scale=3.0).requires_grad_(), torch.tensor([0, 6, 3, 3, 1])
    log_probs, slopes = cross_entropy_slopes(logits, target)
    (gradient,) = torch.autograd.grad(cross_entropy_sum(logits, target), logits)
    torch.testing.assert_close(slopes, gradient)
    torch.testing.assert_close(log_probs, token_log_probs(logits, target).detach())


def plain(states, head, reference, reference_head, weight, own, masked):
    """The same loss by autograd, from the logits of all tokens."""
    logits = head.finished(head.product(states))
    held = jsd(logits[len(own) :], reference_head.finished(reference_head.product(reference)))
    return cross_entropy_sum(logits[: len(own)], own) + (weight * held).sum(), held.detach()


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(2, 30), st.integers(1, 7)),
    tail=st.sampled_from([(1.0, None), (0.3, None), (1.0, 2.0), (3.0, 1.5)]),
    has_bias=st.booleans(),
    rows=st.integers(1, 5),
    few=st.integers(1, 5),
    upstream=st.sampled_from([1.0, -0.25]),
)
def test_any_sizes_weights_chunks_and_tails_give_the_value_and_gradient_of_all_at_once(
    sizes, tail, has_bias, rows, few, upstream
):
    num_own, num_masked, vocabulary, width = sizes
    if not num_own + num_masked:
        return
    weight, bias = (
        drawn(vocabulary, width, seed=1).requires_grad_(),
        drawn(vocabulary, seed=2).requires_grad_(),
    )
    states = drawn(num_own + num_masked, width, seed=3, scale=2.0).requires_grad_()
    head = Head(weight, bias if has_bias else None, *tail)
    reference_head = Head(drawn(vocabulary, width, seed=4), None, *tail)
    own, masked = (torch.arange(count) % vocabulary for count in (num_own, num_masked))
    by_token = drawn(num_masked, seed=5).abs()
    reference = drawn(num_masked, width, seed=6)
    expected, held = plain(states, head, reference, reference_head, by_token, own, masked)
    leaves = [states, weight, *([bias] if has_bias else [])]
    gradients = torch.autograd.grad(upstream * expected, leaves)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portions, "LOGITS", rows * vocabulary)
        patch.setattr(portions, "LOGITS_IN_CACHE", few * vocabulary)
        found = summed(
            states, head, [CrossEntropy(own), Divergence(masked, reference, reference_head, by_token)]
        )
    torch.testing.assert_close(found.total.detach(), expected.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.values[num_own:], held, rtol=1e-9, atol=1e-12)
    for one, other in zip(torch.autograd.grad(upstream * found.total, leaves), gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_in_float32_a_large_vocabulary_keeps_the_digits():
    weight = drawn(5003, 24, seed=1, scale=0.5, dtype=torch.float32).requires_grad_()
    states = drawn(37, 24, seed=2, dtype=torch.float32).requires_grad_()
    reference, own = drawn(20, 24, seed=3, dtype=torch.float32), torch.arange(17)
    by_token, masked = torch.linspace(0, 1, 20), torch.arange(20)
    held = Head(weight.detach() + 0.1)
    expected, each = plain(states, Head(weight), reference, held, by_token, own, masked)
    gradients = torch.autograd.grad(expected, [states, weight])
    found = summed(states, Head(weight), [CrossEntropy(own), Divergence(masked, reference, held, by_token)])
    torch.testing.assert_close(found.total.detach(), expected.detach(), rtol=3e-7, atol=0)
    torch.testing.assert_close(found.values[17:], each, rtol=1e-6, atol=3e-7)
    for one, other in zip(torch.autograd.grad(found.total, [states, weight]), gradients, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


def test_a_frozen_head_gets_no_gradient_and_a_gradient_is_given_once():
    states, target = drawn(4, 3).requires_grad_(), torch.tensor([0, 1, 2, 3])
    head = Head(drawn(6, 3, seed=1))
    found = summed(states, head, [CrossEntropy(target)])
    found.total.backward(retain_graph=True)
    assert head.weight.grad is None
    with pytest.raises(RuntimeError, match="asked for twice"):
        found.total.backward()


class Sizes(TorchDispatchMode):
    """Remembers the largest tensor that is made."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            self.largest = max(self.largest, found.numel())
        return found


def test_the_logits_of_all_tokens_are_never_there_at_once(monkeypatch):
    vocabulary, width, count = 1000, 8, 60
    monkeypatch.setattr(portions, "LOGITS", 10 * vocabulary)
    states, weight = drawn(2 * count, width).requires_grad_(), drawn(vocabulary, width, seed=1)
    target, reference = torch.arange(count), drawn(count, width, seed=2)
    terms = [CrossEntropy(target), Divergence(target, reference, Head(weight), torch.ones(count))]
    with Sizes() as sizes:
        summed(states, Head(weight.requires_grad_()), terms).total.backward()
    assert 10 * vocabulary == sizes.largest < count * vocabulary


def test_under_autocast_products_are_bfloat16_as_the_models_own_are():
    states = drawn(9, 16, dtype=torch.float32).requires_grad_()
    weight, target = drawn(50, 16, seed=1, dtype=torch.float32).requires_grad_(), torch.arange(9)
    with torch.autocast("cpu", torch.bfloat16):
        expected = cross_entropy_sum(torch.nn.functional.linear(states, weight), target)
        found = summed(states, Head(weight), [CrossEntropy(target)]).total
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    gradients = torch.autograd.grad(expected, [states, weight])
    for one, other in zip(torch.autograd.grad(found, [states, weight]), gradients, strict=True):
        assert one.dtype == torch.float32 and (one - other).norm() <= 0.01 * other.norm()


# The head of a model.


def learner_of(shape, adapter=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = models.AutoModelForCausalLM.from_config(shape, dtype=torch.float32)
    return models.as_learner(
        models.scatter(model.eval(), 0, 0.3), models.tokenizer(), adapter, keep_initial=True
    )


def some_rows(learner):
    return pad([((5, 6, 7), (8, 9, 0)), ((5, 9), (7, 0))], learner.pad_id)


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", TAILS)
def test_logits_of_hidden_states_are_the_models_own(name, adapter):
    learner = learner_of(TAILS[name](), adapter)
    models.scatter(learner.model, 1, 0.3)
    head, rows = learner.head(), some_rows(learner)
    own = learner.response_logits(rows).detach()
    assert head is not None
    found = head.finished(head.product(learner.response_states(rows))).detach()
    torch.testing.assert_close(found, own, rtol=1e-5, atol=1e-5)
    held = learner.reference_head(None)
    found = held.finished(held.product(learner.reference_states(rows, None)))
    torch.testing.assert_close(found, learner.reference_logits(rows, None), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in CAUSAL if name != "bert as a decoder"])
def test_of_every_architecture_the_head_is_exact_or_not_had(name):
    learner = learner_of(CAUSAL[name]())
    head, rows = learner.head(), some_rows(learner)
    if head is not None:
        found = head.finished(head.product(learner.response_states(rows)))
        torch.testing.assert_close(found, learner.response_logits(rows), rtol=1e-5, atol=1e-5)


def test_a_tail_that_no_config_names_leaves_the_plain_way():
    shape = GraniteConfig(**SIZE, logits_scaling=7.0)
    learner = learner_of(shape)
    assert learner.head() is not None
    other = learner_of(shape)
    forward = type(other.model).forward

    class Odd(type(other.model)):
        def forward(self, **given):
            found = forward(self, **given)
            found.logits = found.logits * 1.01
            return found

    other.model.__class__ = Odd
    assert other.head() is None


def test_an_adapter_or_a_hook_on_the_output_layer_leaves_the_plain_way():
    learner = learner_of(LlamaConfig(**SIZE))
    layer = learner.model.get_output_embeddings()
    handle = layer.register_forward_hook(lambda *_: None)
    assert learner.head() is None
    handle.remove()
    assert learner.head() is not None
    wrapped = get_peft_model(learner.model, LoraConfig(target_modules=["lm_head", "q_proj"], r=2))
    assert models.as_learner(wrapped, learner.tokenizer, False).head() is None


def test_the_proof_is_made_in_the_models_own_dtype_also_where_bfloat16_computes():
    learner = learner_of(LlamaConfig(**SIZE))
    with torch.autocast("cpu", torch.bfloat16):
        assert learner.head() is not None


def test_the_proof_counts_no_tokens_and_is_made_once():
    learner = learner_of(LlamaConfig(**SIZE))
    before = learner.ledger.as_dict()
    passes = []
    learner.model.model.register_forward_hook(lambda *_: passes.append(1))
    assert learner.head() is not None and learner.head() is not None
    assert len(passes) == 1 and learner.ledger.as_dict() == before


def test_hidden_states_count_as_logits_do():
    learner = learner_of(LlamaConfig(**SIZE))
    rows = some_rows(learner)
    learner.response_logits(rows)
    learner.reference_logits(rows, None)
    once = learner.ledger.as_dict()
    learner.response_states(rows)
    learner.reference_states(rows, None)
    twice = learner.ledger.as_dict()
    for name in ("train_tokens", "forward_tokens", "computed_tokens"):
        assert twice[name] == 2 * once[name] > 0
