"""A causal LM as a network: its weights, those it started from, and what it computes for rows.

It knows no tokenizer and no example, and counts nothing. Shape letters: R rows, L sequence, N response
tokens, V vocabulary, D hidden size.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kpig import ranks
from kpig.errors import ModelError
from kpig.model import adapters, internals, shards, weights
from kpig.model.rows import Rows
from kpig.model.shards import Shards, Weights, divided_as, gathered, local


class Network:
    """A model of transformers, or a PEFT model around one; its weights whole, or divided between processes.

    `core` is the model without what is around it. `initial` are the trainable weights it started from, kept
    only with `keep_initial`; with a fresh LoRA the starting model is the same weights with the adapter
    switched off, so nothing is kept. `is_begun` says that the adapter was trained before: then the starting
    model has it. What models have in common is not written down in a type.
    """

    def __init__(self, model: Any, keep_initial: bool = False, is_begun: bool = False):
        self.model = model
        self.is_adapter = hasattr(model, "peft_config")
        self.core = model.get_base_model() if self.is_adapter else model
        self.takes_positions = "position_ids" in inspect.signature(self.core.forward).parameters
        self.initial: Weights | None = None
        self._starts_bare = self.is_adapter and not is_begun
        self._class: Any = type(model)
        self._recomputes: bool | str = False
        self._shards: Shards | None = None
        if keep_initial and not self._starts_bare:
            self.initial = self.weights()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def is_sharded(self) -> bool:
        """Whether each process has a part of the weights only."""
        return self._shards is not None

    @property
    def num_weights(self) -> int:
        """How many numbers all weights have, trained or not, shared ones once."""
        return sum(weight.numel() for weight in self.model.parameters())

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The trainable parameters by name, shared ones once."""
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}

    def weights(self) -> dict[str, Tensor]:
        """A frozen copy of the trainable weights."""
        return {name: weight.detach().clone() for name, weight in self.parameters().items()}

    def load_weights(self, weights: Weights) -> None:
        """Overwrite trainable weights in place; ModelError when names or shapes differ."""
        parameters = self.parameters()
        wrong = sorted(set(parameters) ^ set(weights)) or [
            name for name, weight in parameters.items() if weight.shape != weights[name].shape
        ]
        if wrong:
            raise ModelError(
                f"saved weights do not fit the model: {wrong[0]} (and {len(wrong) - 1} more) differs"
            )
        with torch.no_grad():
            for name, weight in parameters.items():
                weight.copy_(divided_as(weight, weights[name]))

    def shard(self, device: str, keep_initial: bool = False) -> None:
        """Divide the weights, whole in every process so far, between all of them; on `device` from now on.

        All processes call it at the same time, once. The starting weights are kept as the constructor says.
        """
        self._shards = Shards(self.core, torch.device(device))
        if keep_initial and not self._starts_bare:
            self.initial = self.weights()
            self._shards.start_from(list(zip(self.parameters().values(), self.initial.values(), strict=True)))

    def turn_back(self) -> AbstractContextManager[None]:
        """Around each backward pass of a loss: where weights are divided, all processes make it together."""
        return shards.turn_back(self._shards)

    def is_finite(self) -> bool:
        """Whether all trainable weights are numbers, in every process."""
        found = all(bool(torch.isfinite(local(one)).all()) for one in self.parameters().values())
        return found if self._shards is None else all(ranks.united(lambda: found))

    def recompute(self, wanted: bool | str) -> None:
        """Whether passes that train keep only what enters each layer, and compute the rest once more.

        With "offload", what is kept lies in the host's memory. Results are the same up to rounding. Raises
        ModelError where the architecture, or the transformers that is installed, cannot do so.
        """
        if wanted != self._recomputes:
            internals.recompute(self.core, wanted)
            self._recomputes = wanted

    def saved_weights(self) -> Weights | None:
        """What `save` writes, where weights are divided: whole in the main process. All ask at once."""
        if not self.is_sharded:
            return None
        return gathered(self.parameters() if self.is_adapter else self.model.state_dict(keep_vars=True))

    def save(self, folder: Path, saved: Weights | None = None) -> None:
        """Write weights as safetensors, the adapter in PEFT's format where there is one.

        `saved` are the `saved_weights`, which one process alone has no way to ask for where they are divided.
        """
        divided = {} if saved is None else {"state_dict": dict(saved)}
        self.model.save_pretrained(folder, **divided)

    def restore(self, folder: Path) -> None:
        """Take over the weights that `save` wrote; ModelError where some are missing or damaged."""
        like = next(self.model.parameters())
        if self.is_adapter:
            adapters.restore(self.model, str(folder), partial(divided_as, like))
            return
        saved = weights.read_saved(self._class, folder, like.dtype)
        self.load_weights(dict(saved.named_parameters()))

    @contextmanager
    def as_initial(self) -> Iterator[None]:
        """The starting model inside the block, its present weights after it; gradients are left alone.

        Its weights are swapped in, or the adapter is switched off. ModelError without `keep_initial`.
        """
        with self.as_reference(None) as initial:
            if initial is None:
                yield
                return
            present = self.weights()
            self.load_weights(initial)
            try:
                yield
            finally:
                self.load_weights(present)

    @contextmanager
    def as_reference(self, weights: Weights | None) -> Iterator[Weights | None]:
        """What stands for trainable weights in a pass of a frozen earlier model; with LoRA it may be off.

        `weights` are those of that model; None stands for the starting model. ModelError as `as_initial`.
        """
        weights = self.initial if weights is None else weights
        if weights is None and not self._starts_bare:
            raise ModelError("the learner was built without its starting weights; pass keep_initial=True")
        with self.model.disable_adapter() if weights is None else nullcontext():
            yield weights

    def logits(self, rows: Rows, weights: Weights | None = None) -> Tensor:
        """Logits [N, V] at the positions that predict the targets; gradient and mode are the caller's.

        `weights` replace the trainable weights for this pass. The hidden states of these positions are
        gathered *before* the vocabulary projection, by a hook on the model's own output layer: soft-caps and
        scales that follow it stay the model's own.
        """
        with internals.gathered(self.core, rows):
            logits: Tensor = self._output(rows, weights).logits[0]
        return logits

    def states(self, rows: Rows, weights: Weights | None = None) -> Tensor:
        """The hidden states [N, D] of which these logits are made; the output layer sees one of them."""
        with internals.gathered(self.core, rows, most=1) as caught:
            self._output(rows, weights)
        return caught[0]

    def states_and_logits(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Both of one pass, [N, D] and [N, V]."""
        with internals.gathered(self.core, rows) as caught:
            logits: Tensor = self._output(rows, None).logits[0]
        return caught[0], logits

    def _output(self, rows: Rows, weights: Weights | None) -> Any:
        """What the model returns for rows, with other trainable weights where these are given."""
        mask = internals.attention_mask(self.core, rows.attention_mask)
        arguments = {"input_ids": rows.input_ids, "attention_mask": mask, "use_cache": False}
        if self.takes_positions:
            arguments["position_ids"] = rows.position_ids
        if weights is None:
            return self.model(**arguments)
        if self._shards is not None:
            return self._of_starting(arguments, weights)
        return torch.func.functional_call(self.model, dict(weights), kwargs=arguments)

    def _of_starting(self, arguments: Mapping[str, Any], weights: Weights) -> Any:
        """The pass of divided weights with those in their place that all processes know: starting ones."""
        assert self._shards is not None
        if weights is not self.initial:
            raise ModelError(
                "weights that are divided between processes can be compared with the starting ones, and with "
                "no others; set train.shard = false"
            )
        with self._shards.as_starting():
            return self.model(**arguments)
