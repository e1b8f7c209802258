"""What kind of model a config.json describes, and why kpig cannot learn with it. No torch."""

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

NUMBERS_OF_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""The keys by which architectures name how many layers they have."""

LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "seq_length",
    "context_length",
)
"""The keys by which architectures name the most tokens of a row; the first that says a number holds."""

STATED = (
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "vocab_size",
)
"""Numbers of a model that its config.json may leave to a default of its architecture."""

STATES_ALL = {
    "llama": STATED,
    "mistral": STATED,
    "qwen2": STATED,
    "qwen3": (*STATED, "head_dim"),
}
"""Architectures of which config.json tells these numbers by the names that transformers has for them."""

ATTENTIONS = ("eager", "sdpa")
"""What transformers may compute attention with, so that the masks of kpig reach it."""

OTHER_TASK = re.compile(r"For(?!CausalLM)([A-Z]\w*)$")
"""The end of an architecture's name that says what else than a causal language model it is."""

CAUSAL = (
    "kpig needs a causal language model, such as Llama, Qwen or GPT-2, that predicts each token from those "
    "before it"
)


def problem(config: Mapping[str, Any]) -> str:
    """Why the model of a config.json cannot be learned with, as a clause after "the model"; "" where it may.

    What the file does not tell is seen when the model is loaded (`kpig.model.probe`).
    """
    if config.get("is_encoder_decoder") is True:
        return f"is an encoder-decoder{_named(config)}; {CAUSAL}"
    if senses := [key for key in ("vision_config", "audio_config") if config.get(key) is not None]:
        return (
            f"reads images or sound ({senses[0]} in config.json){_named(config)}; {CAUSAL}. Give its text "
            "part, saved as a causal language model"
        )
    return _other_task(config) or _unfit_weights(config) or _unfit_attention(config)


def num_layers(config: Mapping[str, Any]) -> int:
    """How many layers a config.json asks for; 0 where it does not say."""
    found = [config.get(key) for key in NUMBERS_OF_LAYERS]
    return max((number for number in found if isinstance(number, int)), default=0)


def stated(config: Mapping[str, Any]) -> Any:
    """What a config.json tells, as attributes, where transformers would add nothing to it; else None."""
    wanted = STATES_ALL.get(str(config.get("model_type")), ())
    found = [config.get(name) for name in wanted]
    if not wanted or config.get("auto_map") or not all(type(one) is int and one > 0 for one in found):
        return None
    return SimpleNamespace(**config)


def length_limit(config: Any) -> int | None:
    """The most tokens of a row that a transformers config allows; None where it sets no limit.

    Architectures name it by one of several keys; -1 and None stand for no limit.
    """
    found = [getattr(config, key, None) for key in LENGTHS]
    return next((limit for limit in found if isinstance(limit, int) and limit > 0), None)


def _other_task(config: Mapping[str, Any]) -> str:
    """A masked language model, a classifier and the like; a model's own code may name it as it likes."""
    found = OTHER_TASK.search(_architecture(config))
    if not found or config.get("auto_map"):
        return ""
    if found[1] in ("MaskedLM", "PreTraining"):
        masked = (
            f"is a masked language model{_named(config)}, which sees the tokens that it predicts; {CAUSAL}"
        )
        return "" if config.get("is_decoder") is True else masked
    return f"is made for another task{_named(config)}; {CAUSAL}"


def _unfit_weights(config: Mapping[str, Any]) -> str:
    """Quantized weights: they are no plain tensors that could be tuned, averaged or compared."""
    quantization = config.get("quantization_config")
    if quantization is None:
        return ""
    how = quantization.get("quant_method") if isinstance(quantization, Mapping) else None
    return (
        f"has quantized weights (quantization_config: {how or 'of an unnamed kind'}), and kpig reads plain "
        "ones only; give the model from which they were made, or dequantize it (model.dequantize(), then "
        "save_pretrained)"
    )


def _unfit_attention(config: Mapping[str, Any]) -> str:
    for key in ("_attn_implementation", "attn_implementation"):
        asked = config.get(key)
        if asked is not None and asked not in ATTENTIONS:
            return (
                f"asks for attention by {asked!r} ({key} in config.json); kpig computes it by "
                f"{' or '.join(ATTENTIONS)}. Remove that key from config.json"
            )
    return ""


def _architecture(config: Mapping[str, Any]) -> str:
    """The first class name in `architectures`, "" where there is none."""
    named = config.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""


def _named(config: Mapping[str, Any]) -> str:
    return f" ({_architecture(config)})" if _architecture(config) else ""
