"""What of a model decides how much it takes: by a folder's files, a config.json alone, or a known name."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kpig.config import ModelSection
from kpig.errors import ModelError, UsageError, nearest
from kpig.model import kind, vocabulary
from kpig.model.folder import base_of_adapter, is_adapter, is_local, num_weights, read_json, resolve
from kpig.runs.disk import ADAPTER_BYTES, NUMBER_BYTES, trained_bytes

MOST_UNGATED = 2.5
"""Matrices of a layer's feed-forward part, as far as weights tell: two without a gate, three with one."""

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a weight in 4 bits: itself, a scale of one byte for each 64, and one of four for each 256 scales.
Dettmers et al. (2023), 2305.14314, section 3: double quantization with these sizes of block."""

_LLAMA: Mapping[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 128256,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
}

KNOWN: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "llama-1b": {
            **_LLAMA,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "tie_word_embeddings": True,
        },
        "llama-8b": {
            **_LLAMA,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "tie_word_embeddings": False,
        },
        "llama-70b": {
            **_LLAMA,
            "hidden_size": 8192,
            "intermediate_size": 28672,
            "num_hidden_layers": 80,
            "num_attention_heads": 64,
            "tie_word_embeddings": False,
        },
    }
)
"""The numbers of config.json of models of three sizes: Llama 3.2 1B, Llama 3.1 8B and Llama 3.1 70B."""


@dataclass(frozen=True)
class Shape:
    """What of a model decides how much it takes of memory, disk and time.

    `hidden`, `queries`, `keys` and `inner` are the sizes of the residual stream, of all queries, of all keys
    (as many values), and of the feed-forward part; `gated` says that this has two ways in. `trained` counts
    the weights that learn; where these are an adapter they are no part of `weights`. `weight_bytes` are those
    of a weight as it is held, on average, `number_bytes` those of a number that they compute with.
    """

    weights: int
    trained: int
    layers: int
    hidden: int
    keys: int
    inner: int
    gated: bool
    vocabulary: int
    weight_bytes: float = 4
    trained_bytes: int = 4
    number_bytes: int = 4
    queries: int = 0

    @property
    def is_adapted(self) -> bool:
        """Whether an adapter learns instead of the weights."""
        return self.trained != self.weights

    @property
    def body(self) -> int:
        """Weights that each token is multiplied with: the matrices of all layers, of experts those used."""
        attention = 2 * self.hidden * ((self.queries or self.hidden) + self.keys)
        return self.layers * (attention + (3 if self.gated else 2) * self.hidden * self.inner)

    @property
    def matrices(self) -> dict[tuple[int, int], int]:
        """How many matrices of each size all layers have, the smaller number first; of one expert's alone."""
        queries = self.queries or self.hidden
        inner = [self.inner] * (3 if self.gated else 2)
        each = Counter(
            (min(self.hidden, size), max(self.hidden, size))
            for size in (queries, queries, self.keys, self.keys, *inner)
        )
        return {size: self.layers * count for size, count in each.items()}


def of_section(section: ModelSection) -> Shape | None:
    """The shape of a model in a folder, by its config and its files; None where the config does not tell."""
    path = resolve(section.path)
    base = base_of_adapter(path) if is_adapter(path) else path
    if not is_local(base):
        return None
    config = vocabulary.shape(section)
    if not _tells(config):
        return None
    trained = trained_bytes(section)
    if trained is None:
        return None
    weights = num_weights(Path(base))[1]
    return _shape(config, section, weights, weights if section.adapter == "none" else trained // 4)


def of_table(table: Mapping[str, Any], section: ModelSection) -> Shape:
    """The shape of the model that a config.json describes, tuned as the section says; no weights are needed.

    Raises ModelError where it makes no model, or does not tell its sizes.
    """
    from kpig.model import loading

    if problem := kind.problem(table):
        raise ModelError(f"the model {problem}")
    config = loading.described(table, section.trust_remote_code)
    if not _tells(config.get_text_config()):
        raise ModelError(
            f"a model of the kind {table.get('model_type')!r} tells its sizes by other names than kpig plan "
            "knows; take the known shape that is nearest (--model llama-1b, llama-8b or llama-70b)"
        )
    weights, trained = _counted(json.dumps(dict(table), allow_nan=False), _tuned(section).model_dump_json())
    return _shape(config.get_text_config(), section, weights, trained)


@lru_cache(maxsize=16)
def _counted(table: str, section: str) -> tuple[int, int]:
    """How many weights a config.json has, and how many learn; both it and the section as JSON."""
    from kpig.model import loading

    asked = ModelSection.model_validate_json(section)
    return loading.counted(loading.described(json.loads(table), asked.trust_remote_code), asked)


def _tuned(section: ModelSection) -> ModelSection:
    """What of a section decides which weights learn; the rest at its default."""
    names = ("adapter", "lora_rank", "lora_targets", "trust_remote_code")
    return ModelSection(**{name: getattr(section, name) for name in names})


def named(name: str) -> Mapping[str, Any]:
    """The config.json of a known shape, of a folder, or of a file; UsageError where there is none."""
    if name in KNOWN:
        return KNOWN[name]
    path = Path(resolve(name))
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        near = nearest(name, KNOWN)
        meant = f"; did you mean {near!r}?" if near else ""
        raise UsageError(
            f"--model {name!r:.80} is neither a config.json, nor a folder that holds one, nor a known shape "
            f"({', '.join(KNOWN)}){meant}"
        )
    return read_json(file)


def _tells(config: Any) -> bool:
    """Whether a config tells its sizes by the names that transformers gives most models."""
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    return all(isinstance(getattr(config, name, None), int) for name in names)


def _shape(config: Any, section: ModelSection, weights: int, trained: int) -> Shape:
    hidden, heads = config.hidden_size, config.num_attention_heads
    head = getattr(config, "head_dim", None) or hidden // heads
    keys = head * (getattr(config, "num_key_value_heads", None) or heads)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * hidden
    in_each = (weights - config.vocab_size * hidden) / config.num_hidden_layers
    feeding = (in_each - 2 * hidden * (heads * head + keys)) / (hidden * inner)
    number = NUMBER_BYTES[section.dtype]
    return Shape(
        weights=weights,
        trained=trained,
        layers=config.num_hidden_layers,
        hidden=hidden,
        keys=keys,
        inner=inner * (getattr(config, "num_experts_per_tok", None) or 1),
        gated=feeding > MOST_UNGATED,
        vocabulary=config.vocab_size,
        weight_bytes=_weight_bytes(config, section, weights),
        trained_bytes=number if section.adapter == "none" else ADAPTER_BYTES,
        number_bytes=number,
        queries=heads * head,
    )


def _weight_bytes(config: Any, section: ModelSection, weights: int) -> float:
    """Bytes of a weight; in 4 bits the embedding and the output layer stay as they are."""
    number = NUMBER_BYTES[section.dtype]
    if section.quantization == "none":
        return number
    is_tied = bool(getattr(config, "tie_word_embeddings", False))
    whole = config.vocab_size * config.hidden_size * (1 if is_tied else 2)
    return float(number * whole + NF4_BYTES * (weights - whole)) / weights
