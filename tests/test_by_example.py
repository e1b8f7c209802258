"""How benchmarks/by_example.py pairs answers: by example, tasks alike, only answers to the same questions."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAPER = "preset=paper, selection=lowest, num_tasks=2, twin_share=1.0, gain_from=probe"


def told(rows, path, against="kpig"):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    command = [sys.executable, str(ROOT / "benchmarks/by_example.py"), str(path), "--against", against]
    return subprocess.run(command, capture_output=True, text=True)


def row(line, task, scores, asked="one", group="seen"):
    return {
        "line": line,
        "seed": 0,
        "order": "given",
        "group": group,
        "task": task,
        "asked": asked,
        "scores": scores,
    }


def cells_of(found, line):
    assert found.returncode == 0, found.stderr
    split = [re.split(r" *\| *", written.strip("| ")) for written in found.stdout.splitlines()]
    return next(cells for cells in split if cells[0] == line)


def test_tasks_weigh_the_same_however_many_answers_they_have(tmp_path):
    rows = [
        row(line, task, [score] * n)
        for line, low in (("kpig", 0.0), ("replay", 50.0))
        for task, n, score in (("few", 2, low), ("many", 8, 100.0))
    ]
    cells = cells_of(told(rows, tmp_path / "rows.jsonl"), "replay")
    assert cells[1] == "75.0" and cells[2].startswith("+25.0 [")


def test_a_difference_in_every_answer_is_found_and_one_in_none_is_not(tmp_path):
    rows = [
        row("kpig", "a", [0.0] * 10),
        row("worse", "a", [100.0] * 10),
        row("same", "a", [0.0] * 10),
    ]
    found = told(rows, tmp_path / "rows.jsonl")
    assert cells_of(found, "worse")[2] == "+100.0 [+100.0, +100.0], p 0.002, Holm < 0.01"
    assert cells_of(found, "same")[2] == "+0.0 [+0.0, +0.0], p 1.000, Holm 1.00"


def test_answers_to_other_questions_are_not_paired(tmp_path):
    rows = [row("kpig", "a", [0.0] * 4), row("replay", "a", [100.0] * 4, asked="two")]
    assert cells_of(told(rows, tmp_path / "rows.jsonl"), "replay")[1:3] == ["100.0", "–"]


def test_a_single_answer_has_no_interval(tmp_path):
    rows = [row("kpig", "a", [0.0]), row("replay", "a", [100.0])]
    assert cells_of(told(rows, tmp_path / "rows.jsonl"), "replay")[2] == "+100.0, p 1.000, Holm 1.00"


def test_a_line_that_there_is_not_is_told_with_those_that_there_are(tmp_path):
    found = told([row("kpig", "a", [0.0] * 4)], tmp_path / "rows.jsonl", against="replay")
    assert found.returncode == 1 and found.stderr.startswith("error: --against replay: expected a line")
    assert "there are kpig" in found.stderr


def test_rows_have_nothing_that_was_asked_beyond_them(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row("kpig", "a", [0.0])))
    command = [sys.executable, str(ROOT / "benchmarks/by_example.py"), str(file), "--against", "kpig"]
    found = subprocess.run([*command, "--asked", str(tmp_path)], capture_output=True, text=True)
    assert found.returncode == 2 and "--asked is for a folder of runs" in found.stderr


@pytest.mark.parametrize("script", ["by_example", "last_models"])
@pytest.mark.parametrize(
    "text, expected",
    [
        ("not json", "line 1: expected what --rows has written; no valid JSON"),
        ('{"line": "kpig"}', "line 1: expected what --rows has written; it is incomplete"),
        ("", "is empty: expected what --rows has written"),
    ],
)
def test_a_file_that_no_rows_were_written_to_is_told_in_a_sentence(script, text, expected, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    command = [sys.executable, str(ROOT / f"benchmarks/{script}.py"), str(file), "--against", "kpig"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 1 and expected in found.stderr and "Traceback" not in found.stderr


@pytest.mark.parametrize("what", ["", "nothing-here"])
def test_a_folder_without_runs_is_told_in_a_sentence(what, tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/by_example.py"), str(tmp_path / what)]
    found = subprocess.run([*command, "--against", "kpig"], capture_output=True, text=True)
    assert found.returncode == 1 and found.stderr.startswith("error: ") and "Traceback" not in found.stderr


def test_the_tables_of_the_page_are_those_of_the_rows():
    page = (ROOT / "docs/results/real-ladder.md").read_text()
    names = {
        "kpig, the paper's form": f"kpig {PAPER}",
        "replay": "replay ratio=0.5",
        "replay, ratio 2.85": "replay ratio=2.85",
        "mtl (bound)": "mtl",
        "init (bound)": "init",
    }

    def of_page(section):
        told = page.partition(f"## {section}\n")[2].partition("\n## ")[0]
        found = [line.strip("| ").split(" | ") for line in told.splitlines() if line.startswith("| ")]
        return found[0], {
            names.get(cells[0].strip("*"), cells[0].strip("*")): cells[1:] for cells in found[1:]
        }

    def of_rows(script, name, *arguments):
        command = [sys.executable, str(ROOT / f"benchmarks/{script}.py"), str(ROOT / f"docs/results/{name}")]
        found = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout
        head, _, *lines = [
            line.removeprefix("| ").removesuffix(" |").split(" | ") for line in found.splitlines()
        ]
        return head, {cells[0]: cells for cells in lines}

    columns, scores = of_page("Scores")
    head, made = of_rows("last_models", "smollm2-all.jsonl", "--rank")
    assert scores.keys() == made.keys() and len(made) == 26
    for line, cells in scores.items():
        assert cells[:-1] == [made[line][head.index(name)] for name in columns[1:-1]], line
    columns, kinds = of_page("What is violated")
    head, made = of_rows("last_models", "smollm2-all.jsonl", "--kinds")
    assert kinds.keys() > {"kpig", "replay ratio=0.5", "sequential", "init"}
    for line, cells in kinds.items():
        assert cells == [made[line][head.index(name)] for name in columns[1:]], line
    assert {
        cells[head.index(f"wrong {kind} seen")] for cells in made.values() for kind in ("format", "length")
    } == {"0.0"}
    _, differences = of_page("Differences")
    _, made = of_rows("by_example", "smollm2-all-answers.jsonl", "--against", "kpig")
    assert differences.keys() == made.keys() - {"kpig"}
    for line, cells in differences.items():
        assert cells == [re.sub(r", Holm (.+)$", r" (\1)", made[line][place]) for place in (2, 4)], line
