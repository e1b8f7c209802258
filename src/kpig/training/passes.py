"""The passes of an update: loss and gradient of its examples, in smaller batches where memory runs out."""

import copy
import gc
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from kpig import ranks
from kpig.config import TrainSection
from kpig.errors import DivergedError, TrainingError, is_out_of_memory
from kpig.methods.base import Clock, Method
from kpig.model import portions
from kpig.model.batch import Batch
from kpig.model.encoded import Encoded
from kpig.model.learner import Learner
from kpig.records import Example
from kpig.training.precision import precision

OWN_NAMES = frozenset(
    {
        "t",
        "step",
        "update",
        "loss",
        "penalty",
        "penalty_ratio",
        "tokens",
        "replayed",
        "replayed_tasks",
        "gradient_norm",
        "learning_rate",
        "train_tokens",
        "held_out_loss",
        "validation_loss",
        "warning",
        "note",
    }
)
"""What the loop itself writes into its records."""


class Passes:
    """Reads each update's examples forward and backward.

    Where memory runs out, the batches are halved and the update is repeated from its beginning; the batches
    stay small for the rest of the step, `settings` says how small. A single example cannot be halved.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        learner: Learner,
        method: Method,
        settings: TrainSection,
        log: Callable[[dict[str, Any]], None],
    ):
        self.accelerator, self.learner, self.method, self.log = accelerator, learner, method, log
        self.precision = precision(settings, learner.device, learner.network.num_weights)
        alone = settings.model_copy(update={"row_tokens": 0})
        self.settings = settings if method.shares_rows else alone

    def read(
        self, examples: Sequence[Example], num_replayed: int, clock: Clock
    ) -> tuple[dict[str, float | Tensor], int]:
        """The sum of every term over the response tokens, and how many these are; gradients are left behind.

        The gradient is that of the mean. Raises DivergedError on a loss that is not finite, and
        TrainingError where memory does not do for one example. Where weights are divided, a pass that fails
        in one process cannot be repeated: the others wait in it.
        """
        encoded = list(self.learner.encoder.encode_all(examples))
        if self.method.paired:
            twinned = self.method.twinned(examples, num_replayed, clock)
            encoded = [one if has else one.alone for one, has in zip(encoded, twinned, strict=True)]
        batches = self._cut(encoded, num_replayed)
        while True:
            before = _Before(self.learner, self.method)
            try:
                return self._summed(batches, clock)
            except Exception as error:
                if not is_out_of_memory(error) or self.learner.network.is_sharded:
                    raise
            # Outside the handler, which keeps the tensors of the failed pass alive.
            before.restore()
            batches = self._halved(batches, encoded, num_replayed, clock)

    def _summed(self, batches: Sequence[Batch], clock: Clock) -> tuple[dict[str, float | Tensor], int]:
        """The passes of all processes, each of which does its part; gradients are their sum everywhere."""
        num_tokens = sum(batch.num_tokens for batch in batches)
        parts = self.learner.divided(
            [batch.rows.num_computed for batch in batches],
            lambda own: self._passed([batches[number] for number in own], num_tokens, clock),
        )
        if not self.learner.network.is_sharded:  # else the backward passes have done so
            ranks.sum_gradients(self.learner.parameters())
        totals, *others = parts
        for part in others:
            for name, value in part.items():
                totals[name] = float(totals.get(name, 0.0)) + float(value)
        return totals, num_tokens

    def _passed(self, batches: Sequence[Batch], num_tokens: int, clock: Clock) -> dict[str, float | Tensor]:
        totals: dict[str, float | Tensor] = {}
        for batch in batches:
            with self.learner.computing(self.precision):
                loss = self.method.loss(self.learner, batch)
            require_own_names(self.method, "loss", loss.log)
            require_finite("loss", loss.sum, clock)
            with self.learner.network.turn_back():
                self.accelerator.backward(loss.sum / max(1, num_tokens))
            for name, value in ({"loss": loss.sum.detach()} | loss.log).items():
                totals[name] = totals.get(name, 0.0) + value
        return totals

    def _cut(self, examples: Sequence[Encoded], num_replayed: int) -> list[Batch]:
        method = self.method
        return self.learner.training_batches(
            examples, self.settings, method.paired, method.reading, num_replayed=num_replayed
        )

    def _halved(
        self, batches: Sequence[Batch], examples: Sequence[Encoded], num_replayed: int, clock: Clock
    ) -> list[Batch]:
        """More batches of the same examples, each with half the tokens or less of what there was room for."""
        if len(batches) == len(examples):
            raise TrainingError(
                f"memory ran out at step {clock.step}, update {clock.update + 1}, with one example at a "
                'time; lower model.max_length, set model.adapter = "lora", or take a smaller model, in a new '
                "run; or continue this one with --resume on a machine with more memory"
            )
        tokens = portions.training(self.learner.device, self.settings.tokens_per_micro_batch)
        found = list(batches)
        while len(found) <= len(batches):
            tokens = max(1, tokens // 2)
            self.settings = self.settings.model_copy(update={"tokens_per_micro_batch": tokens})
            found = self._cut(examples, num_replayed)
        self.log(
            {
                "step": clock.step,
                "warning": f"memory ran out at update {clock.update + 1}: it is repeated in {len(found)} "
                f"batches instead of {len(batches)}, and the updates after it are read in batches as small; "
                "results are the same up to rounding. train.tokens_per_micro_batch = "
                f"{tokens} saves the attempt",
                "tokens_per_micro_batch": tokens,
            }
        )
        return found


class _Before:
    """What an attempt at the passes of an update changes, as it was: chance, the ledger, what a loss keeps.

    Of the method, and of one that is a part of it, dicts, lists and sets are kept, not copies of what is in
    them: a loss that counts puts new values in their places.
    """

    def __init__(self, learner: Learner, method: Method):
        self.learner = learner
        self.methods = [method, *(one for one in vars(method).values() if isinstance(one, Method))]
        self.chance = torch.get_rng_state()
        self.on_device = torch.cuda.get_rng_state(learner.device) if _is_cuda(learner) else None
        self.ledger = learner.ledger.as_dict()
        self.states = [{key: _own(value) for key, value in vars(one).items()} for one in self.methods]

    def restore(self) -> None:
        """Put all of it back, drop the gradients, and give memory back to the device."""
        for weight in self.learner.parameters().values():
            weight.grad = None
        for method, state in zip(self.methods, self.states, strict=True):
            vars(method).clear()
            vars(method).update(state)
        self.learner.ledger.restore(self.ledger)
        torch.set_rng_state(self.chance)
        gc.collect()
        if self.on_device is not None:
            torch.cuda.set_rng_state(self.on_device, self.learner.device)
            torch.cuda.empty_cache()


def _own(value: Any) -> Any:
    return copy.copy(value) if isinstance(value, dict | list | set) else value


def _is_cuda(learner: Learner) -> bool:
    return learner.device.type == "cuda"


def require_own_names(method: Method, hook: str, names: Iterable[str]) -> None:
    """Refuse a hook of a method that writes into the record under the loop's names: TrainingError."""
    taken = sorted(OWN_NAMES.intersection(names))
    if taken:
        raise TrainingError(
            f"{type(method).__name__}.{hook} writes {', '.join(map(repr, taken))} into the record of an "
            "update, where the loop's own value stands under that name; give it another name"
        )


def require_finite(what: str, value: Tensor, clock: Clock) -> None:
    """Raise DivergedError where a value of an update is not finite; no weight was changed by it yet."""
    if not torch.isfinite(value).all():
        raise DivergedError(
            f"the {what} is not finite ({float(value.detach())}) at step {clock.step}, "
            f"update {clock.update + 1}; no weight was changed by it. Lower train.learning_rate or "
            "train.clip, or look at that step's data."
        )
