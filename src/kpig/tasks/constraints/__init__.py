"""Check a response against the demands of its task that a program can check (docs/method.md, section 7).

The types that `check_constraints.py` of the shared annotation knows mean here what they mean there.
A response is stripped of outer white space first; items are cut exactly at their separator.
The files import downwards only: entries, verdicts; table; checks, parameters; words, sentences, items;
lengths, languages, patterns, kinds.
"""

from kpig.tasks.constraints.entries import NOTE_KEYS, parse, stated
from kpig.tasks.constraints.kinds import KINDS, UNDECIDED
from kpig.tasks.constraints.patterns import MAX_MATCH_SECONDS, MAX_MATCHED_CHARACTERS
from kpig.tasks.constraints.table import CONSTRAINTS, ConstraintType
from kpig.tasks.constraints.verdicts import MIN_COPIED_WORDS, is_degenerate, satisfied, violations

__all__ = [
    "CONSTRAINTS",
    "KINDS",
    "MAX_MATCHED_CHARACTERS",
    "MAX_MATCH_SECONDS",
    "MIN_COPIED_WORDS",
    "NOTE_KEYS",
    "UNDECIDED",
    "ConstraintType",
    "is_degenerate",
    "parse",
    "satisfied",
    "stated",
    "violations",
]
