"""Demands that a program can check, read from the words of an instruction.

What is read here is only proposed: the training responses decide (`kpig.annotate.proposals`).
"""

from collections.abc import Iterator

from kpig.annotate import forms, label_lists, limits
from kpig.annotate.demand import Demand, Entry

MAX_READ_CHARACTERS = 20_000
"""Of an instruction. Chosen: reading one of that length takes a second at most."""


def read(text: str) -> tuple[Demand, ...]:
    """The demands of an instruction, in the order of the readers below, none twice."""
    text = _single_spaced(text[:MAX_READ_CHARACTERS])
    found: dict[str, Demand] = {}
    for reader in _READERS:
        for demand in reader(text):
            found.setdefault(repr(demand.readings), demand)
    return tuple(found.values())


def _single_spaced(text: str) -> str:
    """The text with single spaces and no blank lines, so that no pattern is tried on long white space."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _label_set(text: str) -> Iterator[Demand]:
    """One demand whose readings are all sets of labels that the text may list."""
    lists = label_lists.find(text)
    readings: list[Entry] = [
        {"type": "one_of", "values": list(one.values), **more, "source": one.source}
        for one in lists
        for more in ({}, {"case_sensitive": False})
    ]
    if readings:
        yield Demand(tuple(readings), lists[0].source, guess=True)


_READERS = (
    _label_set,
    limits.limits,
    limits.items,
    limits.listed,
    forms.json,
    forms.forms,
    forms.words,
    forms.language,
    forms.implied,
)
