"""What environment.json holds of a start: all that a reader needs to run it again."""

import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import kpig
from kpig.config import RunConfig, flat
from kpig.files import true_path
from kpig.methods import chosen
from kpig.model import quantized
from kpig.runs.machine import choose_device
from kpig.training import precision

PACKAGES = ("kpig", "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors", "rouge-score")
"""Those whose version can change a run's numbers; environment.json records it."""


def of_run(
    config: RunConfig, model: Mapping[str, str | None], clock: str, train_precision: str
) -> dict[str, Any]:
    """What a reader needs to run this again: versions, commit, command line, machine, seeds.

    `model` are the digests that tell the model from any other; `clock` is what chat templates are told;
    `train_precision` what "auto" has become.
    """
    return {
        "packages": {name: version(name) for name in (*PACKAGES, *quantized.packages(config.model))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "commit": _commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "device": choose_device(config.train.device),
        "train_precision": train_precision,
        "threads": torch.get_num_threads(),
        "seed": config.seed,
        "method_defaults": flat({"method": {config.method.table: chosen.defaults(config.method.name)}}),
        "clock": clock,
        **model,
    }


def _processor() -> str:
    """The processor's name, where the system has one."""
    return precision.cpu_name() or platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of the kpig checkout that runs, None for an installed package."""
    here = true_path(kpig.__file__).parents[2]
    if not (here / ".git").exists():
        return None
    found = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None
