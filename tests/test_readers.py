"""Readers of rows: every format from files as its tools write them, and every bad row with its message."""

import csv
import gzip
import json
import random
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forked import kpig
from kpig.config import RunConfig
from kpig.config.tree import build, dump
from kpig.errors import ConfigError, DataError, KpigError
from kpig.files import name_for
from kpig.records import Message
from kpig.runs.check import data_cautions
from kpig.tasks import readers, stream
from kpig.tasks.drafts import Row, split_by_rule

PLANETS = ["Mars", "Venus", "Earth", "Saturn", "Jupiter", "Uranus", "Neptune", "Mercury", "Pluto", "Ceres"]


def turns(*texts: str, system: str = "") -> list[dict[str, str]]:
    roles = ("user", "assistant")
    said = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *said] if system else said


def shared(*texts: str, system: str = "") -> list[dict[str, str]]:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return [{"from": names[one["role"]], "value": one["content"]} for one in turns(*texts, system=system)]


def question(planet: str) -> str:
    return f"How far is {planet}?"


def answer(planet: str) -> str:
    return f"{planet} is {len(planet)} units away."


ROWS = {
    "chat": lambda one: {"messages": turns(question(one), answer(one), system="Be kind.")},
    "sharegpt": lambda one: {
        "id": one,
        "conversations": shared(question(one), answer(one), system="Be kind."),
    },
    "completion": lambda one: {
        "prompt": question(one),
        "completion": f" {answer(one)}",
        "system": "Be kind.",
    },
    "trl": lambda one: {
        "prompt": turns(question(one), system="Be kind."),
        "completion": [{"role": "assistant", "content": answer(one)}],
    },
    "alpaca": lambda one: {
        "instruction": question(one),
        "input": "",
        "output": answer(one),
        "system": "Be kind.",
        "history": [],
    },
    "dolly": lambda one: {
        "instruction": question(one),
        "context": "",
        "response": answer(one),
        "category": "open_qa",
        "system": "Be kind.",
    },
}
"""The same ten questions in every format of rows."""


def as_jsonl(path: Path, rows: list[dict]) -> Path:
    path = path.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def as_packed_jsonl(path: Path, rows: list[dict]) -> Path:
    plain = as_jsonl(path, rows)
    packed = plain.with_name(f"{plain.name}.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    return packed


def as_json(path: Path, rows: list[dict]) -> Path:
    path = path.with_suffix(".json")
    path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return path


def as_table(path: Path, rows: list[dict], delimiter: str = ",") -> Path:
    path = path.with_suffix(".csv" if delimiter == "," else ".tsv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(
            {key: json.dumps(value) if isinstance(value, list) else value for key, value in row.items()}
            for row in rows
        )
    return path


def as_tsv(path: Path, rows: list[dict]) -> Path:
    return as_table(path, rows, "\t")


def as_parquet(path: Path, rows: list[dict]) -> Path:
    datasets = pytest.importorskip("datasets")
    path = path.with_suffix(".parquet")
    datasets.Dataset.from_list(rows).to_parquet(str(path))
    return path


def as_saved(path: Path, rows: list[dict]) -> Path:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(rows).save_to_disk(str(path))
    return path


FILES = (as_jsonl, as_packed_jsonl, as_json, as_table, as_tsv, as_parquet, as_saved)


def message_of(path: Path, **chosen: object) -> str:
    with pytest.raises(DataError) as caught:
        stream.load(path, **chosen)
    return str(caught.value)


@pytest.mark.parametrize("write", FILES)
@pytest.mark.parametrize("name", ROWS)
def test_every_format_in_every_kind_of_file_is_the_same_ten_examples(tmp_path, name, write):
    path = write(tmp_path / "planets", [ROWS[name](one) for one in PLANETS])
    (task,) = stream.load(path).tasks
    examples = {one.instruction.text: one for one in (*task.train, *task.test)}
    assert (task.name, len(task.train), len(task.test)) == ("planets", 8, 2)
    assert list(map(examples.get, map(question, PLANETS))).count(None) == 0
    for planet in PLANETS:
        example = examples[question(planet)]
        assert (example.input, example.references) == ("", (answer(planet),))
        assert example.context == (Message("system", "Be kind."),) and not example.as_system


# --- conversations -----------------------------------------------------------------------------------


LONG = ("Hello", "Hi.", "Who is there?", "Me.", "Why?", "Because.")


def test_one_example_comes_of_the_last_turn_or_of_every_assistant_turn(tmp_path):
    path = as_jsonl(tmp_path / "a", [{"messages": turns(*LONG, system="S")}])
    (last,) = stream.load_tasks(path)[0].test
    assert (last.instruction.text, last.references) == ("Why?", ("Because.",))
    assert [one.text for one in last.context] == ["S", *LONG[:4]]
    (every,) = stream.load_tasks(path, train_on="all")
    assert [(one.instruction.text, len(one.context)) for one in every.test] == [
        ("Hello", 1),
        ("Who is there?", 3),
        ("Why?", 5),
    ]


@pytest.mark.parametrize("num_test", [None, 1, 3, 7])
def test_turns_of_one_conversation_are_never_on_both_sides(tmp_path, num_test):
    rows = [{"id": one, "messages": turns(question(one), "Far.", "And?", answer(one))} for one in PLANETS]
    (task,) = stream.load(as_jsonl(tmp_path / "a", rows), train_on="all", test_per_task=num_test).tasks
    whole = readers.read(tmp_path / "a.jsonl", "auto", stream.Problems(), reading=readers.Reading({}, "all"))
    train, test = split_by_rule("a", whole[0].rows, num_test)
    assert len(train) + len(test) == 20 and len(task.train) == len(train)
    assert not {row.id.rsplit("-", 1)[0] for row in train} & {row.id.rsplit("-", 1)[0] for row in test}
    assert {row.id for row in test} >= {one.id for one in task.test}


def test_rows_without_conversations_are_split_as_ever():
    rows = [Row(f"r{n}", f"text {n}", ("x",)) for n in range(13)]
    shuffled = list(rows)
    random.Random("kpig-split|t").shuffle(shuffled)
    assert split_by_rule("t", rows, 4) == (shuffled[:9], shuffled[9:])
    assert split_by_rule("t", rows, 99) == (shuffled[:1], shuffled[1:])


def test_the_system_prompt_is_the_instruction_where_the_config_says_so(tmp_path):
    rows = [{"messages": turns(one, "word", system="Name the opposite.")} for one in PLANETS]
    path = as_jsonl(tmp_path / "a", rows)
    (task,) = stream.load(path, columns={"instruction": "system"}).tasks
    assert task.instruction.text == "Name the opposite." and not task.own_instructions
    assert {one.input for one in (*task.train, *task.test)} == set(PLANETS)
    assert all(one.as_system and not one.context for one in task.train)
    as_jsonl(tmp_path / "b", [*rows, {"messages": turns("a", "b")}])
    said = message_of(tmp_path / "b.jsonl", columns={"instruction": "system"})
    assert "line 11: has no system message, which [stream.columns] says is the instruction" in said


def test_another_column_beside_a_conversation_is_its_instruction_where_the_config_says_so(tmp_path):
    rows = [{"messages": turns(one, "far"), "what": "Measure."} for one in PLANETS]
    (task,) = stream.load(as_jsonl(tmp_path / "a", rows), columns={"instruction": "what"}).tasks
    assert task.instruction.text == "Measure." and task.train[0].input in PLANETS


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (turns("a", "b", "c"), "ends with the user, whom nobody answers"),
        (turns("a"), "ends with the user"),
        ([{"role": "system", "content": "x"}], "ends with the user"),
        ([], "has no messages"),
        ("hello", "is of type str; expected a list of messages"),
        ([7], "message 1 is of type int; expected an object"),
        (turns("a", " "), "message 2: the assistant's turn is empty"),
        (turns("", "b"), "message 1: the user's turn is empty"),
        ([{"role": "user", "content": None}, {"role": "assistant", "content": "x"}], "message 1: the user's"),
        ([{"role": "usr", "content": "a"}], "has the role 'usr'; did you mean 'user'?"),
        ([{"role": "narrator", "content": "a"}], "expected one of system, developer, user"),
        ([{"role": "tool", "content": "a"}], "is a tool's ('tool'), which kpig does not learn"),
        ([*turns("a"), {"role": "assistant", "content": "", "tool_calls": [{"id": 1}]}], "calls a tool"),
        ([{"speaker": "user", "text": "a"}], "has the keys 'speaker', 'text'; expected 'role' and 'content'"),
        ([{"role": "assistant", "content": "a"}], "begins with the assistant"),
        ([*turns("a"), *turns("b", "c")], "message 2: is the user's like the one before"),
        ([*turns("a", "b"), {"role": "system", "content": "x"}], "only the first may be one"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "of type 'image_url'; expected 'text'"),
        ([{"role": "user", "content": 7}], "the content is of type int; expected a text"),
        ([*turns("a"), {"role": "assistant", "content": "x", "weight": 0}], "every answer has the weight 0"),
    ],
)
@pytest.mark.parametrize("write", [as_jsonl, as_json])
def test_a_bad_conversation_is_refused_with_its_place(tmp_path, messages, words, write):
    good = [{"messages": turns(question(one), answer(one))} for one in PLANETS]
    path = write(tmp_path / "a", [*good[:3], {"messages": messages}, *good[3:]])
    said = message_of(path)
    assert words in said and f"{path}: {'line' if write is as_jsonl else 'row'} 4: " in said
    assert len(said.splitlines()) == 1
    (task,) = stream.load(path, bad_rows="skip").tasks
    assert len(task.train) + len(task.test) == 10


def test_parts_of_content_are_joined_and_answers_of_no_weight_are_context(tmp_path):
    parts = [{"type": "text", "text": "How "}, {"type": "text", "text": "far?"}]
    row = {
        "messages": [
            {"role": "developer", "content": "S"},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "Far.", "weight": 1},
            {"role": "user", "content": "Sure?"},
            {"role": "assistant", "content": "No.", "weight": 0},
        ]
    }
    (example,) = stream.load_tasks(as_jsonl(tmp_path / "a", [row]))[0].test
    assert (example.instruction.text, example.references) == ("How far?", ("Far.",))
    assert example.context == (Message("system", "S"),)


def test_only_turns_of_a_completion_are_trained_on(tmp_path):
    row = {"prompt": turns("a", "b", "c"), "completion": [{"role": "assistant", "content": "d"}]}
    as_jsonl(tmp_path / "a", [row])
    (draft,) = readers.read(
        tmp_path / "a.jsonl", "auto", stream.Problems(), reading=readers.Reading({}, "all")
    )
    assert [one.references for one in draft.rows] == [("d",)]


def test_a_system_column_that_contradicts_the_system_message_is_refused(tmp_path):
    row = {"system": "Shout.", "messages": turns("a", "b", system="Whisper.")}
    assert "'system' differs from the system message" in message_of(as_jsonl(tmp_path / "a", [row]))


# --- columns -----------------------------------------------------------------------------------------


def test_a_mapping_names_the_columns(tmp_path):
    rows = [{"question": question(one), "passage": f"On {one}.", "reply": answer(one)} for one in PLANETS]
    columns = {"instruction": "question", "context": "passage", "output": "reply"}
    (task,) = stream.load(as_jsonl(tmp_path / "a", rows), columns=columns).tasks
    example = next(one for one in (*task.train, *task.test) if one.instruction.text == question("Mars"))
    assert (example.input, example.response) == ("On Mars.", answer("Mars"))
    said = message_of(tmp_path / "a.jsonl", columns={**columns, "output": "replies"})
    assert "no row has the column 'replies' of [stream.columns] output; did you mean 'reply'?" in said


def test_a_mapping_in_the_config_is_checked_and_reaches_the_reader(tmp_path):
    rows = [{"question": question(one), "reply": answer(one)} for one in PLANETS]
    path = as_jsonl(tmp_path / "a", rows)
    section = {"path": str(path), "columns": {"instruction": "question", "output": "reply"}}
    config = RunConfig.model_validate({"stream": section})
    assert len(stream.configured(config).tasks[0].train) == 8
    assert build(tomllib.loads(dump(config))) == config
    with pytest.raises(ConfigError, match="has no key 'instructoin'; did you mean 'instruction'"):
        build({"stream": {"path": str(path), "columns": {"instructoin": "question"}}})


def test_unused_columns_are_named_once_with_their_number(tmp_path, caplog):
    rows = [
        {**ROWS["alpaca"](one), "lang": "en", **({"url": "x"} if n < 3 else {})}
        for n, one in enumerate(PLANETS)
    ]
    stream.load(as_jsonl(tmp_path / "a", rows))
    (told,) = (one.getMessage() for one in caplog.records if "not used" in one.getMessage())
    assert "'lang' (10 rows), 'url' (3 rows); [stream.columns] tells" in told


def test_context_stands_in_front_of_the_input(tmp_path):
    row = {"instruction": "Answer.", "context": "Oslo is old.", "input": "Is it?", "output": "Yes"}
    (example,) = stream.load_tasks(as_jsonl(tmp_path / "a", [row]))[0].test
    assert example.input == "Oslo is old.\n\nIs it?"


def test_history_and_system_of_alpaca_are_context(tmp_path):
    row = {"instruction": "And Peru?", "output": "Lima", "system": "S", "history": [["Norway?", "Oslo"]]}
    (example,) = stream.load_tasks(as_jsonl(tmp_path / "a", [row]))[0].test
    assert [(one.role, one.text) for one in example.context] == [
        ("system", "S"),
        ("user", "Norway?"),
        ("assistant", "Oslo"),
    ]
    bad = {**row, "history": [["Norway?"]]}
    assert "'history': entry 1 is \"['Norway?']\"; expected [question, answer]" in message_of(
        as_jsonl(tmp_path / "b", [bad])
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"instruction": "a", "answer": "b"},
            "nearest format is JSONL of kpig's own, or Alpaca, which needs 'output'",
        ),
        ({"prompt": "a", "completions": "b"}, "needs 'completion' too (did you mean 'completions'?)"),
        (
            {"message": [1]},
            "the nearest format is chat, which needs 'messages' too (did you mean 'message'?)",
        ),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference data"),
        ({}, "has no columns"),
    ],
)
def test_a_row_of_no_format_is_told_the_nearest(tmp_path, row, words):
    said = message_of(as_jsonl(tmp_path / "a", [row] * 4))
    assert words in said and "line 1: " in said and "(and so in 3 more)" in said


# --- values ------------------------------------------------------------------------------------------


def test_numbers_and_booleans_become_text_and_that_is_told_once(tmp_path, caplog):
    rows = [
        {"instruction": "Is it?", "input": n, "output": value}
        for n, value in enumerate([True, False, 3, 0.5, -1, [True, "yes"]])
    ]
    (task,) = stream.load_tasks(as_jsonl(tmp_path / "a", rows))
    assert [one.references for one in task.test] == [
        ("true",), ("false",), ("3",), ("0.5",), ("-1",), ("true", "yes"),
    ]  # fmt: skip
    assert [one.input for one in task.test] == list("012345")
    told = [one.getMessage() for one in caplog.records]
    assert len(told) == 2 and all("they are read as JSON writes them" in one for one in told)


def test_an_empty_reference_beside_good_ones_is_left_out_and_counted(tmp_path, caplog):
    rows = [{"instruction": "Say it.", "input": str(n), "output": ["a", "", " ", "b"]} for n in range(3)]
    (task,) = stream.load_tasks(as_jsonl(tmp_path / "a", rows))
    assert {one.references for one in task.test} == {("a", "b")}
    assert "an empty reference beside others is left out (3 rows)" in caplog.text
    raw = {
        "Definition": "Say it.",
        "Instances": [{"id": None, "input": str(n), "output": ["a", ""]} for n in range(4)],
    }
    (tmp_path / "b.json").write_text(json.dumps(raw), encoding="utf-8")
    (task,) = stream.load_tasks(tmp_path / "b.json")
    assert [one.id for one in task.test] == ["b-1", "b-2", "b-3", "b-4"], "an id of null is none"


def test_numbers_of_classes_are_read_as_their_names(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"instruction": datasets.Value("string"), "output": datasets.ClassLabel(names=["glad", "sad"])}
    )
    rows = {"instruction": [question(one) for one in PLANETS], "output": [n % 2 for n in range(10)]}
    table = datasets.Dataset.from_dict(rows, features=features)
    table.save_to_disk(str(tmp_path / "saved"))
    table.to_parquet(str(tmp_path / "a.parquet"))
    for path in (tmp_path / "saved", tmp_path / "a.parquet"):
        (task,) = stream.load_tasks(path)
        assert [one.response for one in task.test] == ["glad", "sad"] * 5


# --- splits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("train", "test"), (6, 2)),
        (("train", "validation"), (6, 2)),
        (("train_sft", "test_sft"), (6, 2)),
        (("train", "dev", "test"), (6, 2)),
        (("train", "test", "unsupervised"), (6, 2)),
    ],
)
def test_named_splits_of_saved_datasets_and_of_files_in_a_folder(tmp_path, names, sizes, caplog):
    datasets = pytest.importorskip("datasets")
    parts = {name: [] for name in names}
    parts[names[0]] = [ROWS["chat"](one) for one in PLANETS[:6]]
    for name in names[1:]:
        parts[name] = [ROWS["chat"](f"{one} {name}") for one in PLANETS[6:8]]
    tables = {name: datasets.Dataset.from_list(rows) for name, rows in parts.items()}
    datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "saved"))
    loaded = [stream.load(tmp_path / "saved")]
    if "unsupervised" in names:
        assert "the split 'unsupervised' is not read (2 rows)" in caplog.text
    else:
        (tmp_path / "saved files").mkdir()
        for number, (name, rows) in enumerate(parts.items()):
            stem = f"{name}-00000-of-00001" if number else name
            as_jsonl(tmp_path / "saved files" / stem, rows)
        loaded.append(stream.load(tmp_path / "saved files"))
    for one in loaded:
        (task,) = one.tasks
        assert (len(task.train), len(task.test)) == sizes
    if "dev" in names:
        assert len(task.validation) == 2
    assert ("the validation split is tested, for there is no test split" in caplog.text) == (
        "validation" in names
    )


def test_files_of_other_names_are_tasks_of_their_own(tmp_path):
    for name in ("train", "mine"):
        as_jsonl(tmp_path / name, [ROWS["alpaca"](one) for one in PLANETS])
    assert [task.name for task in stream.load(tmp_path).tasks] == ["mine", "train"]


# --- files that are not what they are called ---------------------------------------------------------


def test_a_json_list_and_jsonl_go_by_each_others_names(tmp_path):
    rows = [ROWS["alpaca"](one) for one in PLANETS]
    as_json(tmp_path / "a", rows).rename(tmp_path / "b.jsonl")
    as_jsonl(tmp_path / "c", rows).rename(tmp_path / "d.json")
    for name in ("b.jsonl", "d.json"):
        assert len(stream.load(tmp_path / name).tasks[0].train) == 8
        assert len(stream.load(tmp_path / name, kind="jsonl").tasks[0].train) == 8


def test_a_file_in_another_format_than_its_name_says_is_told(tmp_path):
    rows = [{"instruction": question(one), "output": answer(one)} for one in PLANETS]
    packed = as_packed_jsonl(tmp_path / "a", rows).rename(tmp_path / "a.jsonl")
    assert "holds gzip, not text as its name says; name it *.gz" in message_of(packed)
    (tmp_path / "x.csv").write_bytes(b"PK\x03\x04rest")
    assert "holds a zip archive, as Excel writes" in message_of(tmp_path / "x.csv")
    tabbed = as_tsv(tmp_path / "t", rows).rename(tmp_path / "t.csv")
    assert "it looks separated by a tab" in message_of(tabbed)
    one = tmp_path / "one.jsonl"
    one.write_text(json.dumps({"Definition": "x", "Instances": []}, indent=1), encoding="utf-8")
    assert "line 1 is no whole JSON object; expected one in each line" in message_of(one)
    pytest.importorskip("pyarrow")
    (tmp_path / "p.parquet").write_text("instruction,output\n", encoding="utf-8")
    assert "not a whole Parquet file" in message_of(tmp_path / "p.parquet")
    real = as_parquet(tmp_path / "r", rows).rename(tmp_path / "r.jsonl")
    assert "holds Parquet" in message_of(real)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected the names of the columns"),
        ("instruction|output\na|b\n", "it looks separated by a bar: save it with commas, as .csv"),
        ("instruction\toutput\na\tb\n", "it looks separated by a tab: name it .tsv"),
        ("instruction,output,output\na,b,c\n", "the column 'output' is named twice"),
        ("instruction,output\na,b,c\n", "line 2: has 3 cells, but the first line names 2 columns"),
        ('instruction,output\n"a,b\n', "close every quote"),
        ('{"instruction": "a", "output": "b"}\n', "looks like JSON; name it .jsonl"),
        ("instruction,output\nDo.,\n", "line 2: example 'a-1': has an empty response"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert words in message_of(tmp_path / "a.csv")


def test_a_table_with_quotes_line_breaks_and_blank_lines(tmp_path):
    text = '\ufeffinstruction,input,output\n"Say ""a"",\nplease.",7,"x, y"\n\n,,\nSay.,8,z\n'
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    (task,) = stream.load_tasks(tmp_path / "a.csv")
    assert [(one.instruction.text, one.input, one.response) for one in task.test] == [
        ('Say "a",\nplease.', "7", "x, y"),
        ("Say.", "8", "z"),
    ]


def test_without_pyarrow_the_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'kpig[datasets]'" in message_of(tmp_path / "a.parquet")


def test_files_beside_task_files_are_named_as_not_read(tmp_path, caplog):
    raw = {"Definition": "Say it.", "Instances": [{"input": str(n), "output": "x"} for n in range(5)]}
    (tmp_path / "a.json").write_text(json.dumps(raw), encoding="utf-8")
    as_jsonl(tmp_path / "b", [ROWS["alpaca"](one) for one in PLANETS])
    assert [task.name for task in stream.load(tmp_path).tasks] == ["a"]
    assert "beside task files, not read: b.jsonl" in caplog.text


def test_what_hugging_face_puts_beside_its_files_is_no_task(tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"features": {}}', encoding="utf-8")
    as_jsonl(tmp_path / "train", [ROWS["alpaca"](one) for one in PLANETS[:7]])
    as_jsonl(tmp_path / "test", [ROWS["alpaca"](one) for one in PLANETS[7:]])
    (task,) = stream.load(tmp_path).tasks
    assert (len(task.train), len(task.test)) == (7, 3)


def test_a_mapping_of_columns_for_task_files_is_told_to_have_no_effect(tmp_path, caplog):
    raw = {"Definition": "Say it.", "Instances": [{"input": str(n), "output": "x"} for n in range(5)]}
    (tmp_path / "a.json").write_text(json.dumps(raw), encoding="utf-8")
    stream.load(tmp_path / "a.json", columns={"instruction": "question"})
    assert "[stream.columns] is for files of rows" in caplog.text


# --- tasks -------------------------------------------------------------------------------------------


NAMED = [
    "my task",
    "a/b",
    "../../x",
    "задача",
    "संख्या",
    "使い方: [b]x[/b]",
    "C:\\x",
    "می\u200cخواهم",
    "A b",
    "a B",
]


def test_names_of_any_script_are_tasks_and_safe_files(tmp_path):
    rows = [{**ROWS["alpaca"](one), "task": name} for name in NAMED for one in PLANETS]
    path = as_jsonl(tmp_path / "a", rows)
    assert [task.name for task in stream.load(path).tasks] == NAMED
    done = kpig("show", path, "--html", tmp_path / "pages")
    assert done.returncode == 0, done.stderr
    made = {page.name for page in (tmp_path / "pages").iterdir()}
    assert made == {f"{name_for(name)}.html" for name in NAMED} and len(made) == len(NAMED)


@given(st.lists(st.text(min_size=1, max_size=90), min_size=2, max_size=6, unique=True))
def test_files_named_after_texts_are_safe_and_differ_whatever_the_case(texts):
    names = [name_for(text) for text in texts]
    assert len({name.lower() for name in names}) == len(texts)
    for name in names:
        assert len(name) <= 90 and name.isascii() and not set(name) & set('/\\:*?"<>| \n\0')
        assert name[0] != "." and name[-1] != "." and name.split(".")[0].lower() not in ("con", "nul")


def test_a_name_that_looks_like_a_made_one_is_told_from_it():
    assert name_for("task1_a.b") == "task1_a.b"
    assert len({name_for(one) for one in ("a b", name_for("a b"), "a-b", "A-b", "con", "CON")}) == 6


def test_a_file_is_one_task_unless_instructions_repeat(tmp_path):
    single = [ROWS["alpaca"](one) for one in PLANETS]
    assert len(stream.load(as_jsonl(tmp_path / "a", single)).tasks) == 1
    twice = [{**row, "input": str(n)} for row in single[:2] for n in range(5)]
    assert len(stream.load(as_jsonl(tmp_path / "b", twice)).tasks) == 2


def test_skipped_rows_are_told_once_with_count_and_reason(tmp_path, caplog):
    rows = [ROWS["chat"](one) for one in PLANETS]
    path = as_jsonl(tmp_path / "a", [*rows, *[{"messages": turns("a")}] * 3, {"text": "b"}])
    (task,) = stream.load(path, bad_rows="skip").tasks
    assert len(task.train) + len(task.test) == 10
    (told,) = (one.getMessage() for one in caplog.records if "skipped" in one.getMessage())
    assert told.startswith("4 rows cannot be used, skipped:") and len(told.splitlines()) == 3
    assert "(and so in 2 more)" in told


def test_contradictions_repetitions_and_system_prompts_are_told(tmp_path):
    test = [
        {"instruction": "Mood?", "input": "rain", "output": one, "split": "test"} for one in ("glad", "sad")
    ]
    train = [{"instruction": "Mood?", "input": str(n % 4), "output": "x", "split": "train"} for n in range(6)]
    (task,) = stream.load(as_jsonl(tmp_path / "a", [*test, *train])).tasks
    contradiction, repetition = data_cautions([task])
    assert "'a-1' and 'a-2'" in contradiction and "no answer is right for all" in contradiction
    assert repetition.startswith("2 training examples repeat another one")
    (chat,) = stream.load(as_jsonl(tmp_path / "b", [ROWS["chat"](one) for one in PLANETS])).tasks
    (told,) = data_cautions([chat])
    assert "10 examples have a system prompt, 10 of them 'Be kind.'" in told
    assert 'set [stream.columns] instruction = "system"' in told


# --- whatever it is, a result or a KpigError ---------------------------------------------------------


SCRAPS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["", " ", "a", "user", "[", "[1]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "text", "weight"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
NAMES = (*readers.columns.MAPPED, "response", "category", "definition", "chosen", "rejected", "x")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(NAMES), SCRAPS, max_size=5), min_size=1, max_size=4),
    st.sampled_from(["last", "all"]),
    st.sampled_from(["refuse", "skip"]),
    st.dictionaries(st.sampled_from(NAMES[:8]), st.sampled_from(NAMES), max_size=2),
)
def test_any_rows_are_read_or_refused(rows, train_on, bad_rows, columns):
    with TemporaryDirectory() as folder:
        path = as_json(Path(folder) / "a", rows)
        try:
            stream.load(path, train_on=train_on, bad_rows=bad_rows, columns=columns)
        except KpigError as error:
            assert str(error)


WORDS = (
    *(
        b"instruction,output\n",
        b'{"instruction":"a","output":"b"}\n',
        b'{"messages":[',
        b"a",
        b"1e999",
        b"NaN",
    ),
    *(b"[", b"]", b"{", b"}", b",", b'"', b"\n", b"\t", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\\ud800"),
    *(b"\x1f\x8b", b"PAR1"),
)
SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".csv", ".tsv.gz", ".parquet", ".ndjson")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=9).map(b"".join), st.sampled_from(SUFFIXES), st.booleans())
def test_any_bytes_under_any_name_are_read_or_refused(content, suffix, packs):
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(gzip.compress(content) if packs and suffix.endswith(".gz") else content)
        try:
            stream.load_tasks(path)
        except KpigError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_semicolons_part_the_cells_where_the_first_line_has_no_other_sign(tmp_path, name, caplog):
    text = 'instruction;input;output\n"Say; it.";1,5 \t kg;"x ""y"", z"\n\nSay.;2,5;3,5\n'
    (tmp_path / name).write_text(text, encoding="utf-8")
    (task,) = stream.load_tasks(tmp_path / name)
    assert [(one.instruction.text, one.input, one.response) for one in task.test] == [
        ("Say; it.", "1,5 \t kg", 'x "y", z'),
        ("Say.", "2,5", "3,5"),
    ]
    assert "its first line has semicolons alone, so they part its cells (2 rows)" in caplog.text


def test_a_semicolon_in_a_name_beside_the_files_own_sign_parts_nothing(tmp_path, caplog):
    (tmp_path / "a.csv").write_text("instruction,input,output,a;b\nSay.,1;2,3,\n", encoding="utf-8")
    (task,) = stream.load_tasks(tmp_path / "a.csv")
    assert task.test[0].input == "1;2" and "semicolons" not in caplog.text
