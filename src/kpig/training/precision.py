"""The arithmetic of the passes that learn. What it asks of torch loads late."""

from pathlib import Path

from kpig.config import TrainSection
from kpig.config.section import AUTO
from kpig.model.portions import Device

FLOAT32, BFLOAT16 = "float32", "bfloat16"

FEWEST_WEIGHTS = 20_000_000
"""Weights from which on a CPU computes in bfloat16 by itself: where it halves the time. Of 1.7 million it
leaves 0.85, of 3.4 0.69, of 8.4 0.60, of 20.5 0.53 and of 41.6 million 0.47 (docs/performance.md). Smaller
models keep the bits that they have always had."""

CPU_FLAGS = Path("/proc/cpuinfo")
"""Where Linux says what its processors can do. Elsewhere nothing is known, and float32 stays."""

FAST_FLAGS = ("amx_bf16", "avx512_bf16")
"""Of processors that multiply bfloat16 several times as fast as float32; others only convert it."""


def precision(settings: TrainSection, device: Device, num_weights: int) -> str:
    """ "bfloat16" or "float32": as asked for, or by itself where the device is faster in bfloat16.

    That is on GPUs that have it, and on CPUs that have it where the model has `FEWEST_WEIGHTS` or more.
    """
    if settings.precision != AUTO:
        return settings.precision
    if device.type == "cuda":
        return BFLOAT16 if _has_bfloat16() else FLOAT32
    is_large = device.type == "cpu" and num_weights >= FEWEST_WEIGHTS
    return BFLOAT16 if is_large and has_fast_bfloat16() else FLOAT32


def has_fast_bfloat16() -> bool:
    """Whether this CPU has matrix products of bfloat16 of its own, as far as the system says."""
    try:
        lines = CPU_FLAGS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return any(flag in flags for flag in FAST_FLAGS)


def _has_bfloat16() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported())
