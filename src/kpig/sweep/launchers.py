"""Which launcher starts the runs of a sweep, and which GPUs there are for it to hand out. No torch."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kpig.errors import UsageError, shown
from kpig.sweep.local import VISIBLE, Local
from kpig.sweep.ray_tasks import OnRay
from kpig.sweep.slurm import Slurm
from kpig.sweep.work import Launcher

LAUNCHERS = ("local", "slurm", "ray")

GPU = re.compile(r"[0-9]{1,4}|(GPU|MIG)-[A-Za-z0-9/-]{1,100}")
"""What CUDA calls a device: its number, or the beginning of its name in `nvidia-smi -L`."""


def launcher(name: str, out: Path, workers: int, gpus: tuple[str, ...], asked: Mapping[str, Any]) -> Launcher:
    """The launcher of that name; only "local" hands out GPUs by name, only the others can be asked things.

    Raises UsageError where a package of it is missing, or it does not know what it is asked.
    """
    if name == "slurm":
        return Slurm(out, asked)
    return OnRay(asked) if name == "ray" else Local(workers, gpus)


def visible_gpus(text: str) -> tuple[str, ...]:
    """The GPUs of a list such as "0,1"; those that this process may see, where that is said.

    UsageError for what is no GPU, comes twice, or is none of CUDA_VISIBLE_DEVICES.
    """
    gpus = tuple(one.strip() for one in text.split(","))
    strange = [one for one in gpus if not GPU.fullmatch(one)]
    if strange:
        raise UsageError(
            f"--gpus {shown(text)!r}: {shown(strange[0])!r} is no GPU; give numbers or names that "
            "`nvidia-smi -L` prints, such as 0,1"
        )
    twice = [one for one in gpus if gpus.count(one) > 1]
    if twice:
        raise UsageError(f"--gpus {text}: {twice[0]} is named twice; --workers has several runs share a GPU")
    allowed = os.environ.get(VISIBLE)
    hidden = [one for one in gpus if allowed is not None and one not in allowed.split(",")]
    if hidden:
        raise UsageError(
            f"--gpus {text}: {VISIBLE}={allowed} hides {hidden[0]}; name some of those, or unset it"
        )
    return gpus
