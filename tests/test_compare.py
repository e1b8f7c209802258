"""A comparison's numbers are SciPy's and those worked by hand, it refuses what does not compare, and its
tables and plots show other people's text as text."""

import base64
import csv
import gzip
import html
import io
import itertools
import json
import math
import re
import subprocess
import sys
import tomllib
from statistics import fmean

import pytest
from rich.console import Console
from scipy import stats

from forked import kpig
from kpig import compare as comparing
from kpig import config, records
from kpig.compare.comparison import compare
from kpig.compare.labels import label_runs
from kpig.compare.latex import tex
from kpig.compare.page import write
from kpig.compare.plots import MAX_DRAWN, step_figure
from kpig.compare.runs import read_all
from kpig.compare.sheets import sheets
from kpig.compare.statistics import bootstrap_interval
from kpig.errors import RunError, UsageError
from kpig.model import folder
from kpig.runs import job
from kpig.scoring.significance import holm, paired_permutation_test

SCRIPT = "<script>alert(1)</script>"
TASKS = ("sort", "count", "copy")
COST = {
    "updates": 30,
    "train_tokens": 12_000,
    "forward_tokens": 3_000,
    "replayed_examples": 12,
    "gain_seconds": 1.5,
    "train_seconds": 61.25,
    "eval_seconds": 7.0,
}


def group(p_score, v_score=10.0, gap=2.5):
    entry = {
        "p_score": p_score,
        "v_score": v_score,
        "violations": {"out_of_scope": v_score, "degenerate": 1.0},
    }
    entry |= {"half_listening": 5.0, "gain": 0.25, "log_gain": 1.0, "constrained": 100.0, "num_tasks": 3}
    return entry | {
        "new_wording": {"p_score": p_score - gap, "v_score": v_score, "wording_gap": gap, "num_tasks": 3}
    }


def scores_of(method, seed, p_seen, p_held_out, single_step, scorer):
    ends = [] if single_step else [p_seen + 5, p_seen + 3]
    steps = [{"step": 0, "seen": {}, "later": group(20.0), "held_out": group(30.0), "tasks": {}}]
    for number, p_score in enumerate([*ends, p_seen], start=1):
        steps.append(
            {"step": number, "seen": group(p_score), "later": {}, "held_out": group(p_held_out), "tasks": {}}
        )
    final = {"seen": group(p_seen), "held_out": group(p_held_out), "average": p_seen}
    transfer = None if single_step else 3.0
    final |= {"backward_transfer": transfer, "forgetting": transfer, "forward_transfer": transfer}
    return {
        "version": 1,
        "method": method,
        "seed": seed,
        "scorer": scorer,
        "steps": steps,
        "final": final,
        "matrix": [[20.0]],
        "cost": COST,
    }


def write_run(
    folder,
    method="kpig",
    seed=0,
    order="given",
    p_seen=60.0,
    p_held_out=40.0,
    tasks=TASKS,
    scorer="superni-rouge 1",
    environment=None,
    finished=True,
    **sections,
):
    """A finished run folder: three steps of one task each, or one step for mtl and init."""
    folder.mkdir(parents=True)
    table = {"seed": seed, "stream": {"order": order}, "method": {"name": method}}
    for name, values in sections.items():
        table[name] = table.get(name, {}) | values
    arranged = list(tasks) if order == "given" else [tasks[number - 1] for number in order]
    steps = [
        {"step": n, "tasks": [{"task": t, "digest": f"digest of {t}"}]} for n, t in enumerate(arranged, 1)
    ]
    stream = {"name": "s", "digest": "d", "steps": steps, "held_out": [{"task": "hidden", "digest": "h"}]}
    (folder / "config.toml").write_text(config.dump(config.build(table)))
    (folder / "stream.json").write_text(json.dumps(stream))
    (folder / "environment.json").write_text(json.dumps({"device": "cpu", **(environment or {})}))
    if finished:
        scores = scores_of(method, seed, p_seen, p_held_out, method in ("mtl", "init"), scorer)
        (folder / "scores.json").write_text(json.dumps(scores))
    return folder


def started(folder, **sections):
    """Give a run an earlier start, whose config had other values."""
    table = tomllib.loads((folder / "config.toml").read_text())
    for name, values in sections.items():
        table[name] = table.get(name, {}) | values
    (folder / "starts").mkdir()
    (folder / "starts/config.01.toml").write_text(config.dump(config.build(table)))


ORDERS = ("given", (3, 1, 2))
CELLS = list(itertools.product((0, 1, 2), ORDERS))
SEEN = {
    "kpig": [71.0, 74.5, 69.5, 73.0, 70.0, 75.5],
    "replay": [68.0, 73.0, 70.0, 70.5, 66.0, 71.0],
    "sequential": [41.0, 39.0, 44.0, 37.5, 40.0, 42.5],
}


@pytest.fixture
def ladder(tmp_path):
    """Three methods over three seeds and two orders, and init once."""
    for method, scores in SEEN.items():
        for number, ((seed, order), p_seen) in enumerate(zip(CELLS, scores, strict=True)):
            write_run(tmp_path / "runs" / method / str(number), method, seed, order, p_seen, p_seen / 2)
    write_run(tmp_path / "runs/init", "init", p_seen=20.0, p_held_out=30.0)
    return tmp_path / "runs"


def line_of(comparison, label):
    return next(line for line in comparison.lines if line.label == label)


def csv_rows(comparison):
    lines = comparing.FORMATS["csv"](comparison).splitlines(True)
    text = "".join(line for line in lines if not line.startswith("#"))
    return {(row["method"], row["measure"]): row for row in csv.DictReader(io.StringIO(text))}


def printed(comparison, width=110):
    console = Console(width=width, record=True, file=io.StringIO())
    comparing.show(comparison, console)
    return console.export_text()


def data_of(page):
    """What the page's script reads, by name."""
    blocks = re.findall(r'<script type="application/gzip" id="data-(\w+)">([^<]*)</script>', page)
    return {name: json.loads(gzip.decompress(base64.b64decode(text))) for name, text in blocks}


# The numbers.


def suites(folder, per_seed, sizes=(6, 6)):
    """Runs of two methods and two seeds whose tasks differ from seed to seed."""
    for method in ("kpig", "replay"):
        for seed in (0, 1):
            suite = {"seed": seed if per_seed else 0, "num_steps": sizes[seed]}
            tasks = tuple(f"{task} {seed}" for task in TASKS)
            write_run(folder / f"{method}-{seed}", method, seed, p_seen=50.0 + seed, tasks=tasks, suite=suite)
    return folder


def test_a_suite_of_its_own_for_every_seed_is_no_difference_and_is_said(tmp_path):
    comparison = compare([suites(tmp_path, per_seed=True)])
    assert not comparison.unequal
    assert "every seed has a stream of its own from the built-in suite" in comparison.notes
    assert set(line_of(comparison, "kpig").runs) == {(0, "given"), (1, "given")}
    assert line_of(comparison, "replay").contrasts["p_seen"].difference.n == 2


def test_other_data_that_are_not_the_seed_s_own_suite_are_still_refused(tmp_path):
    with pytest.raises(RunError, match="data: "):
        compare([suites(tmp_path / "a", per_seed=False)])
    with pytest.raises(RunError, match="data: "):
        compare([suites(tmp_path / "b", per_seed=True, sizes=(6, 5))])
    folder = suites(tmp_path / "c", per_seed=True)
    write_run(folder / "other", "sequential", 1, tasks=("another",), suite={"seed": 1, "num_steps": 6})
    with pytest.raises(RunError, match="data: "):
        compare([folder])


def test_every_number_of_the_comparison_is_the_one_of_the_runs(ladder):
    comparison = compare([ladder])
    kpig, replay = line_of(comparison, "kpig"), line_of(comparison, "replay")
    assert kpig.estimates["p_seen"].mean == pytest.approx(fmean(SEEN["kpig"]))
    assert kpig.estimates["p_seen"].n == 6
    low, high = bootstrap_interval(SEEN["kpig"], 0)
    assert (kpig.estimates["p_seen"].low, kpig.estimates["p_seen"].high) == (low, high)
    assert kpig.contrasts == {}
    gaps = [b - a for a, b in zip(SEEN["kpig"], SEEN["replay"], strict=True)]
    contrast = replay.contrasts["p_seen"]
    assert contrast.difference.mean == pytest.approx(fmean(gaps))
    assert contrast.p == paired_permutation_test(SEEN["replay"], SEEN["kpig"], 0)
    p_values = [
        line_of(comparison, label).contrasts["p_seen"].p for label in ("replay", "sequential", "init")
    ]
    assert contrast.adjusted == holm(p_values)[0]
    by_hand = fmean(stats.rankdata([-scores[cell] for scores in SEEN.values()])[0] for cell in range(6))
    assert kpig.rank == pytest.approx(by_hand) and comparison.num_ranked == 12
    assert line_of(comparison, "init").rank is None
    assert [line.label for line in comparison.lines] == ["kpig", "replay", "sequential", "init"]


def test_the_cost_is_that_of_the_ledger_and_llm_requests_are_0_where_there_are_none(ladder):
    line = line_of(compare([ladder]), "kpig")
    for key, value in COST.items():
        assert line.estimates[key].mean == value
    assert line.estimates["llm_requests"].mean == 0


def test_forgetting_of_a_method_with_one_step_is_a_dash(ladder):
    comparison = compare([ladder])
    assert line_of(comparison, "init").estimates["forgetting"] is None
    row = next(row for row in sheets(comparison)[0].rows if row[0] == "init")
    assert row[5] == "–" and row[6] == "–" and row[7] == "1"


def test_without_held_out_tasks_and_further_measures_the_table_leaves_their_columns_out(tmp_path):
    for seed in (0, 1):
        run = write_run(tmp_path / str(seed), seed=seed)
        scores = json.loads((run / "scores.json").read_text())
        for part in (*scores["steps"], scores["final"]):
            part["held_out"] = {}
        (run / "scores.json").write_text(json.dumps(scores))
    comparison = compare([tmp_path])
    assert "P held-out ↑" not in sheets(comparison)[0].headings
    assert write(comparison, tmp_path / "out").is_file()


# Labels, cells, the reference.


def test_runs_of_a_method_that_differ_in_settings_are_rows_of_their_own(tmp_path):
    for number, weight in enumerate((0.0, 1.0)):
        for seed in (0, 1):
            settings = {"kpig": {"twin_weight": weight}}
            write_run(tmp_path / f"{number}{seed}", seed=seed, method="kpig", p_seen=50.0 + number)
            path = tmp_path / f"{number}{seed}/config.toml"
            table = {"seed": seed, "method": {"name": "kpig", **settings}}
            path.write_text(config.dump(config.build(table)))
    write_run(tmp_path / "replay", "replay")
    comparison = compare([tmp_path])
    assert {line.label: len(line.runs) for line in comparison.lines} == {
        "kpig twin_weight=0.0": 2,
        "kpig": 2,
        "replay": 1,
    }, "a setting at its default is not named"
    assert comparison.reference == "kpig"


def test_a_learning_rate_is_a_setting_of_the_method_and_not_refused(tmp_path):
    for number, rate in enumerate((1e-3, 2e-4)):
        write_run(tmp_path / str(number), train={"learning_rate": rate})
    write_run(tmp_path / "replay", "replay", train={"learning_rate": 5e-4})
    comparison = compare([tmp_path])
    assert {line.label for line in comparison.lines} == {
        "kpig learning_rate=0.001",
        "kpig learning_rate=0.0002",
        "replay",
    }
    assert any(
        note.startswith("learning rate differs:") and "0.0005 (replay)" in note for note in comparison.notes
    )


def test_the_table_of_another_method_makes_no_rows(tmp_path):
    write_run(tmp_path / "0", "replay", seed=0)
    run = write_run(tmp_path / "1", "replay", seed=1)
    table = {"seed": 1, "method": {"name": "replay", "kpig": {"refresh": 7}}}
    (run / "config.toml").write_text(config.dump(config.build(table)))
    runs, _ = read_all([tmp_path])
    assert set(label_runs(runs, [])) == {"replay"}


def test_the_same_run_twice_counts_once_and_the_second_is_listed(tmp_path):
    write_run(tmp_path / "a", p_seen=50.0)
    write_run(tmp_path / "b", p_seen=60.0)
    comparison = compare([tmp_path, tmp_path / "a"])
    assert line_of(comparison, "kpig").estimates["p_seen"].mean == 50.0
    (note,) = [note for note in comparison.notes if note.startswith("left out")]
    assert "the same method, settings, seed and order" in note and str(tmp_path / "b") in note


def test_stream_orders_are_told_apart_by_their_tasks(tmp_path):
    for number, order in enumerate(("given", (1, 2, 3), (2, 1, 3))):
        write_run(tmp_path / str(number), order=order)
    (line,) = compare([tmp_path]).lines
    assert list(line.runs) == [(0, "given"), (0, "2-1-3")]


def test_missing_cells_are_named_and_pairs_are_those_that_both_have(ladder, tmp_path):
    for number in (1, 4):
        (ladder / "replay" / str(number)).rename(tmp_path / f"away{number}")
    comparison = compare([ladder])
    replay = line_of(comparison, "replay")
    (note,) = [note for note in comparison.notes if note.startswith("replay lacks")]
    assert "replay lacks 2 of 6 runs (seed 0, order 3-1-2; seed 2, order given)" in note
    kept = [0, 2, 3, 5]
    gaps = [SEEN["replay"][n] - SEEN["kpig"][n] for n in kept]
    assert replay.contrasts["p_seen"].difference.mean == pytest.approx(fmean(gaps))
    assert replay.contrasts["p_seen"].difference.n == 4
    assert comparison.num_ranked == 2 * 4


def test_the_reference_is_the_one_asked_for(ladder):
    comparison = compare([ladder], "replay")
    assert comparison.reference == "replay"
    assert line_of(comparison, "kpig").contrasts["p_seen"].difference.mean > 0
    with pytest.raises(UsageError, match=r"'repaly' is none of the compared.*did you mean 'replay'"):
        compare([ladder], "repaly")


@pytest.mark.parametrize("against", ["", "kpig"])
def test_of_several_rows_of_the_reference_the_one_with_the_most_runs_is_taken_and_named(against, tmp_path):
    for number, (rate, seed) in enumerate([(2e-4, 0), (1e-3, 0), (1e-3, 1)]):
        write_run(tmp_path / str(number), seed=seed, train={"learning_rate": rate})
    comparison = compare([tmp_path], against)
    assert comparison.reference == "kpig learning_rate=0.001"
    assert comparison.notes[0].startswith("tested against kpig learning_rate=0.001, of 2 rows of kpig")
    assert compare([tmp_path], "kpig learning_rate=0.0002").reference == "kpig learning_rate=0.0002"


def test_of_rows_with_as_many_runs_the_one_nearest_to_the_defaults_is_the_reference(tmp_path):
    for name, settings in {
        "a": {"weighting": "none", "refresh": 10, "num_probes": 8},
        "b": {"twin_weight": 5.0},
        "c": {"twin_weight": 5.0, "refresh": 10},
    }.items():
        folder = write_run(tmp_path / name)
        table = {"method": {"name": "kpig", "kpig": settings}}
        (folder / "config.toml").write_text(config.dump(config.build(table)))
    reference = compare([tmp_path]).reference
    assert reference.endswith("twin_weight=5.0") and "refresh=unset" in reference


def test_without_the_default_reference_a_note_says_what_stands_in_for_it(tmp_path):
    write_run(tmp_path / "a", "replay")
    write_run(tmp_path / "b", "sequential")
    comparison = compare([tmp_path])
    assert comparison.reference == "replay"
    assert comparison.notes[0] == "no run of kpig here: tested against replay; --against names another"


def test_the_untuned_model_is_measured_once_however_many_runs_repeat_it(tmp_path):
    for seed in (0, 1, 2):
        write_run(tmp_path / f"init{seed}", "init", seed=seed, p_seen=40.0)
        write_run(tmp_path / f"kpig{seed}", "kpig", seed=seed, p_seen=60.0 + seed)
    comparison = compare([tmp_path])
    found = line_of(comparison, "init").estimates["p_seen"]
    assert (found.mean, found.low, found.n) == (40.0, None, 1)
    assert line_of(comparison, "kpig").estimates["p_seen"].n == 3
    assert any(note.startswith("init: its 3 runs are 1 measurement of") for note in comparison.notes)


@pytest.mark.parametrize(("num_seeds", "said"), [(1, ""), (3, "one over 3 holds"), (9, "")])
def test_that_intervals_over_few_runs_are_too_narrow_is_said(num_seeds, said, tmp_path):
    for seed in range(num_seeds):
        write_run(tmp_path / f"kpig{seed}", "kpig", seed=seed, p_seen=60.0 + seed)
    found = [note for note in compare([tmp_path]).notes if "too narrow" in note]
    assert len(found) == bool(said) and all(said in note for note in found)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("scores.json", b"\xff\xfe{}", "cannot be read"),
        ("stream.json", b"\xff", "cannot be read"),
        ("environment.json", b"[1]", "holds no table"),
        ("scores.json", "p_score: high", "final.seen.p_score is 'high', expected a finite number"),
        ("scores.json", "p_score: NaN", "final.seen.p_score is nan, expected a finite number"),
        ("config.toml", None, "config.toml"),
    ],
)
def test_a_damaged_run_is_refused_by_name_and_never_left_out_in_silence(
    name, content, words, ladder, tmp_path
):
    write_run(tmp_path / "whole", "replay")
    broken = tmp_path / "broken"
    write_run(broken, "kpig")
    if content is None:
        (broken / name).unlink()
    elif isinstance(content, bytes):
        (broken / name).write_bytes(content)
    else:
        scores = json.loads((broken / name).read_text())
        scores["final"]["seen"]["p_score"] = {"p_score: high": "high", "p_score: NaN": math.nan}[content]
        (broken / name).write_text(json.dumps(scores))
    with pytest.raises(RunError, match=words) as caught:
        compare([tmp_path])
    assert "broken" in str(caught.value)


def test_a_score_that_nobody_has_is_said_to_be_no_basis_for_ranks(tmp_path):
    for method, p_held_out in (("kpig", 0.4), ("replay", 2.9), ("init", 30.0)):
        write_run(tmp_path / method, method, p_held_out=p_held_out)
    notes = [note for note in compare([tmp_path]).notes if "too near to 0" in note]
    assert notes == ["P held-out is 2.9 at most: too near to 0 to rank by, so average ranks mean little"]
    write_run(tmp_path / "more", "sequential", p_held_out=3.1)
    assert not [note for note in compare([tmp_path]).notes if "too near to 0" in note]


def test_a_folder_named_twice_in_two_ways_counts_once_without_a_word(tmp_path):
    write_run(tmp_path / "runs/a", "replay")
    comparison = compare([tmp_path / "runs", tmp_path / "runs/../runs"])
    assert not [note for note in comparison.notes if note.startswith("left out")]


def test_a_plot_of_many_methods_draws_the_first_the_reference_and_the_bounds(tmp_path):
    for number in range(12):
        write_run(
            tmp_path / f"{number}",
            "replay",
            p_seen=80.0 - number,
            train={"learning_rate": 1e-4 * (number + 1)},
        )
    write_run(tmp_path / "kpig", "kpig", p_seen=10.0, p_held_out=1.0)
    write_run(tmp_path / "init", "init", p_seen=20.0)
    comparison = compare([tmp_path])
    figure = step_figure(comparison.lines, records.SEEN, comparison.reference)
    drawn = {trace.name for trace in figure.data if trace.visible is None and trace.name}
    hidden = {trace.name for trace in figure.data if trace.visible == "legendonly" and trace.name}
    assert {"kpig", "init"} <= drawn
    assert (len(drawn), len(hidden)) == (MAX_DRAWN + 2, 12 - MAX_DRAWN)
    few = step_figure(comparison.lines[:3], records.SEEN)
    assert figure.layout.height > few.layout.height, "a long legend has room above the plot"


# What is left out, what is refused.


def test_unfinished_runs_are_listed_and_left_out(ladder):
    write_run(ladder / "begun", seed=9, finished=False)
    comparison = compare([ladder])
    (note,) = [note for note in comparison.notes if note.startswith("left out")]
    assert str(ladder / "begun") in note and "0 of 3 steps done" in note
    assert note in " ".join(printed(comparison, 500).split())


def test_nothing_finished_and_nothing_there_are_refused(tmp_path):
    write_run(tmp_path / "begun", finished=False)
    with pytest.raises(RunError, match=r"no run is finished(.|\n)*begun"):
        compare([tmp_path])
    with pytest.raises(RunError, match="there is no such folder"):
        compare([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="holds no run of kpig"):
        compare([tmp_path / "begun", tmp_path / "empty"])


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "stream.json",
            '{"steps": [{"tasks": [{"task": "a"}]}], "held_out": []}',
            "does not name every task",
        ),
        ("stream.json", '{"steps": [{}]}', "does not name every task"),
        ("config.toml", "[train]\nepochz = 1", "config.toml cannot be used"),
        ("scores.json", "{", "cannot be read"),
        ("environment.json", "{", "cannot be read"),
    ],
)
def test_a_damaged_run_is_refused_by_name(tmp_path, file, text, message):
    run = write_run(tmp_path / "run")
    (run / file).write_text(text)
    with pytest.raises(RunError, match=message) as error:
        compare([tmp_path])
    assert str(run) in str(error.value)


DIFFERENT = [
    ({"train": {"batch_size": 8}}, "train.batch_size", "16 in", "8 in"),
    ({"train": {"updates_per_step": 7}}, "train.updates_per_step", "0 in", "7 in"),
    ({"replay": {"ratio": 1.0}}, "replay.ratio", "0.5 in", "1.0 in"),
    ({"evaluate": {"max_new_tokens": 9}}, "evaluate.max_new_tokens", "64 in", "9 in"),
    ({"evaluate": {"precision": "bfloat16"}}, "evaluate.precision", '"float32" in', '"bfloat16" in'),
    ({"evaluate": {"answers": "choose"}}, "evaluate.answers", '"generate" in', '"choose" in'),
    ({"evaluate": {"every": 2}}, "evaluate.every", '"step" in', "2 in"),
    ({"evaluate": {"num_half_listening": 3}}, "evaluate.num_half_listening", "0 in", "3 in"),
    ({"model": {"adapter": "lora"}}, "model.adapter", '"none" in', '"lora" in'),
    ({"model": {"path": "some/model"}}, "model.path", "tiny in", "some/model in"),
    ({"scorer": "other 2"}, "scorer", "superni-rouge 1 in", "other 2 in"),
    ({"tasks": ("sort", "count", "move")}, "data", "only in", "task move"),
]


@pytest.mark.parametrize(("change", "key", "first", "second"), DIFFERENT, ids=[row[1] for row in DIFFERENT])
def test_runs_that_do_not_compare_are_refused_naming_run_key_and_values(tmp_path, change, key, first, second):
    one, other = write_run(tmp_path / "one"), write_run(tmp_path / "other", "replay", **change)
    with pytest.raises(RunError) as error:
        compare([tmp_path])
    message = str(error.value)
    for part in (f"{key}: ", first, second, str(one), str(other), "--anyway"):
        assert part in message


def test_anyway_prints_the_table_with_the_differences_on_top_in_every_format(tmp_path):
    write_run(tmp_path / "one")
    write_run(tmp_path / "other", "replay", train={"batch_size": 8})
    comparison = compare([tmp_path], anyway=True)
    assert "train.batch_size" in printed(comparison, 300).split("Scores")[0]
    texts = {name: form(comparison) for name, form in comparing.FORMATS.items()}
    assert "train.batch\\_size" in texts["latex"].split(r"\begin{table}")[0]
    assert texts["csv"].startswith("# train.batch_size: 16 in")
    assert "train.batch_size" in texts["markdown"].split("## Scores")[0]
    page = write(comparison, tmp_path / "out").read_text()
    assert "train.batch_size" in page.split('id="budgets"')[0]


def test_what_differs_anyway_keeps_repetitions_of_one_method_apart(tmp_path):
    write_run(tmp_path / "one", seed=0)
    write_run(tmp_path / "other", seed=1, train={"batch_size": 8})
    labels = {line.label for line in compare([tmp_path], anyway=True).lines}
    assert labels == {"kpig batch_size=16", "kpig batch_size=8"}


def test_where_a_run_computes_and_in_what_portions_may_differ(tmp_path):
    write_run(tmp_path / "one")
    computing = {"device": "cpu", "tokens_per_micro_batch": 64, "checkpoint_every": 3}
    write_run(tmp_path / "other", "replay", train=computing, environment={"device": "cuda"})
    comparison = compare([tmp_path])
    assert "device differs: cpu (kpig); cuda (replay)" in comparison.notes


@pytest.mark.parametrize("name", ["tokenizer", "chat template"])
def test_the_same_weights_with_another_tokenizer_or_template_are_another_model(tmp_path, name):
    key = f"{name.replace(' ', '_')}_digest"
    for number, digest in enumerate(("1" * 64, "2" * 64)):
        method = ("kpig", "replay")[number]
        write_run(tmp_path / method, method, environment={"model_digest": "0" * 64, key: digest})
    with pytest.raises(RunError, match=f"{name}: 111111111111 in .*kpig; 222222222222 in .*replay"):
        compare([tmp_path])
    write_run(tmp_path / "old", "sequential", environment={"model_digest": "0" * 64})
    assert compare([tmp_path]).unequal == (), "where a run recorded none, nothing is known"


def test_starting_weights_compare_by_digest_wherever_they_lie(tmp_path):
    for name, path, digest in (("a", "x/m", "1" * 64), ("b", "y/m", "1" * 64), ("c", "x/m", "2" * 64)):
        method = {"a": "kpig", "b": "replay", "c": "sequential"}[name]
        write_run(tmp_path / name, method, model={"path": path}, environment={"model_digest": digest})
    assert len(compare([tmp_path / "a", tmp_path / "b"]).lines) == 2
    with pytest.raises(RunError, match=r"model weights: 111111111111 in .*; 222222222222 in"):
        compare([tmp_path])
    write_run(tmp_path / "d", "mtl", model={"path": "y/m"})
    with pytest.raises(RunError, match=r"model\.path: x/m in .*; y/m in"):
        compare([tmp_path / "a", tmp_path / "d"])


def test_a_digest_changes_with_the_weights_and_not_with_their_place(tmp_path):
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
    first, second, third = (folder.digest(str(tmp_path / name)) for name in "abc")
    assert first == second != third and len(first) == 64
    assert folder.digest("some/hub-name") is None


# The formats.


def test_the_csv_holds_a_row_per_label_and_measure(ladder):
    comparison = compare([ladder])
    rows = csv_rows(comparison)
    row, contrast = rows["replay", "p_seen"], line_of(comparison, "replay").contrasts["p_seen"]
    assert float(row["mean"]) == fmean(SEEN["replay"]) and row["n"] == "6"
    assert (float(row["p"]), float(row["p_adjusted"])) == (contrast.p, contrast.adjusted)
    assert (row["reference"], row["pairs"]) == ("kpig", "6")
    assert rows["kpig", "p_seen"]["p"] == "" and rows["init", "forgetting"]["mean"] == ""
    assert float(rows["kpig", "average_rank"]["mean"]) == line_of(comparison, "kpig").rank
    assert float(rows["kpig", "train_tokens"]["mean"]) == 12_000


def test_every_table_says_how_small_p_can_be(ladder):
    comparison = compare([ladder])
    for text in (printed(comparison, 400), comparing.FORMATS["markdown"](comparison)):
        assert "smallest possible p is 2/2^n" in text and "no p below 0.031" in text and "0.094" in text


def test_the_further_scores_that_are_shown_are_explained_and_no_others(ladder):
    comparison = compare([ladder])
    further = next(sheet for sheet in sheets(comparison) if sheet.title == "Further scores")
    shown = {re.sub(r" (%|seen|held-out|[↑↓])", "", one) for one in further.headings[1:]}
    told = re.findall(r"(?:^|\. )([A-Z][a-z ]+): ", further.notes[0])
    assert set(told) == shown and len(shown) > 3


def test_one_pair_is_told_in_the_singular(tmp_path):
    for method in ("kpig", "replay"):
        write_run(tmp_path / "runs" / method, method)
    assert "1 pair here" in printed(compare([tmp_path / "runs"]), 400)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_terminal_table_fits_any_width_and_cuts_nothing_off(ladder, width):
    comparison = compare([ladder])
    text = printed(comparison, width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    for sheet in sheets(comparison):
        for cell in itertools.chain(*sheet.rows):
            assert all(line in text for line in cell.split("\n"))


def test_the_latex_holds_balanced_tables_of_equal_columns(ladder):
    text = comparing.FORMATS["latex"](compare([ladder]))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 4
    assert r"\item init lacks 5 of 6 runs" in text
    for body in re.findall(r"\\begin\{tabular\}\{(l.*?)\}(.*?)\\end\{tabular\}", text, re.S):
        rows = [row for row in body[1].splitlines() if row.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(body[0]) - 1}
    bare = re.sub(r"\\.", "", text)
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0


def test_latex_specials_are_escaped():
    assert tex("a_b & 50% $x$ #1 {y} ~z ^ \\w <s>") == (
        r"a\_b \& 50\% \$x\$ \#1 \{y\} \textasciitilde{}z \textasciicircum{} \textbackslash{}w "
        r"\textless{}s\textgreater{}"
    )


@pytest.mark.parametrize(
    "hostile", [SCRIPT, '</script><img src=x onerror="a()">', "a|b\n`c` \\input{x} & 5%_#$"]
)
def test_hostile_names_are_shown_and_add_no_tag_no_cell_and_no_command(tmp_path, hostile):
    for seed, name in itertools.product((0, 1), (f"m:{hostile}", "kpig")):
        tasks = ("sort", f"t{hostile}", "copy")
        write_run(
            tmp_path / f"{seed}{name == 'kpig'}", name, seed, tasks=tasks, environment={"device": hostile}
        )
    (tmp_path / "1True/environment.json").write_text("{}")
    comparison = compare([tmp_path])
    page = write(comparison, tmp_path / "out").read_text()
    assert "<script>alert" not in page and "<img" not in page
    visible = html.unescape(re.sub(r"<script.*?</script>", "", page, flags=re.S))
    assert " ".join(hostile.split()) in " ".join(visible.split())
    markdown = (tmp_path / "out/compare.md").read_text()
    assert not re.search(r"<\w", markdown)
    table = markdown.split("## Scores")[1].split("\n\n")[1]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
    latex = (tmp_path / "out/compare.tex").read_text()
    assert "\\input" not in latex and not re.search(r"(?<!\\)[#_]", latex)
    assert f"m:{' '.join(hostile.split())}" in {row[0] for row in csv_rows(comparison)}
    printed(comparison)


def test_the_page_holds_every_plot_and_needs_no_network(ladder, tmp_path):
    page = write(compare([ladder]), tmp_path / "out").read_text()
    plots = data_of(page)["plots"]
    assert {name: len(found) for name, found in plots.items()} == {
        "costs": 15,
        "steps": 2,
        "differences": 5,
        "broken": 2,
    }
    assert not re.search(
        r"<script[^>]*\bsrc=|<link|@import", re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"compare.{suffix}" for suffix in ("html", "md", "csv", "tex")
    }


# The command, on real runs.


def test_real_runs_compare_from_the_command_line(tmp_path):
    table = {
        "suite": {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 1, "num_train": 8, "num_test": 2},
        "train": {"updates_per_step": 2, "batch_size": 4},
        "evaluate": {"max_new_tokens": 4},
    }
    for method in ("kpig", "sequential"):
        job.run(config.build(table | {"method": {"name": method}}), tmp_path / "runs" / method)
    environment = json.loads((tmp_path / "runs/kpig/environment.json").read_text())
    assert environment["model_digest"] == folder.digest(folder.resolve("tiny"))
    done = kpig("compare", tmp_path / "runs", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "sequential" in done.stdout and f"{tmp_path / 'out/compare.html'}" in done.stdout.replace("\n", "")
    as_csv = kpig("compare", tmp_path / "runs", "--format", "csv", "--against", "sequential")
    assert as_csv.stdout.startswith("method,measure,better,mean")
    wrong = kpig("compare", tmp_path / "runs", "--format", "word")
    message = " ".join(wrong.stderr.replace("│", " ").split())
    assert wrong.returncode == 2 and "Invalid value for '--format'" in message and "Traceback" not in message
    assert "'word' is not one of 'terminal', 'markdown', 'csv', 'latex'" in message


def test_help_of_the_command_loads_nothing_heavy():
    code = "import sys; sys.argv = ['kpig', 'compare', '--help']\nfrom kpig.cli.commands import app\n"
    code += "import kpig.compare\nheavy = ('torch', 'transformers', 'plotly', 'jinja2', 'scipy')\n"
    code += "try: app()\nfinally: print([m for m in heavy if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Example: kpig compare" in found.stdout and found.stdout.strip().endswith("[]")


def test_runs_that_went_on_with_another_train_are_named(tmp_path):
    for seed in range(2):
        folder = write_run(tmp_path / f"runs/kpig{seed}", "kpig", seed)
        started(folder, train={"learning_rate": 1e-4} if seed else {"device": "cpu"})
        write_run(tmp_path / f"runs/replay{seed}", "replay", seed)
    (note,) = [note for note in compare([tmp_path / "runs"]).notes if "on the way" in note]
    assert note.startswith("1 of 4 runs changed how they learn on the way") and note.endswith("runs/kpig1")


@pytest.mark.parametrize("section", [{"replay": {"memory_per_task": 4}}, {"train": {"batch_size": 2}}])
def test_what_must_be_equal_must_be_so_in_every_start_of_a_run(tmp_path, section):
    """`kpig continue --set` changes budgets from a step on."""
    write_run(tmp_path / "a")
    started(write_run(tmp_path / "b", "replay"), **section)
    ((name, values),) = section.items()
    ((key, value),) = values.items()
    with pytest.raises(RunError, match=rf"{name}\.{key}: \d+ in .*a; {value} then \d+ in .*b"):
        compare([tmp_path])


def test_a_setting_of_its_method_that_was_changed_on_the_way_names_a_row(tmp_path):
    for number in range(3):
        folder = write_run(tmp_path / str(number), seed=number)
        for name, weight in (("starts/config.01.toml", 3.0 if number else 1.0), ("config.toml", 1.0)):
            table = {"seed": number, "method": {"name": "kpig", "kpig": {"twin_weight": weight}}}
            (folder / "starts").mkdir(exist_ok=True)
            (folder / name).write_text(config.dump(config.build(table)))
    found = {line.label: len(line.runs) for line in compare([tmp_path]).lines}
    assert found == {"kpig": 1, "kpig twin_weight=3.0 then 1.0": 2}
