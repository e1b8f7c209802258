"""The base of an adapter in 4 bits: what it asks of a machine, and of transformers. torch loads late."""

from importlib.util import find_spec
from typing import Any

from kpig.config import ModelSection

LIBRARY = "bitsandbytes"


def problem(section: ModelSection, device: str) -> str:
    """Why the base cannot be held as the section says on a device; "" for nothing, and for plain weights."""
    if section.quantization == "none":
        return ""
    given = f'model.quantization = "{section.quantization}"'
    if device != "cuda":
        return (
            f'{given} needs a GPU that torch calls "cuda", and this would compute on {device!r}. On a GPU '
            'give device = "cuda"; without one set model.quantization = "none", or export the run merged '
            "(kpig export RUN --merge)"
        )
    if find_spec(LIBRARY) is None:
        return (
            f"{given} needs {LIBRARY}, which is not installed: pip install 'kpig[quantization]'; or set "
            'model.quantization = "none"'
        )
    return ""


def packages(section: ModelSection) -> tuple[str, ...]:
    """Names of the packages, beside those of every run, whose version can change its numbers."""
    return () if section.quantization == "none" else (LIBRARY,)


def arguments(section: ModelSection, device: str) -> dict[str, Any]:
    """What `from_pretrained` is told beside the dtype; {} for plain weights.

    NormalFloat of 4 bits with double quantization, computing in the dtype of the section (Dettmers et al.,
    2023, 2305.14314).
    """
    if section.quantization == "none":
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    settings = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type=section.quantization,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, section.dtype),
    )
    return {"quantization_config": settings, "device_map": {"": device}}
