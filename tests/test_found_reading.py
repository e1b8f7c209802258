"""What readers of foreign data got wrong in silence: splits, shards, missing labels, repeated keys, notes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kpig.cli.commands import app
from kpig.errors import DataError
from kpig.records import KeySpan
from kpig.runs import folder
from kpig.runs.check import data_cautions
from kpig.tasks import readers, stream
from kpig.tasks.key_parts import locate
from kpig.tasks.readers.parquet import named

LABEL = {"names": ["a", "b"], "_type": "ClassLabel"}
"""A feature as `datasets` notes it."""


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def some_rows(name: str, count: int = 6, **more: object) -> list[dict[str, object]]:
    return [
        {"instruction": "Name it.", "input": f"{name} {n}", "output": f"{name} is {n}", **more}
        for n in range(count)
    ]


# --- splits by the names of files ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("TRAIN", "Dev"),
        ("my_train", "my_test"),
        ("train_v2", "test_v2"),
        ("Set-Training", "Set-Valid"),
        ("data.train", "data.test"),
        ("My_Train-00000-of-00001", "My_Test-00000-of-00001"),
    ],
)
def test_files_that_differ_in_the_name_of_a_split_are_splits_of_one_task(tmp_path, train, test):
    write_rows(tmp_path / "d" / f"{train}.jsonl", some_rows("a", 7))
    write_rows(tmp_path / "d" / f"{test}.jsonl", some_rows("b", 3))
    (task,) = stream.load(tmp_path / "d").tasks
    assert (task.name, len(task.train), len(task.test)) == ("d", 7, 3)


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ("test", ("train", "test", "more")),
        ("b_test", ("a_train", "a_test", "b_train", "b_test")),
        ("VALIDATION", ("Train", "VALIDATION", "third")),
        ("test", ("train1", "train2", "test")),
    ],
)
def test_a_test_file_beside_its_training_file_is_no_task_of_its_own(tmp_path, other, names):
    for name in names:
        write_rows(tmp_path / "d" / f"{name}.jsonl", some_rows(name))
    with pytest.raises(DataError) as caught:
        stream.load(tmp_path / "d")
    assert f"{other}.jsonl" in str(caught.value)
    assert "split" in str(caught.value)
    for name in names:
        split = "train" if "rain" in name else "test"
        write_rows(tmp_path / "d" / f"{name}.jsonl", some_rows(name, split=split, task="one"))
    (task,) = stream.load(tmp_path / "d").tasks
    assert len(task.train) + len(task.test) == 6 * len(names)


def test_a_single_file_that_is_named_after_a_split_is_told(tmp_path, caplog):
    for name in ("capitals", "crash_test", "testament"):
        write_rows(tmp_path / "d" / f"{name}.jsonl", some_rows(name))
    assert len(stream.load(tmp_path / "d").tasks) == 3
    assert "crash_test.jsonl: its name says 'test'" in caplog.text
    assert "(6 rows)" in caplog.text
    assert "testament.jsonl" not in caplog.text


@pytest.mark.parametrize(
    ("names", "is_folder"),
    [
        (("test",), True),
        (("test",), False),
        (("Valid",), True),
        (("Valid",), False),
        (("test-00000-of-00002", "test-00001-of-00002"), True),
    ],
)
def test_a_test_file_without_a_training_file_is_told(tmp_path, caplog, names, is_folder):
    paths = [write_rows(tmp_path / "d" / f"{name}.jsonl", some_rows(name)) for name in names]
    loaded = stream.load(paths[0].parent if is_folder else paths[0])
    assert any(task.train for task in loaded.tasks)
    assert f"its name says '{names[0].partition('-')[0]}'" in caplog.text


def test_a_test_file_that_is_only_asked_is_not_told(tmp_path, caplog):
    path = write_rows(tmp_path / "d" / "test.jsonl", some_rows("a"))
    (task,) = stream.load_tasks(path)
    learned = write_rows(tmp_path / "learned.jsonl", some_rows("b"))
    (held_out,) = stream.load(learned, held_out=path).held_out
    assert (len(task.test), len(task.train)) == (len(held_out.test), len(held_out.train)) == (6, 0)
    assert "its name says" not in caplog.text


@pytest.mark.parametrize("name", ["train", "crash_test", "capitals"])
def test_a_single_file_that_may_well_be_a_task_is_not_told(tmp_path, caplog, name):
    stream.load(write_rows(tmp_path / "d" / f"{name}.jsonl", some_rows(name)).parent)
    assert "its name says" not in caplog.text


def test_a_run_is_no_task_data(tmp_path):
    run = tmp_path / "run"
    (run / "steps").mkdir(parents=True)
    assert readers.RUN_FILES == folder.FIRST_FILES
    for name in readers.RUN_FILES:
        (run / name).write_text("{}")
    for read in (stream.load, stream.load_tasks):
        with pytest.raises(DataError, match="is a run, not tasks; give those that it learned"):
            read(run)


def test_the_split_of_a_row_is_read_in_any_case(tmp_path):
    rows = [*some_rows("a", 5, split="Train"), *some_rows("b", 2, split="TEST")]
    (task,) = stream.load(write_rows(tmp_path / "d.jsonl", rows)).tasks
    assert (len(task.train), len(task.test)) == (5, 2)


@pytest.mark.parametrize(
    ("present", "absent"),
    [
        (["train-00000-of-00003", "train-00002-of-00003", "test-00000-of-00001"], ["train-00001-of-00003"]),
        (["part-1-of-4", "part-4-of-4"], ["part-2-of-4", "part-3-of-4"]),
        (["x-00000-of-00002"], ["x-00001-of-00002"]),
    ],
)
def test_a_missing_shard_is_named(tmp_path, present, absent):
    for name in present:
        write_rows(tmp_path / "d" / f"{name}.jsonl", some_rows(name))
    with pytest.raises(DataError) as caught:
        stream.load(tmp_path / "d")
    assert all(name in str(caught.value) for name in absent)
    assert not any(name in str(caught.value) for name in present)


def test_whole_shards_are_read_from_0_or_from_1(tmp_path):
    for number in (1, 2, 3):
        write_rows(tmp_path / "d" / f"train-{number}-of-3.jsonl", some_rows(f"a{number}"))
    write_rows(tmp_path / "d" / "test-0-of-1.jsonl", some_rows("b"))
    (task,) = stream.load(tmp_path / "d").tasks
    assert (len(task.train), len(task.test)) == (18, 6)


# --- examples that stand twice ------------------------------------------------------------------------


def test_test_examples_that_another_task_trains_on_are_told(tmp_path):
    write_rows(
        tmp_path / "d" / "a.jsonl", [*some_rows("a", 4, split="train"), *some_rows("x", 3, split="test")]
    )
    write_rows(
        tmp_path / "d" / "b.jsonl", [*some_rows("x", 2, split="train"), *some_rows("b", 3, split="test")]
    )
    (told,) = data_cautions(stream.load(tmp_path / "d").tasks)
    assert told.startswith("2 test examples (a) are training examples of another task")


def test_tasks_that_share_inputs_and_no_answers_are_not_told(tmp_path):
    for name in ("a", "b"):
        rows = [{**row, "output": f"{name} {row['output']}"} for row in some_rows("x", 10)]
        write_rows(tmp_path / "d" / f"{name}.jsonl", rows)
    assert data_cautions(stream.load(tmp_path / "d").tasks) == []


@pytest.mark.parametrize("outputs", [("x", "x", "x"), (["x", "y"], ["y"], ["y", "z"])])
def test_test_examples_that_ask_the_same_are_told(tmp_path, outputs):
    same = [{"instruction": "Name it.", "input": "it", "output": one, "split": "test"} for one in outputs]
    path = write_rows(tmp_path / "d.jsonl", [*some_rows("a", 4, split="train"), *same])
    told = data_cautions(stream.load(path).tasks)
    assert any(
        one.startswith("2 test examples ask the same as another one of their task (d)") for one in told
    )


def test_test_examples_that_contradict_each_other_are_told_once_and_what_to_do(tmp_path):
    same = [{"instruction": "Name it.", "input": "it", "output": one, "split": "test"} for one in "xyz"]
    path = write_rows(tmp_path / "d.jsonl", [*some_rows("a", 4, split="train"), *same])
    (told,) = data_cautions(stream.load(path).tasks)
    assert "contradict each other" in told and "with the outputs as a list" in told


def twice(metric: str, split: str, outputs: str = "xy") -> list[dict[str, object]]:
    """Rows that ask the same and have other outputs, scored by `metric`."""
    said = {"instruction": "Name it.", "input": "it", "metric": metric, "split": split}
    return [{**said, "output": one} for one in outputs]


@pytest.mark.parametrize(("metric", "is_told"), [("accuracy", True), ("exact", True), ("rougeL", False)])
def test_training_examples_that_contradict_each_other_are_told_where_one_answer_is_right(
    tmp_path, metric, is_told
):
    rows = [*some_rows("a", 4, split="test", metric=metric), *twice(metric, "train", "xxy")]
    told = data_cautions(stream.load(write_rows(tmp_path / "d.jsonl", rows)).tasks)
    begin = "3 training examples (d) have the instruction and input of another one of their task and another"
    assert [one for one in told if "repeat another one" not in one] == [told[0]] * is_told
    assert told[0].startswith(begin) == is_told
    assert ("'d-5' and 'd-7'" in told[0]) == is_told


def test_training_examples_with_a_common_answer_do_not_contradict_each_other(tmp_path):
    rows = [*some_rows("a", 4, split="test", metric="exact"), *twice("exact", "train", "xx")]
    (told,) = data_cautions(stream.load(write_rows(tmp_path / "d.jsonl", rows)).tasks)
    assert "repeat another one" in told


# --- numbers of classes, wherever they stand ------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parquet", "saved"])
@pytest.mark.parametrize("nesting", ["sequence", "list"])
def test_classes_inside_lists_have_their_names_and_minus_one_is_none(tmp_path, caplog, kind, nesting):
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["bad", "fair", "good"])
    features = datasets.Features(
        {
            "instruction": datasets.Value("string"),
            "input": datasets.Value("string"),
            "output": [label] if nesting == "list" else datasets.Sequence(label),
        }
    )
    given = [[0], [2, 1], [-1, 2], [-1], [1, -1, -1]]
    rows = [{"instruction": "Mood?", "input": f"text {n}", "output": given[n % 5]} for n in range(15)]
    table = datasets.Dataset.from_list(rows, features=features)
    path = tmp_path / ("d.parquet" if kind == "parquet" else "d")
    table.to_parquet(str(path)) if kind == "parquet" else table.save_to_disk(str(path))
    (task,) = stream.load(path).tasks
    found = {one.references for one in (*task.train, *task.test)}
    assert found == {("bad",), ("good", "fair"), ("good",), ("fair",)}
    assert len(task.train) + len(task.test) == 12 and "3 examples have NaN or null" in caplog.text


@pytest.mark.parametrize(
    ("value", "feature", "expected"),
    [
        ([1, -1], {"feature": LABEL, "_type": "Sequence"}, ["b", None]),
        ([1, 7], [LABEL], ["b", 7]),
        ([[0], [-1]], {"feature": {"feature": LABEL, "_type": "List"}, "_type": "List"}, [["a"], [None]]),
        ({"x": 1, "y": -1}, {"x": LABEL, "y": {"dtype": "int64", "_type": "Value"}}, {"x": "b", "y": -1}),
        ({"l": [0, -1]}, {"feature": {"l": LABEL}, "_type": "Sequence"}, {"l": ["a", None]}),
        ({"feature": 1}, {"feature": LABEL}, {"feature": "b"}),
        (None, LABEL, None),
        (True, LABEL, True),
        ("b", LABEL, "b"),
        (1, {"names": "ab", "_type": "ClassLabel"}, 1),
        ([1], "nonsense", [1]),
        (-1, None, -1),
    ],
)
def test_a_value_is_named_as_deep_as_its_feature_goes(value, feature, expected):
    assert named({"k": value, "other": -1}, {"k": feature}) == {"k": expected, "other": -1}


# --- values that are missing --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_a_class_of_minus_one_is_no_answer(tmp_path, caplog, kind):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "instruction": datasets.Value("string"),
            "input": datasets.Value("string"),
            "output": datasets.ClassLabel(names=["bad", "good"]),
        }
    )
    rows = [{"instruction": "Mood?", "input": f"text {n}", "output": (n % 3) - 1} for n in range(12)]
    table = datasets.Dataset.from_list(rows, features=features)
    path = tmp_path / ("d.parquet" if kind == "parquet" else "d")
    table.to_parquet(str(path)) if kind == "parquet" else table.save_to_disk(str(path))
    (task,) = stream.load(path).tasks
    assert {one.response for one in (*task.train, *task.test)} == {"bad", "good"}
    assert len(task.train) + len(task.test) == 8
    assert "4 examples have NaN or null for output, or NaN for input; skipped" in caplog.text


@pytest.mark.parametrize("value", ["1e400", "-1e999", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", ["output", "input", "instruction", "task", "id"])
def test_numbers_without_end_are_no_texts(tmp_path, value, field):
    fields = {"instruction": '"Add."', "input": '"1"', "output": '"2"', field: value}
    line = "{" + ", ".join(f'"{key}": {one}' for key, one in fields.items()) + "}"
    rows = "".join(json.dumps(row) + "\n" for row in some_rows("a", 3))
    (tmp_path / "d.jsonl").write_text(f"{rows}{line}\n")
    with pytest.raises(DataError, match=f"line 4.*{field}.* is -?inf, which is no number of JSON"):
        stream.load(tmp_path / "d.jsonl")
    (tmp_path / "e.json").write_text(f"[{line}, {line}]")
    with pytest.raises(DataError, match=r"row 1.*no number of JSON"):
        stream.load(tmp_path / "e.json")


# --- keys that stand twice ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        '{"instruction": "Add.", "input": "1", "output": "2", "output": "3"}',
        '{"instruction": "Add.", "output": "2", "constraints": [{"type": "json", "type": "json"}]}',
    ],
)
def test_a_row_with_a_key_twice_is_refused_by_name(tmp_path, line):
    rows = "".join(json.dumps(row) + "\n" for row in some_rows("a", 3))
    (tmp_path / "d.jsonl").write_text(f"{rows}{line}\n")
    with pytest.raises(DataError, match=r"line 4: the key '(output|type)' stands several times"):
        stream.load(tmp_path / "d.jsonl")
    (task,) = stream.load(tmp_path / "d.jsonl", bad_rows="skip").tasks
    assert len(task.train) + len(task.test) == 3


@pytest.mark.parametrize("name", ["constraints.json", "keyparts.json", "variants.json"])
def test_a_file_beside_tasks_with_a_task_twice_is_refused_by_name(tmp_path, name):
    write_rows(tmp_path / "a.jsonl", some_rows("a"))
    (tmp_path / name).write_text('{\n  "a": [{"type": "json"}],\n  "a": []\n}')
    with pytest.raises(DataError, match=rf"{name}: the key 'a' stands several times in one object"):
        stream.load(tmp_path)


def test_a_cell_of_json_with_a_key_twice_is_refused_by_name(tmp_path):
    cell = '"[{""type"": ""json"", ""type"": ""one_of""}]"'
    (tmp_path / "d.csv").write_text(f"instruction,output,constraints\nAdd.,2,{cell}\n")
    with pytest.raises(DataError, match="the key 'type' stands several times"):
        stream.load(tmp_path / "d.csv")


@pytest.mark.parametrize("name", ["d.jsonl", "d.json", "task.json"])
def test_null_for_input_is_no_input_and_null_for_output_skips_the_row_in_every_format(tmp_path, caplog, name):
    rows = [*some_rows("a", 5), *some_rows("b", 3, output=None), *some_rows("c", 1, input=None)]
    content: object = rows
    if name == "task.json":
        content = {"Definition": ["Name it."], "Instances": rows}
    if name == "d.jsonl":
        write_rows(tmp_path / name, rows)
    else:
        (tmp_path / name).write_text(json.dumps(content))
    (task,) = stream.load(tmp_path / name).tasks
    examples = (*task.train, *task.test)
    assert len(examples) == 6
    assert [one.response for one in examples if not one.input] == ["c is 0"]
    (told,) = (one.getMessage() for one in caplog.records if "NaN or null" in one.getMessage())
    assert "3 examples have" in told
    assert {"d.jsonl": "line 6", "d.json": "row 6", "task.json": "instance 6"}[name] in told.split(",")[0]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("input", [3]),
        ("input", [3, 0.5, "x"]),
        ("output", [[1, 2, 3], "x", [4.5, "y"], 2]),
        ("input", [7] * 6),
    ],
)
@pytest.mark.parametrize("more", [{}, {"context": "said"}, {"context": ""}])
def test_rows_of_values_that_are_no_text_are_counted_once_each(tmp_path, caplog, field, values, more):
    rows = [{**row, **more, field: value} for row, value in zip(some_rows("a", 9), values, strict=False)]
    rows += some_rows("b", 3)
    stream.load_tasks(write_rows(tmp_path / "d.jsonl", rows))
    count = sum(not isinstance(value, str) for value in values)
    (told,) = (one.getMessage() for one in caplog.records if "are no text" in one.getMessage())
    assert f"'{field}'" in told
    assert told.endswith(f"({count} row{'s' * (count > 1)})")


@pytest.mark.parametrize(("ending", "separator"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("column", ["output", "response", "completion", "answer"])
def test_a_list_of_texts_in_a_cell_is_one_text_and_told(tmp_path, caplog, ending, separator, column):
    cells = ['"[""Oslo"", ""Oslo.""]"', '"[""a""]"', "[draft] x", "[1]", "[]", "plain"]
    asked = "prompt" if column == "completion" else "instruction"
    lines = [f"{asked}{separator}{column}", *(f"Ask {n}.{separator}{cell}" for n, cell in enumerate(cells))]
    path = tmp_path / f"d.{ending}"
    path.write_text("\n".join(lines))
    columns = {"output": "answer"} if column == "answer" else {}
    (task,) = stream.load_tasks(path, columns=columns)
    assert task.test[0].references == ('["Oslo", "Oslo."]',)
    (told,) = (one.getMessage() for one in caplog.records if "lists of texts" in one.getMessage())
    assert told.endswith("(2 rows)")


# --- rows and the files beside them -------------------------------------------------------------------


def test_rows_that_differ_from_the_files_beside_them_are_told_once(tmp_path, caplog):
    stated = {"key_parts": ["Name"], "constraints": [{"type": "max_words", "n": 5}]}
    rows = [*some_rows("a", 4, **stated), *some_rows("b", 3)]
    write_rows(tmp_path / "d" / "a.jsonl", rows)
    (tmp_path / "d" / "constraints.json").write_text('{"a": [{"type": "max_words", "n": 2}]}')
    (tmp_path / "d" / "keyparts.json").write_text('{"a": {"key_parts": ["it"]}}')
    (task,) = stream.load(tmp_path / "d").tasks
    assert [one.params["n"] for one in task.constraints] == [5]
    assert [(one.start, one.end) for one in task.instruction.key_parts] == [(0, 4)]
    told = [one.getMessage() for one in caplog.records if "those of the rows hold" in one.getMessage()]
    assert len(told) == 2
    assert all(one.endswith("(4 rows)") for one in told)


def test_rows_that_say_what_the_files_beside_them_say_are_not_told(tmp_path, caplog):
    stated = {"key_parts": ["Name"], "constraints": [{"type": "max_words", "n": 5}]}
    write_rows(tmp_path / "d" / "a.jsonl", some_rows("a", **stated))
    (tmp_path / "d" / "constraints.json").write_text('{"a": [{"type": "max_words", "n": 5, "note": "x"}]}')
    (tmp_path / "d" / "keyparts.json").write_text('{"a": {"key_parts": [{"text": "Name", "start": 0}]}}')
    stream.load(tmp_path / "d")
    assert "those of the rows hold" not in caplog.text


# --- key parts given as text --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts", "starts"),
    [
        ("mention the ion", ["ion"], [12]),
        ("unsorted: sort it, then sort again", ["sort"], [10]),
        ("unsorted: sort it, then sort again", ["sort", "sort", "sort"], [2, 10, 24]),
        ("one of done, one", ["one", "one", "one"], [0, 8, 13]),
        ("the word 'one_of', of two", ["of"], [19]),
        ("nation", ["ion"], [3]),
        ("übersetze über", ["über"], [10]),
        ("把句子翻译成英文", ["翻译"], [3]),
        ("a (b) c(b)", ["(b)"], [2]),
        ("say 10 or 1", ["1"], [10]),
    ],
)
def test_a_key_part_is_placed_where_it_is_whole_words(text, parts, starts):
    assert [one.start for one in locate(text, parts, "here")] == starts


def test_a_key_part_inside_words_alone_is_placed_there_in_linear_time():
    count = 20_000
    assert len(locate("gogo" * count, ["go"] * count, "here")) == count
    assert locate("agoa go", ["go", {"text": "go", "start": 5}], "here") == (KeySpan(1, 3), KeySpan(5, 7))


@pytest.mark.parametrize("entry", [{"n": 5}, {}, {"values": ["a"]}, {"type": None, "n": 5}])
def test_a_constraint_without_a_type_is_told_that_it_is_missing(tmp_path, entry):
    path = write_rows(tmp_path / "d.jsonl", some_rows("a", constraints=[entry]))
    with pytest.raises(DataError, match="'type' is missing in the constraint"):
        stream.load(path)


# --- what is shown ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        (some_rows("a", 20), "16 training and 4 test examples"),
        (some_rows("a", 3), "2 training and 1 test examples"),
        (some_rows("a", 3, split="test"), "0 training and 3 test examples"),
    ],
)
def test_show_splits_the_examples_of_a_file_as_a_run_does(tmp_path, rows, counts):
    shown = CliRunner().invoke(app, ["show", str(write_rows(tmp_path / "d.jsonl", rows))])
    assert counts in " ".join(shown.output.split())
