"""Whatever task, file, run, server or model is named or says: nothing of it steers the terminal or a page."""

import csv
import io
import json
import re

import pytest
from rich.table import Table

import forked
import test_compare
import test_report
from kpig.progress import Screen
from kpig.rendering import visible
from kpig.report.text import csv_cell, csv_comment, fenced
from misbehaving_server import MisbehavingServer, fails, says
from test_cli import TASK

WORDS = "a\x1b]0;owned\x07b\x1b[2Jc\u202ed\x9b31me\u2066f[red]g[/x]h:smile:"
"""A title, a cleared screen, a turned reading direction, an 8-bit escape, and marks that rich would read."""

STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")


def kpig(*arguments, codes=(0,)):
    """Standard output and error of a command, in which nothing steers."""
    done = forked.kpig(*arguments)
    shown = done.stdout + done.stderr
    shown.encode()  # whole characters, all of them
    assert not STEERS.search(shown), repr(STEERS.search(shown))
    assert done.returncode in codes and "Traceback" not in shown, shown
    return shown


def clean(folder, *suffixes):
    """That files of these kinds were written, and that none of them holds what steers."""
    files = [path for path in folder.rglob("*") if path.suffix in suffixes]
    assert files
    for path in files:
        text = re.sub(r"<script>.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.S)
        assert not STEERS.search(text), path


@pytest.fixture
def tasks(tmp_path):
    folder = tmp_path / f"tasks{WORDS.replace('/', '')}"
    folder.mkdir()
    instruction = (
        f"You are given a word{WORDS}. Your task is to say the word twice. Answer in capital letters."
    )
    rows = [
        TASK
        | {"instruction": instruction, "input": f"{WORDS}{n}", "output": f"W{n}{WORDS}", "category": WORDS}
        for n in range(8)
    ]
    (folder / "say.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_tasks_that_are_shown_annotated_and_reworded(tasks, tmp_path):
    kpig("show", tasks)
    kpig("show", tasks, "--html", tmp_path / "html")
    clean(tmp_path / "html", ".html")
    kpig("show", tasks, "--task", WORDS, codes=(2,))
    kpig("annotate", tasks, "--by", "rules", "--out", tasks / "keyparts.json")
    kpig("diversify", tasks, "--n", 2, "--out", tmp_path / "variants")
    kpig("diversify", tasks, "--n", 2, "--out", tmp_path / "variants", codes=(2,))


def test_what_is_checked(tasks, tmp_path):
    config = tmp_path / f"{WORDS.replace('/', '')}.toml"
    path = json.dumps(str(tasks))
    config.write_text(f"[stream]\npath = {path}\n")
    kpig("check", config)
    for text in (
        f"[stream]\npath = {path}\n{json.dumps(WORDS)} = 1\n",
        f"[stream]\npath = {json.dumps(str(tasks) + WORDS)}\n",
        f"[method]\nname = {json.dumps(WORDS)}\n",
        f"[stream]\npath = {path}\n[model]\npath = {json.dumps(WORDS)}\n",
        f"[stream]\npath = {path}\nmetric = {json.dumps(WORDS)}\n",
    ):
        config.write_text(text)
        kpig("check", config, codes=(0, 1))
    config.write_text("")
    kpig("check", config, "--set", f"model.path={WORDS}", codes=(0, 1))
    kpig("check", config, "--set", f"{WORDS}=1", codes=(1, 2))
    kpig("run", config, "--out", tmp_path / "run", "--set", f"model.path={WORDS}", codes=(1,))
    kpig("run", tmp_path / WORDS, "--out", tmp_path / "run", codes=(1, 2))


def test_a_bad_file_of_tasks(tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    for text in (
        json.dumps({WORDS: 1}),
        json.dumps(TASK | {"task": WORDS}),
        json.dumps(TASK | {"metric": WORDS}),
        json.dumps(TASK | {"constraints": [{"type": WORDS}]}),
        json.dumps(TASK | {"key_parts": [{"text": WORDS, "kind": WORDS}]}),
        WORDS,
    ):
        (folder / "t.jsonl").write_text(text)
        kpig("show", folder, codes=(0, 1))


def test_predictions_that_are_scored(tasks, tmp_path):
    path = tmp_path / "p.jsonl"
    rows = [{"task": "say", "input": f"{WORDS}{n}", "response": WORDS} for n in range(8)]
    path.write_text("\n".join(map(json.dumps, rows)))
    kpig("score", path, "--tasks", tasks, "--partial", "--out", tmp_path / "scored", codes=(0, 1))
    path.write_text(json.dumps({"task": WORDS, "example": WORDS, "response": WORDS, WORDS: 1}))
    kpig("score", path, "--tasks", tasks, "--partial", codes=(1,))


def test_runs_that_are_reported(tmp_path):
    run = tmp_path / "run"
    test_report.full_of(WORDS, run)
    scores = json.loads((run / "scores.json").read_text())
    (run / "scores.json").write_text(json.dumps(scores | {"scorer": WORDS}))
    kpig("report", run, "--out", tmp_path / "out")
    clean(tmp_path / "out", ".html", ".md")
    (run / "scores.json").write_text(json.dumps({WORDS: WORDS}))
    kpig("report", run, codes=(1,))
    kpig("report", tmp_path / WORDS, codes=(1, 2))


def test_runs_that_are_compared(tmp_path):
    for seed in (0, 1):
        for name in (f"=m:{WORDS}", "kpig"):
            test_compare.write_run(
                tmp_path / "runs" / f"{seed}{name[0]}", name, seed, tasks=(WORDS, "b", "c"), scorer=WORDS
            )
    for form in ("terminal", "markdown", "csv", "latex"):
        kpig("compare", tmp_path / "runs", "--format", form, "--out", tmp_path / "out", "--anyway")
    clean(tmp_path / "out", ".html", ".md", ".csv", ".tex")
    kpig("compare", tmp_path / "runs", "--against", WORDS, codes=(1, 2))
    kpig("compare", tmp_path / WORDS, codes=(1, 2))


def test_a_sweep_that_is_planned(tmp_path):
    spec = tmp_path / "sweep.toml"
    spec.write_text('methods = ["sequential"]\nseeds = [0]\n')
    shown = kpig("sweep", spec, "--out", tmp_path / WORDS.replace("/", ""), "--dry-run", codes=(0, 1))
    assert "owned" in shown or "sweep.toml" in shown
    spec.write_text(f"methods = [{json.dumps(WORDS)}]\n{json.dumps(WORDS)} = 2\n")
    kpig("sweep", spec, "--out", tmp_path / "out", "--dry-run", codes=(1,))


@pytest.mark.parametrize("command", ["eval", "gain", "pretrain"])
def test_names_that_do_not_exist(command, tmp_path):
    given = ["--tasks", tmp_path / WORDS]
    arguments = ["tiny", *given] if command != "pretrain" else [*given, "--out", tmp_path / "out"]
    kpig(command, *arguments, codes=(1, 2))
    if command != "pretrain":
        kpig(command, WORDS, "--tasks", "suite", codes=(1, 2))


@pytest.mark.parametrize("behaviour", [says(WORDS), fails(400, WORDS), fails(404, WORDS), fails(500, WORDS)])
def test_a_server_that_says_it(behaviour, tasks, tmp_path, monkeypatch):
    pytest.importorskip("openai", reason="needs the extra 'llm': pip install openai")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with MisbehavingServer(then=behaviour) as server:
        options = ["--llm", WORDS, "--base-url", server.url, "--key-variable", "", "--retries", 0]
        options += ["--cache", tmp_path / "cache"]
        kpig("annotate", tasks, "--by", "llm", "--out", tmp_path / "k.json", *options, codes=(0, 1))
        kpig("annotate", tasks, "--by", "rules", "--out", tasks / "keyparts.json")
        kpig("diversify", tasks, "--n", 1, "--out", tmp_path / "v", *options, codes=(0, 1))


def test_a_terminal_gets_the_colours_of_the_program_and_no_others():
    table = Table(title=WORDS)
    table.add_column("task", style="red")
    table.add_column(WORDS)
    table.add_row(WORDS, "[bold]x[/bold]")
    buffer = io.StringIO()
    Screen(file=buffer, force_terminal=True, color_system="standard", width=150).print(table, WORDS)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", buffer.getvalue())
    assert not STEERS.search(shown) and "[bold]x[/bold]" in shown and ":smile:" in shown
    assert "\x1b[2J" not in buffer.getvalue() and "\x1b[31m" in buffer.getvalue()
    assert len({len(line) for line in shown.splitlines() if "│" in line}) == 1


@pytest.mark.parametrize("text", ["```\n# a heading\n```", "````", "a\n`````\n<b>", f"```{WORDS}"])
def test_a_fence_inside_the_data_does_not_end_the_block(text):
    first, *inside, last = fenced(text).split("\n")
    assert first == last and set(first) == {"`"}
    assert "\n".join(inside) == visible(text)
    assert not any(line.strip().startswith(first) for line in inside)


@pytest.mark.parametrize(
    "text", ["=1+2", "+a", "-a", "@SUM(A1)", "\t=a", "\r=a", "-2+3", "=", " =x", "\u200b=x"]
)
def test_a_cell_that_begins_like_a_formula_is_text(text):
    assert csv_cell(text).startswith("'") and "\t" not in csv_cell(text)
    (row,) = csv.reader([csv_comment(f"runs differ: x, {text}; {text}")])
    assert not any(piece.strip().startswith(tuple("=+-@")) for cell in row for piece in cell.split(";"))


@pytest.mark.parametrize("text", ["-5", "-5.25", "+3", "-1e-7", "kpig", "a=b", "1,000", ""])
def test_numbers_and_plain_words_stay_as_they_are(text):
    assert csv_cell(text) == text


def test_the_labels_of_a_comparison_are_text_to_a_spreadsheet(tmp_path):
    for seed in (0, 1):
        test_compare.write_run(tmp_path / f"{seed}", "=HYPERLINK(1)", seed, p_seen=50.0)
        test_compare.write_run(tmp_path / f"k{seed}", "kpig", seed)
    rows = test_compare.csv_rows(test_compare.compare([tmp_path], "", True))
    assert "'=HYPERLINK(1)" in {row[0] for row in rows}
    cells = [cell for row in rows.values() for cell in row.values() if cell.startswith(tuple("=+-@"))]
    assert all(re.fullmatch(r"-?[\d.e-]+", cell) for cell in cells)
    assert any(cell.startswith("-") for cell in cells), "negative numbers stay numbers"
