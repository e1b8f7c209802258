"""How much disk a run will take, told before it begins."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from kpig.config import ModelSection, RunConfig
from kpig.errors import ModelError
from kpig.model.folder import is_adapter, is_local, num_weights, resolve
from kpig.records import Stream

MOMENTS = 2
"""Running means that AdamW keeps of each trained weight, and checkpoints with it."""

WHILE_WRITTEN = 2
"""Checkpoints that lie on the disk while one takes the other's place."""

NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Of a number, by `model.dtype`."""

ADAPTER_BYTES = 4
"""Of a trained number of an adapter: PEFT holds them in float32."""


@dataclass(frozen=True)
class Disk:
    """Bytes on the disk: of `models` that lie there at once, `each` so large, and of checkpoints."""

    each: int
    models: int
    checkpoints: int

    @property
    def total(self) -> int:
        """All of them together."""
        return self.models * self.each + self.checkpoints


def needed(config: RunConfig, each: int, num_steps: int) -> Disk:
    """What a run of so many steps takes at the most, where a step's model or adapter takes `each`."""
    models = min(num_steps, num_kept(config, num_steps) + 1)
    checkpoints = each * (1 + MOMENTS) * WHILE_WRITTEN if config.train.checkpoint_every else 0
    return Disk(each, models, checkpoints)


def sentences(config: RunConfig, tasks: Stream, out: Path) -> list[str]:
    """How much a run of the config in the folder `out` takes, and a warning where less is free.

    None where the model is on a hub, or its weights cannot be counted.
    """
    each = trained_bytes(config.model)
    if each is None:
        return []
    told = needed(config, each, len(tasks.steps))
    what = "adapter" if config.model.adapter == "lora" else "model"
    found = [
        f"disk: about {size(told.total)} at most: {told.models} x {size(each)} for the {what} of a step, and "
        f"{size(told.checkpoints)} for checkpoints while it learns. What the method keeps, and predictions, "
        "come on top"
    ]
    free = shutil.disk_usage(_existing(out)).free
    if told.total > free:
        found.append(
            f'only {size(free)} are free at {out}: set train.keep_models = "last", or give --out a folder '
            "with more room"
        )
    return found


def num_kept(config: RunConfig, num_steps: int) -> int:
    """How many models a run of so many steps keeps."""
    wanted = config.train.keep_models
    return num_steps if wanted == "all" else 1 if wanted == "last" else min(wanted, num_steps)


def trained_bytes(section: ModelSection) -> int | None:
    """The bytes of what is trained and saved after a step; None where that cannot be told."""
    path = resolve(section.path)
    if not is_local(path):
        return None
    if is_adapter(path):
        return num_weights(Path(path))[1] * ADAPTER_BYTES
    if section.adapter == "none":
        return num_weights(Path(path))[1] * NUMBER_BYTES[section.dtype]
    from kpig.model import loading

    try:
        model = loading.outline(section)
    except ModelError:  # some models can be built with numbers only
        return None
    return ADAPTER_BYTES * sum(int(one.numel()) for one in model.parameters() if one.requires_grad)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    whole = Path(os.path.abspath(path))
    return next(one for one in (whole, *whole.parents) if one.exists())


def size(num_bytes: float) -> str:
    """Bytes in words, in powers of 1000."""
    amount, units = float(num_bytes), ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.0f} {units[0]}" if amount >= 10 or units[0] == "bytes" else f"{amount:.1f} {units[0]}"
