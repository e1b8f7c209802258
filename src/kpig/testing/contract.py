"""The contract that every method keeps, built-in or not: a class of tests to inherit."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from kpig.errors import ConfigError
from kpig.methods import chosen
from kpig.methods.base import Settings
from kpig.model.ledger import Ledger
from kpig.testing import several
from kpig.testing.history import (
    ADAPTERS,
    BATCH,
    CAPACITY,
    FULL,
    PAUSE,
    RATIO,
    UPDATES,
    History,
    Learned,
    begin,
    configured,
    grown,
    learned,
    live,
    memories,
    num_values,
    scripted,
)
from kpig.training import checkpoint, loop

UNKNOWN = "no_such_setting"
"""A key that no method is to have."""

Names = Sequence[str]


class MethodContract:
    """What every method keeps, with full tuning and with LoRA. Inherit, and say which method it is.

        class TestMine(kpig.testing.MethodContract):
            method = "my_package.mine:Mine"
            settings = {"start": 0.5}
            rehearses = True

    The method learns two small steps, straight and interrupted (`kpig.testing.live`); each test asks what
    happened. No network, no file outside pytest's temporary folder.
    """

    method: ClassVar[str]
    """A built-in name, or module:Class."""

    settings: ClassVar[Mapping[str, Any]] = {}
    """Of the method, such that it does all it does within four updates of a step."""

    rehearses: ClassVar[bool] = False
    """Whether it mixes past examples into its updates, at the budget of [replay]."""

    refuses: ClassVar[Names] = ()
    """The kinds of tuning ("none", "lora") that it cannot be used with, and refuses in __init__."""

    goes_on: ClassVar[bool] = True
    """Whether it can learn a further step of a stream that was thought to be whole (kpig continue).

    Where it cannot, it is refused by its name: for most, since their `arrange` joins steps.
    """

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every test that asks for a history is run with each kind of tuning that is not refused."""
        if "history" in metafunc.fixturenames:
            adapters = [adapter for adapter in ADAPTERS if adapter not in self.refuses]
            names = ["full" if adapter == FULL else adapter for adapter in adapters]
            metafunc.parametrize("history", adapters, indirect=True, ids=names, scope="class")

    @pytest.fixture(scope="class")
    @staticmethod
    def history(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> History:
        """What happened when the method learned the stream with one kind of tuning."""
        contract: type[MethodContract] = request.cls
        config = configured(contract.method, contract.settings, request.param)
        return live(config, tmp_path_factory.mktemp("contract"))

    def test_every_update_has_a_finite_loss_and_gradient(self, history: History) -> None:
        updates = [record["update"] for record in history.log]
        assert updates == list(range(1, history.steps[-1].num_updates + 1))
        for record in history.log:
            numbers = [value for value in record.values() if not isinstance(value, Mapping)]
            assert all(math.isfinite(value) for value in numbers) and record["tokens"] > 0

    def test_a_step_interrupted_and_resumed_from_files_equals_a_straight_one_to_the_bit(
        self, history: History
    ) -> None:
        assert history.begun is not None
        begun, straight = history.begun.weights, history.learner
        if not history.log:
            assert _equal(straight.weights(), begun), "no updates: nothing may change"
            return
        assert history.again is not None
        again, resumed = history.again
        assert history.tail == history.log[PAUSE:]
        assert _equal(resumed.weights(), straight.weights())
        assert not _equal(resumed.weights(), begun)
        assert _equal(_as_saved(again.state_dict()), _as_saved(history.method.state_dict()))
        counts = [one.name for one in fields(Ledger) if not one.name.endswith("_seconds")]
        for name in counts:
            assert getattr(resumed.ledger, name) == getattr(straight.ledger, name), name

    def test_a_stream_that_grows_is_learned_to_the_bit_as_if_it_had_been_known_whole(
        self, history: History, tmp_path: Path
    ) -> None:
        """The first step alone and then the last one, by a new method and a new learner, from files."""
        if not self.goes_on:
            with pytest.raises(ConfigError, match=re.escape(self.method)):
                grown(history.config, tmp_path)
            return
        method, learner = grown(history.config, tmp_path)
        assert _equal(learner.weights(), history.learner.weights())
        assert _equal(_as_saved(method.state_dict()), _as_saved(history.method.state_dict()))
        assert learner.ledger.updates == history.learner.ledger.updates
        assert learner.ledger.train_tokens == history.learner.ledger.train_tokens

    def test_the_state_comes_back_from_files_whole(self, history: History) -> None:
        method, _, _ = begin(history.config)
        method.load_state_dict(history.state)
        assert _equal(_as_saved(method.state_dict()), _as_saved(history.method.state_dict()))

    def test_nothing_leaks_out_of_a_step(self, history: History) -> None:
        first, *later = history.surfaces
        assert not first["training"] and first["gradients"] == []
        assert later == [first] * len(history.steps)

    def test_memory_holds_no_more_than_it_may_and_of_learned_tasks_only(self, history: History) -> None:
        found = memories(history.method)
        if self.rehearses:
            assert found
        learned = {task.name for step in history.steps for task in step.tasks}
        for memory in found:
            assert set(memory.tasks) <= learned
            sizes = [len(kept.examples) for kept in memory.tasks.values()]
            assert sizes and max(sizes) <= CAPACITY
            assert not self.rehearses or min(sizes) == CAPACITY

    def test_what_is_forgotten_leaves_no_example_and_a_step_can_be_learned_without(
        self, history: History
    ) -> None:
        if history.method.memory is None:
            return
        method, learner, steps = begin(history.config)
        method.load_state_dict(history.state)
        method.forget()
        plain = json.dumps(_as_saved(method.state_dict())["plain"])
        inputs = {example.input for step in history.steps for task in step.tasks for example in task.train}
        assert not [text for text in inputs if text in plain]
        with scripted():
            loop.fit_step(learner, method, steps[-1], history.config, lambda _: None, lambda _: None)
        assert set(method.memory.tasks if method.memory else ()) == {task.name for task in steps[-1].tasks}

    def test_memory_is_filled_after_every_step(self, history: History) -> None:
        if history.method.memory is None:
            return
        for step, kept in zip(history.steps, history.kept, strict=True):
            assert all(kept.get(task.name, 0) > 0 for task in step.tasks), f"step {step.number}: {kept}"

    def test_what_is_saved_does_not_grow_with_the_updates(self, history: History) -> None:
        """Numbers in tensors: as many from the second update on, at most two for each weight and step."""
        assert len(set(history.saved[1:])) <= 1
        size = sum(weight.numel() for weight in history.learner.parameters().values())
        assert num_values(history.method.state_dict()) <= 2 * len(history.steps) * size

    def test_replay_keeps_to_the_budget_on_average_and_to_past_tasks(self, history: History) -> None:
        counts = [len(drawn) for drawn in history.drawn]
        assert [record["replayed"] for record in history.log] == counts
        told = [record.get("replayed_tasks", {}) for record in history.log]
        assert told == [Counter(example.task for example in drawn) for drawn in history.drawn]
        past = {task.name for step in history.steps[:-1] for task in step.tasks}
        assert {example.task for drawn in history.drawn for example in drawn} <= past
        budget = UPDATES * RATIO * BATCH
        assert sum(counts) == budget if self.rehearses else sum(counts) in (0, budget)

    def test_two_processes_that_share_the_job_learn_as_one_does(self, history: History) -> None:
        """The same choices and counts, each loss as in `_assert_alike`; without dropout, which differs.

        What a method keeps of forward passes, each process keeps for itself: so they may read more of these.
        """
        alone = learned(history.config)
        for shared in several.in_processes(partial(learned, history.config)):
            _assert_alike(alone, shared)

    def test_two_processes_that_divide_the_weights_learn_as_one_does_or_are_refused_by_name(
        self, history: History
    ) -> None:
        train = history.config.train.model_copy(update={"shard": True})
        divided = history.config.model_copy(update={"train": train})
        if not chosen.load(self.method).shards:
            with pytest.raises(ConfigError, match=rf"train\.shard = true.*{re.escape(self.method)}"):
                chosen.create(divided)
            return
        alone = learned(history.config)
        for shared in several.in_processes(partial(learned, divided)):
            _assert_alike(alone, shared)

    def test_the_method_can_be_described_in_plain_data(self, history: History) -> None:
        notes = history.method.notes()
        assert all(isinstance(note, str) for note in notes)
        plain, _ = checkpoint.parted(history.method.state_dict())
        assert json.loads(json.dumps(plain, allow_nan=False)).keys() == plain.keys()

    def test_what_it_cannot_be_used_with_is_refused_before_training_by_the_name_of_the_key(self) -> None:
        for adapter in self.refuses:
            with pytest.raises(ConfigError, match=r"model\.adapter"):
                chosen.create(configured(self.method, self.settings, adapter))

    def test_a_setting_that_it_does_not_have_is_refused_by_name(self) -> None:
        with pytest.raises(ConfigError, match=UNKNOWN):
            chosen.create(configured(self.method, {**self.settings, UNKNOWN: 1}))

    def test_every_setting_has_a_default_and_says_what_it_means(self) -> None:
        found = chosen.load(self.method).Settings
        assert issubclass(found, Settings)
        unclear = [
            name for name, one in found.model_fields.items() if one.is_required() or not one.description
        ]
        assert unclear == []


def _assert_alike(alone: Learned, shared: Learned) -> None:
    """One process and one of several: the same choices and counts, losses within 1e-5, or 3e-6 of themselves.

    A loss near 10 has steps of 1e-6 in float32. With AVX2 alone one was off by 1.4e-5 after updates.
    """
    assert [shared.drawn, shared.kept] == [alone.drawn, alone.kept]
    assert shared.tokens[0] == alone.tokens[0] and shared.tokens[1] >= alone.tokens[1]
    for here, there in zip(alone.records, shared.records, strict=True):
        assert here["loss"] == pytest.approx(there["loss"], rel=3e-6, abs=1e-5)
        counts = ("update", "tokens", "replayed", "replayed_tasks", "train_tokens")
        assert [here.get(name) for name in counts] == [there.get(name) for name in counts]


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Equal keys and values, tensors to the bit."""
    return one.keys() == other.keys() and all(
        torch.equal(value, other[key]) if torch.is_tensor(value) else value == other[key]
        for key, value in one.items()
    )


def _as_saved(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state as its files hold it: its JSON values, and its tensors by name."""
    plain, tensors = checkpoint.parted(state)
    return tensors | {"plain": json.dumps(plain, allow_nan=False)}
