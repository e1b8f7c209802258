"""Small causal LMs with random weights and the shipped tokenizer, made on the spot: nothing is downloaded."""

import copy
from functools import lru_cache
from importlib.resources import files
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, PreTrainedConfig

from kpig.model.encoding import Encoder
from kpig.model.learner import Learner

VOCABULARY_SIZE = 4096
"""Rows of the embedding: what the shipped tokenizer has."""

LONGEST = 256
"""Tokens of prompt and response at most, which is also how many positions the models have."""

RANK = 3
"""Of the LoRA matrices: odd, and smaller than every side of a layer."""

ENDS: dict[str, Any] = {
    "vocab_size": VOCABULARY_SIZE,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
"""What every config of a model for the shipped tokenizer has."""

SPREAD = 0.3
"""Standard deviation of the noise on matrices: wide enough that probabilities differ from token to token."""


def learner(
    adapter: bool = False, keep_initial: bool = False, dropout: float = 0.1, seed: int = 0
) -> Learner:
    """A new learner around a GPT-2 of two small layers, the same for the same arguments.

    `adapter` puts a LoRA adapter on it; else all weights are trainable. It is in evaluation mode, so
    dropout begins with `learner.model.train()`.
    """
    return as_learner(_gpt2(dropout, seed), tokenizer(), adapter, keep_initial, seed=seed, dropout=dropout)


def as_learner(
    model: Any,
    tokenizer: Any,
    adapter: bool = False,
    keep_initial: bool = False,
    *,
    seed: int = 0,
    dropout: float = 0.0,
    max_length: int = LONGEST,
) -> Learner:
    """A learner around a copy of a transformers model; with `adapter`, under a LoRA adapter from `seed`."""
    own = copy.deepcopy(model)
    if adapter:
        torch.manual_seed(seed)
        lora = LoraConfig(r=RANK, target_modules="all-linear", lora_dropout=dropout, task_type="CAUSAL_LM")
        own = get_peft_model(own, lora).eval()
    return Learner(own, tokenizer, Encoder(tokenizer, max_length), keep_initial)


def gpt2_config(dropout: float = 0.0) -> GPT2Config:
    """A GPT-2 of two small layers, whose input and output embeddings are shared."""
    return GPT2Config(
        **ENDS,
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=LONGEST,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        resid_pdrop=dropout,
    )


def random_model(config: PreTrainedConfig, seed: int = 0) -> Any:
    """A model of a config with random weights, in evaluation mode; torch's own chance is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    return scatter(model.eval(), seed, SPREAD)


def scatter(model: Any, seed: int, scale: float) -> Any:
    """Add noise to every trainable matrix of a model, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad and weight.dim() > 1:
                weight.add_(scale * torch.randn(weight.shape, generator=generator))
    return model


@lru_cache(maxsize=1)
def tokenizer() -> Any:
    """The shipped tokenizer; who changes it takes a copy."""
    return AutoTokenizer.from_pretrained(str(files("kpig") / "tiny"))


@lru_cache(maxsize=2)
def _gpt2(dropout: float, seed: int) -> Any:
    return random_model(gpt2_config(dropout), seed)
