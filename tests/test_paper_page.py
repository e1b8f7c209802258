"""That docs/results/real-paper.md says what its rows and answers say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/results/real-paper.md").read_text()
RESULTS = ROOT / "docs/results"
RUNS = {
    "Instruction diversity on and off": (
        "smollm2-wordings",
        {
            "kpig, with wordings": "kpig-wordings-on",
            "kpig, without": "kpig-wordings-off",
            "replay, with wordings": "replay-wordings-on",
            "replay, without": "replay-wordings-off",
        },
    ),
    "Masked parts on and off": (
        "smollm2-parts",
        {
            "neither": "kpig-neither",
            "twins, weighted by gain": "kpig-twins",
            "twins, all weights 1": "kpig-twins-unweighted",
            "choice by lowest gain": "kpig-choice",
            "twins and choice": "kpig-both",
        },
    ),
    "Replay amounts": (
        "smollm2-amounts",
        {
            "M = 1, N = 50": "kpig-M1-N50",
            "M = 2, N = 50": "kpig-M2-N50",
            "M = 4, N = 50": "kpig-M4-N50",
            "M = 2, N = 20": "kpig-M2-N20",
            "M = 2, N = 5": "kpig-M2-N5",
        },
    ),
    "With full tuning": (
        "smollm2-full",
        {"sequential": "sequential", "replay": "replay", "kpig": "kpig"},
    ),
}


def section(name):
    return PAGE.partition(f"## {name}\n")[2].partition("\n## ")[0]


def cells_of(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


def rows(name):
    of_runs = [json.loads(line) for line in (RESULTS / f"{name}.jsonl").read_text().splitlines()]
    return {row["run"].partition("-seed")[0]: row for row in of_runs}


@pytest.mark.parametrize("name", RUNS)
def test_the_tables_are_those_of_the_rows(name):
    file, runs = RUNS[name]
    names, _, *lines = cells_of(section(name))
    measured = rows(file)
    assert [cells[0] for cells in lines] == list(runs) and set(runs.values()) == measured.keys()
    for cells in lines:
        row = measured[runs[cells[0]]]
        expected = [
            f"{row['computing'] / 1000:.0f}"
            if column == "thousand tokens"
            else f"{row['scores'][column]:.{2 if column.startswith('gain') else 1}f}"
            for column in names[1:]
        ]
        assert cells[1:] == expected, cells[0]


@pytest.mark.parametrize(
    ("name", "line", "against", "group"),
    [
        ("Instruction diversity on and off", "kpig-wordings-on", "kpig-wordings-off", "seen"),
        ("Instruction diversity on and off", "kpig-wordings-on", "kpig-wordings-off", "held-out"),
        ("Instruction diversity on and off", "replay-wordings-on", "replay-wordings-off", "seen"),
        ("Instruction diversity on and off", "replay-wordings-on", "replay-wordings-off", "held-out"),
        ("Instruction diversity on and off", "kpig-wordings-on", "replay-wordings-on", "seen"),
        ("Instruction diversity on and off", "kpig-wordings-on", "replay-wordings-on", "held-out"),
        ("Masked parts on and off", "kpig-twins", "kpig-both", "seen"),
        ("Masked parts on and off", "kpig-twins", "kpig-both", "held-out"),
        ("Masked parts on and off", "kpig-twins", "kpig-neither", "seen"),
        ("Masked parts on and off", "kpig-twins-unweighted", "kpig-twins", "seen"),
        ("Replay amounts", "kpig-M2-N5", "kpig-M2-N50", "seen"),
        ("Replay amounts", "kpig-M2-N20", "kpig-M2-N50", "seen"),
        ("Replay amounts", "kpig-M2-N20", "kpig-M2-N50", "held-out"),
        ("Replay amounts", "kpig-M4-N50", "kpig-M1-N50", "seen"),
        ("With full tuning", "replay", "kpig", "seen"),
        ("With full tuning", "replay", "kpig", "held-out"),
        ("With full tuning", "sequential", "kpig", "seen"),
    ],
)
def test_the_differences_are_those_of_the_answers(name, line, against, group):
    """Told as so many points more, or as so many less with the interval turned round."""
    file, _ = RUNS[name]
    lines = {run: row["line"] for run, row in rows(file).items()}
    answers = RESULTS / f"{file}-answers.jsonl"
    command = [sys.executable, str(ROOT / "benchmarks/by_example.py"), str(answers)]
    made = subprocess.run([*command, "--against", lines[against]], capture_output=True, text=True, check=True)
    (cells,) = (one for one in made.stdout.splitlines() if one.startswith(f"| {lines[line]} | "))
    mean, low, high = (
        float(number)
        for number in re.findall(r"([+-][\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\]", cells)[group == "held-out"]
    )
    told = " ".join(section(name).split()).replace("*", "")
    turned = (abs(mean), *((low, high) if mean > 0 else (-high, -low)))
    assert re.search("{:.1f}[^.\\[]*(?:\\.\\d+[^.\\[]*)*\\[{:.1f}, {:.1f}\\]".format(*turned), told), turned


def test_the_table_of_fresh_tasks_is_that_of_its_rows():
    script = [sys.executable, str(ROOT / "benchmarks/last_models.py"), str(RESULTS / "smollm2-fresh.jsonl")]
    script += ["--against", "kpig"]
    made = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    page = (RESULTS / "real-model.md").read_text()
    of_page = page.partition("## Fresh tasks\n")[2].partition("\n## ")[0]
    head, _, *measured = cells_of(made)
    names, _, *told = cells_of(of_page)
    scores = [line for line in measured if line[0] != "minus kpig"]
    assert {line[0] for line in told} == {line[0] for line in scores}
    by_name = {line[0]: line for line in scores}
    for cells in told:
        assert cells[1:] == [by_name[cells[0]][head.index(name)] for name in names[1:]]
    minus = measured[[line[0] for line in measured].index("replay ratio=0.95") + 1]
    words = " ".join(of_page.split())
    for name in ("P seen", "P held-out"):
        mean, low, high = re.findall(r"[+-]\d+\.\d+", minus[head.index(name)])[:3]
        assert f"{mean.lstrip('+')} points" in words and f"[{low.lstrip('+')}, {high.lstrip('+')}]" in words


def test_the_table_of_lighter_twins_is_that_of_its_rows():
    script = [sys.executable, str(ROOT / "benchmarks/last_models.py"), str(RESULTS / "smollm2-lighter.jsonl")]
    made = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    log = (ROOT / "docs/log/kpig.md").read_text()
    of_log = log.partition("What came of the search, means over seeds")[2].partition("\n- ")[0]
    head, _, *measured = cells_of(made)
    names, _, *told = cells_of(of_log)
    found = {tuple(cell.partition(" [")[0] for cell in line) for line in measured}
    columns = [name for name in names[1:] if name in head]
    places = [head.index(name) for name in columns]
    expected = {tuple(line[place] for place in places) for line in found}
    assert {tuple(line[names.index(name)] for name in columns) for line in told} == expected
    assert all(
        float(line[names.index("on both")])
        == pytest.approx((float(line[1]) + float(line[2])) / 2, abs=0.1001)
        for line in told
    )


def test_the_table_of_both_with_wordings_is_that_of_its_rows():
    script = [sys.executable, str(ROOT / "benchmarks/last_models.py"), str(RESULTS / "smollm2-diverse.jsonl")]
    made = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    of_page = section("KPIG and replay, both with wordings")
    head, _, *measured = cells_of(made)
    names, _, *told = cells_of(of_page)
    assert [line[0] for line in told] == [line[0] for line in measured]
    for line, cells in zip(measured, told, strict=True):
        assert cells[1:] == [line[head.index(name)] for name in names[1:]]
    script += ["--against", "kpig"]
    made = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    (minus,) = (line for line in cells_of(made) if line[0] == "minus kpig")
    words = " ".join(of_page.split())
    for name in ("P seen", "P held-out", "half-listening % seen", "half-listening % held-out"):
        mean, low, high = re.findall(r"[+-]\d+\.\d+", minus[head.index(name)])[:3]
        assert f"{mean} [{low.lstrip('+')}, {high.lstrip('+')}]" in words, name
