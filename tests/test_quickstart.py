"""The first five minutes: what `kpig quickstart` compares and says, and that it takes up where it was."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from kpig import config, report
from kpig.cli import quickstart
from kpig.errors import KpigError
from kpig.tasks import desk, stream

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setitem(quickstart.SETTINGS, "train", {"updates_per_step": 2, "batch_size": 4})
    monkeypatch.setitem(quickstart.SETTINGS, "evaluate", {"max_new_tokens": 3, "num_gain_examples": 2})
    monkeypatch.setattr(desk, "NUM_EXAMPLES", 12)
    monkeypatch.setattr(desk, "NUM_TEST", 3)


def test_its_settings_are_those_of_the_support_desk():
    shipped = config.load(EXAMPLES / "support-desk" / "desk.toml")
    tasks = {"path": shipped.stream.path}
    assert shipped == config.build(quickstart.SETTINGS | {"stream": quickstart.SETTINGS["stream"] | tasks})


def test_three_methods_run_on_equal_terms_and_again_without_work(tmp_path, short):
    records = quickstart.run(tmp_path)
    assert [record.name for record in records] == ["sequential", "replay", "kpig"]
    assert len({record.stream["digest"] for record in records}) == 1
    assert len({record.scores.cost.updates for record in records}) == 1
    assert all(record.scores.final.seen.half_listening is not None for record in records)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert [record.scores for record in quickstart.run(tmp_path)] == [record.scores for record in records]
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert report.write(records, tmp_path).name == "report.html"
    console = Console(width=80, record=True, file=(tmp_path / "screen").open("w"))
    console.print(report.brief_table(records))
    shown = console.export_text()
    assert "…" not in shown and max(map(len, shown.splitlines())) <= 80
    assert all(name in shown for name in ("untuned", *quickstart.METHODS, "half-", "computing"))
    lines = list(quickstart.findings(records))
    assert "kpig took" in lines[2] and "may be ahead" in lines[2]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"model": "/nowhere/model"}, "/nowhere/model does not exist"),
        ({"methods": ("replay", "replya")}, "did you mean 'replay'"),
    ],
    ids=str,
)
def test_what_cannot_run_is_refused_before_anything_is_written(given, told, tmp_path, short):
    with pytest.raises(KpigError, match=re.escape(told)):
        quickstart.run(tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_tasks_are_chat_lines_with_key_parts_and_constraints_and_a_hand_may_correct_them(tmp_path, short):
    settings = config.build(
        quickstart.SETTINGS
        | {"stream": {"path": str(tmp_path / "tasks"), "columns": {"instruction": "system"}}}
    )
    quickstart.prepare(settings)
    rows = (tmp_path / "tasks/month-1.jsonl").read_text().splitlines()
    assert [turn["role"] for turn in json.loads(rows[0])["messages"]] == ["system", "user", "assistant"]
    tasks = stream.configured(settings).tasks
    assert len(tasks) == 8 and all(task.instruction.key_parts for task in tasks)
    assert sum(bool(task.constraints) for task in tasks) == 8
    (tmp_path / "tasks/keyparts.json").write_text("{}")
    quickstart.prepare(settings)
    assert (tmp_path / "tasks/keyparts.json").read_text() == "{}"


def test_tasks_that_the_user_names_are_taken_and_nothing_is_written_beside_them(tmp_path, short):
    own = tmp_path / "own"
    desk.write(own)
    before = {path.name for path in own.iterdir()}
    (record,) = quickstart.run(
        tmp_path / "out", ("sequential",), overrides=[f"stream.path={own}", "stream.max_steps=2"]
    )
    assert record.num_steps == 2 and {path.name for path in own.iterdir()} == before
    assert not (tmp_path / "out/tasks").exists()


def test_tasks_that_were_left_half_written_are_written_whole(tmp_path, short):
    settings = config.build(
        quickstart.SETTINGS | {"stream": {"path": str(tmp_path), "columns": {"instruction": "system"}}}
    )
    desk.write(tmp_path)
    quickstart.prepare(settings)
    assert all(task.instruction.key_parts for task in stream.configured(settings).tasks)


def made_up(record, name, p_score, half, computing):
    final = record.scores.final
    seen = replace(final.seen, p_score=p_score, half_listening=half)
    cost = replace(record.scores.cost, train_tokens=computing, forward_tokens=0)
    return replace(
        record, name=name, scores=replace(record.scores, final=replace(final, seen=seen), cost=cost)
    )


def test_what_it_says_follows_the_numbers_whoever_they_favour(tmp_path, short):
    (record,) = quickstart.run(tmp_path, ("sequential",))
    ahead = [made_up(record, "replay", 61.0, 7.0, 100), made_up(record, "kpig", 59.25, 3.0, 350)]
    lines = list(quickstart.findings(ahead))
    assert lines[0] == "Highest P, at equal updates: replay, 61.0."
    assert lines[1] == "Half-listens least: kpig, 3.0 %; most: replay, 7.0 %."
    assert lines[2].startswith("kpig took 3.5 times the computing of replay.")
    behind = [made_up(record, "ewc", 20.0, None, 10), made_up(record, "kpig", 59.25, 3.0, 350)]
    assert next(quickstart.findings(behind)) == "Highest P, at equal updates: kpig, 59.2."
    assert len(list(quickstart.findings(behind))) == 2 and len(list(quickstart.findings([record]))) == 1


def test_another_model_gets_an_adapter_fewer_examples_and_the_same_tasks(tmp_path, short):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from kpig.model import loading

    torch.manual_seed(0)
    tokenizer = loading.load(config.ModelSection()).tokenizer
    own = tmp_path / "own"
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(own)
    tokenizer.save_pretrained(own)
    fast = ["train.updates_per_step=1", "evaluate.max_new_tokens=2", "stream.max_steps=1"]
    (record,) = quickstart.run(tmp_path / "out", ("sequential",), overrides=fast, model=str(own))
    made = config.load(tmp_path / "out/sequential/config.toml")
    assert made.model.path == str(own) and made.model.adapter == "lora"
    assert (tmp_path / "out/sequential/steps/01/adapter").is_dir() and record.num_steps == 1
    assert made.stream.train_per_task == 48 and (tmp_path / "out/tasks/keyparts.json").is_file()
