"""Faults that somebody found who had the documentation alone: in metrics, constraints and cautions."""

import json
import time
import unicodedata

import pytest
from typer.testing import CliRunner

from kpig.annotate import proposals
from kpig.cli.commands import app
from kpig.errors import ConfigError, DataError
from kpig.records import SEED_WORDING, SEEN, Example, Instruction, Task
from kpig.scoring.judge import judge
from kpig.scoring.metrics import p_score
from kpig.tasks import constraints
from kpig.tasks.measures import METRICS, measure
from kpig.tasks.structured import number_in

# --- 1: JSON, element by element ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "response", "expected"),
    [
        ([{"name": "Ann", "age": 30}, {"name": "Bob", "age": 40}],) * 2 + (1.0,),
        (
            [{"name": "Ann", "age": 30}, {"name": "Bob", "age": 40}],
            [{"name": "Ann", "age": 40}, {"name": "Bob", "age": 30}],
            0.5,
        ),
        (
            [{"name": "Ann", "age": 30}, {"name": "Bob", "age": 40}],
            [{"name": "Bob", "age": 40}, {"name": "Ann", "age": 30}],
            1.0,
        ),
        ([["a", "b"], ["c", "d"]], [["a", "d"], ["c", "b"]], 0.5),
        ([["a", "b"], ["c", "d"]], [["d", "c"], ["b", "a"]], 1.0),
        ([{"tags": ["x", "y"]}, {"tags": ["z"]}], [{"tags": ["z", "y"]}, {"tags": ["x"]}], 2 / 3),
        ({"rows": [{"k": 1, "v": [{"a": 1, "b": 2}]}]}, {"rows": [{"k": 1, "v": [{"a": 1, "b": 3}]}]}, 2 / 3),
        ([{"p": 1, "q": 1}, {"p": 2, "q": 2}], [{"p": 1, "q": 1}], 2 / 3),
        ([1, 2, 2, {"a": 1}], [2, 1, 2, {"a": 1}], 1.0),
        ([[], {}], [{}, []], 1.0),
    ],
)
def test_elements_of_arrays_are_compared_as_wholes(reference, response, expected):
    score, one, other = measure("json"), json.dumps(reference), json.dumps(response)
    assert score(other, [one]) == score(one, [other]) == pytest.approx(expected)


def test_long_and_deep_documents_take_bounded_work():
    score = measure("json")
    left, right = ([{"n": number, "m": number + shift} for number in range(4000)] for shift in (0, 1))
    deep = ['{"a":[' * depth + str(depth) + "]}" * depth for depth in (40, 45, 300, 5000)]
    start = time.process_time()
    assert score(json.dumps(left), [json.dumps(right)]) == 0.5
    assert score(json.dumps(left), [json.dumps(left[::-1])]) == 1.0
    assert [score(one, [one]) for one in deep] == [1.0] * 4
    assert [score(one, [deep[0]]) for one in deep[1:]] == [0.0] * 3
    assert time.process_time() - start < 10


# --- 6: composed and decomposed letters --------------------------------------------------------------

COMPOSED = "Café Ångström Việt"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_take_canonically_equal_texts_for_the_same(metric):
    score = measure(metric)
    for left, right in [(COMPOSED, DECOMPOSED), ("각 7", unicodedata.normalize("NFD", "각 7"))]:
        assert score(left, [right]) == score(right, [left]) == score(left, [left])
    if metric in ("exact", "accuracy", "token_f1", "json", "chrf"):
        assert score(DECOMPOSED, [COMPOSED]) == 1.0


def test_json_takes_canonically_equal_keys_and_values_for_the_same():
    left, right = ({one: [one]} for one in (COMPOSED, DECOMPOSED))
    for escaped in (True, False):
        assert measure("json")(json.dumps(left, ensure_ascii=escaped), [json.dumps(right)]) == 1.0


@pytest.mark.parametrize(
    ("entry", "met"),
    [
        ({"type": "one_of", "values": ["?"]}, True),
        ({"type": "one_of", "values": ["?"], "case_sensitive": False}, True),
        ({"type": "not_one_of", "values": ["?"]}, False),
        ({"type": "contains", "values": ["?"]}, True),
        ({"type": "starts_with", "values": ["?"]}, True),
        ({"type": "ends_with", "values": ["?"]}, True),
        ({"type": "regex", "pattern": "?"}, True),
        ({"type": "not_regex", "pattern": "?"}, False),
        ({"type": "forbidden_words", "values": ["?"]}, False),
        ({"type": "substring_of_input"}, True),
        ({"type": "substring_of_input", "or_values": ["?"]}, True),
        ({"type": "words_from_input"}, True),
        ({"type": "items_from_input", "item_separator": ", ", "input_separator": ", "}, True),
        ({"type": "not_equal_input"}, False),
        ({"type": "degenerate"}, False),
        ({"type": "contains_input_capture", "pattern": "(.+)"}, True),
        ({"type": "contains_input_items", "input_separator": ", "}, True),
        ({"type": "shorter_than_input"}, False),
    ],
)
def test_constraints_take_canonically_equal_texts_for_the_same(entry, met):
    for one, other in ((COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (COMPOSED, COMPOSED)):
        stated = json.loads(json.dumps(entry).replace("?", json.dumps(one)[1:-1]))
        assert constraints.satisfied(constraints.parse(stated, "here"), one, other) is met


# --- 18: a metric of the user's that raises ----------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("return 1 / 0", "ZeroDivisionError"),
        ("return {}['rain']", "KeyError: 'rain'"),
        ("return 2", "gave 2"),
    ],
)
def test_a_metric_that_fails_is_named_with_its_example(tmp_path, monkeypatch, source, words):
    module = f"failing_{abs(hash(source))}"
    (tmp_path / f"{module}.py").write_text(f"def score(response, references):\n    {source}\n")
    monkeypatch.syspath_prepend(tmp_path)
    task = Task("weather", (Instruction("Say it."),), (), (), "rougeL")
    example = Example("w-7", "weather", task.instruction, "x", ("rain",))
    prediction = judge(task, example, "sun", group=SEEN, wording=SEED_WORDING, prompt="")
    with pytest.raises(ConfigError) as failure:
        p_score([prediction], f"{module}:score")
    for part in (words, f"{module}:score", "weather", "w-7", "sun"):
        assert part in str(failure.value)


# --- 7 and 8: metrics and constraints that the references themselves break -----------------------------


def checked(tmp_path, outputs, inputs=None, splits=None, **more):
    """What `kpig check` says of a task with these outputs, its exit code first."""
    inputs = inputs or [f"item {number}" for number in range(len(outputs))]
    rows = [
        {"task": "t", "instruction": "Answer.", "input": given, "output": output, **more}
        for given, output in zip(inputs, outputs, strict=True)
    ]
    for row, split in zip(rows, splits or (), strict=False):
        row["split"] = split
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = tmp_path / "c.toml"
    config.write_text(f'[model]\npath = "tiny"\n[stream]\npath = "{tmp_path / "d.jsonl"}"\n')
    found = CliRunner().invoke(app, ["check", str(config)], env={"COLUMNS": "400"})
    return found.exit_code, " ".join(f"{found.output} {found.exception}".split())


@pytest.mark.parametrize(
    ("metric", "odd", "words"),
    [
        ("number", "none at all", "no number"),
        ("number", "siete", "no number"),
        ("rougeL", "\N{GRINNING FACE}", "no ASCII letter"),
        ("rougeL", "+-", "no ASCII letter"),
        ("exact", "\N{GRINNING FACE}", None),
        ("number", "7 or so", None),
    ],
)
def test_references_under_which_no_answer_scores_are_told(tmp_path, metric, odd, words):
    outputs = [f"it is {number}" for number in range(15)] + [odd] * 4
    code, told = checked(tmp_path, outputs, splits=["train"] * 9 + ["test"] * 10, metric=metric)
    assert code == 0
    assert ("no answer to them scores" in told) is (words is not None)
    if words:
        assert words in told and "4 test examples of t" in told


@pytest.mark.parametrize(
    ("entries", "outputs", "words"),
    [
        (
            [{"type": "one_of", "values": ["a", "b"]}],
            ["x", "y"] * 10,
            "one_of (values ['a', 'b']) in 20 of 20",
        ),
        (
            [{"type": "max_words", "n": 2}],
            ["one two"] * 10 + ["one two three"] * 5,
            "max_words (n 2) in 5 of 15",
        ),
        ([{"type": "casing", "case": "upper"}], ["YES"] * 20 + ["no"], "casing (case upper) in 1 of 21"),
        ([{"type": "casing", "case": "upper"}], ["YES"] * 99 + ["no"], None),
        ([{"type": "one_of", "values": ["x", "y"]}], ["x", "y"] * 10, None),
    ],
)
def test_constraints_that_references_break_are_told_with_the_share(tmp_path, entries, outputs, words):
    (tmp_path / "constraints.json").write_text(json.dumps({"t": entries}))
    code, told = checked(tmp_path, outputs)
    assert code == 0
    assert ("references break" in told) is (words is not None)
    assert words is None or words in told


def test_a_reference_that_meets_a_constraint_is_enough(tmp_path):
    (tmp_path / "constraints.json").write_text(json.dumps({"t": [{"type": "max_words", "n": 1}]}))
    assert "references break" not in checked(tmp_path, [["yes it is", "yes"]] * 9)[1]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            [{"type": "min_words", "n": 5}, {"type": "max_words", "n": 2}],
            "min_words (n 5) and max_words (n 2)",
        ),
        (
            [
                {"type": "min_items", "n": 3, "list": "commas"},
                {"type": "max_items", "n": 2, "list": "commas"},
            ],
            "no response meets both",
        ),
        ([{"type": "one_of", "values": ["aa", "bb"]}, {"type": "casing", "case": "upper"}], "casing"),
        ([{"type": "one_of", "values": ["aa"]}, {"type": "one_of", "values": ["bb"]}], "each value of"),
        (
            [{"type": "min_items", "n": 3, "list": "commas"}, {"type": "max_items", "n": 2, "list": "lines"}],
            None,
        ),
        ([{"type": "min_words", "n": 2}, {"type": "max_words", "n": 2}], None),
    ],
)
def test_constraints_that_no_response_meets_together_are_refused(tmp_path, entries, words):
    (tmp_path / "constraints.json").write_text(json.dumps({"t": entries}))
    code, told = checked(tmp_path, ["aa bb"] * 9)
    assert code == (1 if words else 0)
    assert words is None or (words in told and "task 't'" in told)


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "one_of", "values": ["no", " yes "]},
        {"type": "not_one_of", "values": ["yes\n"]},
        {"type": "ends_with", "values": ["? "]},
        {"type": "starts_with", "values": ["\tSo"]},
        {"type": "substring_of_input", "or_values": ["none "]},
        {"type": "max_words", "n": 0},
        {"type": "max_sentences", "n": 0},
        {"type": "max_characters", "n": 0},
    ],
)
def test_a_constraint_that_no_response_can_meet_is_refused(entry):
    with pytest.raises(DataError, match=r"must be a (list|whole number, 1 or more)"):
        constraints.parse(entry, "here")


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "starts_with", "values": ["Answer: "]},
        {"type": "ends_with", "values": [" end"]},
        {"type": "contains", "values": [" ml"]},
        {"type": "max_items", "n": 0, "list": "bullets"},
    ],
)
def test_a_constraint_with_white_space_that_can_be_met_is_read(entry):
    assert constraints.parse(entry, "here").type == entry["type"]


@pytest.mark.parametrize("demand", ["Answer in at most 0 words.", 'End with "Bye ".', 'Start with " So".'])
def test_a_demand_that_no_response_can_meet_is_not_proposed(demand):
    instruction = Instruction(demand)
    examples = tuple(Example(str(n), "t", instruction, "x", (f"So {n} Bye",)) for n in range(9))
    found = proposals.propose(Task("t", (instruction,), examples, (), "rougeL"))
    assert not {"max_words"} & {one["type"] for one in found.kept}


# --- 12: numbers of many digits ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "digits", ["7" * 5000, "-" + "3" * 20_000, "0." + "1" * 9000, "1e999999999999999999999"]
)
def test_json_with_a_long_number_is_json(digits):
    text = f'{{"n": {digits}, "m": 1}}'
    for shape in ({}, {"shape": "object", "keys": ["n"]}):
        assert constraints.satisfied(constraints.parse({"type": "json", **shape}, "here"), "", text) is True
    score = measure("json")
    assert score(text, [text]) == 1.0
    assert score(text, ['{"n": 7, "m": 1.0}']) == 0.5
    strings = constraints.parse({"type": "json", "shape": "list_of_strings"}, "here")
    assert constraints.satisfied(strings, "", f"[{digits}]") is False


# --- 13: sorted numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("separator", "response", "met"),
    [
        (" ", "9 10", True),
        (" ", "10 9", False),
        (", ", "-2, -1, 0.5, 3", True),
        (", ", "-1, -2", False),
        (", ", "1,000, 2", False),
        (", ", "2, 1,000", True),
        (" ", "9 9.0", False),
        (" ", "10 9 x", True),
        (" ", "9 10 x", False),
        (" ", "a b c", True),
        (" ", "7", True),
        (", ", "$5, $12", True),
    ],
)
def test_sorted_numbers_are_compared_by_value(separator, response, met):
    entry = {"type": "sorted_unique", "item_separator": separator}
    assert constraints.satisfied(constraints.parse(entry, "here"), "", response) is met


# --- 14: sentences -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The town (pop. 5,000) lies in Bldg. 7 of Vol. II.", 1),
        ("See Vol. I of the set. It is long.", 2),
        ("See Bldg. A for help, tel. 555 1234 or fax. +47 22 33.", 1),
        ("Add 1 Tbsp. Butter and 2 tsp. salt.", 1),
        ("bring pens, paper etc. and come along.", 1),
        ("Bring pens, paper, etc. Please come.", 2),
        ("Bring pens, paper, etc. to class. We wait.", 2),
        ("It came by fax. We read it.", 2),
        ("He drinks pop. Nobody minds.", 2),
        ("No. I will not.", 2),
        ("Wait a sec. I come.", 2),
        ("she came. she left.", 2),
        ("She lives at 12 Oak Ave. Apt. 4 is hers.", 1),
    ],
)
def test_a_full_stop_after_an_abbreviation_ends_no_sentence(text, number):
    for name in ("max_sentences", "min_sentences"):
        stated = constraints.parse({"type": name, "n": number}, "here")
        assert constraints.satisfied(stated, "", text) is True


# --- 15: the half-listening rate of a part -----------------------------------------------------------


def scored(tmp_path, lines, rows, *options):
    """What `kpig score` says of predictions, its exit code first."""
    for name, content in (("t.jsonl", rows), ("p.jsonl", lines)):
        (tmp_path / name).write_text("".join(json.dumps(one) + "\n" for one in content), encoding="utf-8")
    command = ["score", str(tmp_path / "p.jsonl"), "--tasks", str(tmp_path / "t.jsonl"), *options]
    found = CliRunner().invoke(app, command, env={"COLUMNS": "400"})
    return found.exit_code, " ".join(f"{found.output} {found.exception}".split())


@pytest.mark.parametrize("num_masked", [0, 1, 3, 5])
def test_it_is_told_over_how_many_answers_the_half_listening_rate_is(tmp_path, num_masked):
    rows = [
        {"task": "t", "instruction": "Say it.", "input": f"i{n}", "output": f"o{n}", "split": "test"}
        for n in range(5)
    ]
    lines = [{"task": "t", "input": f"i{n}", "response": f"o{n}"} for n in range(5)]
    for line in lines[:num_masked]:
        line["masked_response"] = line["response"]
    code, told = scored(tmp_path, lines, rows)
    assert code == 0
    assert (f"rate is of {num_masked} of 5 predictions" in told) is (0 < num_masked < 5)


# --- 16: emphasised words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "response", "met"),
    [
        ("very", "It is _very_ good.", False),
        ("very", "It is __very__ good.", False),
        ("very", "It is ___Very good___.", False),
        ("in fact", "_In fact_, yes.", False),
        ("very", "It is **very** good.", False),
        ("very", "Set not_very_odd to 1.", True),
        ("very", "_every_ day", True),
        ("__init__", "call __init__ first", False),
        ("a.b (c)", "see a.b (c) there", False),
    ],
)
def test_forbidden_words_are_found_in_emphasis(value, response, met):
    stated = constraints.parse({"type": "forbidden_words", "values": [value]}, "here")
    assert constraints.satisfied(stated, "", response) is met


# --- 21: references that a line states ---------------------------------------------------------------

ROWS = [
    {
        "task": "t",
        "id": "7",
        "instruction": "Say it.",
        "input": "a b",
        "output": ["one", "1"],
        "split": "test",
    }
]


def tk_instruct(output):
    instance = {"id": "7", "input": "a b", "output": output}
    return {"Task": "t", "Instance": instance, "Prediction": "one"}


@pytest.mark.parametrize(
    ("line", "is_read"),
    [
        (tk_instruct(["one"]), True),
        (tk_instruct("1"), True),
        (tk_instruct(["two", "one "]), True),
        (tk_instruct(["two"]), False),
        (tk_instruct("two"), False),
        *(
            ({"id": "7", "prediction": "one", key: value}, is_read)
            for key in ("references", "reference", "label", "target")
            for value, is_read in (("one", True), (["x", "1"], True), ("two", False), (["two"], False))
        ),
        ({"id": "7", "prediction": "one", "label": 3}, True),
        ({"id": "7", "prediction": "one", "target": None}, True),
    ],
)
def test_a_line_that_states_other_references_is_refused(tmp_path, line, is_read):
    code, told = scored(tmp_path, [line], ROWS)
    assert code == (0 if is_read else 1)
    assert is_read or ("two" in told and "those of task 't', example '7'" in told)


# --- 22: items of the input --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "response", "met"),
    [
        ({}, "blue sky", True),
        ({}, "red", False),
        ({"input_separator": ", "}, "red", True),
        ({"input_separator": ", "}, "'blue sky'", True),
        ({"input_separator": ", "}, "blue sky", False),
    ],
)
def test_items_of_the_input_are_those_in_quotes_where_no_separator_is_given(more, response, met):
    entry = {"type": "items_from_input", "item_separator": "; ", **more}
    assert constraints.satisfied(constraints.parse(entry, "here"), "red, 'blue sky'", response) is met


# --- 29: an entry without a type ---------------------------------------------------------------------


@pytest.mark.parametrize("entry", [{"n": 5}, {}, {"values": ["a"]}, {"type": None, "n": 3}])
def test_an_entry_without_a_type_is_told_so(entry):
    with pytest.raises(DataError, match=r"^here: 'type' is missing in .*known: one_of, ") as failure:
        constraints.parse(entry, "here")
    assert "did you mean" not in str(failure.value)


# --- 33: ways to write a number ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "number"),
    [
        ("5 m^2", "5"),
        ("It is 7.5 kg/m^3.", "7.5"),
        ("2 s^-1", "2"),
        ("2^10", "10"),
        ("1 000 000", "1000000"),
        ("It has 12 345 people.", "12345"),
        ("150 000", "150,000"),
        ("150\u00a0123", "150123"),
        ("1\u202f234.5 km", "1234.5"),
        ("100 200 300", "300"),
        ("1 2 3", "3"),
        ("7 100 20", "20"),
        ("2024 500", "500"),
        ("1234 567", "567"),
        ("\u20135", "-5"),
        ("It is \u201312.", "-12"),
        ("3\u20135", "5"),
        ("12 (see step 3)", "3"),
        ("x^2", None),
    ],
)
def test_numbers_are_read_as_people_write_them(response, number):
    assert number_in(response) == (None if number is None else number_in(number))
    assert measure("number")(response, [number or "2"]) == float(number is not None)


@pytest.mark.parametrize(
    ("response", "references", "score"),
    [
        ("123 456 789", ["123456789"], 1),
        ("About 987 654 321.5 people.", ["987,654,321.5"], 1),
        ("-612 345", ["-612345"], 1),
        ("\u2212612 345 km", ["612345"], 0),
        ("123,456,789", ["123 456 789"], 1),
        ("$123 456 789", ["123 456 789 €"], 1),
        ("789", ["123 456 789"], 0),
        ("100 200 300", ["300"], 1),
        ("The sums are 100 200 300", ["200"], 0),
        ("123 456 789, in 2024", ["123456789"], 0),
        ("123 456 789, in 2024", ["2024"], 1),
        ("1234 567 890", ["1234567890"], 0),
        ("5 123 456 7", ["7"], 1),
        ("123 456 7", ["1234567"], 0),
        ("321 654", ["5", "321654"], 1),
    ],
)
def test_full_groups_of_three_are_one_number_or_a_list_whichever_is_right(response, references, score):
    assert measure("number")(response, references) == score


def test_a_long_list_of_numbers_takes_little_time():
    start = time.process_time()
    for text in ("100 000 " * 40_000 + "5", "1 000 " * 40_000 + "5", "1 000\u00a0" * 40_000 + "5"):
        assert number_in(text) == number_in("5") and measure("number")(text, ["5"]) == 1
    assert time.process_time() - start < 10


# --- 34: what the input gives ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "response", "met"),
    [
        ("Give 3 words", "a, b, c", True),
        ("Give 2 words", "a, b, c", False),
        ("Give some words", "a, b, c", None),
        ("", "", None),
    ],
)
def test_an_input_without_the_number_gives_no_verdict(given, response, met):
    entry = {"type": "count", "list": "commas", "n_from_input_regex": r"(\d+)"}
    stated = constraints.parse(entry, "here")
    assert constraints.satisfied(stated, given, response) is met
    for pattern in (r"(\w+)", r"(\d)"):
        none = constraints.parse({**entry, "n_from_input_regex": pattern}, "here")
        assert constraints.satisfied(none, "all", response) is None
    kinds = constraints.violations([stated], given, response or "x")
    assert kinds == {True: (), False: ("wrong_length",), None: ("undecided",)}[met]


@pytest.mark.parametrize(
    ("captured", "response", "met"),
    [
        ("88", "Order 881 is sent.", False),
        ("88", "Order 188 is sent.", False),
        ("88", "Order #88, is sent.", True),
        ("Ann Lee", "We told ann  lee.", True),
        ("Ann", "We told Annette.", False),
        ("\u6771\u4eac", "\u6771\u4eac\u90fd", True),
        ("a-1", "see A-1!", True),
        ("(x)", "f(x)", True),
    ],
)
def test_what_the_input_captures_stands_in_the_response_as_whole_words(captured, response, met):
    stated = constraints.parse({"type": "contains_input_capture", "pattern": "for (.+)"}, "here")
    assert constraints.satisfied(stated, f"ask for {captured}", response) is met


# --- 32: samples of lm-evaluation-harness under several filters ----------------------------------------


def sample(number, answer, name):
    return {
        "doc": {},
        "arguments": [[f"Say it. i{number}"]],
        "target": f"o{number}",
        "resps": [[f"it is {answer}"]],
        "filtered_resps": [answer],
        "filter": name,
    }


def test_samples_of_several_filters_are_told_apart_and_those_of_one_are_scored(tmp_path):
    rows = [
        {"task": "t", "instruction": "Say it.", "input": f"i{n}", "output": f"o{n}", "split": "test"}
        for n in range(3)
    ]
    one, other = ([sample(n, f"o{n}", name) for n in range(3)] for name in ("strict-match", "flexible"))
    code, told = scored(tmp_path, one + other, rows)
    assert code == 1 and "keep the lines of one 'filter'" in told
    assert "'flexible'" in told and "'strict-match'" in told and "and so 2 further lines" in told
    assert scored(tmp_path, one, rows)[0] == scored(tmp_path, other, rows)[0] == 0
    code, told = scored(tmp_path, one + one[:1], rows)
    assert code == 1 and "has a prediction in line 1 already" in told
