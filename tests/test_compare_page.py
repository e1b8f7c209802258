"""The page of a comparison: both budgets, every pair of methods, and answers to the same example.

Every number is worked out here once more, by hand or by a plain loop; texts are bounded, scores are not.
"""

import base64
import gzip
import itertools
import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpig.compare import answers, budgets, pairs, verdict
from kpig.compare.comparison import compare
from kpig.compare.cost_plots import cost_figure
from kpig.compare.measures import COSTS, MEASURES
from kpig.compare.page import page, write
from kpig.compare.sheets import budgets as budget_sheet
from kpig.compare.sheets import sheets
from kpig.errors import RunError
from kpig.records import Prediction
from kpig.scoring import predictions
from test_compare import write_run

TASKS = ("sort", "count", "copy")
CELLS = list(itertools.product((0, 1, 2), ("given", (3, 1, 2))))


def answer(task, number, right, wording="seed", prompt=None, response=None, **changes):
    """A prediction whose score is 1 where `right`, else 0."""
    found = Prediction(
        task=task,
        example=f"{task}-{number}",
        group="seen",
        wording=wording,
        prompt=prompt or f"{task}: do it.\n\nInput: {number}",
        response=response or ("yes" if right else "no"),
        references=("yes",),
        finished=True,
        exact_match=float(right),
        rouge_l=float(right),
        violations=() if right else ("out_of_scope",),
        num_constraints=1,
    )
    return replace(found, **changes)


def task_entry(p_score, group="seen", metric="accuracy", v_score=5.0):
    return {
        "p_score": p_score,
        "metric": metric,
        "v_score": v_score,
        "violations": {},
        "half_listening": None,
        "gain": None,
        "log_gain": None,
        "n": 4,
        "coverage": True,
        "group": group,
    }


def with_answers(run, rows, metric="accuracy", cost=None):
    """Give a finished run predictions of its last step, and scores of their tasks."""
    scores = json.loads((run / "scores.json").read_text())
    last = scores["steps"][-1]
    by_task = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    last["tasks"] = {
        task: task_entry(100 * sum(row.exact_match for row in of_task) / len(of_task), metric=metric)
        for task, of_task in by_task.items()
    }
    scores["cost"] |= cost or {}
    (run / "scores.json").write_text(json.dumps(scores))
    predictions.write_by_task(run / f"steps/{last['step']:02d}/predictions", rows)
    return run


def data_of(text):
    blocks = re.findall(r'<script type="application/gzip" id="data-(\w+)">([^<]*)</script>', text)
    return {name: json.loads(gzip.decompress(base64.b64decode(one))) for name, one in blocks}


def pattern(method, seed, number):
    """Whether a method answers an example right: some pattern in which methods and seeds differ."""
    return (number * 7 + seed * 3 + len(method)) % 5 < 3


@pytest.fixture
def runs(tmp_path):
    """Two methods over six cells with four examples of each task; replay costs half of kpig's computing."""
    costs = {"kpig": {}, "replay": {"train_tokens": 6_000, "forward_tokens": 1_500}}
    for method, (place, (seed, order)) in itertools.product(costs, enumerate(CELLS)):
        run = write_run(tmp_path / "runs" / f"{method}{place}", method, seed, order, 60.0 + seed)
        rows = [answer(task, n, pattern(method, seed, n)) for task in TASKS for n in range(4)]
        rows += [answer(task, 0, method == "kpig", "new") for task in TASKS]
        with_answers(run, rows, cost=costs[method])
    return tmp_path / "runs"


# Both budgets.


POINTS = st.lists(
    st.none() | st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float)), max_size=8
)


@given(POINTS, st.sampled_from(("higher", "lower")))
def test_the_front_is_every_point_that_no_other_beats(points, better):
    found = budgets.front(points, better)
    sign = 1 if better == "higher" else -1

    def beaten(place):
        cost, score = points[place]
        return any(
            one is not None and one != (cost, score) and one[0] <= cost and sign * one[1] >= sign * score
            for one in points
        )

    wanted = {place for place, point in enumerate(points) if point is not None and not beaten(place)}
    assert set(found) == wanted and len(found) == len(wanted)
    assert [points[place][0] for place in found] == sorted(points[place][0] for place in found)


def test_computing_is_tokens_trained_on_and_a_third_of_those_read(runs):
    comparison = compare([runs])
    costs = {line.label: line.estimates["computing"].mean for line in comparison.lines}
    assert costs == {"kpig": 12_000 + 3_000 / 3, "replay": 6_000 + 1_500 / 3}
    cost = next(sheet for sheet in sheets(comparison) if sheet.title.startswith("Cost"))
    assert {row[0]: row[cost.headings.index("Computing")] for row in cost.rows} == {
        "kpig": "13,000",
        "replay": "6,500",
    }


def test_a_reading_names_whom_it_compares_and_says_where_it_compares_nobody(runs):
    updates, computing = budgets.sentences(compare([runs]))
    assert updates == "At equal updates (within 1%) kpig compares with: replay."
    assert computing.startswith("At equal computing (within 10%) no method here compares with kpig.")
    sheet = budget_sheet(compare([runs], "replay"))
    row = next(cells for cells in sheet.rows if cells[0] == "kpig")
    assert row[1:4] == ("30\n(1.00 x)", "13,000\n(2.00 x)", "updates")


@pytest.mark.parametrize(("factor", "is_equal"), [(0.89, False), (0.91, True), (1.09, True), (1.11, False)])
def test_computing_is_equal_within_a_tenth(tmp_path, factor, is_equal):
    write_run(tmp_path / "kpig")
    other = write_run(tmp_path / "replay", "replay")
    with_answers(
        other, [answer("sort", 0, True)], cost={"train_tokens": int(13_000 * factor), "forward_tokens": 0}
    )
    spent = {one.line.label: one for one in budgets.spent(compare([tmp_path]))}
    assert spent["replay"].is_equal("computing") is is_equal
    assert spent["replay"].is_equal("updates") and spent["kpig"].equal_in == "updates and computing"


def test_a_reference_that_costs_nothing_has_no_ratios(tmp_path):
    init = write_run(tmp_path / "init", "init")
    with_answers(init, [answer("sort", 0, True)], cost={"updates": 0, "train_tokens": 0, "forward_tokens": 0})
    write_run(tmp_path / "replay", "replay")
    comparison = compare([tmp_path], "init")
    assert all(one.ratio["computing"] is None for one in budgets.spent(comparison))
    assert "– x" in budget_sheet(comparison).rows[0][2] and page(comparison)


def test_the_front_is_drawn_through_methods_and_never_through_bounds(runs):
    write_run(runs.parent / "bound/mtl", "mtl", p_seen=99.0)
    comparison = compare([runs, runs.parent / "bound"])
    measure, cost = MEASURES[0], next(one for one in COSTS if one.key == "computing")
    found = cost_figure(comparison, measure, cost).to_plotly_json()
    front, *points = found["data"]
    assert front["x"] == [6_500] and front["y"] == [pytest.approx(61.0)]
    assert {trace["name"]: trace["x"] for trace in points} == {
        "kpig": [13_000],
        "replay": [6_500],
        "mtl": [13_000],
    }
    (strip,) = found["layout"]["shapes"]
    assert (strip["x0"], strip["x1"]) == (pytest.approx(11_700), pytest.approx(14_300))


# What the numbers say.


def test_the_verdict_tells_better_and_worse_by_the_direction_of_each_score(tmp_path):
    for number, (seed, order) in enumerate(CELLS):
        write_run(tmp_path / f"kpig{number}", "kpig", seed, order, p_seen=60 + number, p_held_out=40 - number)
        write_run(
            tmp_path / f"replay{number}", "replay", seed, order, p_seen=50 + number, p_held_out=45 - number
        )
    comparison = compare([tmp_path])
    (found,) = verdict.verdicts(comparison)
    assert found.label == "replay"
    assert found.worse == ("P seen -10.0",) and found.better == ("P held-out +5.0",)
    assert found.even == ("V seen", "V held-out", "Forgetting")
    assert verdict.leads(comparison) == [
        "P-score, seen: kpig has the highest mean over all runs, 62.5.",
        "P-score, held-out: replay has the highest mean over all runs, 42.5.",
    ]


def test_few_pairs_are_said_to_tell_nothing(tmp_path):
    for seed, method in itertools.product((0, 1), ("kpig", "replay")):
        write_run(tmp_path / f"{method}{seed}", method, seed, p_seen=90.0 if method == "kpig" else 10.0)
    *_, last = verdict.leads(compare([tmp_path]))
    assert last.startswith("With 2 pairs of runs no difference can be told from noise: adjusted p is 0.50")
    assert verdict.verdicts(compare([tmp_path]))[0].worse == ()


def test_a_method_that_lacks_runs_does_not_lead(tmp_path):
    for method, seeds in (("kpig", (0, 1)), ("replay", (0, 1)), ("sequential", (0,))):
        for seed in seeds:
            write_run(
                tmp_path / f"{method}{seed}", method, seed, p_seen=99.0 if seeds == (0,) else 50.0 + seed
            )
    assert verdict.leads(compare([tmp_path]))[0] == "P-score, seen: 2 methods share the highest mean, 50.5."


# Any two methods.


def test_the_difference_of_any_pair_is_that_of_the_table_and_turns_round(runs):
    comparison = compare([runs])
    found = pairs.as_data(comparison)["differences"]["0/1"]
    first, second = comparison.lines
    sign = 1 if second.label == comparison.reference else -1
    contrasts = (first if sign == 1 else second).contrasts
    for key, (mean, low, high, number, p) in found.items():
        wanted = contrasts[key].difference
        ends = (wanted.low, wanted.high) if sign == 1 else (-wanted.high, -wanted.low)
        assert (mean, number, p) == (sign * wanted.mean, wanted.n, contrasts[key].p)
        assert (low, high) == (pytest.approx(ends[0]), pytest.approx(ends[1]))


def test_many_methods_have_intervals_against_the_reference_and_among_the_first(tmp_path):
    number = pairs.MOST_PAIRED + 2
    for place in range(number):
        write_run(
            tmp_path / f"{place}", "replay", p_seen=90.0 - place, train={"learning_rate": 1e-4 * (place + 1)}
        )
    write_run(tmp_path / "kpig", "kpig", p_seen=1.0, p_held_out=1.0)
    comparison = compare([tmp_path])
    found = set(pairs.as_data(comparison)["differences"])
    reference = [line.label for line in comparison.lines].index("kpig")
    assert reference == number
    first = set(itertools.combinations(range(pairs.MOST_PAIRED), 2))
    assert found == {f"{a}/{b}" for a, b in first} | {f"{a}/{reference}" for a in range(number)}


def test_the_scores_by_task_are_those_of_the_runs(runs):
    comparison = compare([runs])
    found = pairs.as_data(comparison)
    assert found["tasks"] == [[task, "seen", "accuracy"] for task in TASKS]
    cells = answers.cells_of(comparison.lines)
    for number, line in enumerate(comparison.lines):
        for place, cell in enumerate(cells):
            scored = line.runs[cell].record.scores.steps[-1].tasks
            assert found["scores"][number][place] == [
                [round(scored[task].p_score, 2), scored[task].v_score] for task in TASKS
            ]


# Answers to the same example.


def test_an_example_holds_the_score_of_every_method_and_finds_its_texts(runs):
    comparison = compare([runs])
    found = answers.as_data(answers.read(comparison.lines), comparison.lines)
    labels = [line.label for line in comparison.lines]
    assert len(found["examples"]) == len(CELLS) * (4 + 1) * len(TASKS)
    for task, cell, name, is_new, scores, place in found["examples"]:
        seed, number = int(found["cells"][cell].split()[1].strip(",")), int(name.rsplit("-", 1)[1])
        wanted = [label == "kpig" if is_new else pattern(label, seed, number) for label in labels]
        assert scores == [100.0 * one for one in wanted]
        texts = found["texts"][place]
        assert [one["response"] for one in texts["answers"]] == ["yes" if one else "no" for one in wanted]
        assert found["prompts"][texts["prompt"]].startswith(f"{found['tasks'][task]}: do it.")


def test_texts_are_bounded_and_those_that_differ_come_first_the_same_number_of_each_task(
    tmp_path, monkeypatch
):
    for method in ("kpig", "replay"):
        rows = [
            answer(task, n, method == "kpig" or n < 20, prompt=f"{task} {n} " + "x" * 100)
            for task in TASKS
            for n in range(30)
        ]
        with_answers(write_run(tmp_path / method, method), rows)
    lines = compare([tmp_path]).lines
    monkeypatch.setattr(answers, "MOST_CHARACTERS", 1_900)
    found = answers.as_data(answers.read(lines), lines)
    kept = [
        (found["tasks"][task], scores) for task, _, _, _, scores, place in found["examples"] if place >= 0
    ]
    assert len(found["examples"]) == 90 and all(scores[0] != scores[1] for _, scores in kept)
    counts = {task: sum(name == task for name, _ in kept) for task in TASKS}
    assert sum(counts.values()) == len(found["texts"]) and max(counts.values()) - min(counts.values()) <= 1
    size = sum(len(prompt) for prompt in found["prompts"])
    assert 1_500 < size <= 1_900


def test_answers_are_read_by_cell_until_there_are_enough_and_the_rest_is_named(runs, monkeypatch):
    monkeypatch.setattr(answers, "MOST_READ", 40)
    lines = compare([runs]).lines
    found = answers.as_data(answers.read(lines), lines)
    assert {cell for _, cell, *_ in found["examples"]} == {0, 1}
    assert found["left_out"] == found["cells"][2:]


def test_examples_of_one_name_are_told_apart_by_their_order(tmp_path):
    for method in ("kpig", "replay"):
        rows = [
            answer("sort", 0, right, prompt=f"p{number}") for number, right in enumerate((True, False, True))
        ]
        with_answers(write_run(tmp_path / method, method), rows)
    lines = compare([tmp_path]).lines
    assert [list(one.scores.values()) for one in answers.read(lines).examples] == [[1, 1], [0, 0], [1, 1]]


def test_a_metric_of_the_users_own_is_never_imported_for_a_page(tmp_path):
    (tmp_path / "runs").mkdir()
    run = write_run(tmp_path / "runs/kpig")
    with_answers(run, [answer("sort", 0, True)], metric="antigravity:fly")
    found = data_of(page(compare([tmp_path / "runs"])))["answers"]
    assert found["examples"] == [[0, 0, "sort-0", 0, [None], 0]]


def test_damaged_predictions_are_refused_by_name_and_missing_ones_are_not_there(runs):
    damaged = runs / "kpig0/steps/03/predictions/sort.jsonl"
    damaged.write_text("{}\n")
    with pytest.raises(RunError, match=r"sort\.jsonl: cannot be read as predictions: line 1"):
        page(compare([runs]))
    for path in runs.rglob("*.jsonl"):
        path.unlink()
    assert data_of(page(compare([runs])))["answers"]["examples"] == []


# The page.


def test_the_page_is_the_same_again_and_holds_no_text_outside_its_markup(runs, tmp_path):
    comparison = compare([runs])
    text = write(comparison, tmp_path / "out").read_text()
    assert text == page(comparison)
    assert "'unsafe-inline'" not in re.search(r"script-src[^;]*", text)[0]
    assert not re.search(r"\son\w+=", re.sub(r"<script>.*?</script>", "", text, flags=re.S))


def test_every_cell_of_a_table_sorts_by_its_number(runs):
    for sheet in sheets(compare([runs])):
        for cells, numbers in zip(sheet.rows, sheet.values, strict=True):
            for text, value in zip(cells[1:], numbers, strict=True):
                shown = text.split("\n")[0].rstrip("*").replace(",", "")
                assert (value is None) == (shown == "–")
                assert value is None or abs(float(shown) - value) <= 0.51


def test_a_page_of_many_answers_is_small(tmp_path):
    words = Path(answers.__file__).read_text().split()
    for method in ("kpig", "replay"):
        rows = [
            answer(task, n, (n + len(method)) % 3 > 0, prompt=" ".join(words[n % 50 : n % 50 + 60]) + f" {n}")
            for task in TASKS
            for n in range(400)
        ]
        with_answers(write_run(tmp_path / method, method), rows)
    assert len(page(compare([tmp_path]))) < 2_700_000


def test_the_command_of_the_docs_writes_the_page(runs):
    text = (Path(__file__).parents[1] / "docs/compare.md").read_text(encoding="utf-8")
    command = next(shlex.split(line) for line in text.splitlines() if line.startswith("kpig compare"))
    runs.rename(runs.parent / "sweep")
    (runs.parent / "runs").mkdir()
    (runs.parent / "sweep").rename(runs.parent / "runs/sweep")
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=runs.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 methods or settings in 12 runs" in (runs.parent / "runs/compared/compare.html").read_text()
