"""Wordings for the sweep with and without instruction diversity: two files that share what is only evaluated.

    python benchmarks/wordings.py --out runs/wordings [--data ../shared/data]

`on/variants.json` has up to 20 variants of every task of superni-stream and superni-heldout, made offline
(breadth: the general description changes, key parts stay), a fifth of them for evaluation alone.
`off/variants.json` has those for evaluation and no other.
"""

import argparse
from pathlib import Path

from kpig import diversify
from kpig.files import publish_json
from kpig.tasks import stream

STREAMS = ("superni-stream", "superni-heldout")
NUM_VARIANTS, EVALUATED = 20, 0.2


def main() -> None:
    """Make the variants once, and write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/wordings"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    made = {name: found for one in STREAMS for name, found in variants(given.data / one).items()}
    evaluated = {name: [one for one in found if one["evaluation"]] for name, found in made.items()}
    for arm, entries in (("on", made), ("off", evaluated)):
        publish_json(given.out / arm / "variants.json", entries)
        print(f"{given.out / arm}: {sum(map(len, entries.values()))} wordings of {len(entries)} tasks")


def variants(folder: Path) -> dict[str, list[dict]]:
    """The accepted variants of the tasks in a folder, as variants.json has them."""
    tasks = stream.load_tasks(folder)
    report = diversify.diversify(tasks, NUM_VARIANTS, ("breadth",), seed=0, evaluation_share=EVALUATED)
    return {one.task: [found.as_entry() for found in one.variants] for one in report.tasks}


if __name__ == "__main__":
    main()
