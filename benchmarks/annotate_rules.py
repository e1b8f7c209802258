"""Key parts by rules against hand annotation: one row per data set.

    python benchmarks/annotate_rules.py --data ../shared/data

F1 and Matthews correlation are by characters without white space, macro over tasks; "masked" is the mean
share of such characters in key parts, stated / found. A stated span is matched by the found one that shares
most with it, each used once, where both have at least half of their union in common; "kinds" is the share of
the matched ones of the same kind. A set without hand annotation tells what is found only.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from kpig.annotate import compare, find, macro
from kpig.records import Instruction, KeySpan
from kpig.tasks.coverage import share

SETS = ("short-instructions", "superni-heldout", "superni-stream", "citb-instrdialog")


@dataclass(frozen=True)
class Found:
    """One instruction with the key parts that were found and those that were stated, if any were."""

    text: str
    found: tuple[KeySpan, ...]
    stated: tuple[KeySpan, ...] | None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    print("| set | tasks | F1 | correlation | masked | spans matched | kinds | nothing found |")
    print("|---|---|---|---|---|---|---|---|")
    for name in SETS:
        print(f"| {name} | {' | '.join(row(list(read(given.data / name))))} |")


def read(folder: Path) -> Iterator[Found]:
    """The instructions of a data set, from its keyparts.json or else from its task files."""
    path = folder / "keyparts.json"
    if path.exists():
        for entry in json.loads(path.read_text(encoding="utf-8")).values():
            stated = tuple(KeySpan(part["start"], part["end"], part["kind"]) for part in entry["key_parts"])
            yield Found(entry["definition"], find(entry["definition"]), stated)
        return
    for task in sorted((folder / "tasks").glob("*.json")):
        text = definition(json.loads(task.read_text(encoding="utf-8")))
        yield Found(text, find(text), None)


def definition(task: Mapping[str, Any]) -> str:
    """The first definition of a task of Super-NaturalInstructions."""
    said = task["Definition"]
    return str(said if isinstance(said, str) else said[0])


def row(tasks: Sequence[Found]) -> list[str]:
    """The cells of one data set."""
    found = fmean(share(Instruction(one.text, one.found)) for one in tasks)
    nothing = str(sum(not one.found for one in tasks))
    known = [(one, one.stated) for one in tasks if one.stated is not None]
    if not known:
        return [str(len(tasks)), "-", "-", f"- / {found:.2f}", "-", "-", nothing]
    f1, correlation = macro([compare(one.text, one.found, stated) for one, stated in known])
    stated_share = fmean(share(Instruction(one.text, stated)) for one, stated in known)
    pairs = [pair for one, stated in known for pair in matched(one.text, one.found, stated)]
    kinds = fmean(left.kind == right.kind for left, right in pairs) if pairs else 0.0
    total = sum(len(stated) for _, stated in known)
    masked, of_total = f"{stated_share:.2f} / {found:.2f}", f"{len(pairs)} of {total}"
    return [str(len(tasks)), f"{f1:.3f}", f"{correlation:.3f}", masked, of_total, f"{kinds:.2f}", nothing]


def matched(text: str, found: Sequence[KeySpan], stated: Sequence[KeySpan]) -> list[tuple[KeySpan, KeySpan]]:
    """Pairs of found and stated spans that share at least half of their union, best first, each span once."""
    every = [(overlap(text, left, right), left, right) for left in found for right in stated]
    pairs: list[tuple[KeySpan, KeySpan]] = []
    for shared, left, right in sorted(every, key=lambda one: -one[0]):
        if shared >= 0.5 and all(left != used and right != met for used, met in pairs):
            pairs.append((left, right))
    return pairs


def overlap(text: str, left: KeySpan, right: KeySpan) -> float:
    """Characters without white space in both spans, as a share of those in either."""
    inked = [{at for at in range(one.start, one.end) if not text[at].isspace()} for one in (left, right)]
    return len(inked[0] & inked[1]) / max(1, len(inked[0] | inked[1]))


if __name__ == "__main__":
    main()
