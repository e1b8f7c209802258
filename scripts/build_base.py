"""Build models/superni-base, the base of the comparison on real language: about 75 minutes on two cores.

    python scripts/build_base.py [--data ../shared/data] [--work runs/superni-base]
        [--out models/superni-base]

Killed, it goes on with the same command. What it adds to `kpig pretrain` is the note on sources and licences.
"""

import argparse
import json
import shutil
from collections import Counter
from pathlib import Path

from kpig.pretrain import job
from kpig.pretrain.recipe import Precision, Recipe
from kpig.progress import Bars

KEPT = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "card.json")


def main() -> None:
    """Train, then copy the model, and write its card with the sources."""
    root = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=root / "runs" / "superni-base")
    parser.add_argument("--out", type=Path, default=root / "models" / "superni-base")
    given = parser.parse_args()
    recipe = Recipe(
        tasks=str(given.data / "superni-base" / "base.jsonl.gz"),
        held_out=str(given.data / "superni-heldout"),
        epochs=2.5,
        precision=Precision.BFLOAT16,
    )
    job.run(recipe, given.work, resume=given.work.exists(), watch=Bars())
    copy(given.work / job.MODEL, given.out, given.data / "superni-base" / "tasks.json")


def copy(model: Path, out: Path, tasks: Path) -> None:
    """The files that a user needs, and the card with its sources."""
    out.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copyfile(model / name, out / name)
    card = (model / "README.md").read_text(encoding="utf-8")
    (out / "README.md").write_text(card + "\n" + sources(tasks), encoding="utf-8")


def sources(tasks: Path) -> str:
    """The note on licences: what the mixture's task files state, by source data set."""
    found = json.loads(tasks.read_text(encoding="utf-8"))
    counts = Counter((str(one["source"]), str(one["licence"])) for one in found.values())
    rows = [f"| {source} | {licence} | {count} |" for (source, licence), count in sorted(counts.items())]
    return "\n".join(
        [
            "## Sources and licences",
            "",
            "The text is that of Super-NaturalInstructions (Wang et al., EMNLP 2022; definitions "
            "Apache-2.0). Below are its source",
            "data sets with the licence that its task files state for the instances; nobody has audited "
            "those statements.",
            "`Unknown` are generated lists, strings, dates and sums. Works adapted from CC BY and CC BY-SA "
            "need attribution, which this",
            "table is, BY-SA also the same licence. The weights are offered in that spirit: for research, "
            "with this table kept beside them.",
            "",
            "| source data set | licence of the instances | tasks |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
