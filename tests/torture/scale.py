"""How hard the torture is: a little in the gate, for half an hour with `make torture`."""

import os

HARD = os.environ.get("KPIG_TORTURE", "0") not in ("", "0")
"""Whether this is `make torture`."""


def times(gate: int, torture: int) -> range:
    """The numbers of a test's repetitions; each is a seed, so a failure names what repeats it."""
    return range(torture if HARD else gate)
