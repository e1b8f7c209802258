"""Adapters on a base model: a fresh LoRA to train, or one from a folder."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from kpig.config import ModelSection
from kpig.errors import ModelError, clause, some
from kpig.model.folder import explained, read_json
from kpig.model.weights import require_whole

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
"""Files, any one of which makes a tokenizer of its own."""

CHAT_TEMPLATE = "chat_template.jinja"


def fresh(model: Any, section: ModelSection, seed: int) -> Any:
    """The model with a LoRA adapter as the config's [model] section describes, drawn with `seed`."""
    from peft import LoraConfig, get_peft_model

    _require_targets(model, section.lora_targets)
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
            with _told_to_users():
                return get_peft_model(model, config)
        except ValueError as error:
            raise ModelError(
                f"LoRA cannot be put on this model: {clause(error)}. Set model.lora_targets."
            ) from error


def _require_targets(model: Any, targets: Sequence[str]) -> None:
    """Refuse a name that no module has: PEFT passes over it where another one is there."""
    names = [name for name, _ in model.named_modules()]
    absent = [one for one in targets if not any(f".{name}".endswith(f".{one}") for name in names)]
    if absent:
        linear = {
            name.rpartition(".")[2] for name, one in model.named_modules() if isinstance(one, torch.nn.Linear)
        }
        raise ModelError(
            f"LoRA cannot be put on this model: no module is called {' or '.join(map(repr, absent))}. Set "
            f"model.lora_targets; its linear layers are called {', '.join(sorted(linear)) or 'nothing'}"
        )


def left_out(model: Any) -> list[str]:
    """A sentence where the LoRA adapter of a model leaves matrices out: experts stacked in one parameter.

    PEFT adapts those of some architectures (Mixtral) together with all linear layers, and of others none.
    """
    from peft.tuners.lora.layer import ParamWrapper

    wrappers = [module for module in model.modules() if isinstance(module, ParamWrapper)]
    adapted = {(id(module.get_base_layer()), module.parameter_name) for module in wrappers}
    stacked = {
        f"{owner}.{name}": weight.numel()
        for owner, module in model.named_modules()
        for name, weight in module.named_parameters(recurse=False)
        if _is_stacked(module, weight) and (id(module), name) not in adapted
    }
    if not stacked:
        return []
    share = sum(stacked.values()) / sum(weight.numel() for weight in model.parameters())
    names = [name.removeprefix("base_model.model.") for name in stacked]
    return [
        f'adapter = "lora" adapts linear layers: {len(stacked)} parameters that hold the matrices of several '
        f"experts in one ({some(names)}), {share:.0%} of the weights, stay as they are. "
        'adapter = "none" tunes them too'
    ]


def _is_stacked(module: Any, weight: torch.Tensor) -> bool:
    return weight.ndim == 3 and min(weight.shape) > 1 and not isinstance(module, torch.nn.Conv1d)


def saved(model: Any, path: str, is_trained: bool = False) -> Any:
    """The model with the adapter from a folder, for evaluation only unless `is_trained`.

    Raises ModelError where its tensors do not fit, or some that it needs are missing.
    """
    from peft import PeftModel

    with explained(path), _sizes_explained(path), _told_to_users():
        warnings.filterwarnings("ignore", "Found missing adapter keys")
        found = PeftModel.from_pretrained(model, path, is_trainable=is_trained)
        report: Any = found.load_adapter(path, "default", is_trainable=is_trained)
    require_whole(
        f"adapter {path}", {"missing_keys": report.missing_keys, "unexpected_keys": report.unexpected_keys}
    )
    return found


def restore(model: Any, folder: str, placed: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Put saved tensors, `placed`, into the adapter; ModelError where some are missing or too many."""
    from peft import load_peft_weights, set_peft_model_state_dict

    with explained(folder), _sizes_explained(folder):
        saved = {name: placed(one) for name, one in load_peft_weights(folder, device="cpu").items()}
        report: Any = set_peft_model_state_dict(model, saved)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    missing = trained.intersection(report.missing_keys)
    require_whole(f"adapter {folder}", {"missing_keys": missing, "unexpected_keys": report.unexpected_keys})


def tokenizer(path: str, base: str, config: Any, trust: bool) -> Any:
    """The tokenizer that an adapter was trained with: its own where its folder has one, else its base's.

    The same holds for its chat template.
    """
    with explained(path):
        if any((Path(path) / name).is_file() for name in VOCABULARIES):
            return AutoTokenizer.from_pretrained(path, config=config, trust_remote_code=trust)
        found = AutoTokenizer.from_pretrained(base, trust_remote_code=trust)
        if template := _chat_template(Path(path)):
            found.chat_template = template
    return found


def _chat_template(folder: Path) -> Any:
    if (folder / CHAT_TEMPLATE).is_file():
        return (folder / CHAT_TEMPLATE).read_text(encoding="utf-8")
    settings = folder / "tokenizer_config.json"
    return read_json(settings).get("chat_template") if settings.is_file() else None


@contextmanager
def _told_to_users() -> Iterator[None]:
    """Without what PEFT is told of its own calls of transformers, with which a user can do nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


@contextmanager
def _sizes_explained(path: str) -> Iterator[None]:
    """ModelError where tensors of an adapter are of another size than in the model that it is put on."""
    try:
        yield
    except RuntimeError as error:
        found = next((line.strip() for line in str(error).splitlines() if "size mismatch" in line), "")
        if not found:
            raise
        raise ModelError(
            f"adapter {path} was made on a model of other sizes ({found.rstrip('.')}): another one, or one "
            "that was resized for added tokens. Name the right one in adapter_config.json, or merge the "
            "adapter where it was made (merge_and_unload, save_pretrained) and give the merged folder"
        ) from error
