"""Load a causal LM, with or without an adapter, as a Learner."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from kpig.config import ModelSection
from kpig.errors import ModelError
from kpig.model import adapters, kind, probe, quantized, weights
from kpig.model.encoding import Encoder, configured
from kpig.model.folder import adapter_problem, base_of_adapter, check_folder, explained, is_adapter, resolve
from kpig.model.learner import Learner

MOST_BEYOND = 32
"""Tokens of a tokenizer for which the embedding may have no row, such as Gemma 3's for images: a text that
needs one is refused. More of them mean another vocabulary. Chosen, not measured."""


def load(
    section: ModelSection,
    keep_initial: bool = False,
    device: str = "cpu",
    seed: int = 0,
    clock: str | None = None,
) -> Learner:
    """The learner that a config's [model] section describes.

    `clock` is what a chat template that asks for the time is told; see `kpig.model.chat.ChatTemplate`.

    A folder with a PEFT adapter is loaded on top of the base model that it names, with the tokenizer and
    chat template of its own folder where they are there: for evaluation only, or with `section.adapter =
    "lora"` to be trained on. Without one there, that draws a fresh LoRA with `seed`. Raises ModelError
    for a folder without usable weights, with pickle weights only, with a tokenizer of another vocabulary or
    with a model that is no plain causal LM; and where the device cannot hold a base in 4 bits.
    """
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    path = resolve(section.path)
    check_folder(path)
    adapted = is_adapter(path)
    is_trained = section.adapter == "lora"
    problem = (adapter_problem(section) if is_trained else "") or quantized.problem(section, device)
    if problem:
        raise ModelError(problem)
    base, trust = base_of_adapter(path) if adapted else path, section.trust_remote_code
    more = quantized.arguments(section, device)
    model = weights.read(base, getattr(torch, section.dtype), trust, **more)
    tokenizer = _tokenizer(path, base, model.config, trust)
    check_vocabulary(model, tokenizer, path)
    limit = kind.length_limit(model.config.get_text_config()) or section.max_length
    longest = min(section.max_length, limit)
    num_rows = model.get_input_embeddings().weight.shape[0]
    if (tokenizer.pad_token_id or 0) >= num_rows:
        tokenizer.pad_token = tokenizer.eos_token
    encoder = configured(tokenizer, section, longest, clock, num_rows)
    model = model if more else model.to(device)
    probe.require_causal(Learner(model, tokenizer, encoder), base)
    if is_trained and not adapted:
        model = adapters.fresh(model, section, seed).to(device)
    if not adapted:
        return Learner(model, tokenizer, encoder, keep_initial)
    model = adapters.saved(model, path, is_trained).to(device)
    learner = Learner(model, tokenizer, encoder, keep_initial, is_begun=True)
    probe.require_inside(learner, path)
    return learner


def load_encoder(section: ModelSection, clock: str | None = None) -> Encoder:
    """The encoder of the model that a config's [model] section describes, without its weights.

    Raises ModelError for a folder without a usable config or tokenizer.
    """
    path = resolve(section.path)
    check_folder(path)
    base, trust = base_of_adapter(path) if is_adapter(path) else path, section.trust_remote_code
    config = _read_config(base, trust)
    limit = kind.length_limit(config.get_text_config()) or section.max_length
    tokenizer = _tokenizer(path, base, config, trust)
    return configured(tokenizer, section, min(section.max_length, limit), clock, None)


def text_config(section: ModelSection) -> Any:
    """What transformers knows of the language model in a config's [model] section, its base's for an adapter.

    Raises ModelError for a folder without a usable config.
    """
    path = resolve(section.path)
    base = base_of_adapter(path) if is_adapter(path) else path
    return _read_config(base, section.trust_remote_code).get_text_config()


def _read_config(base: str, trust: bool) -> Any:
    with explained(base):
        return AutoConfig.from_pretrained(base, trust_remote_code=trust)


def described(table: Mapping[str, Any], trust: bool) -> Any:
    """What transformers knows of the model in a table such as config.json; ModelError where it knows none."""
    kept = dict(table)
    named = kept.pop("model_type", None)
    with explained("config.json"):
        if trust and kept.get("auto_map"):
            raise ValueError("code that comes with a model needs its folder: give that in the config")
        return AutoConfig.for_model(named, **kept)


def outline(section: ModelSection) -> Any:
    """The model that its config.json describes with a fresh LoRA adapter, shapes without numbers.

    Raises ModelError where it makes none.
    """
    path = resolve(section.path)
    with explained(path):
        return _outlined(_read_config(path, section.trust_remote_code), section)


def counted(config: Any, section: ModelSection) -> tuple[int, int]:
    """How many weights the model of a config has, and how many learn: shared ones once, no number is made.

    With a LoRA adapter, that of the section learns, and is no part of the first. ModelError where a config
    makes no model.
    """
    with explained(section.path):
        model = _outlined(config, section)
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    both = sum(one.numel() for one in model.parameters())
    return (both, trained) if section.adapter == "none" else (both - trained, trained)


def _outlined(config: Any, section: ModelSection) -> Any:
    with torch.device("meta"):
        made: Any = AutoModelForCausalLM
        model = made.from_config(config, trust_remote_code=section.trust_remote_code)
        return model if section.adapter == "none" else adapters.fresh(model, section, seed=0)


def check_vocabulary(model: Any, tokenizer: Any, path: str) -> None:
    """Refuse a tokenizer that was not made for the model, or that has no end-of-sequence token.

    Models often pad their embedding by a few percent; more than 10 % unused rows means another vocabulary.
    A few tokens may have no row (`MOST_BEYOND`), the end of sequence excepted.
    """
    rows, size = model.get_input_embeddings().weight.shape[0], len(tokenizer)
    if size - rows > MOST_BEYOND or rows - size > max(256, rows // 10):
        raise ModelError(
            f"model {path}: the tokenizer has {size} tokens but the model's embedding has {rows} rows; "
            "they do not belong together. Use the tokenizer that was saved with this model."
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"model {path}: the tokenizer has no end-of-sequence token; set eos_token and save it again"
        )
    if tokenizer.eos_token_id >= rows:
        raise ModelError(
            f"model {path}: the end of sequence {tokenizer.eos_token!r} has the id {tokenizer.eos_token_id}, "
            f"but the model's embedding has {rows} rows; resize it (resize_token_embeddings), or set the "
            "eos_token that the model was trained with"
        )


def _tokenizer(path: str, base: str, config: Any, trust: bool) -> Any:
    if is_adapter(path):
        return adapters.tokenizer(path, base, config, trust)
    with explained(path):
        return AutoTokenizer.from_pretrained(path, trust_remote_code=trust)
