"""What a method holds and computes beside the learning of its model, stated so that runs can be reckoned."""

from collections.abc import Mapping
from dataclasses import dataclass

Matrices = Mapping[tuple[int, int], int]
"""How many matrices of each size the layers of a model have; of a size the smaller number first."""

CHARACTERS = 4
"""Of a text, for each of its tokens: a rule of thumb, where no tokenizer is at hand."""


@dataclass(frozen=True)
class Factors:
    """What learns in the place of a model's matrices while a step learns: counts of numbers."""

    trained: int
    """Those that learn; all weights of the model stay as they are meanwhile."""

    kept: int
    """Those that stay beside them."""

    in_pass: int
    """Those that a pass makes of both, and keeps for the way back."""

    of_token: int
    """Those that a pass keeps of each token, of all layers together."""


@dataclass(frozen=True)
class Upkeep:
    """What a method holds and computes beside an update of its model; the default is nothing."""

    copies: int = 0
    """Copies of the trained weights that it keeps while a step learns, as these are held."""

    wide: float = 0.0
    """Numbers of float32 that it keeps for each trained weight besides."""

    at_end: float = 0.0
    """Such numbers that the end of a step takes for each trained weight, beside one example's pass."""

    logits: int = 0
    """Numbers of float32 that its loss holds for each logit of a response, beside those of cross-entropy."""

    factors: Factors | None = None
    """What learns in the place of the weights."""

    read: int = 0
    """Passes without gradient over each example of an update."""

    rehearsed: float = 0.0
    """Examples of the past that an update reads besides, forward and backward, when it has its gradient."""

    written: int = 0
    """Tokens at the most that the model writes for each example, and learns in the place of its response.

    Then `read` passes read the response as well, in their prompts.
    """

    shown: int = 0
    """Tokens that `read` passes find in their prompts besides."""

    needs_past: bool = False
    """Whether `copies` and `read` are there from the second step on only."""

    measured: int = 0
    """Examples of a step of which each is read alone, forward and backward."""

    embedded: int = 0
    """Examples of a step whose prompts and responses are read without gradient, each by itself."""

    chooses: bool = False
    """Whether all of a step and of memory are read as `measured` ones, and their twins without gradient."""
