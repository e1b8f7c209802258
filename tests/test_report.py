"""A report says what scores.json says, shows other people's text as text, and renders odd runs too."""

import base64
import gzip
import html
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from statistics import stdev

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binomtest

from forked import kpig
from kpig import report
from kpig.errors import RunError
from kpig.records import HELD_OUT, LATER, NEW_WORDING, SEED_WORDING, SEEN, Gain, Prediction, Task
from kpig.report import answered, explorer, prompts, spread
from kpig.report.course_plots import rehearsal_figure
from kpig.report.drawing import log_axis, thinned
from kpig.report.loss_plot import loss_figure
from kpig.report.text import MAX_SHOWN_CHARACTERS, NONE, shortened
from kpig.scoring import predictions, scores
from kpig.scoring.records import Cost

SCRIPT = "<script>alert(1)</script>"
LINK = '<a href="javascript:alert(3)">x</a>'
IMAGE = "</script><img src=x onerror=alert(2)>"
COST = Cost(
    updates=7,
    train_tokens=123456,
    forward_tokens=950,
    replayed_examples=3,
    gain_seconds=1.5,
    train_seconds=90.0,
    eval_seconds=12.0,
)


def prediction(task, group, number, right, wording=SEED_WORDING, measured=True, **text):
    fields = {
        "task": task,
        "example": f"{task}-{number}",
        "group": group,
        "wording": wording,
        "prompt": "Say the word.\nInput: pig",
        "response": "pig" if right else "cow",
        "references": ("pig",),
        "finished": True,
        "exact_match": float(right),
        "rouge_l": float(right),
        "violations": () if right else ("out_of_scope",),
        "num_constraints": 1,
        "masked_response": "cow" if measured else None,
        "gain": Gain(0.25 + 0.5 * right, 1.0, 0.75, 0.25) if measured else None,
    }
    return Prediction(**fields | text)


def write_run(folder, method="kpig", learned=(("a", "b"), ("c",)), held_out=("h",), measured=True, **text):
    """A finished run folder: three test examples per task, one more right after every step."""
    tasks = [Task(name, (), (), (), "accuracy") for step in (*learned, held_out) for name in step]
    steps = []
    for number in range(len(learned) + 1):
        groups = {SEEN: learned[:number], LATER: learned[number : number + 1] if number else learned}
        grouped = [(name, group) for group, part in groups.items() for step in part for name in step]
        grouped += [(name, HELD_OUT) for name in held_out]
        rows = [
            prediction(name, group, i, i < number + (wording == SEED_WORDING), wording, measured, **text)
            for name, group in grouped
            for wording in (SEED_WORDING, NEW_WORDING)
            for i in range(3)
        ]
        steps.append(scores.step_scores(number, rows, tasks))
        step_dir = folder / "steps" / f"{number:02d}"
        for position, name in enumerate(dict.fromkeys(row.task for row in rows)):
            of_task = [row for row in rows if row.task == name]
            predictions.write(step_dir / "predictions" / f"{position}.jsonl", of_task)
        (step_dir / "DONE").touch()
    result = scores.run_scores(method, 0, steps, learned, COST, shortened_examples=5)
    events = [{"step": 1 + i // 3, "update": 1 + i % 3, "loss": 1.5 / (i + 1)} for i in range(6)]
    (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events) + '{"step": 9, "up')
    scores.write_run(folder / "scores.json", result)
    (folder / "config.toml").write_text(f"seed = 0\n[method]\nname = {json.dumps(method)}\n")
    (folder / "environment.json").write_text(
        json.dumps({"command": f"kpig run {method}", "packages": {"torch": "2"}})
    )
    (folder / "stream.json").write_text(
        json.dumps({"name": "s", "digest": "d", "steps": [{}] * len(learned)})
    )
    return folder


def written(runs, out_dir):
    path = report.write(runs, out_dir)
    page = path.read_text(encoding="utf-8")
    return re.sub(r"<script.*?</script>", "", page, flags=re.S), page, (out_dir / "report.md").read_text()


def table_cells(markdown, name):
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def html_cells(page, section, name):
    part = page.split(f'id="{section}"')[1].split("</section>")[0]
    row = next(row for row in part.split("<tr") if re.search(rf"<th>(<span[^>]*>)?{name}<", row))
    found = re.findall(r'<td class="number[^"]*"[^>]*>(.*?)</td>', row)
    return [html.unescape(re.sub(r'<span class="interval">.*?</span>', "", cell)) for cell in found]


def carried(page, name):
    """The data of a name that a page carries."""
    letters = re.search(rf'<script type="application/gzip" id="data-{name}">(.*?)</script>', page)[1]
    return json.loads(gzip.decompress(base64.b64decode(letters)))


def printed(runs, width=100):
    console = Console(width=width, record=True, file=StringIO())
    console.print(report.terminal_table(runs))
    return console.export_text()


def test_every_number_of_the_comparison_is_the_one_in_scores_json(tmp_path):
    run = report.read_run(write_run(tmp_path / "run"))
    _, page, markdown = written([run], tmp_path)
    final, cost = run.scores.final, run.scores.cost
    expected = [
        f"{final.seen.p_score:.1f}",
        f"{final.held_out.p_score:.1f}",
        f"{final.held_out.new_wording.p_score:.1f}",
        f"{final.seen.v_score:.1f}",
        f"{final.held_out.v_score:.1f}",
        f"{final.forgetting:.1f}",
        f"{final.backward_transfer:.1f}",
        f"{final.seen.half_listening:.1f}/{final.held_out.half_listening:.1f}",
        f"{final.seen.gain:.2f}",
        f"{cost.updates}",
        "123.5k",
        "950",
        "1.5",
    ]
    assert html_cells(page, "comparison", "kpig") == expected
    assert table_cells(markdown, "kpig")[1:] == expected
    assert printed([run]).split("\nkpig")[1].split("\n")[0].split() == expected


def test_the_untuned_model_is_the_first_row_with_the_scores_of_step_0(tmp_path):
    run = report.read_run(write_run(tmp_path / "run"))
    _, page, markdown = written([run], tmp_path)
    start = run.scores.steps[0]
    expected = [f"{group.p_score:.1f}" for group in (start.later, start.held_out)]
    assert html_cells(page, "comparison", "untuned")[:2] == expected
    assert table_cells(markdown, "untuned")[1:3] == expected
    assert page.index("<th>untuned</th>") < page.index("<th>kpig</th>")


def test_every_number_of_a_task_is_the_one_in_scores_json(tmp_path):
    run = report.read_run(write_run(tmp_path / "run"))
    _, page, markdown = written([run], tmp_path)
    for name, score in run.scores.steps[-1].tasks.items():
        numbers = [score.p_score, score.new_wording.p_score, score.v_score, score.half_listening]
        expected = [f"{number:.1f}" for number in numbers] + [f"{score.gain:.2f}"]
        assert html_cells(page, "tasks", name) == expected
        assert table_cells(markdown, name)[3:] == expected


def test_two_runs_stand_side_by_side(tmp_path):
    runs = [report.read_run(write_run(tmp_path / name, name)) for name in ("kpig", "sequential")]
    _, page, markdown = written(runs, tmp_path)
    assert "<th>kpig</th>" in page and "<th>sequential</th>" in page
    assert "### kpig" in markdown and "### sequential" in markdown
    assert markdown.count("| untuned |") == 1
    assert page.count("kpig run") >= 2


def test_runs_of_one_method_are_told_apart_by_their_folders(tmp_path):
    runs = [report.read_run(write_run(tmp_path / name)) for name in ("one", "two")]
    text = printed(runs, 120)
    assert "(one)" in text and "(two)" in text
    same = printed([runs[0], runs[0]], 120)
    assert "kpig (one) 2" in same


def test_different_starting_scores_and_settings_are_pointed_out(tmp_path):
    first, second = write_run(tmp_path / "kpig"), write_run(tmp_path / "mtl", "mtl", learned=(("a",),))
    (second / "config.toml").write_text('seed = 3\n[method]\nname = "mtl"\n')
    _, page, _ = written([report.read_run(first), report.read_run(second)], tmp_path)
    assert "untuned (kpig)" in page and "untuned (mtl)" in page
    assert "Settings beside the method differ: seed." in page


class Structure(HTMLParser):
    """The tags and attribute names of a page, and the text inside its scripts."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, [name for name, _ in attributes]))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)


def full_of(text, folder):
    """A run whose method, tasks, prompts, responses and violations all hold the text."""
    names = {"learned": ((f"a{text}",), (f"b{text}",)), "held_out": (f"h{text}",)}
    said = {"prompt": text, "response": text, "references": (text,), "violations": (text,)}
    return report.read_run(write_run(folder, method=f"m{text}", **names, **said))


def test_what_a_method_could_not_do_stands_above_the_numbers(tmp_path):
    folder = write_run(tmp_path / "ssr", "ssr")
    path = folder / "scores.json"
    scores.write_run(
        path, replace(scores.read_run(path), notes=(f"wrote 2 of 100 examples for task {SCRIPT}",))
    )
    visible, page, markdown = written([report.read_run(folder)], tmp_path / "report")
    assert f"ssr: wrote 2 of 100 examples for task {SCRIPT}" in html.unescape(visible)
    assert "ssr: wrote 2 of 100 examples for task" in markdown
    assert SCRIPT not in page + markdown


@pytest.mark.parametrize("hostile", [SCRIPT, IMAGE, LINK, "{{ 7*7 }}<b>", "a|b\nc ````"])
def test_hostile_text_is_shown_and_adds_no_tag(tmp_path, hostile):
    visible, page, markdown = written([full_of(hostile, tmp_path / "run")], tmp_path)
    _, harmless, _ = written([full_of("x", tmp_path / "harmless")], tmp_path / "other")
    assert Structure(page).tags == Structure(harmless).tags
    assert hostile in html.unescape(visible)
    assert "<script>alert" not in page and "<img" not in page and 'href="javascript' not in page
    shown = carried(page, "run-0")
    assert shown["explorer"]["examples"][0]["answers"][0]["response"] == hostile
    assert hostile in shown["grid"]["tasks"][0]["name"]
    outside_code = re.sub(r"^(````*)\n.*?^\1$", "", markdown, flags=re.S | re.M)
    assert not re.search(r"<\w", outside_code)
    rows = [line for line in outside_code.splitlines() if "accuracy" in line]
    assert len(rows) == 3 and all(len(re.findall(r"(?<!\\)\|", row)) == 9 for row in rows)
    printed([full_of(hostile, tmp_path / "again")])


def test_plot_labels_hold_no_tags_that_plotly_would_draw(tmp_path):
    _, page, _ = written([full_of(LINK, tmp_path / "run")], tmp_path)
    plots = json.dumps([carried(page, "figures"), carried(page, "run-0")["plots"]])
    assert "<a href" not in plots and "&lt;a href" in plots


def test_the_page_needs_no_network(tmp_path):
    visible, page, _ = written([report.read_run(write_run(tmp_path / "run"))], tmp_path)
    assert not re.search(r"<script[^>]*src=|<link|<img|@import", visible)
    assert not re.search(r"<script[^>]*\bsrc=", page)
    assert "default-src 'none'" in html.unescape(visible)


@pytest.mark.parametrize(
    "odd",
    [
        {"method": "mtl", "learned": (("a", "b", "c"),)},
        {"method": "init", "learned": (("a",),), "held_out": ()},
        {"measured": False},
        {"held_out": ()},
    ],
    ids=[
        "single step",
        "single step without held-out tasks",
        "no gain, no half-listening",
        "no held-out tasks",
    ],
)
def test_runs_with_gaps_render_dashes(tmp_path, odd):
    run = report.read_run(write_run(tmp_path / "run", **odd))
    _, page, markdown = written([run], tmp_path)
    assert NONE in table_cells(markdown, run.name)
    assert "None" not in html_cells(page, "comparison", run.name)
    assert "nan" not in " ".join(html_cells(page, "comparison", run.name))
    assert NONE in printed([run])


def test_a_run_without_events_and_predictions_renders(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "events.jsonl").unlink()
    for path in folder.glob("steps/*/predictions/*"):
        path.unlink()
    visible, page, _ = written([report.read_run(folder)], tmp_path)
    found = carried(page, "run-0")
    assert found["explorer"]["examples"] == [] and found["plots"] == []
    assert "this cannot be told" not in visible and "not known" in visible
    assert "Loss of every update" not in visible


def test_damaged_predictions_are_named(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "steps/02/predictions/0.jsonl").write_text("{")
    with pytest.raises(RunError, match=r"0\.jsonl: cannot be read as predictions"):
        report.write([report.read_run(folder)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_step_replayed_is_counted_over_its_updates_and_drawn(tmp_path):
    folder = write_run(tmp_path / "run")
    events = [
        {"step": 1, "update": 1, "loss": 1.0, "replayed": 0},
        {"step": 2, "update": 1, "loss": 1.0, "replayed_tasks": {"a": 3, "b": 1}},
        {"step": 2, "update": 2, "loss": 1.0, "replayed_tasks": {"a": 4}},
        {"step": 3, "update": 1, "loss": 1.0, "replayed_tasks": {SCRIPT: 8}},
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    run = report.read_run(folder)
    (drawn,) = rehearsal_figure(run).data
    assert [list(row) for row in drawn.z] == [[75, 100, 0], [25, 0, 0], [0, 0, 100]]
    assert [name.split(",")[0] for name in drawn.text[0]] == ["step 2", "step 2", "step 3"]
    _, page, _ = written([run], tmp_path / "report")
    plots = carried(page, "run-0")["plots"]
    assert "What was rehearsed when" in [one["title"] for one in plots] and SCRIPT not in json.dumps(plots)


@pytest.mark.parametrize("shares", [(38, 62), (38, 38, 24), (5, 5, 90), (1,) * 20])
def test_a_share_is_drawn_as_deep_as_it_is_large(tmp_path, shares):
    folder = write_run(tmp_path / "run")
    event = {
        "step": 2,
        "update": 1,
        "loss": 1.0,
        "replayed_tasks": {f"t{n}": one for n, one in enumerate(shares)},
    }
    (folder / "events.jsonl").write_text(json.dumps(event) + "\n")
    (drawn,) = rehearsal_figure(report.read_run(folder)).data
    assert drawn.zmin == 0 and drawn.zmax == pytest.approx(100 * max(shares) / sum(shares))


def test_a_run_without_replay_has_no_plot_of_it(tmp_path):
    assert rehearsal_figure(report.read_run(write_run(tmp_path / "run"))) is None


def test_validation_losses_are_dots_where_they_were_measured_joined_within_a_step(tmp_path):
    folder = write_run(tmp_path / "run")
    measured = {(1, 2): 0.75, (1, 3): 0.5, (2, 2): 1.25, (2, 3): 1.5}
    events = [
        {"step": step, "update": update, "loss": 2.0}
        | ({"validation_loss": measured[step, update]} if (step, update) in measured else {})
        for step in (1, 2)
        for update in (1, 2, 3)
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    drawn = loss_figure([report.read_run(folder)])
    (dots,) = [trace for trace in drawn.data if "validation" in trace.name]
    assert list(dots.x) == [2, 3, None, 5, 6] and list(dots.y) == [0.75, 0.5, None, 1.25, 1.5]
    assert "validation" in written([report.read_run(folder)], tmp_path / "report")[1]


def test_a_run_without_validation_has_no_curve_of_it(tmp_path):
    drawn = loss_figure([report.read_run(write_run(tmp_path / "run"))])
    assert [trace.name for trace in drawn.data] == ["kpig"]


def test_an_update_done_twice_counts_once_with_its_later_loss(tmp_path):
    folder = write_run(tmp_path / "run")
    with (folder / "events.jsonl").open("a") as file:
        file.write('\n{"step": 2, "update": 1, "loss": 42.0}\n')
    events = report.read_run(folder).events
    assert [(e["step"], e["update"]) for e in events] == [(s, u) for s in (1, 2) for u in (1, 2, 3)]
    assert events[3]["loss"] == 42.0


def explored(run, share=1.0):
    return explorer.explorer(answered.read(run), prompts.Examples(run), share)


def test_every_answer_of_every_step_is_there_by_example(tmp_path):
    run = report.read_run(write_run(tmp_path / "run"))
    found = explored(run)
    kept = [
        (one["task"], one["id"], one["new"], answer["step"], answer["score"])
        for one in found["examples"]
        for answer in one["answers"]
    ]
    expected = [
        (row.task, row.example, row.wording == NEW_WORDING, step.step, row.exact_match)
        for step in run.scores.steps
        for path in (tmp_path / f"run/steps/{step.step:02d}/predictions").glob("*.jsonl")
        for row in predictions.read(path)
    ]
    assert sorted(kept) == sorted(expected)
    assert found["num_answers"] == len(expected)


@pytest.mark.parametrize("most", [1, 7, 24, 45, 71])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_of_too_many_answers_an_even_choice_of_whole_examples_is_kept(tmp_path, monkeypatch, most, share):
    run = report.read_run(write_run(tmp_path / "run"))
    whole = explored(run)
    monkeypatch.setattr(explorer, "MOST_ANSWERS", most)
    found = explored(run, share)
    named = {(one["task"], one["id"], one["new"]): one["answers"] for one in whole["examples"]}
    kept = {(one["task"], one["id"], one["new"]): one["answers"] for one in found["examples"]}
    assert kept.items() <= named.items() and len(kept) < len(named)
    assert found["num_answers"] == whole["num_answers"] and found["num_examples"] == len(named)
    assert sum(map(len, kept.values())) <= max(most * share, 3), "three steps of one example at least"
    if most * share >= 24:
        assert {name[::2] for name in kept} == {name[::2] for name in named}, "every task and wording"


def test_long_texts_are_shortened_and_say_so():
    shown = shortened("x" * (MAX_SHOWN_CHARACTERS + 7))
    assert shown.endswith("(7 more characters)")


def test_the_terminal_table_fits_100_columns_and_names_the_scorer(tmp_path):
    runs = [report.read_run(write_run(tmp_path / name, name)) for name in ("kpig", "sequential")]
    text = printed(runs)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert "superni-rouge 1" in text


def test_a_report_inside_the_run_folder_leaves_the_run_readable(tmp_path):
    folder = write_run(tmp_path / "run")
    path = report.write([report.read_run(folder)], folder)
    assert path == folder / "report.html" and path.is_file()
    assert report.read_run(folder).name == "kpig"


def test_a_run_that_is_not_finished_is_refused_with_the_way_to_finish_it(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "scores.json").unlink()
    (folder / "steps/02/DONE").unlink()
    with pytest.raises(RunError, match=r"not finished \(1 of 2 steps done.*--resume"):
        report.read_run(folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no run of kpig"):
        report.read_run(tmp_path)
    with pytest.raises(RunError, match="there is no such folder"):
        report.read_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"version": 0}', "has version 0, this kpig reads version 1"),
        ('{"version": 2}', "has version 2"),
        ('{"accuracy": 3}', "no scores.json of kpig"),
        ("[]", "no scores.json of kpig"),
        ('{"version": 1}', "is incomplete"),
        ("{", "cannot be read"),
    ],
)
def test_scores_of_another_kind_or_version_are_refused(tmp_path, text, message):
    folder = write_run(tmp_path / "run")
    (folder / "scores.json").write_text(text)
    with pytest.raises(RunError, match=message):
        report.read_run(folder)


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(RunError, match="at least one run"):
        report.write([], tmp_path)


def test_importing_the_report_loads_neither_torch_nor_plotly():
    heavy = ("torch", "plotly", "jinja2", "rich")
    code = f"import sys, kpig.report; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def going_on(folder, num_done, learned):
    """A run of which so many steps are done."""
    run = write_run(folder, learned=learned)
    for step in report.read_run(run).scores.steps:
        step_dir = run / "steps" / f"{step.step:02d}"
        scores.write_step(step_dir / "scores.json", step, COST)
        if step.step > num_done:
            shutil.rmtree(step_dir)
    (run / "scores.json").unlink()
    return run


def told(*runs):
    done = kpig("report", *runs)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_unfinished_run_says_how_far_it_is_and_writes_nothing(tmp_path):
    run = going_on(tmp_path / "run", 2, (("a",), ("b",), ("c",)))
    found = told(run)
    assert "2 of 3 steps done" in found and "last update: 3 of step 2" in found
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in found.splitlines() if line[0] == "│"]
    assert rows == [["untuned", "–"], ["1", "66.7"], ["2", "100.0"]]
    assert not (run / "report.html").exists()


def test_a_finished_run_beside_an_unfinished_one_gets_its_report(tmp_path):
    going, finished = going_on(tmp_path / "going", 0, (("a",),)), write_run(tmp_path / "finished")
    (going / "events.jsonl").unlink()
    assert "no update was done yet" in told(going, finished)
    assert (finished / "report.html").is_file() and not (going / "report.html").exists()


def test_the_page_of_an_unfinished_run_goes_where_it_is_asked_for_and_says_how_far_it_is(tmp_path):
    run = going_on(tmp_path / "run", 2, (("a",), ("b",), ("c",), ("d",)))
    before = sorted(run.rglob("*"))
    told(run, "--out", tmp_path / "page")
    page = (tmp_path / "page/report.html").read_text()
    assert "at step 3 of 4" in page and "2 of 4 steps done" in page
    assert "P-score on 2 learned tasks" in page and "P-score on 1 held-out task," in page
    assert [one["name"] for one in carried(page, "run-0")["grid"]["tasks"]][:2] == ["a", "b"]
    assert carried(page, "run-0")["grid"]["steps"] == [0, 1, 2]
    assert sorted(run.rglob("*")) == before
    assert "at step 3 of 4" in (tmp_path / "page/report.md").read_text()


@pytest.mark.parametrize("is_told", [True, False])
def test_a_step_that_repeats_a_task_is_part_of_the_page_of_an_unfinished_run(tmp_path, is_told):
    learned = (("a",), ("b",), ("a",), ("c",))
    run = going_on(tmp_path / "run", 3, learned)
    if is_told:
        planned = [
            {"step": 1 + i, "tasks": [{"task": one} for one in step]} for i, step in enumerate(learned)
        ]
        (run / "stream.json").write_text(json.dumps({"name": "s", "digest": "d", "steps": planned}))
    begun = report.read_begun(run)
    assert len(begun.scores.matrix[-1]) == 3
    assert not is_told or begun.scores.matrix[-1][2] == begun.scores.matrix[-1][0]
    told(run, "--out", tmp_path / "page")
    assert "at step 4 of 4" in (tmp_path / "page/report.html").read_text()


def test_a_metric_that_a_run_names_is_not_imported_to_show_it(tmp_path, monkeypatch):
    marker = tmp_path / "imported"
    (tmp_path / "strangers.py").write_text(f"open({str(marker)!r}, 'w')\ndef metric(*_): return 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = write_run(tmp_path / "run")
    for path in (run / "scores.json", *run.rglob("steps/*/scores.json")):
        path.write_text(path.read_text().replace('"accuracy"', '"strangers:metric"'))
    _, page, _ = written([report.read_run(run)], tmp_path)
    assert "no page imports strangers:metric, a metric of your own" in html.unescape(page)
    assert not marker.exists() and "strangers" not in sys.modules


@pytest.mark.parametrize("num_done", [0, 1])
def test_the_page_of_a_run_that_has_hardly_begun_is_made_too(tmp_path, num_done):
    run = going_on(tmp_path / "run", num_done, (("a",), ("b",)))
    told(run, "--out", tmp_path / "page")
    page = (tmp_path / "page/report.html").read_text()
    assert f"at step {num_done + 1} of 2" in page
    assert ("P-score on 1 learned task," if num_done else "P-score on 2 still unlearned tasks,") in page


def test_what_the_first_screen_says_are_the_numbers_of_scores_json(tmp_path):
    run = report.read_run(write_run(tmp_path / "run"))
    visible, _, markdown = written([run], tmp_path)
    final, start = run.scores.final, run.scores.steps[0]
    sentence = (
        f"P-score {final.seen.p_score:.1f} on the tasks it learned, up "
        f"{final.seen.p_score - start.later.p_score:.1f} from the untuned model"
    )
    assert sentence in html.unescape(visible) and sentence in markdown.replace("\\", "")
    cards = html.unescape(re.sub(r"<[^>]+>", "", visible.split('class="cards"')[1].split("</ul>")[0]))
    for line in (
        f"{final.seen.v_score:.1f} % of answers break a rule",
        f"{run.scores.cost.updates:,} updates",
        f"{final.forgetting:.1f} points forgotten",
    ):
        assert line in cards


def test_errors_and_intervals_are_those_of_the_answers(tmp_path):
    run = report.read_run(write_run(tmp_path / "run"))
    _, page, _ = written([run], tmp_path)
    found = carried(page, "run-0")["grid"]
    row = next(one for one in found["tasks"] if one["name"] == "a")
    right = [[100.0 * (i < step + 1) for i in range(3)] for step in range(3)]
    expected = [stdev(values) / math.sqrt(3) for values in right]
    assert row["errors"]["p"] == [pytest.approx(one, abs=1e-3) for one in expected]
    assert row["values"]["p"] == [pytest.approx(sum(one) / 3, abs=1e-3) for one in right]
    mean = found["means"]["held_out"]
    assert mean["values"]["p"][-1] == pytest.approx(run.scores.final.held_out.p_score, abs=1e-3)


@pytest.mark.parametrize("count, num_right", [(2, 0), (3, 3), (5, 1), (12, 12), (40, 17)])
def test_the_interval_of_a_share_is_scipys_wilson(count, num_right):
    values = [100.0] * num_right + [0.0] * (count - num_right)
    low, high = spread.interval(values, 0.0, 100.0)
    found = binomtest(num_right, count).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((100 * found.low, 100 * found.high), abs=0.01)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_an_interval_holds_its_mean_and_stays_in_its_range(values):
    low, high = spread.interval(values, 0.0, 1.0)
    assert (
        -1e-9 <= low <= sum(values) / len(values) + 1e-9
        and sum(values) / len(values) - 1e-9 <= high <= 1 + 1e-9
    )


@given(st.floats(1e-9, 1e9), st.floats(1.0, 1e9))
@example(1.0, 1.0000000000000002)
@example(0.3, 1.0)
@example(9.99, 1.003)
def test_a_log_axis_always_has_ticks_within_what_it_shows(low, ratio):
    values = [low, low * ratio]
    axis = log_axis(values)
    places = axis["tickvals"]
    assert len(places) >= 3 and places == sorted(set(places)) and all(one > 0 for one in places)
    begin, end = axis["range"]
    assert begin <= math.log10(min(values)) and math.log10(max(values)) <= end
    assert all(begin <= math.log10(one) <= end for one in places)
    assert len(set(axis["ticktext"])) == len(places) < 40


@pytest.mark.parametrize("losses", [(0.31, 0.42, 0.55), (1.2, 1.21), (2.0, 2.0), (0.09, 0.11)])
def test_losses_within_one_decade_have_ticks(tmp_path, losses):
    folder = write_run(tmp_path / "run")
    events = [{"step": 1, "update": n, "loss": one} for n, one in enumerate(losses, 1)]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    axis = loss_figure([report.read_run(folder)]).layout.yaxis
    assert (
        axis.type == "log"
        and sum(axis.range[0] <= math.log10(one) <= axis.range[1] for one in axis.tickvals) >= 3
    )


def test_what_a_method_of_ones_own_writes_into_its_updates_does_no_harm(tmp_path):
    folder = write_run(tmp_path / "run")
    odd = {"mine": "text", "list": [1], "huge": 10**400, "gain": {"a": "x", "b": 0.5}, "gradient_norm": None}
    event = {"step": 1, "update": 1, "loss": 1.0, "learning_rate": True, "t": "now", "extra": 0.25, **odd}
    (folder / "events.jsonl").write_text(json.dumps(event) + "\n")
    titles = [
        one["title"] for one in carried(written([report.read_run(folder)], tmp_path)[1], "run-0")["plots"]
    ]
    assert titles == ["Key-part gain of each task"]


def test_the_course_of_training_is_drawn_from_what_the_updates_say(tmp_path):
    folder = write_run(tmp_path / "run")
    events = [
        {
            "t": 100.0 + 2 * n,
            "step": 1,
            "update": n,
            "loss": 1.0 / n,
            "cross_entropy": 0.5,
            "twin_penalty": 0.1,
            "gradient_norm": 3.0,
            "learning_rate": 1e-3 * n,
            "train_tokens": 50,
        }
        for n in range(1, 8)
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    plots = {
        one["title"]: one["figure"]
        for one in carried(written([report.read_run(folder)], tmp_path)[1], "run-0")["plots"]
    }
    assert plots["Tokens per second"]["data"][0]["y"] == [25.0] * 6
    assert plots["Learning rate"]["data"][0]["y"] == [1e-3 * n for n in range(1, 8)]
    assert [one["name"] for one in plots["Loss and its parts"]["data"]] == ["cross entropy", "twin penalty"]


def test_a_line_of_many_updates_is_thinned_and_keeps_its_ends():
    for count in (0, 1, 2999, 3000, 3001, 100_000):
        found = thinned(range(count))
        assert len(found) <= 3001 and found[:1] == [0][:count] and found[-1:] == [count - 1][:count]
