"""Laws of gains that are read off the training passes: those of a measurement, without a pass of its own."""

from collections import Counter
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kpig import config
from kpig.config import TrainSection
from kpig.errors import ConfigError
from kpig.methods.base import Clock, Step
from kpig.methods.chosen import create
from kpig.methods.parts import running_gain
from kpig.model import gain
from kpig.model.gain import average
from kpig.records import Gain
from kpig.training import checkpoint, loop
from test_sharing import TASKS, learner_of, update

CLOCK = Clock(0, 1, 0, 9, 4)
LEARNERS = {
    "llama full": learner_of("llama"),
    "gpt2 lora": learner_of("gpt2", adapter=True),
    "gemma full": learner_of("gemma"),
}


def kpig(learner, train=(), **method):
    """The method where a step begins, with gains read off training."""
    given = {"gain_from": "training", "num_probes": 4} | method
    made = create(config.build({"method": {"name": "kpig", "kpig": given}, "train": dict(train)}))
    made.begin_step(Step(1, TASKS, 9), learner)
    return made


def bare(example):
    """An example whose instruction has no key parts."""
    return replace(example, instruction=replace(example.instruction, key_parts=()))


def some(*numbers):
    return [TASKS[task].train[number] for task, number in numbers]


def by_task(examples):
    return {task: [one for one in examples if one.task == task] for task in {one.task for one in examples}}


def close(one, other):
    """Whether two gains are the same to rounding."""
    first, second = asdict(one), asdict(other)
    return first == pytest.approx(second, rel=1e-4, abs=2e-6)


def one_update(learner, method, examples, clock=CLOCK):
    """An update without its optimizer."""
    method.replay(clock, learner)
    update(learner, method, examples)
    method.shape_gradients(learner, clock)


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
@pytest.mark.parametrize("source", ["training", "probe"])
def test_means_are_the_gains_measured_on_the_same_examples_at_the_same_weights(learner, source):
    method = kpig(learner, gain_from=source)
    examples = [*some((0, 1), (1, 2), (0, 3), (0, 4), (2, 5)), bare(TASKS[1].train[7])]
    one_update(learner, method, examples)
    expected = gain.measure(learner, by_task(examples))
    found = {task: average(running_gain.examples(read)) for task, read in method.running.items()}
    assert found.keys() == expected.keys()
    assert all(close(found[task], expected[task]) for task in expected)


@pytest.mark.parametrize(("twins_of", "share"), [("all", 0.25), ("current", 0.5), ("all", 1.0)])
def test_examples_without_key_parts_count_as_often_as_those_with_a_twin(twins_of, share):
    """Else a task of both kinds seems not to listen: its gain would fall with the share of twins."""
    learner = LEARNERS["llama full"]
    method = kpig(learner, twins_of=twins_of, twin_share=share, num_probes=10**6)
    with_parts = some(*[(0, number) for number in range(8)])
    examples = [*with_parts[:6], *map(bare, with_parts[:6]), *with_parts[6:], *map(bare, with_parts[6:])]
    counts = Counter()
    for number in range(40):
        clock = replace(CLOCK, update=number, num_updates=40)
        method.replay(clock, learner)
        twinned = method.twinned(examples, 4, clock)
        encoded = [
            one if has else one.alone
            for one, has in zip(learner.encoder.encode_all(examples), twinned, strict=True)
        ]
        for batch in learner.training_batches(encoded, TrainSection(), True):
            num_targets = batch.num_tokens + len(batch.twin_of)
            found = method._as_read(batch, torch.zeros(num_targets))
            counts.update(bool(one.num_annotated) for _, one in found.values())
    allowed = 8 if twins_of == "all" else 6
    assert counts[True] == pytest.approx(40 * allowed * share, abs=40)
    assert counts[False] == pytest.approx(counts[True], abs=40)


@settings(max_examples=15, deadline=None)
@given(
    order=st.permutations([(0, 1), (1, 2), (0, 3), (0, 4), (2, 5), (1, 5)]),
    budget=st.sampled_from([1, 90, 5000]),
    row_tokens=st.sampled_from([0, "auto", 60]),
)
def test_any_order_and_split_gives_the_same_means(order, budget, row_tokens):
    learner = LEARNERS["llama full"]
    method = kpig(learner, {"tokens_per_micro_batch": budget, "row_tokens": row_tokens})
    one_update(learner, method, some(*order))
    expected = gain.measure(learner, by_task(some(*order)))
    for task, read in method.running.items():
        assert close(average(running_gain.examples(read)), expected[task])
        asked = [one for one in some(*order) if one.task == task]
        for one, example in zip(running_gain.examples(read), asked, strict=True):
            assert close(one, gain.measure_examples(learner, [example])[0])


def test_gains_cost_no_pass_and_weigh_the_twins_of_the_next_update():
    learner = learner_of("llama")
    method = kpig(learner)
    before = learner.ledger.as_dict()
    assert method.replay(CLOCK, learner) == [] and learner.ledger.as_dict() == before
    assert {method._weight(task.name) for task in TASKS} == {1.0}
    one_update(learner, method, some((0, 1), (0, 2)))
    method.replay(replace(CLOCK, update=1), learner)
    name = TASKS[0].name
    expected = gain.measure(learner, {name: some((0, 1), (0, 2))})[name].prob
    assert method._weight(name) == pytest.approx(1 - min(max(expected, 0), 1), abs=1e-5)
    assert method._weight(TASKS[1].name) == 1.0


@given(
    st.lists(st.lists(st.sampled_from("ab"), max_size=4), max_size=8),
    st.integers(1, 5),
)
def test_the_last_examples_count_and_whole_updates_are_dropped(updates, least):
    running, read = {}, {"a": [], "b": []}
    for number, tasks in enumerate(updates):
        gains = [(task, Gain(number, place, 0, 0)) for place, task in enumerate(tasks)]
        running = running_gain.grown(running, gains, least)
        for task in {*tasks}:
            read[task].append(tuple(one for name, one in gains if name == task))
    for task, all_read in read.items():
        kept = list(running.get(task, ()))
        assert kept == all_read[len(all_read) - len(kept) :]
        assert sum(map(len, kept)) >= min(least, sum(map(len, all_read)))
        assert sum(map(len, kept[1:])) < least


def test_a_state_read_back_goes_on_to_the_bit():
    learner = learner_of("llama")
    straight = kpig(learner)
    one_update(learner, straight, some((0, 1), (1, 2)))
    resumed = kpig(learner)
    resumed.load_state_dict(checkpoint.as_read(straight.state_dict()))
    for method in (straight, resumed):
        one_update(learner, method, some((0, 3), (1, 4)), replace(CLOCK, update=1))
    assert straight.running == resumed.running and straight.gains == resumed.gains


def test_a_state_of_before_there_were_means_is_read():
    learner = learner_of("llama")
    method = kpig(learner, gain_from="probe")
    method.load_state_dict({"memory": method.memory.state(), "gains": {}, "learned": {}})
    assert method.running == {}


def test_without_twins_there_is_nothing_to_read_gains_off():
    with pytest.raises(ConfigError, match=r"method\.kpig\.twin_weight = 0"):
        create(
            config.build({"method": {"name": "kpig", "kpig": {"gain_from": "training", "twin_weight": 0}}})
        )


@pytest.mark.parametrize("selection", ["uniform", "lowest", "proportional"])
@pytest.mark.parametrize("signal", ["gain", "gain_drop"])
def test_every_selection_works_on_means_and_the_records_tell_them(selection, signal):
    learner = learner_of("llama")
    run = config.build(
        {
            "method": {
                "name": "kpig",
                "kpig": {
                    "gain_from": "training",
                    "selection": selection,
                    "signal": signal,
                    "num_tasks": 1,
                    "twin_share": 1.0,
                },
            },
            "train": {"updates_per_step": 2, "batch_size": 6, "device": "cpu"},
        }
    )
    method, records = create(run), []
    for number, tasks in enumerate((TASKS[:2], TASKS[2:]), 1):
        loop.fit_step(learner, method, Step(number, tasks, 2), run, records.append, lambda _: None)
    assert learner.ledger.gain_seconds == 0
    assert [set(one.get("gain", ())) for one in records] == [set(), set(), {t.name for t in TASKS[:2]}, set()]
    last = records[-1]
    assert set(last["training_gain"]) == {task.name for task in TASKS} and last["replayed"] == 3
    assert len(last["replayed_tasks"]) == 1


@pytest.mark.parametrize(
    ("asked", "read", "measured"),
    [
        ({}, True, False),
        ({"twins_of": "replayed"}, True, False),
        ({"base": "inscl"}, True, False),
        ({"base": "derpp"}, False, True),
        ({"selection": "lowest"}, False, True),
        ({"twin_choice": "lowest"}, False, True),
        ({"weighting": "none"}, False, True),
        ({"gain_from": "probe"}, False, True),
        ({"preset": "paper"}, False, True),
        ({"twin_weight": 0.0}, False, False),
    ],
    ids=str,
)
def test_gains_are_read_where_only_weights_need_them_and_the_pass_tells(asked, read, measured):
    method = create(config.build({"method": {"name": "kpig", "kpig": asked}}))
    assert (method.reads_gains, method.probes) == (read, measured)
