"""What must be done inside a Hugging Face causal LM: catch its hidden states, shape its attention mask, and
have its layers computed twice.

`model` stands for a transformers model, never for an adapter around one. It is typed Any here: which methods
and modules an architecture has is not written down in a type. Shape letters: R rows, L sequence, N response
tokens, D hidden size.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from kpig.config import OFFLOAD
from kpig.errors import ModelError
from kpig.model.rows import Rows


@contextmanager
def gathered(model: Any, rows: Rows, most: int | None = None) -> Iterator[list[Tensor]]:
    """Inside the block the output layer sees only the positions that predict `rows.target`, as [1, N, D].

    Of these it sees the first `most`, where that is given. All of them, [N, D], come into the list.
    """
    caught: list[Tensor] = []

    def gather(_module: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        caught.append(arguments[0][rows.row, rows.column])
        return (caught[-1][:most].unsqueeze(0), *arguments[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(gather)
    try:
        yield caught
    finally:
        handle.remove()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode inside the block (no dropout), the former mode after it, of each module its own.

    Blocks nest, also where one is of a model and the other of PEFT's wrapper around it: whoever put the whole
    wrapper back into its mode would end the evaluation of the model inside.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


def last_hidden(model: Any, rows: Rows) -> Tensor:
    """The last hidden states [R, L, D], caught where they enter the output layer."""
    caught: list[Tensor] = []

    def catch(_module: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        caught.append(arguments[0])
        return (arguments[0][:, :1], *arguments[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(catch)
    try:
        model(input_ids=rows.input_ids, attention_mask=rows.attention_mask, use_cache=False)
    finally:
        handle.remove()
    return caught[0]


def attention_mask(model: Any, mask: Tensor) -> Tensor:
    """A [R, L] mask as it is; a [R, 1, L, L] one as the model's attention takes it: added, or boolean."""
    if mask.dim() == 2 or model.config._attn_implementation == "sdpa":
        return mask
    dtype = next(model.parameters()).dtype
    lowest = torch.finfo(dtype).min
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, lowest)


def recompute(model: Any, wanted: bool | str) -> None:
    """Have the layers keep what enters them, in the host's memory with "offload", or all of it again.

    It acts while the model is in training mode. transformers calls it gradient checkpointing, and in newer
    versions activation checkpointing. ModelError where the architecture cannot, or that version has no way to
    offload.
    """
    if not getattr(model, "supports_gradient_checkpointing", False):
        raise ModelError(
            f"train.gradient_checkpointing: a {type(model).__name__} cannot compute its layers twice; leave "
            "it out, and lower train.tokens_per_micro_batch where memory is short"
        )
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    disable = getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable
    if not wanted:
        disable()
        return
    offload = {"offload": True} if wanted == OFFLOAD else {}
    if offload and "offload" not in inspect.signature(enable).parameters:
        raise ModelError(
            f"train.gradient_checkpointing = {wanted!r}: this version of transformers has no way to offload; "
            "install a newer one, or set it to true"
        )
    enable({"use_reentrant": False}, **offload)
