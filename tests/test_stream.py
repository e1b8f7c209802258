"""Reading tasks: formats, splits, order, digest, and every bad input with its message."""

import dataclasses
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpig.errors import ConfigError, DataError
from kpig.records import Constraint, Instruction, KeySpan
from kpig.tasks import stream
from kpig.tasks.drafts import Row, split_by_rule
from kpig.tasks.key_parts import locate
from kpig.tasks.metric_choice import choose_metric
from kpig.tasks.problems import MOST_PROBLEMS_SHOWN

SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"
needs_shared_data = pytest.mark.skipif(
    not (SHARED_DATA / "superni-stream").is_dir(), reason="shared/data/superni-stream is not beside the repo"
)

DEFINITION = "Sort the words. Answer with one word."


def instance(number, output="left", text=None):
    return {"id": f"x-{number}", "input": text or f"text {number}", "output": output}


def task_json(count=10, definition=DEFINITION, **changes):
    instances = [instance(number) for number in range(count)]
    return {"Definition": [definition], "Categories": ["Sorting"], "Instances": instances, **changes}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def superni_folder(folder, tasks=None, **annotations):
    """A folder of one-step-per-task Super-NaturalInstructions data; 7 train and 3 test examples each."""
    tasks = tasks or {"alpha": task_json(), "beta": task_json()}
    for name, raw in tasks.items():
        write(folder / "tasks" / f"{name}.json", raw)
    ids = [f"x-{number}" for number in range(10)]
    entries = [
        {"task": name, "file": f"tasks/{name}.json", "train_ids": ids[:7], "test_ids": ids[7:]}
        for name in tasks
    ]
    write(folder / "stream.json", {"steps": [{"step": n, "tasks": [e]} for n, e in enumerate(entries, 1)]})
    for name, value in annotations.items():
        write(folder / f"{name}.json", value)
    return folder


def jsonl(path, *lines):
    return write(path, "".join(json.dumps(line) + "\n" for line in lines))


def line(number=0, **changes):
    return {"instruction": DEFINITION, "input": f"text {number}", "output": "left", **changes}


def message_of(action, *arguments, **settings):
    with pytest.raises(DataError) as caught:
        action(*arguments, **settings)
    return str(caught.value)


def names(loaded):
    return [[task.name for task in step] for step in loaded.steps]


# --- the shared data ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared_stream():
    return stream.load(SHARED_DATA / "superni-stream", held_out=SHARED_DATA / "superni-heldout")


@needs_shared_data
def test_the_shared_stream_has_eight_steps_of_five_tasks_with_200_and_40_examples(shared_stream):
    assert [len(step) for step in shared_stream.steps] == [5] * 8
    assert {(len(task.train), len(task.test)) for task in shared_stream.tasks} == {(200, 40)}
    assert {(len(task.train), len(task.test)) for task in shared_stream.held_out} == {(0, 60)}
    assert len(shared_stream.held_out) == 16


@needs_shared_data
def test_the_shared_key_parts_are_133_and_45_and_read_as_annotated(shared_stream):
    assert sum(len(task.instruction.key_parts) for task in shared_stream.tasks) == 133
    assert sum(len(task.instruction.key_parts) for task in shared_stream.held_out) == 45
    annotated = json.loads((SHARED_DATA / "superni-stream" / "keyparts.json").read_text("utf-8"))
    for task in shared_stream.tasks:
        text = task.instruction.text
        read = [text[span.start : span.end] for span in task.instruction.key_parts]
        assert read == [part["text"] for part in annotated[task.name]["key_parts"]]


@needs_shared_data
def test_the_shared_split_is_the_one_the_stream_file_lists(shared_stream):
    raw = json.loads((SHARED_DATA / "superni-stream" / "stream.json").read_text("utf-8"))
    for step, raw_step in zip(shared_stream.steps, raw["steps"], strict=True):
        for task, entry in zip(step, raw_step["tasks"], strict=True):
            assert task.name == entry["task"]
            assert {example.id for example in task.train} == set(entry["train_ids"])
            assert {example.id for example in task.test} == set(entry["test_ids"])


@needs_shared_data
def test_caps_keep_a_prefix_and_leave_the_metric_alone(shared_stream):
    capped = stream.load(
        SHARED_DATA / "superni-stream",
        held_out=SHARED_DATA / "superni-heldout",
        train_per_task=7,
        test_per_task=3,
        max_steps=2,
        max_tasks_per_step=3,
        max_held_out=5,
    )
    assert [len(step) for step in capped.steps] == [3, 3]
    assert len(capped.held_out) == 5
    for small, full in zip(capped.steps[1], shared_stream.steps[1], strict=False):
        assert small.train == full.train[:7]
        assert small.test == full.test[:3]
        assert small.metric == full.metric


def _named(path, **options):
    """The names of the tasks that are taken of three in two steps, by step, and of two held-out ones."""
    entries = [{"task": name, "file": f"{name}.json"} for name in ("b", "c", "a")]
    for name in ("a", "b", "c"):
        write(path / "tasks" / f"{name}.json", task_json(8))
    write(path / "tasks" / "stream.json", {"steps": [{"tasks": [entries[0]]}, {"tasks": entries[1:]}]})
    for name in ("x", "y"):
        write(path / "held" / f"{name}.json", task_json(8))
    found = stream.load(path / "tasks", held_out=path / "held", **options)
    return [[task.name for task in step] for step in found.steps], [task.name for task in found.held_out]


def test_tasks_are_taken_by_name_and_keep_their_order_and_steps(tmp_path):
    assert _named(tmp_path) == ([["b"], ["c", "a"]], ["x", "y"])
    assert _named(tmp_path, tasks=["a", "b"]) == ([["b"], ["a"]], ["x", "y"])
    assert _named(tmp_path, tasks=["a"], held_out_tasks=["y"]) == ([["a"]], ["y"])
    assert _named(tmp_path, tasks=["a", "c"], max_tasks_per_step=1) == ([["c"]], ["x", "y"])


def test_a_name_of_no_task_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError) as told:
        _named(tmp_path, tasks=["a", "bb"])
    assert "tasks has 'bb', and there is no such task among 3; did you mean 'b'? Task names" in str(
        told.value
    )
    with pytest.raises(ConfigError) as told:
        _named(tmp_path, held_out_tasks=["a"])
    assert "held_out_tasks has 'a', and there is no such task among 2" in str(told.value)


@needs_shared_data
def test_held_out_folders_load_as_tasks_and_not_as_a_stream():
    assert len(stream.load_tasks(SHARED_DATA / "superni-heldout", max_tasks=5)) == 5
    assert "no training examples" in message_of(stream.load, SHARED_DATA / "superni-heldout")


# --- Super-NaturalInstructions -----------------------------------------------------------------------


def test_a_task_file_alone_is_split_by_rule_and_the_split_does_not_depend_on_the_seed(tmp_path):
    path = write(tmp_path / "alpha.json", task_json(15))
    first, second = (stream.load(path, test_per_task=4, seed=seed).tasks[0] for seed in (0, 1))
    assert first == second
    assert (len(first.train), len(first.test)) == (11, 4)
    assert {example.id for example in first.train + first.test} == {f"x-{number}" for number in range(15)}


def test_a_folder_of_task_files_becomes_steps_of_tasks_per_step(tmp_path):
    for name in ("alpha", "beta", "gamma", "delta", "epsilon"):
        write(tmp_path / f"{name}.json", task_json())
    assert names(stream.load(tmp_path)) == [["alpha"], ["beta"], ["delta"], ["epsilon"], ["gamma"]]
    expected = [["alpha", "beta"], ["delta", "epsilon"], ["gamma"]]
    assert names(stream.load(tmp_path, tasks_per_step=2)) == expected


def test_the_stream_file_and_its_folder_load_the_same(tmp_path):
    folder = superni_folder(tmp_path / "mine")
    assert stream.load(folder) == stream.load(folder / "stream.json")
    assert stream.load(folder).name == "mine"


def test_further_definitions_are_further_wordings(tmp_path):
    path = write(tmp_path / "alpha.json", task_json(Definition=["First.", "Second.", "Third."]))
    task = stream.load(path).tasks[0]
    assert [one.text for one in task.instructions] == ["First.", "Second.", "Third."]
    assert task.instruction.origin == "seed"
    assert {example.instruction for example in task.train} == {task.instruction}


def test_a_definition_may_be_a_plain_text_and_outputs_may_be_several(tmp_path):
    raw = task_json(Definition="Only one.", Instances=[instance(n, ["one", "two"]) for n in range(5)])
    task = stream.load(write(tmp_path / "alpha.json", raw)).tasks[0]
    assert task.instruction.text == "Only one."
    assert task.train[0].references == ("one", "two")
    assert task.train[0].response == "one"


def test_instances_with_nan_are_skipped_and_counted(tmp_path, caplog):
    raw = task_json()
    raw["Instances"] += [{"id": "nan-1", "input": "a", "output": float("nan")}]
    raw["Instances"] += [{"id": "nan-2", "input": float("nan"), "output": ["b"]}]
    path = write(tmp_path / "alpha.json", raw)
    assert "NaN" in path.read_text()
    with caplog.at_level(logging.WARNING):
        task = stream.load_tasks(path)[0]
    assert len(task.test) == 10
    assert "2 examples have NaN or null" in caplog.text


def test_repeated_inputs_never_fall_on_both_sides_of_the_rule(tmp_path):
    rows = [Row(f"r{number}", f"Text  {number % 7}", ("left",)) for number in range(35)]
    train, test = split_by_rule("alpha", rows, 3)
    assert len(test) == 3
    assert not {row.input for row in train} & {row.input for row in test}


def test_examples_without_input_are_told_apart_by_their_references(tmp_path):
    lines = [line(input="", output=f"answer {number}", split="train") for number in range(3)]
    lines += [line(input="", output="answer 7", split="test")]
    assert len(stream.load(jsonl(tmp_path / "alpha.jsonl", *lines)).tasks[0].train) == 3


# --- JSONL and datasets ------------------------------------------------------------------------------


def test_jsonl_lines_carry_key_parts_constraints_metric_split_and_step(tmp_path):
    stated = {
        "key_parts": ["Sort the words", {"text": "one word", "kind": "length"}],
        "constraints": [{"type": "max_words", "n": 1}],
        "metric": "accuracy",
        "categories": ["Sorting"],
    }
    lines = [line(n, task="b", step=2, split="test" if n == 4 else "train", **stated) for n in range(5)]
    lines += [line(n, task="a", step=1, split="test" if n == 4 else "train") for n in range(5)]
    loaded = stream.load(jsonl(tmp_path / "mine.jsonl", *lines))
    assert names(loaded) == [["a"], ["b"]]
    task = loaded.steps[1][0]
    assert task.instruction.masked() == "_. Answer with _."
    assert task.instruction.key_parts[1].kind == "length"
    assert [(one.type, dict(one.params)) for one in task.constraints] == [("max_words", {"n": 1})]
    assert (task.metric, task.categories, len(task.train), len(task.test)) == ("accuracy", ("Sorting",), 4, 1)


def test_a_missing_input_is_an_empty_input(tmp_path):
    path = jsonl(tmp_path / "alpha.jsonl", {"instruction": "Say hello.", "output": "hello"})
    assert stream.load_tasks(path)[0].test[0].input == ""


def test_a_file_is_one_task_named_after_it_and_several_instructions_are_several_tasks(tmp_path):
    jsonl(tmp_path / "alpha.jsonl", *(line(number) for number in range(5)))
    jsonl(tmp_path / "beta.jsonl", *(line(n, instruction=f"Do {n % 3}.") for n in range(9)))
    tasks = stream.load_tasks(tmp_path)
    assert [len(task.test) for task in tasks] == [5, 3, 3, 3]
    assert tasks[0].name == "alpha"
    assert all(task.name.startswith("beta-") for task in tasks[1:])


def test_declared_wordings_of_a_named_task_have_key_parts_of_their_own(tmp_path):
    first = [line(n, task="a", key_parts=["Sort"]) for n in range(3)]
    changes = {"task": "a", "instruction": "Please sort.", "key_parts": ["sort"], "wording_of": DEFINITION}
    other = [line(n, **changes) for n in range(3, 5)]
    task = stream.load_tasks(jsonl(tmp_path / "mine.jsonl", *first, *other))[0]
    assert [one.key_parts for one in task.instructions] == [(KeySpan(0, 4),), (KeySpan(7, 11),)]
    assert len(task.test) == 5


def test_unsplit_examples_are_all_tested_unless_the_rule_is_asked_for(tmp_path):
    path = jsonl(tmp_path / "alpha.jsonl", *(line(number) for number in range(10)))
    assert len(stream.load_tasks(path)[0].test) == 10
    assert stream.load_tasks(path, split_by_rule=True)[0] == stream.load(path).tasks[0]
    assert len(stream.load(path).tasks[0].test) == 2


def test_annotation_files_beside_jsonl_are_read(tmp_path):
    path = jsonl(tmp_path / "alpha.jsonl", *(line(number) for number in range(10)))
    write(tmp_path / "keyparts.json", {"alpha": {"key_parts": ["one word"]}})
    write(tmp_path / "constraints.json", {"alpha": [{"type": "one_of", "values": ["left", "right"]}]})
    task = stream.load(path).tasks[0]
    assert task.instruction.masked() == "Sort the words. Answer with _."
    assert task.metric == "accuracy"


def test_hugging_face_datasets_on_disk_load_like_jsonl(tmp_path):
    datasets = pytest.importorskip("datasets")
    parts = [
        {"text": "Sort the words", "kind": "operation"},
        {"text": "one word", "kind": "length", "start": 28},
    ]
    rows = [line(n, task="a", key_parts=parts, metric=None) for n in range(7)]
    table = {"train": datasets.Dataset.from_list(rows[:5]), "test": datasets.Dataset.from_list(rows[5:])}
    datasets.DatasetDict(table).save_to_disk(str(tmp_path / "both"))
    table["train"].save_to_disk(str(tmp_path / "one"))
    task = stream.load(tmp_path / "both").tasks[0]
    assert (task.name, len(task.train), len(task.test)) == ("a", 5, 2)
    assert task.instruction.masked() == "_. Answer with _."
    assert len(stream.load_tasks(tmp_path / "one", kind="hf")[0].test) == 5


def test_other_splits_of_a_dataset_are_refused(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"backwards": datasets.Dataset.from_list([line()])}).save_to_disk(
        str(tmp_path / "d")
    )
    message = message_of(stream.load, tmp_path / "d")
    assert "has the splits backwards; expected one or more of train," in message


# --- order -------------------------------------------------------------------------------------------


@pytest.fixture
def five_steps(tmp_path):
    for name in "abcde":
        write(tmp_path / f"{name}.json", task_json())
    return tmp_path


def test_every_order_holds_the_same_tasks(five_steps):
    given_order = stream.load(five_steps, max_steps=4)
    orders = [stream.load(five_steps, max_steps=4, order="shuffled", seed=seed) for seed in range(5)]
    assert all(set(one.tasks) == set(given_order.tasks) for one in orders)
    assert len({stream.digest(one) for one in orders}) > 1
    assert orders[3] == stream.load(five_steps, max_steps=4, order="shuffled", seed=3)


def test_a_list_of_step_numbers_is_an_order(five_steps):
    assert names(stream.load(five_steps, order=[3, 1, 5])) == [["c"], ["a"], ["e"]]


@pytest.mark.parametrize("order", ["backwards", [], [1, 1], [0, 1], [6]])
def test_an_impossible_order_is_refused(five_steps, order):
    with pytest.raises(ConfigError, match="step numbers from 1 to 5"):
        stream.load(five_steps, order=order)


def test_impossible_limits_are_refused_all_at_once(five_steps):
    with pytest.raises(ConfigError, match=r"train_per_task is -1(.|\n)*max_steps is 'two'"):
        stream.load(five_steps, train_per_task=-1, max_steps="two")


# --- metric ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("responses", "metric"),
    [
        (["a", "b", "c"] * 5, "accuracy"),
        (["a", "b", "c"] * 5 + ["d"] * 4, "rougeL"),
        ([str(number) for number in range(10)] * 5, "accuracy"),
        ([str(number) for number in range(11)] * 5, "rougeL"),
    ],
)
def test_at_most_ten_responses_each_five_times_or_more_are_a_closed_label_set(responses, metric):
    assert choose_metric(responses) == metric


def test_a_one_of_constraint_closes_the_label_set():
    assert choose_metric(["a", "b"], [Constraint("one_of", {"values": ("a", "b")})]) == "accuracy"


# --- key parts ---------------------------------------------------------------------------------------


@st.composite
def annotated_texts(draw):
    """A text without white space and ordered, disjoint spans of it."""
    text = draw(st.text(st.characters(exclude_categories=("Cs", "Z", "C")), min_size=3, max_size=37))
    size = st.integers(0, len(text))
    edges = sorted(draw(st.sets(size, min_size=2, max_size=7)))
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    kinds = st.sampled_from(("operation", "label_set", "format"))
    return text, tuple(KeySpan(start, end, draw(kinds)) for start, end in pairs)


@given(annotated_texts(), st.randoms(use_true_random=False))
def test_stated_spans_come_back_whatever_their_order(annotated, rng):
    text, spans = annotated
    parts = [
        {"text": text[span.start : span.end], "kind": span.kind, "start": span.start, "end": span.end}
        for span in spans
    ]
    rng.shuffle(parts)
    assert locate(text, parts, "here") == spans


@given(annotated_texts())
def test_located_texts_are_disjoint_spans_that_read_as_stated(annotated):
    text, spans = annotated
    part = text[spans[0].start : spans[0].end]
    (found,) = locate(text, [part], "here")
    assert text[found.start : found.end] == part


def test_repeated_texts_take_one_occurrence_each():
    assert locate("a b a b", ["a", "b", "a"], "here") == (KeySpan(0, 1), KeySpan(2, 3), KeySpan(4, 5))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (["Sort the sentences"], "not a span of the instruction"),
        ([{"text": "Sort", "start": 1, "end": 5}], "not the instruction's characters 1 to 5"),
        ([{"text": "Sort", "start": 0, "end": 9}], "not the instruction's characters 0 to 9"),
        ([{"text": "Sort the", "start": 0}, {"text": "the words", "start": 5}], "overlaps"),
        (["Sort the words", "the words"], "overlaps"),
        ([{"text": "Sort", "kind": "verb"}], "expected one of operation, label_set"),
        ([{"text": "Sort", "start": -1}], "offset of 0 or more"),
        ([{"text": "Sort", "start": True}], "offset of 0 or more"),
        ([{"kind": "format"}], "has no text"),
        ([" "], "has no text"),
        ([7], "neither a text nor a mapping"),
        ("Sort", "expected a list"),
    ],
)
def test_key_parts_that_do_not_fit_the_instruction_are_refused(tmp_path, parts, words):
    assert words in message_of(locate, DEFINITION, parts, "here")
    folder = superni_folder(tmp_path, keyparts={"alpha": {"definition": DEFINITION, "key_parts": parts}})
    message = message_of(stream.load, folder)
    assert words in message and "keyparts.json: task 'alpha'" in message


def test_key_parts_of_another_wording_are_refused(tmp_path):
    folder = superni_folder(tmp_path, keyparts={"alpha": {"definition": "Old text.", "key_parts": []}})
    assert "'definition' differs" in message_of(stream.load, folder)


def test_annotations_of_an_unknown_task_are_refused_with_a_suggestion(tmp_path):
    folder = superni_folder(tmp_path, constraints={"alhpa": []})
    assert "no task 'alhpa'; did you mean 'alpha'?" in message_of(stream.load, folder)


def test_an_unknown_constraint_type_is_refused(tmp_path):
    folder = superni_folder(tmp_path, constraints={"alpha": [{"type": "one_off", "values": ["a"]}]})
    message = message_of(stream.load, folder)
    assert "one_off" in message and "constraints.json: task 'alpha'" in message


# --- bad input ---------------------------------------------------------------------------------------


def test_a_missing_path_is_named_with_its_near_siblings(tmp_path):
    superni_folder(tmp_path / "superni-stream")
    message = message_of(stream.load, tmp_path / "superni-steam")
    assert "no such file" in message and "did you mean 'superni-stream'?" in message


def test_a_missing_task_file_is_named_with_its_near_siblings(tmp_path):
    folder = superni_folder(tmp_path)
    (folder / "tasks" / "alpha.json").rename(folder / "tasks" / "alhpa.json")
    assert "alpha.json: no such file or folder; did you mean 'alhpa.json'?" in message_of(stream.load, folder)


def test_a_folder_without_tasks_is_told_what_was_looked_for(tmp_path):
    message = message_of(stream.load, tmp_path)
    assert "stream.json" in message and "*.jsonl" in message and "dataset_dict.json" in message
    assert "no task files" in message_of(stream.load, tmp_path, kind="superni")
    assert "no *.jsonl" in message_of(stream.load, tmp_path, kind="jsonl")
    assert "load_from_disk" in message_of(stream.load, tmp_path, kind="hf")


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected one of auto, superni, jsonl, json, csv"):
        stream.load(tmp_path, kind="xml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n  "Definition": oops\n}', "line 2, column 17: not valid JSON"),
        ("[1]", "row 1 is of type int; expected an object"),
        ("7", "of type int; expected an object"),
        ("[" * 99999, "not valid JSON"),
        ('{"Definition": "a \\ud800"}', "half of a surrogate pair"),
    ],
)
def test_malformed_json_is_refused_with_file_line_and_column(tmp_path, text, words):
    path = write(tmp_path / "alpha.json", text)
    message = message_of(stream.load, path)
    assert str(path) in message and words in message


def test_a_malformed_jsonl_line_is_named_with_its_number(tmp_path):
    path = write(tmp_path / "alpha.jsonl", json.dumps(line()) + "\n\n{oops}\n")
    assert f"{path}: line 3, column 2: not valid JSON" in message_of(stream.load, path)


@pytest.mark.parametrize("name", ["alpha.json", "alpha.jsonl"])
def test_a_file_that_is_not_utf8_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(json.dumps(line()).encode() + "é".encode("latin-1"))
    assert "is not UTF-8" in message_of(stream.load, path)


def test_a_byte_order_mark_is_tolerated(tmp_path):
    path = tmp_path / "alpha.json"
    path.write_text(json.dumps(task_json()), encoding="utf-8-sig")
    assert stream.load(path).tasks[0].name == "alpha"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Definition": None}, "has no instruction"),
        ({"Definition": []}, "has no instruction"),
        ({"Definition": [" \n"]}, "has no instruction"),
        ({"Definition": 7}, "is of type int"),
        ({"Instances": []}, "has no examples"),
        ({"Instances": [instance(0, float("nan"))]}, "has no examples"),
        ({"Instances": {"0": "a"}}, "is of type dict; expected a list"),
        ({"Instances": ["text"]}, "instance 1 is of type str"),
        ({"Instances": [instance(3, " \n ")]}, "task 'alpha': example 'x-3': has an empty response"),
        ({"Instances": [instance(3, [" ", ""])]}, "has an empty response"),
        ({"Instances": [instance(3, [])]}, "has an empty response"),
        ({"Instances": [instance(3, {"a": 7})]}, "'output' is of type dict"),
        ({"Instances": [instance(3, text=["a"])]}, "'input' is of type list"),
        ({"Instances": [{"id": "x-3", "input": "a"}]}, "has no 'output'"),
        ({"Instances": [{"id": "x-3", "input": "a", "outputs": "b"}]}, "did you mean 'outputs'?"),
        ({"Instances": [instance(3), instance(3)]}, "the id 'x-3' stands for several examples"),
        ({"Categories": [1]}, "'Categories' is of type int"),
        ({"metric": "bleu"}, "expected one of exact, accuracy, rougeL"),
    ],
)
def test_a_bad_task_file_is_refused(tmp_path, changes, words):
    path = write(tmp_path / "alpha.json", task_json(**changes))
    message = message_of(stream.load, path)
    assert words in message and str(path) in message


@pytest.mark.parametrize(
    ("stream_file", "words"),
    [
        ({"steps": [{"tasks": [{"task": "../../x"}]}]}, "not a path inside the stream's folder"),
        ({"steps": [{"tasks": [{"task": "a\n"}]}]}, "is not a task name"),
        (
            {"steps": [{"tasks": [{"task": "a", "file": "../a.json"}]}]},
            "not a path inside the stream's folder",
        ),
        ({"steps": [{"tasks": [{"task": "a", "file": "/a.json"}]}]}, "not a path inside the stream's folder"),
        ({"steps": [{"tasks": [{"task": "a", "train_ids": "x"}]}]}, "'train_ids' is of type str"),
        ({"steps": [{"tasks": [{"task": "a", "train_ids": ["x"], "test_ids": ["x"]}]}]}, "and in test_ids"),
        ({"steps": {"1": []}}, "'steps' is of type dict"),
        ({"steps": [[]]}, "step 1 is of type list"),
        ({"steps": [{"step": 1}]}, "'tasks' is of type NoneType"),
        ({"steps": []}, "no task files"),
        ({"step": []}, "has neither 'steps', 'tasks'"),
    ],
)
def test_a_bad_stream_file_is_refused(tmp_path, stream_file, words):
    assert words in message_of(stream.load, write(tmp_path / "stream.json", stream_file).parent)


def test_an_id_of_the_stream_file_that_the_task_file_lacks_is_refused(tmp_path):
    folder = superni_folder(tmp_path, {"alpha": task_json(9)})
    message = message_of(stream.load, folder)
    assert "absent from the task file" in message and "'x-9'" in message


def test_duplicated_task_names_are_refused(tmp_path):
    folder = superni_folder(tmp_path)
    raw = json.loads((folder / "stream.json").read_text())
    write(folder / "stream.json", {"steps": raw["steps"] + raw["steps"][:1]})
    assert "2 tasks are named 'alpha'" in message_of(stream.load, folder)


def test_a_held_out_task_of_the_stream_is_refused(tmp_path):
    folder = superni_folder(tmp_path / "learned")
    other = superni_folder(tmp_path / "other", {"beta": task_json(), "gamma": task_json()})
    message = message_of(stream.load, folder, held_out=other, max_steps=1)
    assert "held-out task 'beta' is also in the stream" in message and "gamma" not in message


def test_the_same_example_in_train_and_test_is_refused(tmp_path):
    raw = task_json()
    raw["Instances"][8]["input"] = "  TEXT\n 2 "
    message = message_of(stream.load, superni_folder(tmp_path, {"alpha": raw}))
    assert "in train and in test" in message and "'x-2' = 'x-8'" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instruction": " "}, "line 2: has no instruction"),
        ({"instruction": ["a"]}, "'instruction' is of type list"),
        ({"output": " "}, "line 2: example 'alpha-2': has an empty response"),
        ({"task": "a\nb"}, "'a\\nb' is not a task name"),
        ({"task": "\u202ea"}, "is not a task name"),
        ({"task": " a"}, "' a' is not a task name"),
        ({"task": "a" * 201}, "is not a task name"),
        ({"task": ["a"]}, "'task' is of type list"),
        ({"split": "trian"}, "split is 'trian'; expected 'train' or 'test'"),
        ({"step": "one"}, "step is 'one'; expected a whole number"),
        ({"step": 1.5}, "step is 1.5; expected a whole number"),
        ({"keyparts": ["Sort"]}, "there is no field 'keyparts'; did you mean 'key_parts'?"),
        ({"metric": ["accuracy"]}, "expected one of exact, accuracy, rougeL"),
        ({"constraints": {"type": "max_words"}}, "expected a list"),
        ({"key_parts": ["Nowhere"]}, "not a span of the instruction"),
        ({"split": "train"}, "4 of 5 examples state no split"),
    ],
)
def test_a_bad_jsonl_line_is_refused(tmp_path, changes, words):
    lines = [line(), line(1, **changes), *(line(number) for number in range(2, 5))]
    message = message_of(stream.load, jsonl(tmp_path / "alpha.jsonl", *lines))
    assert words in message and "alpha.jsonl" in message


def test_lines_of_one_task_that_disagree_are_refused(tmp_path):
    path = jsonl(tmp_path / "alpha.jsonl", line(0, metric="accuracy"), line(1), line(2, metric="rougeL"))
    message = message_of(stream.load, path)
    assert "line 3: 'metric' differs" in message and "line 1" in message


def test_steps_stated_for_some_tasks_only_are_refused(tmp_path):
    lines = [line(n, task="a", step=1) for n in range(5)] + [line(n, task="b") for n in range(5)]
    assert "1 of 2 tasks state no step" in message_of(stream.load, jsonl(tmp_path / "m.jsonl", *lines))


def test_a_file_name_that_is_no_task_name_is_refused(tmp_path):
    assert "is not a task name" in message_of(stream.load, jsonl(tmp_path / "my\ttasks.jsonl", line()))
    assert "is not a task name" in message_of(stream.load, write(tmp_path / "my\ttask.json", task_json()))


def test_a_task_without_test_or_training_examples_is_refused(tmp_path):
    lines = [line(number, split="train") for number in range(3)]
    assert "no test examples" in message_of(stream.load, jsonl(tmp_path / "a.jsonl", *lines))
    path = jsonl(tmp_path / "b.jsonl", line(0))
    assert "no training examples" in message_of(stream.load, path)
    path = jsonl(tmp_path / "c.jsonl", *(line(number) for number in range(3)))
    (task,) = stream.load(path, test_per_task=3).tasks
    assert (len(task.train), len(task.test)) == (1, 2), "one is left to train on"


def test_problems_are_reported_together_up_to_twenty(tmp_path):
    bad = (line(number, split=f"part {number}") for number in range(33))
    lines = message_of(stream.load, jsonl(tmp_path / "alpha.jsonl", *bad, line(99))).splitlines()
    assert len(lines) == MOST_PROBLEMS_SHOWN + 1
    assert "line 20:" in lines[19] and "more problems" in lines[20]


def test_a_problem_of_many_rows_is_told_once_with_their_number(tmp_path):
    bad = [line(number, output="") for number in range(33)]
    good = [line(number, input=f"other {number}") for number in range(5)]
    lines = message_of(stream.load, jsonl(tmp_path / "alpha.jsonl", *good, *bad)).splitlines()
    assert len(lines) == 1 and "line 6: example 'alpha-6': has an empty response" in lines[0]
    assert lines[0].endswith("(and so in 32 more)")


# --- digest ------------------------------------------------------------------------------------------


def test_the_digest_is_the_same_for_the_same_data_wherever_it_lies(tmp_path):
    one, two = (stream.load(superni_folder(tmp_path / name)) for name in ("one", "two"))
    assert stream.digest(one) == stream.digest(two) == stream.digest(one)
    assert len(stream.digest(one)) == 64


def annotated_stream(folder):
    loaded = stream.load(
        superni_folder(
            folder / "learned",
            keyparts={"alpha": {"key_parts": ["Sort", "one word"]}},
            constraints={"alpha": [{"type": "one_of", "values": ["left", "right"]}]},
        ),
        held_out=superni_folder(folder / "other", {"gamma": task_json()}),
    )
    return loaded


def changed_tasks(task):
    """The task with one field changed at a time."""
    example, seed = task.train[0], task.instruction
    rest = task.train[1:]
    yield "name", dataclasses.replace(task, name="other")
    yield "metric", dataclasses.replace(task, metric="rougeL")
    yield "categories", dataclasses.replace(task, categories=())
    for key, value in {"text": seed.text + " ", "origin": "given", "key_parts": seed.key_parts[:1]}.items():
        yield key, dataclasses.replace(task, instructions=(dataclasses.replace(seed, **{key: value}),))
    for key, value in {"start": 1, "end": 3, "kind": "format"}.items():
        spans = (dataclasses.replace(seed.key_parts[0], **{key: value}), *seed.key_parts[1:])
        yield key, dataclasses.replace(task, instructions=(dataclasses.replace(seed, key_parts=spans),))
    changes = {"id": "new", "task": "new", "input": "new", "references": ("new",)}
    for key, value in {**changes, "instruction": Instruction("New.")}.items():
        yield key, dataclasses.replace(task, train=(dataclasses.replace(example, **{key: value}), *rest))
    yield "train order", dataclasses.replace(task, train=(*rest, example))
    yield "test", dataclasses.replace(task, test=task.test[1:])
    yield "split", dataclasses.replace(task, train=rest, test=(*task.test, example))
    for key, value in {"type": "ends_with", "params": {"values": ["left"]}, "kind": "wrong_format"}.items():
        constraint = dataclasses.replace(task.constraints[0], **{key: value})
        yield f"constraint {key}", dataclasses.replace(task, constraints=(constraint,))
    yield "evaluation", dataclasses.replace(task, evaluation_instructions=(Instruction("New."),))
    yield "wordings", dataclasses.replace(task, instructions=(seed, Instruction("New.")))


def test_the_digest_changes_with_any_single_field(tmp_path):
    loaded = annotated_stream(tmp_path)
    digests = {"unchanged": stream.digest(loaded)}
    for change, task in changed_tasks(loaded.steps[0][0]):
        digests[change] = stream.digest(dataclasses.replace(loaded, steps=((task,), *loaded.steps[1:])))
    digests["order"] = stream.digest(dataclasses.replace(loaded, steps=loaded.steps[::-1]))
    digests["steps"] = stream.digest(dataclasses.replace(loaded, steps=(loaded.tasks,)))
    digests["held-out"] = stream.digest(dataclasses.replace(loaded, held_out=()))
    assert len(set(digests.values())) == len(digests)


def test_the_summary_is_json_and_holds_sizes_and_digests(tmp_path):
    summary = stream.summary(annotated_stream(tmp_path))
    assert json.loads(json.dumps(summary)) == summary
    assert summary["digest"] == stream.digest(annotated_stream(tmp_path))
    alpha = summary["steps"][0]["tasks"][0]
    assert (alpha["task"], alpha["train"], alpha["test"]) == ("alpha", 7, 3)
    assert (alpha["key_parts"], alpha["constraints"], len(alpha["digest"])) == (2, 1, 64)
    assert [task["task"] for task in summary["held_out"]] == ["gamma"]


def test_importing_the_readers_imports_neither_torch_nor_datasets():
    code = "import sys, kpig.tasks.stream; print({'torch', 'transformers', 'datasets'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_stream_file_beside_the_task_files_finds_them_without_being_told_where(tmp_path):
    """As the files are found without it: in `tasks`, or in the folder itself where there is none."""
    for folder, tasks in ((tmp_path / "flat", "."), (tmp_path / "deep", "tasks")):
        rows = [{"id": f"one-{n}", "input": f"in {n}", "output": ["out"]} for n in range(5)]
        write(folder / tasks / "one.json", {"Definition": ["Say it."], "Instances": rows})
        write(folder / "stream.json", {"steps": [{"step": 1, "tasks": [{"task": "one"}]}]})
        assert [task.name for task in stream.load(folder).tasks] == ["one"]
