"""The contract that every method keeps, those of third parties too; a new entry in METHODS is covered by itself.

Each method learns two steps, straight and interrupted, with full tuning and with LoRA (`history`); the tests
ask what happened.
"""

import copy
import json
import math
import random
import zlib
from collections import Counter
from dataclasses import dataclass, field, fields

import pytest
import torch

from kpig import config
from kpig.errors import ConfigError
from kpig.methods import METHODS
from kpig.methods.base import Method, Settings, Step
from kpig.methods.chosen import create
from kpig.methods.parts.memory import Memory
from kpig.model.learner import Learner
from kpig.model.ledger import Ledger
from kpig.runs import job
from kpig.tasks import suite
from kpig.training import checkpoint, loop
from test_job import kill_after, read_scores, small, start, weights

PAIRS = (("reverse", "upper"), ("count", "period"), ("sort", "commas"))
TASKS = tuple(suite.task(pair, 9, 2, seed=0) for pair in PAIRS)
STEPS = (TASKS[:2], TASKS[2:])
UPDATES, BATCH, RATIO, CAPACITY = 4, 4, 0.75, 5
FULL, LORA = "none", "lora"
THIRD_PARTY = "test_contract:ThirdParty"

# What cannot be done, and is refused: (method, adapter).
REFUSES = {("o_lora", FULL), ("lm_cocktail", LORA)}
# Methods that mix past examples into their updates, at the budget of [replay].
REHEARSES = {"kpig", "replay", "periodic_replay", "kmeans_replay", "dynosaur", "inscl", "dynainst", "ssr"}
REHEARSES.add(THIRD_PARTY)
# Settings that make a method do all it does within a few updates.
SETTINGS = {
    "kpig": {"num_probes": 3, "refresh": 3, "num_tasks": 1},
    "periodic_replay": {"every": 2},
    "kmeans_replay": {"clusters": 3},
    "dynainst": {"refresh": 3, "num_tasks": 1},
    "dynosaur": {"num_tasks": 1},
    "ewc": {"num_examples": 5},
    "lm_cocktail": {"num_examples": 2},
    "ssr": {"num_demonstrations": 4, "num_prompts": 7, "clusters": 3, "max_new_tokens": 8},
    "radis": {"max_new_tokens": 8},
}
EVERY = (*METHODS, THIRD_PARTY)
RUNS = [(name, adapter) for name in EVERY for adapter in (FULL, LORA) if (name, adapter) not in REFUSES]


class ThirdPartySettings(Settings):
    """What its user may set."""

    start: float = 1.0


class ThirdParty(Method):
    """A method of a third party: replays, divides gradients by what it has seen of them, remembers both."""

    Settings = ThirdPartySettings
    settings: ThirdPartySettings

    def __init__(self, config):
        super().__init__(config)
        self.memory = Memory(config.replay.memory_per_task, config.seed)
        self.seen = {}

    def replay(self, clock, learner):
        return self.memory.draw(self.num_replayed(clock), clock.rng("replay"))

    def shape_gradients(self, learner, clock):
        for name, weight in learner.parameters().items():
            total = self.seen.get(name, torch.full_like(weight, self.settings.start)) + weight.grad.abs()
            self.seen[name] = total
            weight.grad.div_(total)

    def state_dict(self):
        return {"memory": self.memory.state(), "seen": self.seen}

    def load_state_dict(self, state):
        self.memory.restore(state["memory"])
        self.seen = {name: one.clone() for name, one in state["seen"].items()}


@dataclass
class History:
    """What happened when a method learned the stream; `again` is the run that was interrupted in its last step."""

    name: str
    method: Method
    learner: Learner
    steps: list[Step]
    begun: dict = field(default_factory=dict)
    log: list[dict] = field(default_factory=list)
    drawn: list[list] = field(default_factory=list)
    surfaces: list[dict] = field(default_factory=list)
    tensors: list[int] = field(default_factory=list)
    again: tuple[Method, Learner] | None = None
    tail: list[dict] = field(default_factory=list)


def configured(name, adapter):
    model = {"adapter": adapter} | ({"lora_rank": 3} if adapter == LORA else {})
    method = {"name": name}
    method |= {"options": {"start": 0.5}} if name == THIRD_PARTY else {name: SETTINGS.get(name, {})}
    loop = {"batch_size": BATCH, "updates_per_step": UPDATES, "learning_rate": 3e-3, "device": "cpu"}
    return config.build(
        {
            "model": model,
            "train": loop | {"checkpoint_every": 1},
            "replay": {"memory_per_task": CAPACITY, "ratio": RATIO},
            "method": {key: value for key, value in method.items() if value != {}},
        }
    )


def planned(method):
    """The steps as the job arranges them."""
    arranged = method.arrange(STEPS)
    return [
        Step(number, tuple(tasks), method.num_updates(UPDATES)) for number, tasks in enumerate(arranged, 1)
    ]


def surface(learner):
    """What a step must leave as it was: names, what is trainable, gradients, hooks, mode."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    modules, parameters = list(learner.model.modules()), list(learner.model.named_parameters())
    on_tensors = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return {
        "names": list(learner.parameters()),
        "trainable": {name: one.requires_grad for name, one in parameters},
        "gradients": [name for name, one in parameters if one.grad is not None],
        "hooks": sum(len(getattr(module, kind)) for module in modules for kind in kinds),
        "tensor_hooks": sum(len(getattr(one, kind) or ()) for _, one in parameters for kind in on_tensors),
        "training": learner.model.training,
    }


def updates_to(log):
    """Keeps the records of updates, not the warnings between them, which count the updates of one process."""
    return lambda record: log.append(record) if "update" in record else None


def num_values(state):
    return sum(value.numel() for value in checkpoint.parted(state)[1].values())


def through_files(state, folder):
    folder.mkdir()
    checkpoint.write_state(state, folder)
    return checkpoint.read_state(folder)["method"]


def scripted(self, prompts, max_new_tokens):
    """Stands in for generation by a model with random weights: whole, new texts, the same for the same prompt."""
    marks = [zlib.crc32(repr(tuple(prompt)).encode()) for prompt in prompts]
    return [(f"w{mark}a w{mark}b w{mark}c.\nOutput: x", True) for mark in marks]


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: "-".join(run))
def history(request, make_learner, tmp_path_factory):
    """The history of one method with one kind of tuning, written texts being scripted."""
    name, adapter = request.param
    settings = configured(name, adapter)
    folder = tmp_path_factory.mktemp("contract")

    def fresh():
        method = create(settings)
        learner = make_learner("gpt2", adapter == LORA, method.needs_initial, dropout=0.1)
        return method, learner, planned(method)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "generate", scripted)
        method, learner, steps = fresh()
        found = History(name, method, learner, steps, surfaces=[surface(learner)])
        original = method.replay

        def recorded(clock, learner):
            drawn = list(original(clock, learner))
            found.drawn.append(drawn)
            return drawn

        method.replay = recorded
        middle = None
        for step in steps:
            found.begun = learner.weights()
            between = through_files(method.state_dict(), folder / f"before{step.number}")
            counted = learner.ledger.as_dict()
            found.log, found.drawn, found.tensors = [], [], []

            def save(state, step=step):
                nonlocal middle
                found.tensors.append(num_values(state.method))
                if state.update == 2:
                    checkpoint.publish(copy.deepcopy(state), folder / f"step{step.number}")
                    middle = folder / f"step{step.number}"

            loop.fit_step(learner, method, step, settings, updates_to(found.log), save)
            found.surfaces.append(surface(learner))
        if middle:
            again, resumed, plan = fresh()
            resumed.load_weights(found.begun)
            again.load_state_dict(between)
            resumed.ledger.restore(counted)
            state = checkpoint.read(checkpoint.find(middle))
            loop.fit_step(resumed, again, plan[-1], settings, updates_to(found.tail), lambda _: None, state)
            found.again = (again, resumed)
    return found


# What happened.


def test_every_update_has_a_finite_loss_and_gradient(history):
    assert [record["update"] for record in history.log] == list(range(1, history.steps[-1].num_updates + 1))
    for record in history.log:
        numbers = [value for name, value in record.items() if name not in ("replayed_tasks", "gain")]
        assert all(math.isfinite(value) for value in numbers) and record["tokens"] > 0


def test_a_step_interrupted_and_resumed_from_files_equals_a_straight_one_to_the_bit(history):
    if not history.log:
        assert equal(history.learner.weights(), history.begun), "no updates: nothing may change"
        return
    again, resumed = history.again
    assert history.tail == history.log[2:]
    assert equal(resumed.weights(), history.learner.weights())
    assert not equal(resumed.weights(), history.begun)
    assert equal(as_saved(again.state_dict()), as_saved(history.method.state_dict()))
    counts = [one.name for one in fields(Ledger) if not one.name.endswith("_seconds")]
    for name in counts:
        assert getattr(resumed.ledger, name) == getattr(history.learner.ledger, name), name


def test_nothing_leaks_out_of_a_step(history):
    first, *later = history.surfaces
    assert not first["training"] and first["gradients"] == []
    assert later == [first] * len(history.steps)


def test_memory_holds_no_more_than_it_may_and_of_learned_tasks_only(history):
    memories = [value for value in vars(history.method).values() if isinstance(value, Memory)]
    if history.name in REHEARSES:
        assert memories
    learned = {task.name for step in history.steps for task in step.tasks}
    for memory in memories:
        assert set(memory.tasks) <= learned
        sizes = [len(kept.examples) for kept in memory.tasks.values()]
        assert max(sizes) <= CAPACITY
        assert history.name not in REHEARSES or min(sizes) == CAPACITY


def test_what_is_saved_does_not_grow_with_the_updates(history):
    """Tensors, counted from the second update on; at most two of the size of the weights for each step."""
    assert len(set(history.tensors[1:])) <= 1
    size = sum(weight.numel() for weight in history.learner.parameters().values())
    assert num_values(history.method.state_dict()) <= 2 * len(history.steps) * size


def test_replay_keeps_to_the_budget_on_average_and_to_past_tasks(history):
    counts = [len(drawn) for drawn in history.drawn]
    assert [record["replayed"] for record in history.log] == counts
    told = [record.get("replayed_tasks", {}) for record in history.log]
    assert told == [Counter(example.task for example in drawn) for drawn in history.drawn]
    past = {task.name for step in history.steps[:-1] for task in step.tasks}
    assert {example.task for drawn in history.drawn for example in drawn} <= past
    if history.name in REHEARSES:
        assert sum(counts) == UPDATES * RATIO * BATCH
    else:
        assert sum(counts) in (0, UPDATES * RATIO * BATCH)


def test_the_method_can_be_described_in_plain_data(history):
    notes = history.method.notes()
    assert all(isinstance(note, str) for note in notes)
    plain, _ = checkpoint.parted(history.method.state_dict())
    assert json.loads(json.dumps(plain, allow_nan=False)).keys() == plain.keys()


@pytest.mark.parametrize(("name", "adapter"), sorted(REFUSES))
def test_a_method_that_cannot_be_used_says_so_before_training_and_names_the_adapter(name, adapter):
    with pytest.raises(ConfigError, match=r"model\.adapter"):
        create(configured(name, adapter))


def test_the_tables_of_this_file_name_methods_that_exist():
    named = {name for name, _ in REFUSES} | REHEARSES | SETTINGS.keys()
    assert named <= set(EVERY)


# Killed


@pytest.mark.parametrize(("name", "adapter"), [("ssr", FULL), ("ewc", FULL), ("o_lora", LORA)])
def test_a_killed_run_resumes_to_the_same_bits(name, adapter, tmp_path, monkeypatch):
    """Representatives: texts that are written, tensors that are kept, an adapter. kpig is in test_job.py.

    The straight run is made in this process, which has one thread, so the others get one too.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    sizes = {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 0, "num_train": 12, "num_test": 1}
    measured = {"half_listening": False, "gain": False, "new_wordings": False, "max_new_tokens": 4}
    table = small(name, model={"adapter": adapter}, suite=sizes, evaluate=measured)
    (tmp_path / "my.toml").write_text(config.dump(table))
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    job.run(table, straight)
    process = start(tmp_path, killed)
    kill_after(process, killed / "events.jsonl", random.Random(f"kill {name}").randint(1, 8), 0.0)
    assert start(tmp_path, killed, "--resume").wait() == 0
    for step in (1, 2):
        assert weights(killed, step) == weights(straight, step)
    assert read_scores(killed) == read_scores(straight)


def equal(one, other):
    """Equal keys and values, tensors to the bit."""
    return one.keys() == other.keys() and all(
        torch.equal(value, other[key]) if torch.is_tensor(value) else value == other[key]
        for key, value in one.items()
    )


def as_saved(state):
    """A state as its files hold it: its JSON values, and its tensors by name."""
    plain, tensors = checkpoint.parted(state)
    return tensors | {"plain": json.dumps(plain)}
