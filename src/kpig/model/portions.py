"""How many padded tokens go through the model at once, where the user has not said: fewer on a CPU.

Results are the same up to rounding. Each number comes in two: on a CPU, and on other devices. No torch.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kpig.model.packing import Costs

TRAINING = (1024, 8192)
"""One forward and backward pass. On a CPU 512, 1024 and 2048 tokens in rows of 128 took 0.70, 0.65 and 0.60
seconds per 1024 in bfloat16, 1.60, 1.50 and 1.56 in float32 (docs/performance.md), and less is padding in
small batches. 8192 elsewhere was chosen, not measured."""

FORWARD = (4096, 16384)
"""One forward pass, which keeps no activations. On a CPU 4096 took 4.1 to 4.8 s where 16384 took 5.3 to
7.0 s, and 2048 was no faster (docs/log/speed.md, "Smaller batches are faster on a CPU"). 16384 elsewhere was
chosen, not measured."""

GENERATION = (4096, 32768)
"""Prompts and answers side by side. On a CPU 4096 took 12.3 s where 32768 took 29.0 s and 8192 14.6 s (same
entry); 32768 elsewhere was chosen, not measured."""

SHARED_GENERATION = (8192, 32768)
"""The same where prompts share their beginnings, and rows that end are left out. On a CPU a token of an
answer took 9.2 ms beside 7 others, 4.9 beside 31 and 4.0 beside 63, in float32 at width 576 with 200 tokens
before it (docs/performance.md): beyond 8192 memory grows more than time falls. 32768 elsewhere was chosen."""

FURTHER_PASS = (128, 2048)
"""What one more forward and backward pass costs beside its tokens, in tokens: all weights and gradients are
read once more, and a GPU is started anew for every layer. On a CPU about 70 tokens in float32 and 80 in
bfloat16 without the optimizer's step (docs/performance.md); both were chosen."""

REACH = 3
"""Attention costs as much as all else in rows of so many times a model's width: 2.8 in bfloat16 and 4.3 in
float32, measured at width 576 on a CPU (docs/performance.md)."""

LOGITS = 1 << 23
"""What a product of hidden states with the output layer makes at once, where a loss is taken of these: 32 MiB
in float32, of the model and of its reference (docs/performance.md)."""

LOGITS_IN_CACHE = 1 << 19
"""Of these as many as a formula reads at once on a CPU: what it makes of them then stays in the cache."""


class Device(Protocol):
    """Where a model computes, as far as portions depend on it; such as torch.device."""

    @property
    def type(self) -> str:
        """One of cpu, cuda and mps."""


def training(device: Device, asked: int = 0) -> int:
    """Tokens of one forward and backward pass; `asked`, unless it is 0."""
    return asked or _suiting(device, TRAINING)


def forward(device: Device) -> int:
    """Tokens of one forward pass."""
    return _suiting(device, FORWARD)


def costs(device: Device, width: int) -> "Costs":
    """What passes of a model of that width cost, in tokens."""
    from kpig.model.packing import Costs

    return Costs(REACH * width, _suiting(device, FURTHER_PASS))


def generation(device: Device, asked: int = 0, shared: bool = False) -> int:
    """Tokens of prompts and answers that are generated side by side; `asked`, unless it is 0.

    `shared`: where what the prompts begin with is read once.
    """
    return asked or _suiting(device, SHARED_GENERATION if shared else GENERATION)


def shared(max_tokens: int, total: int, num_processes: int) -> int:
    """Tokens of one pass where several processes share `total`: none is to have nothing to do."""
    return max_tokens if num_processes == 1 else max(1, min(max_tokens, -(-total // num_processes)))


def logits_of_a_formula(device: Device) -> int:
    """Logits that a formula reads at once, where a loss is taken of hidden states."""
    return _suiting(device, (LOGITS_IN_CACHE, LOGITS))


def _suiting(device: Device, tokens: tuple[int, int]) -> int:
    on_cpu, elsewhere = tokens
    return on_cpu if device.type == "cpu" else elsewhere


def token_batches(
    lengths: Sequence[int], max_tokens: int, least_real: float = 0.0, pass_tokens: int = 0
) -> list[list[int]]:
    """Indices grouped by similar length so that rows × longest row stays within `max_tokens` per group.

    A row longer than the budget makes a group of its own. A group ends too where with the next row a share
    of less than `least_real` of its tokens would be real, and the padding more than the `pass_tokens` that a
    further group costs. Longest first, so that memory runs out early.
    """
    groups: list[list[int]] = []
    longest, real = 0, 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        padded = (len(groups[-1]) + 1) * longest if groups else 0
        padding = padded - real - lengths[index]
        is_real_enough = padding <= max(pass_tokens, (1 - least_real) * padded)
        if groups and padded <= max_tokens and is_real_enough:
            groups[-1].append(index)
        else:
            groups.append([index])
            longest, real = lengths[index], 0
        real += lengths[index]
    return groups


def in_order(order: Iterable[int], lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices in the order given, in groups of which rows × longest row stays within `max_tokens`.

    A row longer than the budget makes a group of its own.
    """
    groups: list[list[int]] = []
    longest = 0
    for index in order:
        longest = max(longest, lengths[index])
        if groups and (len(groups[-1]) + 1) * longest <= max_tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
            longest = lengths[index]
    return groups
