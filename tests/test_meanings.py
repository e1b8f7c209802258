"""What numbers mean: every number that a table prints is explained, once for commands, docs and legends."""

import ast
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kpig.cli.commands import app
from kpig.compare.formats import ESTIMATE_COLUMNS, TEST_COLUMNS
from kpig.compare.measures import COSTS, MEASURES
from kpig.compare.sheets import ARROWS
from kpig.errors import UsageError
from kpig.report import content, table
from kpig.scoring.meanings import MEANINGS, explained, find, legend
from kpig.scoring.meanings.meaning import HIGHER, LOWER
from kpig.tasks.constraints import KINDS, UNDECIDED
from kpig.tasks.measures import METRICS

CLI = Path(__file__).parents[1] / "src" / "kpig" / "cli"
WORDS = {
    "task", "group", "since", "verdict", "run", "state", "tasks", "answers", "key", "type", "default",
    "meaning", "method", "what it does", "name", "number", "what it is", "better", "kinds", "key parts",
    "training", "evaluation", "rejected", "possible offline", "step", "train", "test", "wordings",
    "constraints", "", "way", "answering", "most", "fits",
    "cluster", "near-duplicates", "chosen", "score that spreads most",
}  # fmt: skip
"""Headings of columns that hold words, counts of what a command has written, or bytes of memory."""


def details():
    """The labels of the report's further numbers, without any run."""
    return [label for label, _ in content._details([])]


def headings_of_commands():
    """Every literal heading of a table that a command prints: arguments of Table and add_column."""
    found = set()
    for path in sorted(CLI.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.For) and "add_column" in ast.unparse(node):
                found |= {
                    one.value
                    for one in getattr(node.iter, "elts", [])
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
                "Table",
                "add_column",
            ):
                found |= {
                    one.value
                    for one in node.args
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
    return found


def test_every_column_of_the_report_is_explained_and_says_the_same_way_as_its_meaning():
    for column in table.COLUMNS:
        assert find(column.name) is find(column.short) is not None, column.name
        assert find(column.name).better == column.better, column.name


def test_every_column_of_the_tasks_and_every_further_number_of_the_report_is_explained():
    names = [*content.TASK_COLUMNS, *details()]
    assert len(names) > 20
    assert [one for one in names if find(one) is None and one not in ("Seed", "Scorer")] == []


def test_every_measure_of_a_comparison_is_explained_and_says_the_same_way_as_its_meaning():
    for measure in (*MEASURES, *COSTS):
        for name in (measure.name, measure.short + ARROWS[measure.better], measure.key):
            assert find(name) is not None, name
            assert find(name) is find(measure.name), name
        assert find(measure.name).better == measure.better, measure.name
    assert find("Average rank ↓") is MEANINGS["average_rank"] and find("Runs") is MEANINGS["runs"]
    columns = {*ESTIMATE_COLUMNS, *TEST_COLUMNS} - {"reference"}
    assert [one for one in sorted(columns) if find(one) is None] == []


def test_every_number_that_a_command_prints_in_a_table_is_explained():
    found = headings_of_commands()
    assert {"P-score", "change ± s.e.", "p (Holm)", "prob gain ± s.e.", "P seen"} <= found
    assert {one for one in found if find(one) is None} - WORDS == set()


def test_every_metric_and_every_kind_of_broken_rule_is_explained():
    assert [one for one in (*METRICS, *KINDS, UNDECIDED) if find(one) is None] == []


def test_no_two_numbers_share_a_name():
    for key, one in MEANINGS.items():
        assert all(find(name) is one for name in (key, one.title, *one.names)), key


def test_every_meaning_is_whole():
    for key, one in MEANINGS.items():
        assert all((one.title, one.brief, one.says, one.formula, one.range, one.source)), key
        assert one.better in (HIGHER, LOWER, "") and one.says.endswith("."), key
        assert not one.brief.endswith("."), key


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ("P seen", "p_score"),
        ("V-score", "v_score"),
        ("v held-out", "v_score"),
        ("Half % seen", "half_listening"),
        ("p(y given M(I))", "masked"),
        ("p (Holm)", "p_adjusted"),
        ("FORGETTING", "forgetting"),
        ("rouge_l", "rougeL"),
        ("P\nnew", "new_wording"),
        ("P", "p_score"),
        ("p", "p_value"),
    ],
)
def test_a_number_is_known_by_the_heading_that_a_table_gives_it(asked, key):
    assert find(asked) is MEANINGS[key]


@pytest.mark.parametrize("words", ["", "seen", "p scor", "backward tranfer", "9"])
def test_what_no_table_prints_is_refused_with_what_to_do(words):
    assert find(words) is None
    with pytest.raises(UsageError, match=r"no table prints .*kpig explain lists them"):
        explained(words)


def test_a_slip_is_told_with_the_name_that_was_meant():
    with pytest.raises(UsageError, match="did you mean 'backward_transfer'"):
        explained("backward_tranfer")


def test_a_legend_says_what_each_heading_is_and_which_way_is_better():
    assert legend({"fgt": "forgetting", "n": "examples"}) == (
        "fgt: points of P-score lost between a step's best and the end, lower is better. "
        "n: test examples that a number is over."
    )


def test_the_legends_of_tables_are_of_their_own_columns():
    assert {MEANINGS[key] for key in table.LEGEND.values()} == {
        find(column.short) for column in table.COLUMNS if column.better
    }


def test_the_command_lists_all_and_says_one():
    listed = CliRunner().invoke(app, ["explain"], env={"COLUMNS": "200"}).output
    assert all(key in listed for key in MEANINGS)
    said = CliRunner().invoke(app, ["explain", "V seen"]).output
    one = MEANINGS["v_score"]
    assert " ".join(said.split()).count(" ".join(one.formula.split())) == 1
    assert "lower is better" in said and "0 to 100" in said and "constraints.md" in said


def test_the_command_writes_json():
    every = json.loads(CliRunner().invoke(app, ["explain", "--json"]).output)
    assert [one["title"] for one in every] == [one.title for one in MEANINGS.values()]
    (one,) = json.loads(CliRunner().invoke(app, ["explain", "gain", "--json"]).output)
    assert one["title"] == "Key-part gain" and one["better"] == "higher"
