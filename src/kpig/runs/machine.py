"""What a config asks of the machine that it starts on: a device, and a model that lies here or on a hub.

What it needs of torch and the hub loads late.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kpig import ranks
from kpig.config import OFFLOAD, TINY, ModelSection, RunConfig
from kpig.errors import ModelError, RunError, nearest
from kpig.model import quantized
from kpig.model.folder import is_adapter, is_local, resolve
from kpig.training.precision import lacks_half

NVIDIA, AMD, IN_WINDOWS = Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg")
"""What a Linux machine has of a driver that torch could compute with, the last in a Windows machine's."""


def has_driver() -> bool:
    """Whether a driver may be there of a GPU that torch calls "cuda"; no other system than Linux tells."""
    drivers = (NVIDIA, AMD, IN_WINDOWS)
    return sys.platform != "darwin" and (sys.platform != "linux" or any(one.exists() for one in drivers))


def has_cuda() -> bool:
    """Whether there is a GPU that torch calls "cuda"; it is not loaded to tell that there is no driver."""
    if not has_driver():
        return False
    import torch

    return torch.cuda.is_available()


def choose_device(name: str) -> str:
    """The device to use: as named, or with "auto" a GPU where there is one. RunError where it is missing.

    Of processes that share a job each takes a GPU of its own from then on.
    """
    found = ("cuda" if has_cuda() else "cpu") if name == "auto" else name
    _require_device(found)
    if found == "cuda" and ranks.has_joined():
        import torch

        ranks.take_gpu(torch.cuda.device_count())
    return found


def _require_device(name: str) -> None:
    if name == "cpu":
        return
    import torch

    if (name == "cuda" and not torch.cuda.is_available()) or (
        name == "mps" and not torch.backends.mps.is_available()
    ):
        raise RunError(
            f"device {name!r} was asked for but torch sees none; use auto or cpu, or install torch for it"
        )


def device_problem(config: RunConfig) -> str:
    """Why a config's device cannot be used here, or not for what else it asks; "" for nothing."""
    try:
        device = choose_device(config.train.device)
    except RunError as error:
        return f"train.device: {error}"
    if config.train.gradient_checkpointing == OFFLOAD and device == "cpu":
        return (
            f'train.gradient_checkpointing = "{OFFLOAD}" moves what a GPU keeps to the host, and there is '
            "none here; set it to true"
        )
    return quantized.problem(config.model, device)


def require(config: RunConfig) -> str:
    """The device of a run; RunError where it is missing, or cannot do what the config asks of it."""
    if problem := device_problem(config):
        raise RunError(problem)
    return choose_device(config.train.device)


def model_problem(section: ModelSection) -> str:
    """Why a model whose folder is sound cannot be had here, or not with its LoRA; "" for nothing."""
    return _hub_problem(section.path) or _target_problem(section)


def cautions(section: ModelSection) -> list[str]:
    """A sentence where the model is neither a folder nor fetched yet, so that only a hub can tell of it."""
    path = resolve(section.path)
    if is_local(path) or _is_fetched(path):
        return []
    near = nearest(section.path, [TINY])
    meant = f" Did you mean {near!r}?" if near else ""
    return [
        f"model.path {section.path!r} is no folder here, and no model of that name was fetched before: it is "
        f"taken for one on the Hugging Face hub, and nothing of it was checked.{meant}"
    ]


def half_cautions(settings: Mapping[str, Any], device: str, remedy: str = 'set "float32"') -> list[str]:
    """A sentence where `settings`, by dotted name, ask for 16-bit products of a CPU that is slow in them."""
    asked = [f'{name} = "{value}"' for name, value in settings.items() if _is_half(name, value)]
    if not asked or device != "cpu" or not lacks_half():
        return []
    return [
        f"{', '.join(asked)}: this CPU has no fast products of 16-bit numbers (AVX512 or AMX) and takes "
        f"several times as long for them as in float32, up to hundreds; {remedy}"
    ]


def _is_half(name: str, value: object) -> bool:
    return name.endswith(("precision", "dtype")) and value in ("bfloat16", "float16")


def _hub_problem(name: str) -> str:
    """Why a name that is no folder cannot be fetched either; "" where it may be."""
    path = resolve(name)
    if is_local(path):
        return ""
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError

    advice = "give a folder with config.json and *.safetensors, 'tiny', or the name of a model on the hub"
    try:
        if _is_fetched(path) or not constants.is_offline_mode():
            return ""
    except HFValidationError:
        return f"model.path {name!r:.80} is no folder, and cannot be a name on the hub; {advice}"
    return (
        f"model.path {name!r} is no folder here, no model of that name was fetched before, and the hub is "
        f"not asked (HF_HUB_OFFLINE); {advice}"
    )


def _is_fetched(name: str) -> bool:
    """Whether a model of that name on a hub lies in the cache here."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def _target_problem(section: ModelSection) -> str:
    """Why LoRA cannot be put where `lora_targets` says, on a model that takes it elsewhere; else ""."""
    path = resolve(section.path)
    if section.adapter != "lora" or not section.lora_targets or not is_local(path) or is_adapter(path):
        return ""
    from kpig.model import loading

    try:
        loading.outline(section)
    except ModelError as error:
        try:
            loading.outline(section.model_copy(update={"lora_targets": ()}))
        except ModelError:  # some models can be built with numbers only
            return ""
        return str(error)
    return ""
