"""Memory and selection policies, worked by hand."""

import itertools
import json
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpig.methods.parts import memory, selection
from kpig.methods.parts.memory import Memory
from kpig.records import Task


@pytest.fixture
def make_task(make_example, make_instruction):
    def make(name, num_train, num_wordings=3):
        wordings = tuple(
            make_instruction(f"Wording {number}: {{sort {name}}}.", f"wording {number}" if number else "seed")
            for number in range(num_wordings)
        )
        train = tuple(
            make_example(f"Wording 0: {{sort {name}}}.", f"word {number}", "word", name)
            for number in range(num_train)
        )
        return Task(name, wordings, train, (), "accuracy")

    return make


@given(size=st.integers(0, 9), count=st.integers(0, 12), seed=st.integers())
def test_pick_returns_distinct_items_as_many_as_there_are_and_the_same_for_the_same_seed(size, count, seed):
    items = [f"item {number}" for number in range(size)]
    found = memory.pick(items, count, random.Random(seed))
    assert len(found) == len(set(found)) == min(count, size)
    assert set(found) <= set(items)
    assert found == memory.pick(items, count, random.Random(seed))


def test_pick_takes_every_item_equally_often():
    rng = random.Random(0)
    counts = Counter(item for _ in range(3000) for item in memory.pick(range(7), 3, rng))
    expected = 3000 * 3 / 7
    assert all(abs(count - expected) < 5 * math.sqrt(expected) for count in counts.values())


@pytest.mark.parametrize("num_train", [0, 1, 4, 5, 9])
def test_memory_keeps_at_most_its_capacity_of_distinct_examples_of_a_task(num_train, make_task):
    memory = Memory(5, seed=0)
    task = make_task("one", num_train)
    memory.add(task)
    kept = memory.tasks["one"].examples
    assert len(set(kept)) == len(kept) == min(5, num_train)
    assert set(kept) <= set(task.train)


def test_what_memory_keeps_of_a_task_does_not_depend_on_what_was_learned_before(make_task):
    one, other = make_task("one", 9), make_task("other", 7)
    alone, after = Memory(4, seed=3), Memory(4, seed=3)
    alone.add(one)
    after.add(other)
    after.add(one)
    assert alone.tasks["one"] == after.tasks["one"]
    different = Memory(4, seed=4)
    different.add(one)
    assert different.tasks["one"] != alone.tasks["one"]


def test_memory_is_equal_after_json_and_draws_the_same(make_task):
    memory, restored = Memory(5, seed=0), Memory(5, seed=0)
    for task in (make_task("one", 9), make_task("two", 3, 1)):
        memory.add(task)
    restored.restore(json.loads(json.dumps(memory.state())))
    assert restored.tasks == memory.tasks
    assert list(restored.tasks) == list(memory.tasks)
    assert restored.draw(6, random.Random(1)) == memory.draw(6, random.Random(1))


def test_draw_returns_distinct_examples_of_the_asked_tasks_within_the_limit_per_task(make_task):
    memory = Memory(5, seed=0)
    for name in ("one", "two", "three"):
        memory.add(make_task(name, 9))
    found = memory.draw(100, random.Random(0), ["three", "one"], per_task=2)
    allowed = {one.id for name in ("one", "three") for one in memory.tasks[name].examples[:2]}
    assert {one.id for one in found} == allowed
    assert len(found) == 4
    assert len({one.id for one in memory.draw(7, random.Random(0))}) == 7
    assert len(memory.draw(100, random.Random(0))) == 15


def test_what_the_asked_tasks_do_not_hold_is_filled_up_from_all_else_in_memory(make_task):
    memory = Memory(5, seed=0)
    for name in ("one", "two", "three"):
        memory.add(make_task(name, 9))
    found = memory.draw(7, random.Random(0), ["three"], per_task=2, fill=True)
    assert {one.id for one in found[:2]} == {one.id for one in memory.tasks["three"].examples[:2]}
    assert len({one.id for one in found}) == 7
    assert len({one.id for one in memory.draw(99, random.Random(0), ["two"], fill=True)}) == 15
    enough = {"tasks": ["one", "two"], "per_task": 4}
    assert memory.draw(6, random.Random(3), **enough, fill=True) == memory.draw(6, random.Random(3), **enough)


def test_nothing_is_drawn_from_no_tasks_or_an_empty_memory(make_task):
    memory = Memory(5, seed=0)
    assert memory.draw(3, random.Random(0)) == []
    memory.add(make_task("one", 4))
    assert memory.draw(3, random.Random(0), []) == []
    assert memory.draw(0, random.Random(0)) == []


def test_examples_are_drawn_under_all_training_wordings_of_their_own_task(make_task):
    memory, tasks = Memory(5, seed=0), (make_task("one", 9), make_task("two", 9))
    for task in tasks:
        memory.add(task)
    rng = random.Random(0)
    found = [one for _ in range(40) for one in memory.draw(4, rng)]
    for task in tasks:
        assert {one.instruction for one in found if one.task == task.name} == set(task.instructions)


def test_probes_are_the_first_remembered_examples_under_the_seed_instruction(make_task):
    memory, task = Memory(5, seed=0), make_task("one", 9)
    memory.add(task)
    assert memory.probes(3) == {"one": memory.tasks["one"].examples[:3]}
    assert all(one.instruction == task.instruction for one in memory.probes(3)["one"])


def test_lowest_takes_the_lowest_signals_and_breaks_ties_by_the_lower_likelihood():
    signals = {"a": 0.5, "b": 0.1, "c": 0.1, "d": -0.3, "e": 0.1}
    ties = {"a": 0.0, "b": 0.9, "c": 0.2, "d": 0.9, "e": 0.9}
    assert selection.lowest(signals, ties, 3) == ["d", "c", "b"]
    assert selection.lowest(signals, ties, 9) == ["d", "c", "b", "e", "a"]
    assert selection.lowest(dict(reversed(signals.items())), ties, 3) == ["d", "c", "b"]


def test_chances_are_the_formula_worked_by_hand():
    found = selection.chances({"low": 0.0, "high": math.log(3)}, floor=0.2, temperature=1.0)
    assert found == pytest.approx({"low": 0.1 + 0.8 * 0.75, "high": 0.1 + 0.8 * 0.25})


@given(
    signals=st.dictionaries(st.text(max_size=3), st.floats(-1e6, 1e6), min_size=1, max_size=7),
    floor=st.floats(0, 1),
    temperature=st.floats(1e-3, 1e3),
)
def test_chances_sum_to_1_respect_the_floor_and_favour_low_signals(signals, floor, temperature):
    found = selection.chances(signals, floor, temperature)
    assert sum(found.values()) == pytest.approx(1.0)
    assert all(chance >= floor / len(signals) - 1e-12 for chance in found.values())
    ranked = sorted(signals, key=signals.get)
    assert all(found[low] >= found[high] for low, high in itertools.pairwise(ranked))


@given(size=st.integers(1, 7), count=st.integers(0, 9), seed=st.integers())
def test_proportional_draws_distinct_tasks_the_same_for_the_same_seed(size, count, seed):
    chance = selection.chances({f"task {n}": n / 3 for n in range(size)}, 0.3, 0.5)
    found = selection.proportional(chance, count, random.Random(seed))
    assert len(found) == len(set(found)) == min(count, size)
    assert found == selection.proportional(chance, count, random.Random(seed))


@given(size=st.integers(2, 7), seed=st.integers())
def test_proportional_survives_chances_that_round_to_zero(size, seed):
    chance = selection.chances({f"task {n}": float(n) for n in range(size)}, 0.0, 1e-4)
    assert chance["task 1"] == 0.0
    assert len(selection.proportional(chance, size, random.Random(seed))) == size


def test_the_first_task_drawn_follows_its_chance():
    chance, rng = {"a": 0.7, "b": 0.2, "c": 0.1}, random.Random(0)
    counts = Counter(selection.proportional(chance, 2, rng)[0] for _ in range(3000))
    for task, probability in chance.items():
        spread = math.sqrt(3000 * probability * (1 - probability))
        assert abs(counts[task] - 3000 * probability) < 5 * spread
