"""How fast this machine multiplies matrices, and what share of that a training run used."""

import time

import torch

SIZE = 2048
"""Rows and columns. Chosen: large enough for a processor's full rate, 16 MiB in float32."""

SMALL = 512
"""Rows and columns of the product that tells whether a large one can be waited for. Chosen: a fifth of a
second at the slowest rate that was seen."""

LONGEST = 5.0
"""Seconds of one large product. Chosen: with AVX2 alone it takes 64 in bfloat16 and 0.3 in float32, and other
work on the machine may make that several times as long."""


def matmul_rate(dtype: torch.dtype = torch.float32, seconds: float = 1.0, device: str = "cpu") -> float:
    """Floating-point operations per second of a large square matrix product, best of three stretches.

    Of a small one where a large one would take more than `LONGEST`.
    """
    rate = _best(SMALL, dtype, seconds, device)
    return rate if 2 * SIZE**3 / rate > LONGEST else _best(SIZE, dtype, seconds, device)


def matmul_rates() -> dict[str, float]:
    """Both rates of this CPU, operations per second."""
    return {"float32_rate": matmul_rate(torch.float32), "bfloat16_rate": matmul_rate(torch.bfloat16)}


def faster_precision() -> str:
    """ "bfloat16" where this CPU multiplies it at least 1.5 times as fast as float32, else "float32"."""
    gain = matmul_rate(torch.bfloat16, 0.3) / matmul_rate(torch.float32, 0.3)
    return "bfloat16" if gain >= 1.5 else "float32"


def _best(size: int, dtype: torch.dtype, seconds: float, device: str) -> float:
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    left @ right
    return max(_rate(left, right, seconds / 3) for _ in range(3))


def _rate(left: torch.Tensor, right: torch.Tensor, seconds: float) -> float:
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        (left @ right)[0, 0].item()
        count += 1
    return 2 * len(left) ** 3 * count / (time.perf_counter() - start)
