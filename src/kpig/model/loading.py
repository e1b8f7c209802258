"""Load a causal LM, with or without an adapter, as a Learner."""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from kpig.config import ModelSection
from kpig.errors import ModelError
from kpig.model.encoding import Encoder
from kpig.model.folder import ADAPTER_CONFIG, check_folder, explained, is_adapter, resolve
from kpig.model.learner import Learner


def load(
    section: ModelSection,
    keep_initial: bool = False,
    device: str = "cpu",
    seed: int = 0,
    clock: str | None = None,
) -> Learner:
    """The learner that a config's [model] section describes.

    `clock` is what a chat template that asks for the time is told; see `kpig.model.chat.ChatTemplate`.

    A folder with a PEFT adapter is loaded on top of the base model that it names, for evaluation only.
    A fresh LoRA adapter is drawn with `seed`. Raises ModelError for a folder without usable weights, with
    pickle weights only, or with a tokenizer of another vocabulary.
    """
    logging.disable_progress_bar()
    path = resolve(section.path)
    check_folder(path)
    base = _base_of_adapter(path) if is_adapter(path) else path
    check_folder(base)
    trust = section.trust_remote_code
    with explained(path):
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=trust)
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=getattr(torch, section.dtype), use_safetensors=True, trust_remote_code=trust
        )
    check_vocabulary(model, tokenizer, path)
    if is_adapter(path):
        model = _with_saved_adapter(model, section, path)
    elif section.adapter == "lora":
        model = _with_lora(model, section, seed)
    limit = getattr(model.config, "max_position_embeddings", None) or section.max_length
    longest = min(section.max_length, limit)
    encoder = Encoder(tokenizer, longest, section.mask_text, section.chat_template, clock)
    return Learner(model.to(device), tokenizer, encoder, keep_initial)


def check_vocabulary(model, tokenizer, path: str) -> None:
    """Refuse a tokenizer that was not made for the model, or that has no end-of-sequence token.

    Models often pad their embedding by a few percent; more than 10 % unused rows means another vocabulary.
    """
    rows, size = model.get_input_embeddings().weight.shape[0], len(tokenizer)
    if size > rows or rows - size > max(256, rows // 10):
        raise ModelError(
            f"model {path}: the tokenizer has {size} tokens but the model's embedding has {rows} rows; "
            "they do not belong together. Use the tokenizer that was saved with this model."
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"model {path}: the tokenizer has no end-of-sequence token; set eos_token and save it again"
        )


def _base_of_adapter(path: str) -> str:
    with explained(path):
        return resolve(
            json.loads((Path(path) / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
        )


def _with_saved_adapter(model, section: ModelSection, path: str):
    from peft import PeftModel

    if section.adapter == "lora":
        raise ModelError(
            f"{path} is an adapter; merge it into its base model (merge_and_unload) before training on top"
        )
    with explained(path):
        return PeftModel.from_pretrained(model, path, is_trainable=False)


def _with_lora(model, section: ModelSection, seed: int):
    from peft import LoraConfig, get_peft_model

    targets = list(section.lora_targets) if section.lora_targets else "all-linear"
    config = LoraConfig(
        r=section.lora_rank,
        lora_alpha=section.lora_alpha,
        lora_dropout=section.lora_dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            raise ModelError(f"LoRA cannot be put on this model: {error}. Set model.lora_targets.") from error
