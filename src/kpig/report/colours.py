"""How a method looks in every plot of every page: one colour, whichever other methods stand beside it."""

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from kpig.methods import METHODS

COLOURS = (
    "#2f73d9",
    "#22905a",
    "#cc6a14",
    "#b552a5",
    "#168a9c",
    "#d3463f",
    "#7f66da",
    "#7d8114",
    "#a06b3c",
    "#d4568c",
)
"""Each has a contrast of 3 or more on the grounds of a page, light and dark (WCAG 2.2, 1.4.11)."""

UNTUNED_COLOUR = "#6b7686"
BOUNDS = {"init": UNTUNED_COLOUR, "mtl": "#7d8590"}
"""Grey: they show what is possible, not what competes."""

FIRST = ("kpig", "replay", "sequential")
"""Those that stand together most often, so that they never share a colour."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True)
class Look:
    """A colour as hexadecimal digits, a symbol and a dash in plotly's words."""

    colour: str
    symbol: str
    dash: str


def look(method: str, number: int = 0) -> Look:
    """How a method looks; `number` counts the rows of that method, from 0, which share its colour.

    A method that is not kpig's own has the colour that its name gives it.
    """
    if method in BOUNDS:
        place, colour = 0, BOUNDS[method]
    else:
        named = [*FIRST, *(name for name in METHODS if name not in (*FIRST, *BOUNDS))]
        place = named.index(method) if method in named else zlib.crc32(method.encode("utf-8", "replace"))
        colour = COLOURS[place % len(COLOURS)]
    mark = (place // len(COLOURS) + number) % len(SYMBOLS)
    return Look(colour, SYMBOLS[mark], DASHES[mark])


def looks(methods: Iterable[str]) -> list[Look]:
    """How rows of these methods look, side by side: those of one method are told apart."""
    counts: Counter[str] = Counter()
    found = []
    for method in methods:
        found.append(look(method, counts[method]))
        counts[method] += 1
    return found
