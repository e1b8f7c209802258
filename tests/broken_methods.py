"""Methods that each break a promise of the contract; the first one keeps all. See test_testing.py."""

import dataclasses
import random

import torch
from pydantic import ConfigDict, Field

import kpig
import kpig.testing


class Sound(kpig.Method):
    def __init__(self, config):
        super().__init__(config)
        self.memory = kpig.Memory(config.replay.memory_per_task, config.seed)

    def replay(self, clock, learner):
        return self.memory.draw(self.num_replayed(clock), clock.rng("replay"))


class ForgetsState(Sound):
    """How strongly an update acts depends on how many there were, which is not saved."""

    def __init__(self, config):
        super().__init__(config)
        self.count = 0

    def loss(self, learner, batch):
        self.count += 1
        plain = super().loss(learner, batch)
        return kpig.Loss(plain.sum * (1 + 1 / self.count), plain.log)


class LoadsLess(ForgetsState):
    def state_dict(self):
        return super().state_dict() | {"count": self.count}


class SavesSet(Sound):
    def state_dict(self):
        return super().state_dict() | {"seen": set(self.memory.tasks)}


class LogsNan(Sound):
    def loss(self, learner, batch):
        plain = super().loss(learner, batch)
        return kpig.Loss(plain.sum, plain.log | {"mine": plain.sum.detach() * float("nan")})


class ReadsTwice(Sound):
    """It says that it can learn with divided weights, and makes two passes before one backward pass."""

    shards = True

    def loss(self, learner, batch):
        one, other = super().loss(learner, batch), super().loss(learner, batch)
        return kpig.Loss((one.sum + other.sum) / 2, one.log)


class UsesGlobalChance(Sound):
    def replay(self, clock, learner):
        return self.memory.draw(self.num_replayed(clock), random.Random())


class ChoosesByItsPart(Sound):
    """Of several processes each asks for the loss of a part, and the parts are not added up."""

    def __init__(self, config):
        super().__init__(config)
        self.tokens, self.last = 0, 0

    def loss(self, learner, batch):
        self.tokens += batch.num_tokens
        return super().loss(learner, batch)

    def shape_gradients(self, learner, clock):
        self.tokens, self.last = 0, self.tokens

    def replay(self, clock, learner):
        return self.memory.draw(self.num_replayed(clock), random.Random(self.last))

    def state_dict(self):
        return super().state_dict() | {"last": self.last}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.last = state["last"]


class LeaksHook(Sound):
    def begin_step(self, step, learner):
        learner.model.register_forward_hook(lambda *_: None)
        return step


class LeavesGradients(Sound):
    def end_step(self, step, learner):
        for weight in learner.parameters().values():
            weight.grad = torch.zeros_like(weight)


class ExceedsMemory(Sound):
    def __init__(self, config):
        super().__init__(config)
        self.memory = kpig.Memory(config.replay.memory_per_task + 1, config.seed)


class RemembersOthers(Sound):
    def remember(self, step, learner):
        for task in step.tasks:
            self.memory.add(dataclasses.replace(task, name=task.name + "-other"))


class NeverRemembers(Sound):
    def replay(self, clock, learner):
        return ()

    def remember(self, step, learner):
        pass


class ReplaysCurrent(Sound):
    def begin_step(self, step, learner):
        self.pool = step.tasks[0].train
        return step

    def replay(self, clock, learner):
        return self.pool[: self.num_replayed(clock)]


class WrongBudget(Sound):
    def replay(self, clock, learner):
        return self.memory.draw(self.num_replayed(clock) + 1, clock.rng("replay"))


class HasNoMemory(Sound):
    def __init__(self, config):
        super().__init__(config)
        self.memory, self.kept = None, []

    def replay(self, clock, learner):
        return clock.rng("replay").sample(self.kept, self.num_replayed(clock)) if self.kept else []

    def begin_step(self, step, learner):
        self.kept = [one for task in self.past for one in task.train] if step.number > 1 else []
        return step

    def arrange(self, steps):
        self.past = steps[0]
        return steps


class SavesEveryUpdate(Sound):
    def __init__(self, config):
        super().__init__(config)
        self.rows = []

    def shape_gradients(self, learner, clock):
        self.rows.append(torch.ones(clock.update + 1))

    def state_dict(self):
        return super().state_dict() | {"rows": self.rows}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.rows = list(state["rows"])


class SavesTooMuch(Sound):
    def __init__(self, config):
        super().__init__(config)
        self.kept = []

    def remember(self, step, learner):
        super().remember(step, learner)
        weights = [one.flatten() for one in learner.weights().values()]
        self.kept = [torch.cat(weights) for _ in range(5)]

    def state_dict(self):
        return super().state_dict() | {"kept": self.kept}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.kept = list(state["kept"])


class Anything(kpig.Settings):
    model_config = ConfigDict(extra="allow")

    start: float = Field(1.0, description="where it begins")


class TakesAnySetting(Sound):
    Settings = Anything


class Demand(kpig.Settings):
    start: float


class DemandsSetting(Sound):
    Settings = Demand


class NotesNumbers(Sound):
    def notes(self):
        return [3]


class RefusesSilently(Sound):
    def __init__(self, config):
        super().__init__(config)
        if config.model.adapter == "lora":
            raise kpig.ConfigError("not like this")


class RefusesNothing(Sound):
    pass


PROMISED = {
    "NeverRemembers": {"rehearses": False},
    "DemandsSetting": {"settings": {"start": 0.5}},
    "RefusesSilently": {"refuses": ("lora",)},
    "RefusesNothing": {"refuses": ("lora",)},
}
"""What their authors say of them, where it is not that they rehearse."""


def contract(name):
    """The contract as a class of tests for one of the methods."""
    told = {"method": f"{__name__}:{name}", "rehearses": True} | PROMISED.get(name, {})
    return type(f"Test{name}", (kpig.testing.MethodContract,), told)
