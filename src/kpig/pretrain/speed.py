"""How fast this machine multiplies matrices, and what share of that a training run used."""

import time

import torch

SIZE = 2048
"""Rows and columns. Chosen: large enough for a processor's full rate, 16 MiB in float32."""


def matmul_rate(dtype: torch.dtype = torch.float32, seconds: float = 1.0, device: str = "cpu") -> float:
    """Floating-point operations per second of a large square matrix product, best of three stretches."""
    left, right = (torch.randn(SIZE, SIZE, device=device).to(dtype) for _ in range(2))
    left @ right
    return max(_rate(left, right, seconds / 3) for _ in range(3))


def matmul_rates() -> dict[str, float]:
    """Both rates of this CPU, operations per second."""
    return {"float32_rate": matmul_rate(torch.float32), "bfloat16_rate": matmul_rate(torch.bfloat16)}


def faster_precision() -> str:
    """ "bfloat16" where this CPU multiplies it at least 1.5 times as fast as float32, else "float32"."""
    gain = matmul_rate(torch.bfloat16, 0.3) / matmul_rate(torch.float32, 0.3)
    return "bfloat16" if gain >= 1.5 else "float32"


def _rate(left: torch.Tensor, right: torch.Tensor, seconds: float) -> float:
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        (left @ right)[0, 0].item()
        count += 1
    return 2 * SIZE**3 * count / (time.perf_counter() - start)
