"""Draw a comparison as pictures for the docs: final scores, P-score over the steps, scores against cost.

    pip install matplotlib
    python benchmarks/draw.py runs/real --name real [--out docs/plots] [--only kpig replay]
    python benchmarks/draw.py docs/results/short-40.jsonl --name short

`--only` picks methods for the lines over the steps, which get hard to read with many; the others show all.

The same numbers as the plots of `kpig compare --out`, which need a browser; these are SVG files that a page
of Markdown can show. Means over the runs, bands and bars are 95 % bootstrap intervals. A file of rows that
benchmarks/last_models.py has written gives the final scores only.
"""

import argparse
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from kpig.compare.comparison import compare
from kpig.compare.lines import Line
from kpig.compare.plots import over_steps
from kpig.compare.statistics import Estimate, estimate
from kpig.records import HELD_OUT, SEEN

GROUPS = ((SEEN, "seen tasks"), (HELD_OUT, "held-out tasks"))
FINAL = {
    "p_seen": "P seen →",
    "p_held_out": "P held-out →",
    "v_seen": "← V seen",
    "v_held_out": "← V held-out",
    "half_listening_seen": "← half % seen",
    "half_listening_held_out": "← half % held-out",
}
IN_ROWS = {
    "p_seen": "P seen",
    "p_held_out": "P held-out",
    "v_seen": "V seen",
    "v_held_out": "V held-out",
    "half_listening_seen": "half-listening % seen",
    "half_listening_held_out": "half-listening % held-out",
}
"""What a file of rows calls them."""

Finals = Mapping[str, Mapping[str, Estimate | None]]
"""By label, and by key of FINAL."""
STYLE = {
    "svg.hashsalt": "kpig",
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
MARKERS = "osD^vPX*<>hp"
LINE = 26
"""Characters of a label's line. Chosen."""


def main() -> None:
    """Read the runs, draw the three pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--name", required=True, help="the pictures' names begin with it")
    parser.add_argument("--out", type=Path, default=Path("docs/plots"))
    parser.add_argument("--anyway", action="store_true", help="also runs that differ in more than the method")
    parser.add_argument("--only", nargs="+", default=[], metavar="METHOD")
    given = parser.parse_args()
    plt.rcParams.update(STYLE)
    given.out.mkdir(parents=True, exist_ok=True)
    final = given.out / f"{given.name}-final.svg"
    if given.runs[0].is_file():
        draw_final(of_rows(given.runs[0]), final)
        return
    lines = compare(given.runs, anyway=given.anyway).lines
    draw_final({line.label: line.estimates for line in lines}, final)
    chosen = [line for line in lines if not given.only or line.label.split(" ")[0] in given.only]
    draw(chosen, steps, "step", given.out / f"{given.name}-steps.svg")
    draw(lines, cost, "computing, million tokens", given.out / f"{given.name}-cost.svg")


def of_rows(path: Path) -> Finals:
    """The scores of every line over its rows."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        line: {
            key: estimate([row["scores"][name] for row in rows if row["line"] == line])
            for key, name in IN_ROWS.items()
        }
        for line in dict.fromkeys(row["line"] for row in rows)
    }


def draw_final(found: Finals, path: Path) -> None:
    """One row for each method, best P-score on seen tasks on top; a point and its interval for each score.

    A score that is 0 for all has no panel.
    """
    panels = {
        key: title
        for key, title in FINAL.items()
        if any(_mean(of_line.get(key)) for of_line in found.values())
    }
    ordered = sorted(found, key=lambda label: _mean(found[label]["p_seen"]))
    labels = [textwrap.fill(label, 2 * LINE) for label in ordered]
    height = 1.2 + 0.26 * len("\n".join(labels).splitlines())
    figure, axes = plt.subplots(1, len(panels), figsize=(13, height), sharey=True, layout="constrained")
    for axis, (key, title) in zip(axes, panels.items(), strict=True):
        for place, label in enumerate(ordered):
            one = found[label].get(key)
            if one is not None:
                low, high = (end if end is not None else one.mean for end in (one.low, one.high))
                color = "C1" if label.startswith("kpig") else "C0"
                axis.plot([low, high], [place, place], color=color, linewidth=2, alpha=0.5)
                axis.plot([one.mean], [place], color=color, marker="o", markersize=5)
        axis.set_title(title.replace("half % ", "half %\n"), fontsize=10)
        axis.set_ylim(-0.6, len(ordered) - 0.4)
        axis.grid(axis="y", linewidth=0.4)
    axes[0].set_yticks(range(len(ordered)), labels)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def shortened(label: str) -> str:
    """A label in lines, so that the panels keep their room."""
    return textwrap.fill(label, LINE)


def _mean(found: Estimate | None) -> float:
    return found.mean if found is not None else 0.0


def draw(lines: Sequence[Line], panel, x_label: str, path: Path) -> None:
    """Two panels side by side, seen and held-out tasks, one legend; the same file for the same runs."""
    height = max(4.0, 0.5 + 0.2 * sum(len(textwrap.wrap(line.label, LINE)) for line in lines))
    figure, axes = plt.subplots(1, 2, figsize=(10.5, height), layout="constrained")
    for axis, (group, title) in zip(axes, GROUPS, strict=True):
        for number, line in enumerate(lines):
            panel(axis, line, group, {"color": f"C{number % 10}", "marker": MARKERS[number % len(MARKERS)]})
        axis.set(title=title, xlabel=x_label, ylabel="P-score", ylim=(0, None))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, [shortened(label) for label in labels], loc="outside right center", frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def steps(axis: Axes, line: Line, group: str, look: dict) -> None:
    """The mean after every step with its band; what learns all at once is a dotted level."""
    points = over_steps(line, group)
    mean = [point.mean for point in points.values()]
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if max(points) == 1:
        axis.axhline(mean[-1], color=look["color"], linestyle=":", label=line.label)
        return
    axis.plot(list(points), mean, markersize=4, label=line.label, **look)
    low, high = ([getattr(p, end) for p in points.values()] for end in ("low", "high"))
    if None not in low + high:
        axis.fill_between(list(points), low, high, color=look["color"], alpha=0.15, linewidth=0)


def cost(axis: Axes, line: Line, group: str, look: dict) -> None:
    """The final score over what was spent, a forward token counted a third, with its interval."""
    score = line.estimates[{SEEN: "p_seen", HELD_OUT: "p_held_out"}[group]]
    spent = [line.estimates[key].mean for key in ("train_tokens", "forward_tokens")]
    tokens = (spent[0] + spent[1] / 3) / 1e6
    if score is None:
        return
    ends = [[score.mean - (score.low or score.mean)], [(score.high or score.mean) - score.mean]]
    axis.errorbar([tokens], [score.mean], yerr=ends, label=line.label, capsize=3, linestyle="", **look)


if __name__ == "__main__":
    main()
