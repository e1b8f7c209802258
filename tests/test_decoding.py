"""Laws of answers to prompts that are read once: the texts of each alone, and only where that is shown."""

import copy
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GemmaConfig

from architectures import CAUSAL, MASKLESS, WINDOW, WINDOWED, build
from conftest import architecture_config
from kpig import config
from kpig.errors import ModelError
from kpig.model import decoding, generation, packing, portions
from kpig.model.encoding import Encoder
from kpig.model.learner import Learner
from kpig.model.packing import COSTS
from kpig.records import SEEN, Task
from kpig.scoring import answers, probing
from kpig.testing import models

MODELS = ("llama", "qwen3", "gpt2", "gemma")
SIZE = {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4}


def learner_of(name, adapter=False):
    """A learner around a small random model whose answers vary; Gemma's attention has no window."""
    shape = (
        GemmaConfig(**models.ENDS, **SIZE, num_key_value_heads=1, head_dim=8, tie_word_embeddings=False)
        if name == "gemma"
        else architecture_config(name)
    )
    learner = models.as_learner(models.random_model(shape), models.tokenizer(), adapter)
    models.scatter(learner.model, 1, 0.1)
    return learner


CACHED = {name: learner_of(name) for name in MODELS}


def prompts_of(rng, num_tasks=3, per_task=4):
    """Prompts of unequal length: those of a task begin alike, one with nothing of its own; all in two ids."""
    found = []
    for _ in range(num_tasks):
        beginning = [7, 8, *rng.choices(range(2, 900), k=rng.randint(5, 30))]
        middle = rng.choices(range(2, 900), k=3)
        for number in range(per_task):
            own = rng.choices(range(2, 900), k=rng.randint(1, 12))
            found.append((*beginning, *(middle if number % 2 else ()), *own))
        found.append(tuple(beginning))
    return found


def plainly(learner, prompts, most, ends=None):
    """The answers as transformers gives them, one by one."""
    ends = ends or learner.ends
    return [
        generation.greedy(learner.network.core, learner.tokenizer, [prompt], most, learner.pad_id, ends)[0]
        for prompt in prompts
    ]


def once(learner, prompts, most, ends=None, costs=COSTS, max_tokens=4096):
    """The answers from prompts that are read in shared rows."""
    ends = ends or learner.ends
    ids = decoding.written(learner.network.core, prompts, most, learner.pad_id, ends, costs, max_tokens)
    return [generation.decoded(learner.tokenizer, one, ends) for one in ids]


def reads_once(learner, prompts, most):
    """Whether the learner reads what the prompts begin with once."""
    return learner._answering().reads_once(prompts, most)


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_each_prompt_alone(name, adapter):
    learner = learner_of(name, adapter)
    prompts = prompts_of(random.Random(3))
    expected = plainly(learner, prompts, 9)
    assert learner.generate(prompts, 9) == expected == once(learner, prompts, 9)
    assert len({text for text, _ in expected}) > 5
    assert {len(prompt) for prompt in prompts} != {len(prompts[0])}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_tasks=st.integers(1, 4),
    per_task=st.integers(0, 5),
    most=st.integers(1, 11),
    num_ends=st.integers(1, 40),
    max_tokens=st.sampled_from([1, 60, 4096]),
    name=st.sampled_from(["llama", "gpt2"]),
)
def test_rows_that_end_leave_the_others_as_they_are(
    seed, num_tasks, per_task, most, num_ends, max_tokens, name
):
    """The ends are ids that answers hold, so that rows end one after the other, in any order."""
    learner, rng = CACHED[name], random.Random(seed)
    prompts = prompts_of(rng, num_tasks, per_task)
    never = (-1,)  # any id of the vocabulary may be an answer's
    ids = decoding.written(learner.model, prompts, most, learner.pad_id, never, COSTS, 4096)
    assert [len(one) for one in ids] == [most] * len(prompts)
    seen = sorted({one for row in ids for one in row})
    ends = tuple(rng.sample(seen, min(num_ends, len(seen))))
    found = decoding.written(learner.model, prompts, most, learner.pad_id, ends, COSTS, max_tokens)
    for whole, cut in zip(ids, found, strict=True):
        first = next((place for place, one in enumerate(whole) if one in ends), most)
        assert cut == whole[: first + 1]


def test_rows_end_one_after_the_other_in_the_test_above():
    learner = CACHED["llama"]
    prompts = prompts_of(random.Random(3))
    ids = decoding.written(learner.model, prompts, 9, learner.pad_id, (1,), COSTS, 4096)
    ends = tuple({ids[0][2], ids[4][0], ids[9][5]})
    lengths = [len(one) for one in decoding.written(learner.model, prompts, 9, 1, ends, COSTS, 4096)]
    assert {1, 3, 9} <= set(lengths)
    assert once(learner, prompts, 9, ends) == plainly(learner, prompts, 9, ends)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_predicted_from_the_cache_is_what_a_row_of_its_own_predicts(name):
    learner, rng = CACHED[name], random.Random(5)
    pairs = [(prompt, rng.choices(range(2, 900), k=3)) for prompt in prompts_of(rng)]
    found = decoding.predicted(learner.model, pairs, learner.pad_id, COSTS, 4096)
    for (prompt, response), one in zip(pairs, found, strict=True):
        with torch.no_grad():
            logits = learner.model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
        assert torch.allclose(one, logits, atol=1e-4)


@pytest.mark.parametrize("name", sorted(CAUSAL))
def test_every_architecture_answers_as_it_does_alone_whichever_way_it_takes(name, monkeypatch):
    learner = Learner(build(CAUSAL[name](), 0.3), models.tokenizer(), Encoder(models.tokenizer(), 200))
    ways = []
    monkeypatch.setattr(
        decoding, "written", lambda *given, inner=decoding.written: ways.append(1) or inner(*given)
    )
    prompts = prompts_of(random.Random(3))
    assert max(map(len, prompts)) > WINDOW
    assert learner.generate(prompts, 6) == plainly(learner, prompts, 6)
    assert bool(ways) == (name not in (*WINDOWED, *MASKLESS))
    assert learner.ledger.forward_tokens == 0


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "mistral", "qwen2"])
def test_a_window_that_prompt_and_answer_fit_into_is_no_doubt(name):
    shape = CAUSAL[name]()
    shape.sliding_window = 60
    learner = Learner(build(shape, 0.3), models.tokenizer(), Encoder(models.tokenizer(), 200))
    prompts = prompts_of(random.Random(3))
    longest = max(map(len, prompts))
    assert reads_once(learner, prompts, 60 - longest) and not reads_once(learner, prompts, 61 - longest)
    assert learner.generate(prompts, 5) == plainly(learner, prompts, 5)


def test_a_model_that_does_not_go_on_from_a_given_cache_keeps_the_plain_way(monkeypatch):
    learner = learner_of("llama")
    prompts = prompts_of(random.Random(3))
    expected = learner.generate(prompts, 5)
    for fault in (AttributeError("layers"), None):
        doubtful = learner_of("llama")
        forward = doubtful.model.forward

        def broken(*given, past_key_values=None, forward=forward, fault=fault, **more):
            if fault and past_key_values is not None and more["input_ids"].shape[1] == 1:
                raise fault
            if isinstance(past_key_values, decoding._Room):
                past_key_values.held = {k: (a * 0, b) for k, (a, b) in past_key_values.held.items()}
            return forward(*given, past_key_values=past_key_values, **more)

        monkeypatch.setattr(doubtful.model, "forward", broken)
        doubtful.network.takes_positions = True
        monkeypatch.setattr(doubtful.model, "generate", lambda **given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            doubtful.generate(prompts, 5)
    assert len(expected) == len(prompts)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_proof_is_without_dropout_and_in_the_models_own_arithmetic(dtype):
    learner = models.learner(dropout=0.4)
    learner.model.to(dtype).train()
    with torch.autocast("cpu", torch.bfloat16):
        assert reads_once(learner, prompts_of(random.Random(3)), 5)
    assert learner.model.training


def test_the_proof_is_not_made_again_for_every_somewhat_longer_prompt():
    learner, passes = learner_of("llama"), []
    forward = learner.forward_logits
    learner.forward_logits = lambda rows, weights=None: passes.append(rows) or forward(rows, weights)
    for length in (20, 33, 50, 60):
        prompts = [(*range(2, length), last) for last in range(5)]
        assert reads_once(learner, prompts, 4)
    assert len(passes) == 2 + 2 + 1, "to 32 tokens, to 64, and once for the cache"


def test_prompts_that_begin_with_too_little_in_common_are_answered_the_plain_way():
    learner, rng = CACHED["llama"], random.Random(1)
    apart = [tuple(rng.choices(range(2, 900), k=20)) for _ in range(6)]
    for prompts in (apart, [(5,)], [(5, 6)], [(5,), (5, 6, 7), (5, 6, 8)], [()] * 2, []):
        assert not reads_once(learner, prompts, 5)
    assert reads_once(learner, [(5, 6)] * 2, 5)
    assert once(learner, [*apart, (5, 6), (5, 7)], 5) == plainly(learner, [*apart, (5, 6), (5, 7)], 5)


@pytest.mark.parametrize(("count", "expected"), [(2, False), (9, False), (40, True)])
def test_a_list_too_short_to_pay_for_the_proof_is_answered_the_plain_way_every_time(
    count, expected, monkeypatch
):
    """Whether or not the model was shown to take it before: the same prompts, the same way."""
    learner, ways = learner_of("llama"), []
    monkeypatch.setattr(
        decoding, "written", lambda *given, inner=decoding.written: ways.append(1) or inner(*given)
    )
    prompts = [(*range(2, 30), last) for last in range(40, 40 + count)]
    cost = learner._sharing.reading_cost(29 + 4, learner.encoder.max_length)
    assert (28 * (count - 1) >= cost) == expected
    plain = [one.text for one in learner.answers(prompts, 4, row_tokens=0)]
    for _ in range(2):
        ways.clear()
        assert [one.text for one in learner.answers(prompts, 4)] == plain
        assert bool(ways) == expected
        assert reads_once(learner, prompts, 4), "shown by now"


def test_a_batch_is_written_the_plain_way_where_that_is_asked(monkeypatch):
    learner, ways = learner_of("llama"), []
    monkeypatch.setattr(
        decoding, "written", lambda *given, inner=decoding.written: ways.append(1) or inner(*given)
    )
    prompts = prompts_of(random.Random(3))
    assert learner.generate(prompts, 5, 0) == learner.generate(prompts, 5) == plainly(learner, prompts, 5)
    assert len(ways) == 1, "the second time"


def test_a_prediction_that_is_no_number_is_refused():
    learner = learner_of("llama")
    prompts = prompts_of(random.Random(3))
    assert reads_once(learner, prompts, 5)
    with torch.no_grad():
        learner.model.get_output_embeddings().weight[3] = float("nan")
    with pytest.raises(ModelError, match="no finite number"):
        learner.generate(prompts, 5)


# Which prompts are answered side by side


@given(
    seed=st.integers(0, 10**6),
    num_tasks=st.integers(1, 5),
    per_task=st.integers(0, 6),
    budget=st.sampled_from([1, 100, 500, 10**6]),
)
@settings(max_examples=50, deadline=None)
def test_every_prompt_is_in_one_batch_within_the_budget_and_those_that_begin_alike_stay_together(
    seed, num_tasks, per_task, budget
):
    rng = random.Random(seed)
    prompts = prompts_of(rng, num_tasks, per_task)
    rng.shuffle(prompts)
    batches = CACHED["llama"].prompt_batches(prompts, 7, budget)
    assert sorted(number for batch in batches for number in batch) == list(range(len(prompts)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * (max(len(prompts[n]) for n in batch) + 7) <= budget
    families = packing.families(prompts)
    assert sorted(number for family in families for number in family) == list(range(len(prompts)))
    longest = [max(len(prompts[number]) for number in family) for family in families]
    assert longest == sorted(longest, reverse=True)
    beginnings = [{prompts[number][:7] for number in family} for family in families]
    assert all(len(found) == 1 for found in beginnings), "tasks differ from the third id on"


def test_a_batch_takes_more_where_beginnings_are_shared_unless_the_user_says():
    cpu = torch.device("cpu")
    assert portions.generation(cpu, shared=True) > portions.generation(cpu)
    assert portions.generation(cpu, 77, shared=True) == portions.generation(cpu, 77) == 77


def test_the_tokenizer_may_end_an_answer_by_another_word():
    learner = copy.copy(CACHED["llama"])
    prompts = prompts_of(random.Random(3))
    ids = decoding.written(learner.model, prompts, 6, learner.pad_id, (1,), COSTS, 4096)
    learner.tokenizer = copy.deepcopy(learner.tokenizer)
    learner.tokenizer.eos_token = learner.tokenizer.convert_ids_to_tokens(ids[2][1])
    found = learner.generate(prompts, 6)
    assert found == plainly(learner, prompts, 6) and found[2][1]


def test_sharing_can_be_turned_off_and_changes_no_answer(make_example, monkeypatch):
    learner, ways = learner_of("llama"), []
    monkeypatch.setattr(
        decoding, "written", lambda *given, inner=decoding.written: ways.append(1) or inner(*given)
    )
    examples = [make_example("Sort {the words} now.", f"ant box {n}", "so") for n in range(60)]
    task = Task("sort", (examples[0].instruction,), (), tuple(examples), "rougeL")
    found = {}
    for row_tokens in (0, "auto"):
        chosen = config.EvaluateSection(row_tokens=row_tokens, max_new_tokens=5, num_gain_examples=4)
        ways.clear()
        found[row_tokens] = answers.score(learner, probing.probes({SEEN: [task]}, chosen), chosen)
        assert bool(ways) == (row_tokens == "auto")
    for plain, shared in zip(found[0], found["auto"], strict=True):
        assert (shared.response, shared.masked_response) == (plain.response, plain.masked_response)
        assert (shared.gain is None) == (plain.gain is None)
        assert plain.gain is None or shared.gain.log == pytest.approx(plain.gain.log, abs=1e-4)
