"""What decides a base model, and what its options are. No torch: the command line asks for the defaults."""

from dataclasses import dataclass
from enum import StrEnum


class Size(StrEnum):
    """The shapes of `kpig.pretrain.shapes`."""

    SMALL = "small"
    MEDIUM = "medium"


class Precision(StrEnum):
    """How products are computed; `auto`: what this machine multiplies faster."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the base model. `tasks` and `held_out` are what `stream.load` reads.

    `max_length` is the longest example, in tokens, and the length of the rows that examples share;
    `group_size` how many examples of a task are drawn together. `start` is the folder of a base model to go
    on from, with its tokenizer; then `size` says nothing.
    """

    tasks: str
    held_out: str = ""
    start: str = ""
    size: Size = Size.SMALL
    epochs: float = 4.0
    batch_size: int = 64
    learning_rate: float = 2e-3
    max_length: int = 448
    group_size: int = 4
    test_per_task: int = 5
    precision: Precision = Precision.AUTO
    seed: int = 0
