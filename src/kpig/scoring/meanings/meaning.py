"""What one number means that a table prints."""

from dataclasses import dataclass

HIGHER, LOWER = "higher", "lower"


@dataclass(frozen=True)
class Meaning:
    """One number: its title, one clause for legends, what it says, formula, range, direction and source.

    `better` is HIGHER, LOWER, or "" where neither is. `names` are other names and headings of it, without
    the group of tasks.
    """

    title: str
    brief: str
    says: str
    formula: str
    range: str
    better: str
    source: str
    names: tuple[str, ...] = ()
