"""Examples that share a row get the logits they would get alone, whatever the model.

Nothing is lost or added.
"""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ARCHITECTURES
from kpig.config import TrainSection
from kpig.config.section import AUTO
from kpig.errors import ModelError
from kpig.model import packing
from kpig.model.batch import collate, packed_batches
from kpig.model.packing import common_beginning, laid_out, num_shared, pack, plan, read_after_shared
from kpig.model.rows import pad
from kpig.training import loop

ids = st.lists(st.integers(3, 9), min_size=1, max_size=6)
pairs_of_ids = st.lists(st.tuples(ids, ids), min_size=1, max_size=8)
few_ids = st.lists(st.integers(3, 4), min_size=1, max_size=9)
alike = st.lists(st.tuples(few_ids, ids), min_size=1, max_size=12)
lengths_of_rows = st.integers(4, 40) | st.just(AUTO)


def tokens_of(rows):
    """(context the target may see, target) for every target, read off the mask alone."""
    found = []
    for row, column, target in zip(rows.row, rows.column, rows.target, strict=True):
        seen = rows.attention_mask[row, 0, column]
        order = rows.position_ids[row][seen].argsort()
        found.append((rows.input_ids[row][seen][order].tolist(), int(target)))
    return found


@given(pairs=pairs_of_ids, num_groups=st.integers(1, 3), row_tokens=lengths_of_rows, reading=st.booleans())
@settings(max_examples=200, deadline=None)
def test_every_target_sees_exactly_what_stands_before_it(pairs, num_groups, row_tokens, reading):
    groups = [number % num_groups for number in range(len(pairs))]
    read_from = read_after_shared(pairs, groups) if reading else ()
    rows = laid_out(pairs, plan(pairs, row_tokens), 0, read_from)
    expected = [
        ([*prompt, *response[:place]], token)
        for prompt, response in pairs
        for place, token in enumerate(response)
    ]
    found = tokens_of(rows)
    assert found[: len(expected)] == expected
    if not reading:
        assert len(found) == len(expected)
    prompts = [([*prompt[:place]], prompt[place]) for prompt, _ in pairs for place in range(1, len(prompt))]
    assert all(one in prompts for one in found[len(expected) :])


@given(pairs=alike, row_tokens=lengths_of_rows)
@settings(max_examples=200, deadline=None)
def test_prompts_that_branch_again_and_again_keep_what_each_sees(pairs, row_tokens):
    expected = [
        ([*prompt, *response[:place]], token)
        for prompt, response in pairs
        for place, token in enumerate(response)
    ]
    assert tokens_of(pack(pairs, 0, row_tokens)) == expected


@given(pairs=pairs_of_ids, row_tokens=lengths_of_rows)
@settings(max_examples=100, deadline=None)
def test_no_position_is_left_without_anything_to_attend_to_and_every_token_shown_counts(pairs, row_tokens):
    rows = pack(pairs, 0, row_tokens)
    assert rows.attention_mask.any(-1).all()
    assert rows.num_tokens == sum(len(prompt) + len(response) for prompt, response in pairs)
    assert rows.num_computed == rows.input_ids.numel()
    assert len(rows.target) == sum(len(response) for _, response in pairs)


@given(pairs=alike)
@settings(max_examples=200, deadline=None)
def test_a_row_with_room_for_all_holds_each_node_of_the_tree_of_prompts_once(pairs):
    nodes = {tuple(prompt[:length]) for prompt, _ in pairs for length in range(1, len(prompt) + 1)}
    num_tokens = len(nodes) + sum(len(response) for _, response in pairs)
    planned = plan(pairs, 10_000)
    assert (len(planned.rows), planned.length) == (1, num_tokens)


@given(pairs=alike, row_tokens=st.integers(4, 40))
@settings(max_examples=200, deadline=None)
def test_no_row_is_longer_than_asked_but_for_a_longer_pair_or_beginning(pairs, row_tokens):
    planned = plan(pairs, row_tokens)
    longest = max(len(prompt) + len(response) for prompt, response in pairs)
    most = max(len(prompt) for prompt, _ in pairs)
    assert planned.length <= max(row_tokens, longest, 2 * most)
    members = sorted(one for row in planned.rows for block in row for one in block.members)
    assert members == list(range(len(pairs)))


@given(pairs=alike | pairs_of_ids)
@settings(max_examples=200, deadline=None)
def test_counting_never_takes_rows_that_cost_more_than_a_row_for_each(pairs):
    longest = max(len(prompt) + len(response) for prompt, response in pairs)
    assert plan(pairs, AUTO).cost <= packing.COSTS.rows(len(pairs), longest)
    assert plan(pairs, AUTO).length <= packing.longest_row(longest)


@given(one=few_ids, other=few_ids)
@settings(max_examples=200, deadline=None)
def test_the_number_of_shared_ids_is_that_of_a_loop(one, other):
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    assert num_shared(one, other) == sum(1 for _ in pairs)


@given(prompts=st.lists(st.lists(st.integers(0, 2), max_size=6), min_size=1, max_size=5))
def test_the_common_beginning_is_common_and_cannot_be_longer(prompts):
    found = common_beginning(prompts)
    assert all(tuple(prompt[: len(found)]) == found for prompt in prompts)
    longer = {tuple(prompt[: len(found) + 1]) for prompt in prompts}
    assert len(longer) > 1 or any(len(prompt) == len(found) for prompt in prompts)


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "gemma2"])
@pytest.mark.parametrize("row_tokens", [40, 300, AUTO])
def test_shared_rows_give_the_same_logits_and_gradients(
    architecture, row_tokens, make_learner, mixed_examples
):
    learner = make_learner(architecture)
    encoded = [learner.encoder.encode(example) for example in mixed_examples]
    found = []
    for layout in ({}, {"row_tokens": row_tokens}):
        batch = collate(encoded, learner.pad_id, twins=True, **layout)
        learner.model.zero_grad()
        logits = learner.response_logits(batch.both)
        logits.logsumexp(-1).sum().backward()
        gradient = torch.cat([weight.grad.flatten() for weight in learner.parameters().values()])
        found.append((logits.detach(), gradient))
    (alone, gradient_alone), (shared, gradient_shared) = found
    torch.testing.assert_close(shared, alone, rtol=1e-4, atol=1e-4)
    assert (gradient_shared - gradient_alone).norm() <= 1e-4 * gradient_alone.norm()


def test_reading_adds_targets_after_the_responses_and_leaves_those_alone(make_learner, mixed_examples):
    learner = make_learner()
    encoded = [learner.encoder.encode(example) for example in mixed_examples]
    plain = collate(encoded, learner.pad_id, row_tokens=200)
    read = collate(encoded, learner.pad_id, row_tokens=200, reading=True)
    assert read.num_tokens == plain.num_tokens
    assert torch.equal(read.rows.target[: plain.num_tokens], plain.rows.target)
    assert len(read.rows.target) > plain.num_tokens


def test_micro_batches_hold_every_example_once(make_learner, mixed_examples):
    learner = make_learner()
    many = [example for example in mixed_examples for _ in range(5)]
    for settings_ in (
        TrainSection(row_tokens=64, tokens_per_micro_batch=120),
        TrainSection(tokens_per_micro_batch=120),
    ):
        batches = learner.training_batches(many, settings_)
        assert len(batches) > 1
        assert sorted(id(one) for batch in batches for one in batch.examples) == sorted(map(id, many))
    encoded = [learner.encoder.encode(example) for example in many]
    groups = packed_batches(encoded, 120, False)
    assert sorted(index for group in groups for index in group) == list(range(len(many)))


def test_a_model_that_cannot_share_rows_is_refused(make_learner, mixed_examples):
    """Gemma 2 attends within a window in every other layer, whatever mask it is given."""
    settings_ = TrainSection(row_tokens=200)
    loop.require_packable(make_learner("llama"), mixed_examples, settings_)
    same = [mixed_examples[0]] * 3
    with pytest.raises(ModelError, match="row_tokens = 0"):
        loop.require_packable(make_learner("gemma2"), same, settings_)


def test_groups_of_one_task_follow_each_other_and_every_epoch_holds_every_example_once():
    order = loop._order((5, 3, 4), 2, "seed")
    assert sorted(order) == list(range(12))
    task = [0] * 5 + [1] * 3 + [2] * 4
    switches = sum(task[one] != task[two] for one, two in itertools.pairwise(order))
    assert switches <= 7
    assert loop._order((5, 3, 4), 2, "seed") == order


def test_padding_on_the_right_of_plain_rows_stays_what_it_was():
    rows = pad([([5, 6], [7]), ([5], [8, 9, 4])], 0)
    assert rows.attention_mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert rows.target.tolist() == [7, 8, 9, 4]
