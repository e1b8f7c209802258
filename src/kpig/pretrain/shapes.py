"""The shapes of model that `kpig pretrain` builds."""

from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from kpig.errors import ModelError
from kpig.pretrain.recipe import Size

POSITIONS = 2048
"""The longest row. Chosen: more than four times the longest example of a recipe's default (448 tokens);
positions are rotary, so they cost no weight."""


@dataclass(frozen=True)
class Shape:
    """A Llama-architecture model with tied embeddings."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int

    @property
    def body(self) -> int:
        """Weights of all layers, without embedding and norms."""
        return self.layers * (4 * self.width**2 + 3 * self.width * self.inner)


SHAPES = {
    Size.SMALL: Shape(vocabulary=4096, width=192, layers=6, heads=4, inner=512),
    Size.MEDIUM: Shape(vocabulary=8192, width=384, layers=7, heads=6, inner=1024),
}
"""small: 3.4 M weights, for two CPU cores; medium: 15.5 M, for an accelerator. The width of small was chosen
by speed (docs/LOG.md, "The small language base"); medium was never trained."""


def build(shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """The model with random weights drawn from `seed`; the vocabulary is the tokenizer's own."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def shape_of(model: PreTrainedModel) -> Shape:
    """The shape of a model that `build` made; ModelError for one of another architecture."""
    config = model.config
    if config.model_type != "llama" or not config.tie_word_embeddings:
        raise ModelError(
            f"cannot go on from a {config.model_type} model; expected one that kpig pretrain made "
            "(Llama architecture, tied embeddings)"
        )
    return Shape(
        vocabulary=config.vocab_size,
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        inner=config.intermediate_size,
    )
