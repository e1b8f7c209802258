"""How hard the torture is: a little in the gate, for half an hour with `make torture`."""

import os

import pytest

HARD = os.environ.get("KPIG_TORTURE", "0") not in ("", "0")
"""Whether this is `make torture`."""


def times(gate: int, torture: int) -> range:
    """The numbers of a test's repetitions; each is a seed, so a failure names what repeats it."""
    return range(torture if HARD else gate)


@pytest.fixture
def tried(record_property):
    """tried("kills"): one more of them was tried; counted over all tests and told at the end."""
    return lambda what, count=1: record_property(f"tried {what}", count)
