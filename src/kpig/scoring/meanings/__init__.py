"""What every number means that a table prints: for `kpig explain`, the docs, and the legends of tables.

The texts stand here once, in a file for each kind of number. `find` knows a number by its name and by the
heading that a table gives it.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from kpig.errors import UsageError, nearest
from kpig.scoring.meanings.comparison import COMPARISON
from kpig.scoring.meanings.costs import COSTS
from kpig.scoring.meanings.gains import GAINS
from kpig.scoring.meanings.meaning import Meaning
from kpig.scoring.meanings.metrics import METRICS
from kpig.scoring.meanings.quality import QUALITY
from kpig.scoring.meanings.steps import STEPS
from kpig.scoring.meanings.texts import TEXTS

MEANINGS: Mapping[str, Meaning] = MappingProxyType(
    {**QUALITY, **GAINS, **STEPS, **COMPARISON, **METRICS, **COSTS, **TEXTS}
)
"""By key, in the order in which `kpig explain` lists them."""

GROUPS = re.compile(r"\b(?:seen|held[- ]out|later)\b")
"""The groups of tasks that a heading names beside the number."""


def find(words: str) -> Meaning | None:
    """The number that a key, a title or a heading of a table stands for; None where there is none.

    A name as it is written goes first, because P is a score and p is a chance.
    """
    for same in (str, _bare):
        for key, one in MEANINGS.items():
            if same(words) in {same(name) for name in (key, one.title, *one.names)}:
                return one
    return None


def explained(words: str) -> Meaning:
    """As `find`, for what a user typed; UsageError with the nearest name where there is none."""
    if found := find(words):
        return found
    names = [name for key, one in MEANINGS.items() for name in (key, one.title, *one.names)]
    near = nearest(words, names)
    hint = f"; did you mean {near!r}?" if near else ""
    raise UsageError(f"no table prints {words!r:.80}{hint} (kpig explain lists them all)")


def legend(headings: Mapping[str, str]) -> str:
    """A sentence for each heading of a table, from the number's key: "V: % of ..., lower is better."."""
    return " ".join(f"{heading}: {_clause(MEANINGS[key])}." for heading, key in headings.items())


def _clause(one: Meaning) -> str:
    return f"{one.brief}, {one.better} is better" if one.better else one.brief


def _bare(heading: str) -> str:
    """The words of a heading, in small letters, without the group of tasks."""
    return re.sub(r"\W+", " ", GROUPS.sub(" ", heading.lower().replace("_", " "))).strip()
