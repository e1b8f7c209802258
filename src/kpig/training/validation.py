"""The loss on a step's validation examples: when it is measured, when a step ends early, what it leaves."""

import math
from collections.abc import Sequence

from kpig.config import TrainSection
from kpig.errors import DivergedError
from kpig.methods.base import Clock, Method
from kpig.model.generation import NOT_FINITE
from kpig.model.learner import Learner
from kpig.records import Task
from kpig.training import checkpoint
from kpig.training.checkpoint import Best
from kpig.training.passes import Passes


class Validation:
    """Measures the validation loss of a step now and then, and remembers where it was lowest.

    `tasks` are those of the step as the stream has them. Without validation examples nothing is measured
    and no step ends early. `best` is a part of every checkpoint, so that a resumed step ends as a straight
    one does.
    """

    def __init__(self, tasks: Sequence[Task], settings: TrainSection, best: Best | None = None):
        self.examples = [example for task in tasks for example in task.validation]
        self.settings = settings
        self.best = best

    @property
    def is_over(self) -> bool:
        """Whether the step ends here: as many measurements as `train.patience` were no better."""
        patience = self.settings.patience
        return patience > 0 and self.best is not None and self.best.num_since >= patience

    def is_due(self, clock: Clock, num_train: int) -> bool:
        """Whether to measure after an update: it ends a pass over `num_train` examples, or the step.

        With `train.validation_every` passes do not count, but that many updates.
        """
        done = clock.update + 1
        if not self.examples or done == clock.num_updates:
            return bool(self.examples)
        if self.settings.validation_every:
            return done % self.settings.validation_every == 0
        before, after = (clock.current_before(update) // max(1, num_train) for update in (done - 1, done))
        return after > before

    def measure(self, passes: Passes, update: int) -> float:
        """Mean cross-entropy in nats per response token after so many updates, compared with the best.

        Every validation example is read under its own instruction; the tokens count as forward tokens. The
        method's state is copied with the weights. Raises DivergedError where the loss is not finite.
        """
        learner = passes.learner
        loss = round(learner.mean_loss(learner.training_batches(self.examples, passes.settings)), 6)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss on the validation examples is not finite ({loss}): {NOT_FINITE}")
        if self.best is not None and not loss < self.best.loss:
            self.best = self.best.passed()
        elif self.settings.keep_best:
            state = checkpoint.as_read(passes.method.state_dict())
            self.best = Best(update, loss, 0, learner.weights(), state)
        else:
            self.best = Best(update, loss)
        return loss

    def restore(self, learner: Learner, method: Method) -> None:
        """With `train.keep_best` put weights and method back to where the loss was lowest.

        What was spent since stays spent.
        """
        if self.best is None or self.best.weights is None or not self.best.num_since:
            return
        learner.load_weights(self.best.weights)
        checkpoint.restore_method(method, self.best.method)

    def note(self, update: int, num_updates: int) -> str:
        """What the user should know of a step's end after `update` of `num_updates`; "" for nothing."""
        if self.best is None or not self.best.num_since:
            return ""
        lowest = f"the lowest validation loss, {self.best.loss:g}, was that after update {self.best.update}"
        said = [f"ended after update {update} of {num_updates}"] if update < num_updates else []
        if self.best.weights is not None:
            said.append(f"goes on with the weights of update {self.best.update}")
        return f"{' and '.join(said)}: {lowest}" if said else ""
