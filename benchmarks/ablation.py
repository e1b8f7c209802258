"""Sequential tuning, uniform replay and KPIG's parts on the built-in suite, as long as examples/suite.toml.

    python benchmarks/ablation.py --seeds 0 1 2 --out runs/ablation

Every run has the same starting weights, data, updates and replay budget. A seed changes stream (other
compositions, another order) and training alike. Finished runs are kept; a killed sweep goes on where it
was. Prints mean and 95 % bootstrap interval over seeds, and paired differences from uniform replay.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from kpig import config
from kpig.compare.statistics import bootstrap_interval
from kpig.runs import job
from kpig.scoring.records import RunScores
from kpig.scoring.significance import paired_permutation_test

_EXAMPLE = config.read_table(Path(__file__).parents[1] / "examples" / "suite.toml")
SUITE_SIZE = {name: _EXAMPLE[name] for name in ("train", "evaluate")}
"""How long each step trains, and what is measured."""

VARIANTS: dict[str, dict] = {
    "sequential": {"name": "sequential"},
    "replay": {"name": "replay"},
    "kpig": {"name": "kpig", "kpig": {"selection": "lowest"}},
    "kpig-no-twin": {"name": "kpig", "kpig": {"selection": "lowest", "twin_weight": 0.0}},
    "kpig-lambda-5": {"name": "kpig", "kpig": {"selection": "lowest", "twin_weight": 5.0}},
    "kpig-uniform": {"name": "kpig", "kpig": {"selection": "uniform", "num_tasks": 1000}},
    "kpig-proportional": {"name": "kpig", "kpig": {"selection": "proportional"}},
    "kpig-uniform-lambda-5": {
        "name": "kpig",
        "kpig": {"selection": "uniform", "num_tasks": 1000, "twin_weight": 5.0},
    },
    "kpig-m4": {"name": "kpig", "kpig": {"selection": "lowest", "num_tasks": 4}},
    "kpig-m4-no-twin": {"name": "kpig", "kpig": {"selection": "lowest", "num_tasks": 4, "twin_weight": 0.0}},
    "kpig-m4-proportional": {
        "name": "kpig",
        "kpig": {"num_tasks": 4, "selection": "proportional", "refresh": 25},
    },
}
MEASURES: dict[str, Callable[[RunScores], float]] = {
    "P seen": lambda scores: scores.final.seen.p_score,
    "P held-out": lambda scores: scores.final.held_out.p_score,
    "V seen": lambda scores: scores.final.seen.v_score,
    "V held-out": lambda scores: scores.final.held_out.v_score,
    "forgetting": lambda scores: scores.final.forgetting,
    "half-listening held-out": lambda scores: scores.final.held_out.half_listening,
    "gain seen": lambda scores: scores.final.seen.gain,
    "train tokens": lambda scores: scores.cost.train_tokens,
    "forward tokens": lambda scores: scores.cost.forward_tokens,
    "train seconds": lambda scores: scores.cost.train_seconds,
    "gain seconds": lambda scores: scores.cost.gain_seconds,
}


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=["sequential", "replay", "kpig", "kpig-no-twin"]
    )
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    arguments = parser.parse_args()
    found: dict[str, list[RunScores]] = {variant: [] for variant in arguments.variants}
    for seed in arguments.seeds:
        for variant in arguments.variants:
            found[variant].append(one_run(variant, seed, arguments.out))
            print(f"seed {seed} {variant}: " + line(found[variant][-1]), flush=True)
    print("\n" + table(found) + "\n\n" + differences(found, "replay"))


def one_run(variant: str, seed: int, out: Path) -> RunScores:
    """Scores of one variant on the stream of one seed."""
    settings = SUITE_SIZE | {"seed": seed, "suite": {"seed": seed}, "method": VARIANTS[variant]}
    folder = out / f"{variant}-{seed}"
    return job.run(config.build(settings), folder, resume=folder.exists())


def line(scores: RunScores) -> str:
    """All measures of one run."""
    return ", ".join(f"{name} {measure(scores):.4g}" for name, measure in MEASURES.items())


def table(found: dict[str, list[RunScores]]) -> str:
    """Markdown: mean and 95 % bootstrap interval over seeds."""
    rows = ["| method | " + " | ".join(MEASURES) + " |", "|---|" + "---|" * len(MEASURES)]
    for variant, runs in found.items():
        cells = [with_interval([measure(run) for run in runs]) for measure in MEASURES.values()]
        rows.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def differences(found: dict[str, list[RunScores]], against: str) -> str:
    """Markdown: paired mean difference from one variant, with the two-sided permutation p value."""
    rows = [f"| minus {against} | P seen (p) | P held-out (p) | V held-out (p) |", "|---|---|---|---|"]
    for variant, runs in found.items():
        if variant != against and against in found:
            cells = [paired(name, runs, found[against]) for name in ("P seen", "P held-out", "V held-out")]
            rows.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def paired(measure: str, runs: Sequence[RunScores], others: Sequence[RunScores]) -> str:
    """One cell: mean difference and p value over seeds."""
    one, other = ([MEASURES[measure](run) for run in group] for group in (runs, others))
    p_value = paired_permutation_test(one, other, seed=0)
    return f"{fmean(one) - fmean(other):+.1f} ({p_value:.2f})"


def with_interval(values: Sequence[float]) -> str:
    """One cell: mean [low, high]."""
    low, high = bootstrap_interval(values, seed=0)
    return f"{fmean(values):.4g} [{low:.4g}, {high:.4g}]"


if __name__ == "__main__":
    main()
