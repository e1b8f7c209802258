"""Every method keeps the contract of `kpig.testing`; a new entry in METHODS is covered by itself."""

import random

import pytest
import torch
from pydantic import Field

import kpig
from kpig import config
from kpig.methods import METHODS
from kpig.runs import job
from kpig.testing import MethodContract
from kpig.testing.history import FULL, LORA
from test_job import kill_after, read_scores, resume_anew, small, start, weights

THIRD_PARTY = "test_contract:ThirdParty"

# What cannot be done, and is refused: the kinds of tuning of a method.
REFUSES = {"o_lora": (FULL,), "lm_cocktail": (LORA,), "osf": (LORA,)}
# Methods that learn a stream as a whole, and cannot go on with more of it.
WHOLE = {"mtl", "init"}
# Methods that mix past examples into their updates, at the budget of [replay].
REHEARSES = {
    "kpig",
    "replay",
    "periodic_replay",
    "kmeans_replay",
    "dynosaur",
    "inscl",
    "adapt_inf",
    "dynainst",
    "ssr",
    "derpp",
}
REHEARSES.add(THIRD_PARTY)
# Settings that make a method do all it does within a few updates.
SETTINGS = {
    "kpig": {"num_probes": 3, "refresh": 3, "num_tasks": 1},
    "periodic_replay": {"every": 2},
    "kmeans_replay": {"clusters": 3},
    "adapt_inf": {"clusters": 3},
    "dynainst": {"refresh": 3, "num_tasks": 1},
    "dynosaur": {"num_tasks": 1},
    "ewc": {"num_examples": 5},
    "tir": {"num_examples": 5},
    "lm_cocktail": {"num_examples": 2},
    "o_lora": {"step_rank": 1},
    "ssr": {"num_demonstrations": 4, "num_prompts": 7, "clusters": 3, "max_new_tokens": 8},
    "radis": {"max_new_tokens": 8},
    "sdft": {"max_new_tokens": 8},
    THIRD_PARTY: {"start": 0.5},
}
EVERY = (*METHODS, THIRD_PARTY)


class ThirdPartySettings(kpig.Settings):
    """What its user may set."""

    start: float = Field(1.0, description="what every sum of gradients begins with")


class ThirdParty(kpig.Method):
    """A method of a third party: replays, divides gradients by what it has seen of them, remembers both."""

    Settings = ThirdPartySettings
    settings: ThirdPartySettings

    def __init__(self, config):
        super().__init__(config)
        self.memory = kpig.Memory(config.replay.memory_per_task, config.seed)
        self.seen = {}

    def replay(self, clock, learner):
        return self.memory.draw(self.num_replayed(clock), clock.rng("replay"))

    def shape_gradients(self, learner, clock):
        for name, weight in learner.parameters().items():
            total = self.seen.get(name, torch.full_like(weight, self.settings.start)) + weight.grad.abs()
            self.seen[name] = total
            weight.grad.div_(total)

    def state_dict(self):
        return super().state_dict() | {"seen": self.seen}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.seen = dict(state["seen"])


for name in EVERY:
    told = {"method": name, "settings": SETTINGS.get(name, {}), "rehearses": name in REHEARSES}
    told |= {"refuses": REFUSES.get(name, ()), "goes_on": name not in WHOLE}
    title = f"Test_{name.rpartition(':')[2]}"
    globals()[title] = type(title, (MethodContract,), told)


def test_the_tables_of_this_file_name_methods_that_exist():
    assert REFUSES.keys() | WHOLE | REHEARSES | SETTINGS.keys() <= set(EVERY)


@pytest.mark.parametrize(("name", "adapter"), [("ssr", FULL), ("ewc", FULL), ("o_lora", LORA)])
def test_a_killed_run_resumes_to_the_same_bits(name, adapter, tmp_path):
    """Representatives: texts that are written, tensors that are kept, an adapter. kpig is in test_job.py."""
    sizes = {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 0, "num_train": 12, "num_test": 1}
    measured = {"half_listening": False, "gain": False, "new_wordings": False, "max_new_tokens": 4}
    table = small(name, model={"adapter": adapter}, suite=sizes, evaluate=measured)
    (tmp_path / "my.toml").write_text(config.dump(table))
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    job.run(table, straight)
    process = start(tmp_path, killed)
    kill_after(process, killed / "events.jsonl", random.Random(f"kill {name}").randint(1, 8))
    resume_anew(tmp_path, killed)
    for step in (1, 2):
        assert weights(killed, step) == weights(straight, step)
    assert read_scores(killed) == read_scores(straight)
