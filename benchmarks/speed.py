"""How fast kpig is on this machine: the tables of docs/performance.md in one command.

    python benchmarks/speed.py [SECTION ...] [--model DIR] [--tasks DIR]

CPU seconds of one process on one thread. The arms of a table take turns; figures are medians over --rounds
turns, after one that does not count. `updates` sets one update of plain tuning beside TRL's SFTTrainer, where
`trl` is installed (padded and padding-free), and KPIG's update beside the plain one; each with a row for
every example and with shared rows. KPIG is measured as it was before too: with the logits of all tokens, and
the reference asked anew; and where all of its twins come again, so that the reference's answers are kept.
`long` does so with responses of 200 to 400 tokens. All have the same examples, token ids, optimizer,
precision, and loss on the response alone, without checkpointing, and a learning rate of 0: so the losses must
agree. TRL's path without Triton scores every position of a text, which on a GPU it does not. The sections are
in benchmarks/sections/, a file each.
"""

import argparse
import os
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

ROOT = Path(__file__).parents[1]
MODEL, TASKS = ROOT / "models" / "smollm2-135m-instruct", ROOT.parent / "shared" / "data" / "superni-stream"
KINDS = ("full bfloat16", "LoRA bfloat16", "full float32", "LoRA float32")
SECTIONS = {
    "updates": "updates",
    "long": "long_responses",
    "lengths": "lengths",
    "gain": "gains",
    "divergence": "divergence",
    "check": "check",
}
"""What may be asked for, and the module of `sections` that prints it."""


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", choices=SECTIONS, help="all, unless some are named")
    parser.add_argument("--model", type=Path, default=MODEL, help="scripts/smollm2.py makes the default")
    parser.add_argument("--tasks", type=Path, default=TASKS, help="a folder with a stream of tasks")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--arms", nargs="*", default=[], help="of updates, beside 'plain'; all unless named")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=8, help="of an update")
    parser.add_argument("--together", type=int, default=1, help="examples of one task drawn together")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.sections or SECTIONS:
        import_module(f"sections.{SECTIONS[name]}").show(given)


if __name__ == "__main__":
    main()
