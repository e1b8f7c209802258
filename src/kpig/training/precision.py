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

HALF_FLAGS = ("avx512bw", *FAST_FLAGS)
"""Of x86 processors on which torch hands products of 16-bit numbers to oneDNN. Elsewhere a plain loop makes
them: with AVX2 alone they took 2.4 to 250 times as long as float32 (docs/log/speed.md)."""


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
    return any(flag in FAST_FLAGS for flag in _flags())


def lacks_half() -> bool:
    """Whether this CPU is known to make products of 16-bit numbers far slower than of float32."""
    flags = _flags()
    return bool(flags) and not any(flag in HALF_FLAGS for flag in flags)


def cpu_name() -> str:
    """What the first processor calls itself; "" where the system does not say."""
    return _told("model name")


def _flags() -> list[str]:
    """What the first processor can do; [] where the system does not say, as but for x86 under Linux."""
    return _told("flags").split()


def _told(name: str) -> str:
    """What CPU_FLAGS says of the first processor under a name."""
    try:
        lines = CPU_FLAGS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = next((line for line in lines if line.partition(":")[0].strip() == name), "")
    return found.partition(":")[2].strip()


def _has_bfloat16() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported())
