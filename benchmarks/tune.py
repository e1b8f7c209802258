"""The same small search for every method, before the ladder, on a short stream of its own.

    python benchmarks/tune.py spec full > runs/tune.toml     # the search as a sweep; lora: with LoRA adapters
    kpig sweep runs/tune.toml --out runs/tune --workers 2
    python benchmarks/tune.py best full runs/tune            # each method's best, as [[settings]] for a sweep

Names of methods at the end of a command limit it to those.

Stream (suite seed 100) and training seed (100) are none of the ladder's. A method's main setting is tried at
three values times three learning rates; methods without one at six learning rates. (The lowest of the three
was added when the highest had lost everywhere and sequential and a_gem, tried at six, did best at their
lowest. With LoRA a higher one was added, and a fourth value for o_lora, when replay and o_lora had been best
at the edge.) Best is the highest mean of P-score on seen and held-out tasks: one run each, so differences of
a few points are noise, for every method alike.
"""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import tomli_w

from kpig.scoring.scores import read_run

RATE = "train.learning_rate"
THREE, SIX = (3e-4, 1e-3, 1e-4), (1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3)
FOUR_LORA, SEVEN_LORA = (1e-3, 3e-3, 5e-4, 1e-2), (3e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2)
Grid = dict[str, tuple[str, tuple] | None]
FULL: Grid = {
    "kpig": ("method.kpig.twin_weight", (0.3, 1.0, 3.0)),
    "replay": None,
    "periodic_replay": ("method.periodic_replay.every", (2, 4, 8)),
    "kmeans_replay": ("method.kmeans_replay.clusters", (5, 10, 20)),
    "dynosaur": ("method.dynosaur.num_tasks", (2, 4, 8)),
    "inscl": None,
    "dynainst": ("method.dynainst.entropy_weight", (0.003, 0.01, 0.1)),
    "derpp": ("method.derpp.alpha", (0.1, 0.3, 1.0)),
    "adapt_inf": ("method.adapt_inf.share", (0.25, 0.5, 0.75)),
    "ssr": None,
    "radis": ("method.radis.num_examples", (30, 100, 0)),
    "sequential": None,
    "mtl": None,
    "dare": ("method.dare.drop", (0.2, 0.5, 0.9)),
    "lm_cocktail": ("method.lm_cocktail.tuned_share", (0.3, 0.5, 0.7)),
    "ema": ("method.ema.decay", (0.9, 0.99, "found")),
    "l2": ("method.l2.weight", (0.001, 0.01, 0.1)),
    "ewc": ("method.ewc.weight", (20.0, 200.0, 2000.0)),
    "tir": ("method.tir.weight", (0.01, 0.1, 1.0)),
    "lwf": ("method.lwf.weight", (0.3, 1.0, 3.0)),
    "a_gem": None,
    "migu": ("method.migu.threshold", (0.3, 0.5, 0.7)),
    "osf": ("method.osf.preserved", (0.25, 0.5, 0.75)),
    "sdft": ("method.sdft.divergence", (0.0, 0.5, 1.0)),
}
LORA: Grid = {
    "kpig": ("method.kpig.twin_weight", (0.3, 1.0, 3.0)),
    "replay": None,
    "sequential": None,
    "o_lora": ("method.o_lora.orthogonality", (0.05, 0.5, 5.0, 50.0)),
}
BASE = {
    "suite": {
        "seed": 100,
        "num_steps": 4,
        "tasks_per_step": 2,
        "num_held_out": 8,
        "num_train": 300,
        "num_test": 12,
    },
    "train": {"updates_per_step": 40, "batch_size": 16, "checkpoint_every": 0},
    "evaluate": {"max_new_tokens": 32, "half_listening": False, "gain": False},
}


KINDS = {
    "full": (FULL, THREE, SIX, BASE),
    "lora": (
        LORA,
        FOUR_LORA,
        SEVEN_LORA,
        BASE | {"model": {"adapter": "lora", "lora_rank": 16, "lora_alpha": 32}},
    ),
}


def main() -> None:
    """Print the spec, or the best settings of a finished sweep."""
    match sys.argv[1:]:
        case ["spec", "full" | "lora" as kind, *methods]:
            print(tomli_w.dumps(spec(kind, methods)))
        case ["best", "full" | "lora" as kind, out, *methods]:
            print(tomli_w.dumps({"settings": best(kind, Path(out), methods)}))
        case _:
            sys.exit(__doc__)


def spec(kind: str, methods: Sequence[str]) -> dict:
    """The search as `kpig sweep` reads it."""
    grid, _, _, base = KINDS[kind]
    methods = methods or list(grid)
    settings = [one for method in methods for one in settings_of(kind, method)]
    axes = {"methods": methods, "seeds": [100], "orders": ["given"], "include_default": False}
    return axes | {"settings": settings, "base": base}


def settings_of(kind: str, method: str) -> list[dict]:
    """The settings of a method, named by number."""
    grid, three, six, _ = KINDS[kind]
    if grid[method] is None:
        tried = [{RATE: rate} for rate in six]
    else:
        key, values = grid[method]
        tried = [{RATE: rate, key: value} for rate, value in itertools.product(three, values)]
    return [{"name": f"try{number}", "method": method, "set": one} for number, one in enumerate(tried, 1)]


def best(kind: str, out: Path, methods: Sequence[str]) -> list[dict]:
    """Each method's best setting, under the name "tuned"; ties go to the earlier one."""
    found = []
    for method in methods or KINDS[kind][0]:
        tried = settings_of(kind, method)
        scored = [score(out / f"{method}-{one['name']}-seed100-ordergiven") for one in tried]
        print(f"# {method}: " + ", ".join(f"{value:.1f}" for value in scored), file=sys.stderr)
        found.append(tried[scored.index(max(scored))] | {"name": "tuned"})
    return found


def score(run: Path) -> float:
    """Mean of the final P-scores on seen and held-out tasks."""
    final = read_run(run / "scores.json").final
    return (final.seen.p_score + final.held_out.p_score) / 2


if __name__ == "__main__":
    main()
