"""A-GEM: never follow a gradient against that of a batch from memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import CountOrAll, cost
from kpig.errors import ConfigError
from kpig.methods.base import Clock, Method, Settings
from kpig.methods.parts.memory import Memory
from kpig.methods.parts.upkeep import Matrices, Upkeep

if TYPE_CHECKING:
    from kpig.model.learner import Learner


class AGemSettings(Settings):
    """A-GEM (Chaudhry et al., ICLR 2019)."""

    num_examples: CountOrAll = Field(
        0,
        description="examples from memory whose loss must not rise; 0: as many as replay would draw",
        json_schema_extra=cost("a forward and backward pass over them in every update"),
    )


class AGem(Method):
    """Train on current examples; project the gradient so that the memory's loss does not rise.

    Chaudhry et al. (ICLR 2019), eq. 11: g ← g - (g·r / r·r) r where g·r < 0, r the gradient of the mean
    loss on examples drawn anew from memory at every update. Memory examples are no training data: they
    only make the constraint, and the loss reported is that of the current examples. Their passes, in
    training mode like the others, are counted as training tokens.

    The projected *gradient* does not raise the memory's loss to first order. AdamW's step is another
    direction (running means, a scale for each weight), so it now and then does, as in the public codes.
    """

    Settings = AGemSettings
    settings: AGemSettings
    memory: Memory

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        if config.replay.ratio == 0 and self.settings.num_examples == 0:
            raise ConfigError(
                "a_gem needs examples from memory; raise replay.ratio (now 0), or say how many with "
                "method.a_gem.num_examples"
            )
        self.memory = Memory(config.replay.memory_per_task, config.seed)

    def upkeep(self, matrices: Matrices) -> Upkeep:
        """A pass over examples from memory in every update, beside the gradient that it is to shape."""
        drawn = self.config.train.batch_size * self.config.replay.ratio
        return Upkeep(rehearsed=self.settings.num_examples or drawn)

    def shape_gradients(self, learner: Learner, clock: Clock) -> None:
        from kpig.methods.parts.gradient import mean_gradient, project

        if not self.memory.tasks:
            return
        count = self.settings.num_examples or self.num_replayed(clock)
        examples = self.memory.draw(count, clock.rng("memory"))
        if examples:
            project(learner.parameters(), mean_gradient(learner, examples, self.config.train))
