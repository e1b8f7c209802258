"""Whether training still leads anywhere: the weights after an update, and their own loss."""

import math
from collections.abc import Sequence

from kpig.errors import DivergedError
from kpig.methods.base import Clock
from kpig.model.learner import Learner
from kpig.records import Example
from kpig.training.passes import Passes

WORST = 2.0
"""A loss has exploded that is so many times that of a guess among all tokens alike, and of the loss that
training began with. Chosen, not measured: a model that knows nothing is near the guess, whatever its task."""


class Soundness:
    """Looks at the weights now and then, and remembers the first loss that it was told, in nats per token."""

    def __init__(self, learner: Learner):
        self.guess = math.log(max(2, len(learner.tokenizer)))
        self.first: float | None = None

    def see(self, loss: float) -> None:
        """Be told the loss of an update; only the first counts."""
        self.first = loss if self.first is None else self.first

    def doubt(self, passes: Passes, examples: Sequence[Example], clock: Clock) -> str | None:
        """Why the weights after an update should not be gone on from, None where they are sound.

        `examples` are those of the update; their loss is measured again, with the weights as they are now.
        Nothing of it is counted as spent. Raises DivergedError where weights or loss are not finite.
        """
        learner = passes.learner
        where = f"after step {clock.step}, update {clock.update + 1}"
        if not learner.network.is_finite():
            raise DivergedError(f"weights are not finite {where}. {_ADVICE}")
        with learner.ledger.unspent():
            loss = learner.mean_loss(learner.training_batches(examples, passes.settings))
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is not finite ({loss}) {where}. {_ADVICE}")
        bound = WORST * max(self.guess, self.first or 0.0)
        if loss <= bound:
            return None
        return (
            f"the loss has exploded {where}: {loss:.1f} nats per token, a guess among all tokens has "
            f"{self.guess:.1f}. Lower train.learning_rate"
        )


_ADVICE = "Lower train.learning_rate or train.clip, or look at that step's data."
