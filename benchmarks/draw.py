"""Draw a comparison as pictures for the docs: P-score over the steps, final scores against cost.

    pip install matplotlib
    python benchmarks/draw.py runs/real --name real [--out docs/plots]

The same numbers as the plots of `kpig compare --out`, which need a browser; these are SVG files that a page
of Markdown can show. Means over the runs, bands and bars are 95 % bootstrap intervals.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from kpig.compare.comparison import Line, compare
from kpig.compare.plots import over_steps
from kpig.records import HELD_OUT, SEEN

GROUPS = ((SEEN, "seen tasks"), (HELD_OUT, "held-out tasks"))
STYLE = {
    "svg.hashsalt": "kpig",
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
MARKERS = "osD^vPX*<>hp"


def main() -> None:
    """Read the runs, draw both pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--name", required=True, help="the pictures' names begin with it")
    parser.add_argument("--out", type=Path, default=Path("docs/plots"))
    given = parser.parse_args()
    plt.rcParams.update(STYLE)
    lines = compare(given.runs).lines
    given.out.mkdir(parents=True, exist_ok=True)
    draw(lines, steps, "step", given.out / f"{given.name}-steps.svg")
    draw(lines, cost, "train and forward tokens, millions", given.out / f"{given.name}-cost.svg")


def draw(lines: Sequence[Line], panel, x_label: str, path: Path) -> None:
    """Two panels side by side, seen and held-out tasks, one legend; the file is the same for the same runs."""
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained")
    for axis, (group, title) in zip(axes, GROUPS, strict=True):
        for number, line in enumerate(lines):
            panel(axis, line, group, {"color": f"C{number % 10}", "marker": MARKERS[number % len(MARKERS)]})
        axis.set(title=title, xlabel=x_label, ylabel="P-score", ylim=(0, None))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def steps(axis: Axes, line: Line, group: str, look: dict) -> None:
    """The mean after every step with its band; what learns all at once is a dotted level."""
    points = over_steps(line, group)
    mean = [point.mean for point in points.values()]
    if max(points) == 1:
        axis.axhline(mean[-1], color=look["color"], linestyle=":", label=line.label)
        return
    axis.plot(list(points), mean, markersize=4, label=line.label, **look)
    low, high = ([getattr(p, end) for p in points.values()] for end in ("low", "high"))
    if None not in low + high:
        axis.fill_between(list(points), low, high, color=look["color"], alpha=0.15, linewidth=0)


def cost(axis: Axes, line: Line, group: str, look: dict) -> None:
    """The final score over the tokens spent, with its interval."""
    score = line.estimates[{SEEN: "p_seen", HELD_OUT: "p_held_out"}[group]]
    tokens = sum(line.estimates[key].mean for key in ("train_tokens", "forward_tokens")) / 1e6
    if score is None:
        return
    ends = [[score.mean - (score.low or score.mean)], [(score.high or score.mean) - score.mean]]
    axis.errorbar([tokens], [score.mean], yerr=ends, label=line.label, capsize=3, linestyle="", **look)


if __name__ == "__main__":
    main()
