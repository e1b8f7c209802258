"""Validation examples: which are those of a task, and what is refused without them."""

import json

import pytest

from kpig import config
from kpig.errors import ConfigError, DataError
from kpig.runs import validation
from kpig.runs.check import cautions, check
from kpig.tasks import show, stream
from kpig.tasks.drafts import Row, split_off_validation

RIVERS = [f"river {number}" for number in range(23)]


def written(path, rows, **shared):
    lines = [
        json.dumps({"instruction": "Where does it end?", "output": "sea", **shared, **row}) for row in rows
    ]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def split_up(train, test=0, judging=0, name="validation"):
    """Rows with stated splits, each with an input of its own."""
    splits = ["train"] * train + ["test"] * test + [name] * judging
    return [{"input": river, "split": split} for river, split in zip(RIVERS, splits, strict=False)]


def inputs(examples):
    return [example.input for example in examples]


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev", "eval"])
def test_rows_of_a_validation_split_are_neither_trained_on_nor_tested(tmp_path, name):
    (task,) = stream.load(written(tmp_path / "a.jsonl", split_up(7, 3, 5, name))).tasks
    assert inputs(task.train) == RIVERS[:7] and inputs(task.test) == RIVERS[7:10]
    assert inputs(task.validation) == RIVERS[10:15]
    assert "7 training, 5 validation and 3 test examples" in show.html(task)


def test_without_a_test_split_they_are_tested_and_that_is_told(tmp_path, caplog):
    (task,) = stream.load(written(tmp_path / "a.jsonl", split_up(7, 0, 5))).tasks
    assert inputs(task.test) == RIVERS[7:12] and task.validation == ()
    assert "the validation split is tested, for there is no test split (5 rows)" in caplog.text


def test_ids_of_a_stream_file_state_them(tmp_path):
    rows = [{"id": str(number), "input": river, "output": ["sea"]} for number, river in enumerate(RIVERS)]
    (tmp_path / "a.json").write_text(json.dumps({"Definition": ["Where?"], "Instances": rows}))
    entry = {"task": "a", "file": "a.json", "train_ids": ["0", "2"], "test_ids": ["5"]}
    for ids, expected in ((["7", "3"], {"river 7", "river 3"}), ([], set())):
        named = {"tasks": [{**entry, "validation_ids": ids}]}
        (tmp_path / "stream.json").write_text(json.dumps(named))
        (task,) = stream.load(tmp_path).tasks
        assert set(inputs(task.validation)) == expected
    (tmp_path / "stream.json").write_text(json.dumps({"tasks": [{**entry, "validation_ids": ["2"]}]}))
    with pytest.raises(DataError, match="id '2' is in train_ids and in validation_ids"):
        stream.load(tmp_path)


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize(("count", "expected"), [(1, 1), (4, 4), (11, 11), (99, 17)])
def test_so_many_are_split_off_the_training_examples_and_one_is_left(tmp_path, stated, count, expected):
    rows = split_up(18, 5) if stated else [{"input": river} for river in RIVERS]
    path = written(tmp_path / "a.jsonl", rows)
    sizes = {} if stated else {"test_per_task": 5}
    (plain,) = stream.load(path, **sizes).tasks
    (task,) = stream.load(path, validation_per_task=count, **sizes).tasks
    assert task.test == plain.test and len(task.validation) == expected
    assert set(task.train) | set(task.validation) == set(plain.train)
    assert list(task.train) == [one for one in plain.train if one not in task.validation]
    assert (task,) == stream.load(path, validation_per_task=count, seed=7, **sizes).tasks


def test_what_is_split_off_depends_on_the_name_of_the_task_alone():
    rows = [Row(str(number), river, ("sea",)) for number, river in enumerate(RIVERS)]
    chosen = [set(row.id for row in split_off_validation(name, rows, 6)[1]) for name in ("a", "a", "b")]
    assert chosen[0] == chosen[1] != chosen[2]


def test_turns_of_one_conversation_stay_together():
    rows = [Row(f"{n}", f"turn {n}", ("yes",), conversation=str(n // 3)) for n in range(21)]
    left, chosen = split_off_validation("chat", rows, 4)
    assert len(chosen) == 6
    assert not {row.conversation for row in left} & {row.conversation for row in chosen}


def test_training_examples_that_repeat_a_validation_input_are_dropped_and_counted(caplog):
    rows = [Row(str(number), f"River  {number % 5}".swapcase(), ("sea",)) for number in range(15)]
    left, chosen = split_off_validation("twice", rows, 3)
    assert not {row.input.lower() for row in left} & {row.input.lower() for row in chosen}
    dropped = len(rows) - len(left) - len(chosen)
    assert dropped and f"{dropped} training examples repeat a validation input" in caplog.text


def test_stated_validation_examples_that_are_trained_on_or_tested_are_dropped_and_counted(tmp_path, caplog):
    rows = [
        *split_up(5, 3, 4),
        {"input": " RIVER  1", "split": "dev"},
        {"input": "river 6", "split": "valid"},
    ]
    (task,) = stream.load(written(tmp_path / "a.jsonl", rows)).tasks
    assert inputs(task.validation) == RIVERS[8:12] and len(task.train) == 5 and len(task.test) == 3
    assert "2 of 6 validation examples repeat a training or test input; dropped" in caplog.text


def test_of_stated_ones_the_first_are_kept_and_none_are_split_off(tmp_path):
    path = written(tmp_path / "a.jsonl", split_up(7, 3, 5))
    (task,) = stream.load(path, validation_per_task=2, train_per_task=4).tasks
    assert inputs(task.validation) == RIVERS[10:12] and inputs(task.train) == RIVERS[:4]


def test_held_out_tasks_give_nothing_up(tmp_path):
    path = written(tmp_path / "a.jsonl", split_up(7, 3))
    held_out = written(tmp_path / "b.jsonl", [{"input": river} for river in RIVERS])
    found = stream.load(path, held_out=held_out, validation_per_task=3)
    assert len(found.tasks[0].validation) == 3
    assert found.held_out[0].validation == () and len(found.held_out[0].test) == len(RIVERS)


@pytest.mark.parametrize("count", [-1, 2.5, True, "3"])
def test_a_number_that_is_no_count_is_refused(tmp_path, count):
    path = written(tmp_path / "a.jsonl", split_up(7, 3))
    with pytest.raises(ConfigError, match="validation_per_task is"):
        stream.load(path, validation_per_task=count)


def test_a_digest_changes_with_validation_examples_and_only_with_them(tmp_path):
    path = written(tmp_path / "a.jsonl", split_up(7, 3))
    plain, judged = stream.load(path), stream.load(path, validation_per_task=2)
    assert stream.digest(plain) == "8cacae23141e25b97099de5db4f29016b58cdacbd7e63ad77e79e62ee1b8d78d"
    assert stream.digest(judged) != stream.digest(plain)
    assert "validation" not in stream.summary(plain)["steps"][0]["tasks"][0]
    assert stream.summary(judged)["steps"][0]["tasks"][0]["validation"] == 2
    rows = split_up(7, 3, 2)
    both = [stream.load(written(tmp_path / "a.jsonl", part)) for part in (rows, [*rows[:-1], rows[-2]])]
    assert stream.digest(both[0]) != stream.digest(both[1])


# --- what is refused ---------------------------------------------------------------------------------


def configured(path, **tables):
    return config.build({"stream": {"path": str(path)} | tables.pop("stream", {}), **tables})


ASKING = [{"patience": 2}, {"keep_best": True}, {"validation_every": 5}, {"patience": 1, "keep_best": True}]


@pytest.mark.parametrize("train", ASKING)
def test_settings_that_need_validation_are_refused_by_name_where_a_step_has_none(tmp_path, train):
    judged = split_up(7, 3, 2)
    bare = split_up(9, 4)
    rows = [*({**row, "task": "with"} for row in judged), *({**row, "task": "without"} for row in bare)]
    path = written(tmp_path / "a.jsonl", rows)
    asked = configured(path, train=train)
    with pytest.raises(ConfigError) as caught:
        validation.require(asked, stream.configured(asked))
    message = str(caught.value)
    assert all(name in message for name in train) and "1 of 2 steps" in message and "step 2" in message
    assert "without" in message and "stream.validation_per_task" in message
    mended = configured(path, train=train, stream={"validation_per_task": 3})
    validation.require(mended, stream.configured(mended))
    joined = configured(path, train=train, stream={"tasks_per_step": 2})
    validation.require(joined, stream.configured(joined))
    (tmp_path / "my.toml").write_text(config.dump(asked), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"my\.toml: \[train\] .* validation examples"):
        check(tmp_path / "my.toml")


@pytest.mark.parametrize("train", ASKING)
def test_they_are_refused_on_the_built_in_suite(train):
    asked = config.build({"stream": {"path": "suite"}, "train": train})
    with pytest.raises(ConfigError, match="built-in suite"):
        validation.require(asked, stream.configured(asked))
    with pytest.raises(ConfigError, match="'validation_per_task' has no effect on the built-in suite"):
        config.build({"stream": {"path": "suite", "validation_per_task": 3}})


def test_how_many_are_kept_from_training_is_told(tmp_path):
    asked = configured(written(tmp_path / "a.jsonl", split_up(9, 3)), stream={"validation_per_task": 4})
    (told,) = [one for one in cautions(asked, stream.configured(asked)) if "validation" in one]
    assert told.startswith("4 validation examples of 1 of 1 tasks (a) are not trained on")
    bare = configured(tmp_path / "a.jsonl")
    assert not [one for one in cautions(bare, stream.configured(bare)) if "validation" in one]
