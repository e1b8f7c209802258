"""The arithmetic of the passes that learn. What it asks of torch loads late."""

from kpig.config import TrainSection
from kpig.config.section import AUTO
from kpig.model.portions import Device


def precision(settings: TrainSection, device: Device) -> str:
    """Accelerate's name for the arithmetic: bfloat16 where asked for, or by itself on GPUs that have it."""
    if settings.precision == AUTO:
        return "bf16" if device.type == "cuda" and _has_bfloat16() else "no"
    return "bf16" if settings.precision == "bfloat16" else "no"


def _has_bfloat16() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported())
