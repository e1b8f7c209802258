"""What does not fit a model is told at once, or left out where the user says so: by every command alike."""

import json
import logging

import pytest
from typer.testing import CliRunner

from kpig.cli.commands import app
from kpig.config import load
from kpig.config.tree import build
from kpig.errors import DataError
from kpig.model import loading
from kpig.records import Example, Instruction, Stream, Task
from kpig.runs import check, course, fitting, unseen
from kpig.runs.job import run
from kpig.tasks import stream

LONG = "word " * 300


def rows(num=20, long=(3, 7, 9)):
    return [
        {
            "instruction": "Answer with the capital.",
            "input": f"Country {number}",
            "output": LONG * (1 + (number == 9)) if number in long else f"City {number}",
        }
        for number in range(num)
    ]


@pytest.fixture
def skipping(tmp_path):
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows()))
    (tmp_path / "c.toml").write_text(
        f"""
        [model]
        path = "tiny"
        max_length = 128
        [method]
        name = "replay"
        [stream]
        path = "{tmp_path / "d.jsonl"}"
        bad_rows = "skip"
        [train]
        updates_per_step = 1
        [evaluate]
        max_new_tokens = 4
        half_listening = false
        gain = false
        """
    )
    return tmp_path / "c.toml"


def names(tasks):
    return {one.id for task in tasks.tasks for one in (*task.train, *task.test)}


def test_all_that_do_not_fit_are_counted_and_the_longest_says_what_is_needed(skipping):
    with pytest.raises(DataError) as told:
        unseen.cautions(load(skipping, ["stream.bad_rows=refuse"]), stream.configured(load(skipping)))
    message = str(told.value)
    assert message.startswith("3 examples do not fit the model even without the input (d: d-")
    assert "of 20" in message and 'stream.bad_rows = "skip"' in message
    needed = int(message.split("Raise it to at least ")[1].split(";")[0])
    assert unseen.cut(
        loading.load_encoder(build({"model": {"path": "tiny", "max_length": needed}}).model),
        stream.configured(load(skipping)),
        load(skipping),
    )


def test_what_is_needed_is_not_a_token_too_much(skipping):
    tasks = stream.configured(load(skipping))

    def encoder(most):
        return loading.load_encoder(build({"model": {"path": "tiny", "max_length": most}}).model)

    longest = max(one.num_tokens for one in fitting.too_long(encoder(128), tasks, load(skipping)))
    assert not fitting.too_long(encoder(longest), tasks, load(skipping))
    assert len(fitting.too_long(encoder(longest - 1), tasks, load(skipping))) == 1


def test_with_skip_every_reader_leaves_the_same_out_and_tells_it(skipping, caplog):
    with caplog.at_level(logging.WARNING):
        config, checked = check.check(skipping)
    (told,) = [one for one in caplog.messages if "do not fit" in one]
    assert told.startswith("3 examples do not fit") and told.endswith("; skipped")
    assert names(checked) == {f"d-{number + 1}" for number in range(20)} - {"d-4", "d-8", "d-10"}
    read = course.read(skipping.parent / "run", config).tasks
    assert stream.digest(read) == stream.digest(checked) != stream.digest(stream.configured(config))
    assert fitting.stream_of(load(skipping, ["stream.bad_rows=refuse"])) == stream.configured(config)


def test_a_run_that_skips_them_is_read_again_by_the_commands_that_follow(skipping):
    out = skipping.parent / "run"
    run(load(skipping), out)
    again = CliRunner().invoke(app, ["eval", str(out)])
    assert again.exit_code == 0, again.output
    assert run(load(skipping), out, resume=True).steps


def test_they_are_left_out_before_split_metric_and_caps(skipping):
    """The stream is that of files without them."""
    file = skipping.parent / "d.jsonl"
    short = [one for number, one in enumerate(rows()) if number not in (3, 7, 9)]
    numbered = [one | {"id": f"n{number}"} for number, one in enumerate(rows())]
    found = {}
    for name, given in (
        ("skipped", numbered),
        ("absent", [one for number, one in enumerate(numbered) if number not in (3, 7, 9)]),
    ):
        file.write_text("".join(json.dumps(one) + "\n" for one in given))
        caps = ["stream.train_per_task=8", "stream.test_per_task=2"]
        found[name] = [fitting.stream_of(load(skipping, sets)) for sets in ([], caps)]
    assert len(short) == 17 and found["skipped"] == found["absent"]
    assert len(found["skipped"][1].tasks[0].train) == 8


def test_further_data_of_such_a_run_are_read_as_it_reads_its_own(skipping, tmp_path):
    out = skipping.parent / "run"
    run(load(skipping), out)
    more = tmp_path / "more.jsonl"
    more.write_text((skipping.parent / "d.jsonl").read_text())
    for command in (["eval", str(out), "--tasks", str(more)], ["gain", str(out), "--tasks", str(more)]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["predict", str(out), str(more), "--out", str(tmp_path / "p.jsonl")])
    assert done.exit_code == 0, done.output


def test_a_run_without_its_first_model_is_read_with_the_tokenizer_it_has_saved(skipping, model_folder):
    folder = model_folder()
    config = load(skipping, [f"model.path={folder}"])
    run(config, skipping.parent / "run")
    expected = fitting.stream_of(config)
    folder.rename(folder.with_name("away"))
    assert fitting.stream_of(config, skipping.parent / "run") == expected


def test_a_task_of_which_nothing_fits_is_named(skipping):
    file = skipping.parent / "d.jsonl"
    every = [*rows(4, long=range(4)), *rows(8, long=())]
    named = [one | {"task": "long" if number < 4 else "short"} for number, one in enumerate(every)]
    file.write_text("".join(json.dumps(one) + "\n" for one in named))
    with pytest.raises(DataError, match="'long': none of its 4 examples fits the model"):
        fitting.stream_of(load(skipping))


def test_what_does_not_fit_for_the_room_of_an_answer_or_a_wording_says_so(skipping):
    seed, long = Instruction("Repeat."), Instruction("言う" * 60)
    assert len(long.text) < 128
    examples = tuple(Example(f"t-{n}", "t", seed, "a", ("b",)) for n in range(3))
    for instructions, sets, words in (
        ((seed,), ["evaluate.max_new_tokens=127"], "lower evaluate.max_new_tokens"),
        ((seed, long), [], "leave that wording out of the variants"),
    ):
        task = Task("t", instructions, examples[1:], examples[:1], "exact")
        for settings in ("skip", "refuse"):
            with pytest.raises(DataError, match=words):
                unseen.cautions(
                    load(skipping, [*sets, f"stream.bad_rows={settings}"]), Stream("s", ((task,),))
                )


def test_a_wording_for_evaluation_is_counted_before_the_run(skipping):
    seed, long = Instruction("Repeat."), Instruction("Repeat " + "this " * 200)
    examples = tuple(Example(f"t-{n}", "t", seed, "a", ("b",)) for n in range(3))
    task = Task("t", (seed,), examples[1:], examples[:1], "exact", evaluation_instructions=(long,))
    config = load(skipping)
    with pytest.raises(DataError, match="1 example does not fit"):
        unseen.cautions(config, Stream("s", ((task,),)))
    spared = load(skipping, ["evaluate.new_wordings=false"])
    assert unseen.cautions(spared, Stream("s", ((task,),))) == []


def test_room_for_an_answer_names_what_asks_for_it():
    encoder = loading.load_encoder(build({"model": {"path": "tiny", "max_length": 128}}).model)
    example = Example("t-1", "t", Instruction("Repeat."), "a", ("b",))
    with pytest.raises(DataError, match=r"room for an answer of 400 tokens.*ask for shorter answers"):
        encoder.encode(example, 400)


def test_of_rows_with_the_same_id_the_first_is_kept_where_rows_are_skipped(tmp_path, caplog):
    path = tmp_path / "d.jsonl"
    given = [one | {"id": f"n{min(number, 17)}"} for number, one in enumerate(rows(long=()))]
    path.write_text("".join(json.dumps(one) + "\n" for one in given))
    with pytest.raises(DataError, match="the id 'n17' stands for several"):
        stream.load(path)
    (task,) = stream.load(path, bad_rows="skip").tasks
    assert len(task.train) + len(task.test) == 18
    (kept,) = [one for one in (*task.train, *task.test) if one.id == "n17"]
    assert kept.input == "Country 17"
    assert "2 rows cannot be used, skipped" in caplog.text and "the id of an earlier one (n17)" in caplog.text


def test_the_same_ids_in_two_splits_are_refused_all_the_same(tmp_path):
    path = tmp_path / "d.jsonl"
    given = [
        one | {"id": f"n{number % 10}", "split": "train" if number < 10 else "test"}
        for number, one in enumerate(rows(long=()))
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in given))
    with pytest.raises(DataError, match=r"the id 'n0' stands for several examples \(and 9 more ids do\)"):
        stream.load(path, bad_rows="skip")


def test_rows_that_fall_to_a_task_which_others_name_are_told(tmp_path, caplog):
    path = tmp_path / "fruit.jsonl"
    given = [one | ({"task": "fruit"} if number < 5 else {}) for number, one in enumerate(rows(long=()))]
    path.write_text("".join(json.dumps(one) + "\n" for one in given))
    (task,) = stream.load(path).tasks
    assert task.name == "fruit"
    assert "rows that name no task are of task 'fruit', which other rows name" in caplog.text
    assert "(15 rows)" in caplog.text


def test_a_sweep_is_told_before_it_starts_what_check_would_tell_of_its_runs(skipping):
    base = skipping.read_text()
    for change, sets, words in (
        ('"skip"', "", ""),
        ('"refuse"', "", "3 examples do not fit the model"),
        ('"skip"', "patience = 2", "patience = 2 needs validation examples"),
    ):
        text = base.replace('bad_rows = "skip"', f"bad_rows = {change}")
        skipping.write_text(text.replace("updates_per_step = 1", f"updates_per_step = 1\n{sets}"))
        spec = skipping.with_name("sweep.toml")
        spec.write_text(f'base = "{skipping.name}"\nmethods = ["replay", "sequential"]\nseeds = [0]\n')
        done = CliRunner().invoke(app, ["sweep", str(spec), "--out", str(skipping.parent / "s"), "--dry-run"])
        assert done.exit_code == bool(words), done.output
        assert words in str(done.exception or "") and not (skipping.parent / "s").exists()
