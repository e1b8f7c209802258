"""A base model from nothing: what it may see, what its card says, and that a kill changes nothing."""

import gzip
import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file

from kpig import config
from kpig.config import ModelSection, TrainSection
from kpig.errors import ConfigError, DataError, DivergedError, ModelError, RunError
from kpig.methods.base import Loss
from kpig.methods.chosen import create
from kpig.model.encoding import Encoder
from kpig.model.loading import load
from kpig.pretrain import card, job, mixture, predictors, speed
from kpig.pretrain.method import Pretrain
from kpig.pretrain.recipe import Precision, Recipe, Size
from kpig.pretrain.shapes import SHAPES, Shape
from kpig.pretrain.tokenizer import train_tokenizer
from kpig.runs import job as runs
from kpig.runs import lock
from kpig.scoring.scores import read_run
from kpig.tasks import matching, stream, suite

MINI = Shape(vocabulary=400, width=16, layers=1, heads=2, inner=32)


@pytest.fixture
def tasks_file(tmp_path):
    """Four tasks of the suite as JSONL, with a category each; the first two are closed label sets."""
    path = tmp_path / "tasks.jsonl"
    built = suite.stream(num_steps=2, tasks_per_step=2, num_held_out=0, num_train=20, num_test=5, seed=3)
    rows = [
        {
            "task": task.name,
            "definition": task.instruction.text,
            "category": "First" if number < 2 else "Second",
            "input": example.input,
            "output": ["yes", "no"][place % 2] if number < 2 else example.response,
        }
        for number, task in enumerate(built.tasks)
        for place, example in enumerate((*task.train, *task.test))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def recipe(tasks_file, monkeypatch):
    monkeypatch.setitem(SHAPES, "small", MINI)
    return Recipe(
        str(tasks_file),
        epochs=1,
        batch_size=8,
        max_length=512,
        test_per_task=4,
        learning_rate=1e-2,
        precision=Precision.FLOAT32,
    )


def test_a_base_model_is_made_loads_like_any_other_and_its_card_tells_the_truth(recipe, tmp_path):
    out = tmp_path / "base"
    found = job.run(recipe, out)
    learner = load(ModelSection(path=str(out / "model")))
    assert sum(weight.numel() for weight in learner.parameters().values()) == found["parameters"]
    seen = read_run(out / "run" / "scores.json").final.seen
    assert found["own"]["p_score"] == pytest.approx(seen.p_score)
    assert found["own"]["v_score"] == pytest.approx(seen.v_score)
    assert set(found["own"]["categories"]) == {"First", "Second"}
    assert found["train_examples"] == 4 * 21
    assert found["updates"] == 11 and found["train_tokens"] > 0
    assert found["held_out"] is None
    text = (out / "model" / "README.md").read_text()
    assert str(tmp_path) not in text + (out / "model" / "card.json").read_text()
    for number in (found["own"]["p_score"], found["own"]["copy"], found["own"]["constant"]):
        assert f"{number:.1f}" in text
    weights = load_file(out / "model" / "model.safetensors")
    start = load_file(out / "start" / "model.safetensors")
    assert any(not torch.equal(weights[name], start[name]) for name in weights)


def test_a_killed_one_goes_on_to_the_same_bits(recipe, tmp_path, monkeypatch):
    job.run(recipe, tmp_path / "straight")
    real, calls = runs.checkpoint.publish, []

    def die_at_the_second(state, folder):
        real(state, folder)
        calls.append(state.update)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(job, "CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(runs.checkpoint, "publish", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        job.run(recipe, tmp_path / "killed")
    assert calls == [4, 8]
    with pytest.raises(RunError, match="--resume"):
        job.run(recipe, tmp_path / "killed")
    job.run(recipe, tmp_path / "killed", resume=True)
    one, other = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("straight", "killed")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_recipe_in_the_same_folder_is_refused_by_name(recipe, tmp_path):
    job.prepare(recipe, tmp_path / "base", job.Watcher())
    with pytest.raises(RunError, match="learning_rate"):
        job.run(replace(recipe, learning_rate=0.5), tmp_path / "base", resume=True)


def test_a_folder_begun_before_a_recipe_had_a_key_is_taken_over(recipe, tmp_path):
    prepared = job.prepare(recipe, tmp_path / "base", job.Watcher())
    path = tmp_path / "base" / job.PREPARED
    del prepared["recipe"]["start"]
    path.write_text(json.dumps(prepared))
    assert job.prepare(recipe, tmp_path / "base", job.Watcher())["recipe"] == prepared["recipe"]


def test_a_precision_that_is_left_open_is_settled_once_and_an_older_folder_keeps_its_own(
    recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(speed, "faster_precision", lambda: "bfloat16")
    left_open = replace(recipe, precision=Recipe("tasks").precision)
    assert job.settled(left_open, tmp_path / "new").precision is Precision.BFLOAT16
    assert job.settled(recipe, tmp_path / "new").precision is Precision.FLOAT32
    prepared = job.prepare(recipe, tmp_path / "base", job.Watcher())
    assert job.settled(left_open, tmp_path / "base") == recipe
    del prepared["recipe"]["precision"]
    (tmp_path / "base" / job.PREPARED).write_text(json.dumps(prepared))
    assert job.settled(left_open, tmp_path / "base") == recipe
    assert job.prepare(recipe, tmp_path / "base", job.Watcher()) == prepared


def test_every_size_has_a_shape_and_every_precision_is_one_that_training_knows():
    assert set(SHAPES) == set(Size)
    field = TrainSection.model_fields["precision"]
    assert set(get_args(field.annotation)) == {str(one) for one in Precision}


def test_no_task_trains_on_an_input_that_another_is_tested_on(tasks_file):
    rows = [json.loads(line) for line in tasks_file.read_text().splitlines()]
    shared = [row | {"task": "echo", "definition": "Say it again.", "output": "x y"} for row in rows[:40]]
    shared = [row | {"input": row["input"].upper() + "!"} for row in shared]
    tasks_file.write_text("".join(json.dumps(row) + "\n" for row in rows + shared))
    tasks, dropped = mixture.read_mixture(str(tasks_file), test_per_task=4)
    tested = {mixture.plain(one.input) for task in tasks for one in task.test}
    trained = [mixture.plain(one.input) for task in tasks for one in task.train]
    assert dropped > 0
    assert not tested & set(trained)


def test_too_long_examples_are_counted_not_cut(tasks_file):
    tasks, dropped = mixture.read_mixture(str(tasks_file), test_per_task=4)
    tokenizer = train_tokenizer(tasks, 400)
    wide = Encoder(tokenizer, 2000)
    lengths = sorted(wide.encode(one).num_tokens for task in tasks for one in task.train)
    encoder = Encoder(tokenizer, lengths[len(lengths) // 2])
    kept = mixture.fitting(tasks, encoder, 8, dropped)
    assert kept.too_long > 0
    assert all(encoder.encode(one).num_cut == 0 for task in kept.tasks for one in task.train)
    with pytest.raises(DataError, match="--max-length"):
        mixture.fitting(tasks, Encoder(encoder.tokenizer, 17), 8, dropped)


def test_the_mixture_file_says_what_was_kept_and_closed_label_sets_are_demands(tasks_file, tmp_path):
    tasks, dropped = mixture.read_mixture(str(tasks_file), test_per_task=4)
    kept = mixture.fitting(tasks, Encoder(train_tokenizer(tasks, 400), 512), 8, dropped)
    mixture.write_mixture(kept, tmp_path / "mixture.jsonl.gz")
    again = stream.load(tmp_path / "mixture.jsonl.gz").tasks
    assert [(one.name, len(one.train), len(one.test)) for one in again] == [
        (one.name, len(one.train), len(one.test)) for one in kept.tasks
    ]
    assert [bool(one.constraints) for one in again] == [one.metric == "accuracy" for one in kept.tasks]
    assert [one.metric for one in again].count("accuracy") == 2


def test_the_tokenizer_is_lossless_and_spells_numbers_digit_by_digit(tasks_file):
    tasks, _ = mixture.read_mixture(str(tasks_file), test_per_task=4)
    tokenizer = train_tokenizer(tasks, 400)
    for text in ("a b", "é ß\n\t", "12 345", "<|end|>", "日本"):
        ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert tokenizer.decode(ids) == text
    pieces = tokenizer.tokenize("x 1234")
    assert [piece for piece in pieces if piece.isdigit()] == ["1", "2", "3", "4"]


def test_the_predictors_that_need_no_model_score_what_they_should(tasks_file):
    tasks = mixture.read_mixture(str(tasks_file), test_per_task=4)[0]
    closed = [task for task in tasks if task.metric == "accuracy"]
    text, best = predictors.constant(closed)
    by_hand = {
        label: sum(sum(one.response == label for one in task.test) / 4 for task in closed) / 2
        for label in ("yes", "no")
    }
    assert best == pytest.approx(100 * max(by_hand.values()))
    assert by_hand[text] == max(by_hand.values())
    open_tasks = [task for task in tasks if task.metric != "accuracy"]
    expected = [
        sum(matching.rouge_l(one.input, one.references) for one in task.test) / len(task.test)
        for task in open_tasks
    ]
    assert predictors.copy(open_tasks) == pytest.approx(100 * sum(expected) / len(expected))


def test_inputs_cannot_be_learned_in_rows_of_their_own_and_that_is_said():
    with pytest.raises(ConfigError, match="row_tokens"):
        create(config.build({"method": {"name": job.METHOD}}))
    create(config.build({"method": {"name": job.METHOD, "options": {"reading_weight": 0.0}}}))


def test_the_command_on_the_card_gives_the_same_recipe_again(recipe):
    from dataclasses import asdict, replace

    text = card._command(asdict(replace(recipe, batch_size=7, learning_rate=0.5, max_length=300)))
    for option in ("--batch-size 7", "--learning-rate 0.5", "--max-length 300", "--epochs 1", "--seed 0"):
        assert option in text


def test_the_matrix_rate_is_a_rate():
    assert speed.matmul_rate(seconds=0.05) > 1e8


@pytest.mark.parametrize(("rate", "sizes"), [(1e9, {speed.SMALL}), (1e11, {speed.SMALL, speed.SIZE})])
def test_no_large_product_is_waited_for_where_a_small_one_is_slow(rate, sizes, monkeypatch):
    """A CPU without products of 16 bits took minutes before pre-training began."""
    asked = set()
    monkeypatch.setattr(speed, "_rate", lambda left, right, seconds: asked.add(len(left)) or rate)
    assert speed.matmul_rate() == rate and asked == sizes


def test_a_shape_counts_its_own_weights():
    learner_shape = Shape(vocabulary=300, width=24, layers=2, heads=2, inner=40)
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=300, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2
        )
    )
    matrices = [w.numel() for name, w in model.named_parameters() if w.dim() == 2 and "layers" in name]
    assert learner_shape.body == sum(matrices)


def test_the_curve_keeps_its_ends():
    points = [[update, 1.0] for update in range(100)]
    thin = card._thinned(points)
    assert thin[0] == points[0] and thin[-1] == points[-1] and 10 <= len(thin) <= 16


def test_the_base_data_hold_no_input_of_the_streams(shared_data):
    """By letters and digits: nothing that the shipped base trains on is an input of the streams' tasks."""
    path = shared_data / "superni-base" / "base.jsonl.gz"
    if not path.exists():
        pytest.skip("shared/data/superni-base is not beside the repository")
    tasks, _ = mixture.read_mixture(str(path), test_per_task=5)
    trained = {mixture.plain(one.input) for task in tasks for one in task.train}
    others = stream.load(shared_data / "superni-stream", held_out=shared_data / "superni-heldout")
    measured_on = (*others.tasks, *others.held_out)
    inputs = {mixture.plain(one.input) for task in measured_on for one in (*task.train, *task.test)}
    assert len(trained) > 50_000 and len(inputs) > 9_000
    assert not trained & inputs
    assert not {task.name for task in tasks} & {task.name for task in measured_on}


def test_a_damaged_packed_file_is_named(tasks_file, tmp_path):
    whole = gzip.compress(tasks_file.read_bytes())
    for name, content in (("cut.jsonl.gz", whole[:-40]), ("plain.jsonl.gz", b"{}")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}.*gzip"):
            stream.load(tmp_path / name)


def test_one_base_goes_on_from_another_with_its_tokenizer(recipe, tmp_path):
    job.run(recipe, tmp_path / "one")
    further = replace(recipe, start=str(tmp_path / "one" / "model"), size="medium")
    found = job.run(further, tmp_path / "two")
    one, start, two = (
        load_file(tmp_path / folder / "model.safetensors")
        for folder in ("one/model", "two/start", "two/model")
    )
    assert all(torch.equal(one[name], start[name]) for name in one)
    assert any(not torch.equal(two[name], start[name]) for name in two)
    assert (tmp_path / "one/model/tokenizer.json").read_bytes() == (
        tmp_path / "two/model/tokenizer.json"
    ).read_bytes()
    assert found["shape"]["width"] == MINI.width
    text = (tmp_path / "two" / "model" / "README.md").read_text()
    assert "--from model " in text and "--size" not in text


def test_only_a_model_of_its_own_kind_is_gone_on_from(recipe, tmp_path, model_folder):
    with pytest.raises(ModelError, match="gpt2"):
        job.run(replace(recipe, start=str(model_folder("gpt2"))), tmp_path / "base")


LIMITED = """
import resource, sys
from pathlib import Path
from kpig.errors import KpigError
from kpig.pretrain import job
from kpig.pretrain.method import Pretrain
from kpig.pretrain.recipe import Precision, Recipe
from kpig.pretrain.shapes import SHAPES, Shape
SHAPES["small"] = Shape(vocabulary=400, width=16, layers=1, heads=2, inner=32)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
recipe = Recipe({tasks!r}, epochs=1, batch_size=8, max_length=512, test_per_task=4,
                precision=Precision.FLOAT32)
try:
    job.run(recipe, Path({out!r}), resume=True)
except KpigError as error:
    sys.exit(f"told: {{error}}")
"""
"""A disk that takes no file larger than a limit, in bytes."""


@pytest.mark.parametrize("limit", [300, 9_000, 24_000])
def test_a_disk_that_takes_no_more_is_told_and_the_rest_goes_on(limit, recipe, tasks_file, tmp_path):
    out = tmp_path / "base"
    code = LIMITED.format(limit=limit, tasks=str(tasks_file), out=str(out))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 1 and "told: " in found.stderr, found.stderr
    assert "cannot be written (File too large)" in found.stderr and "Traceback" not in found.stderr
    assert job.run(recipe, out, resume=True)["updates"] > 0
    assert not list(tmp_path.glob("*.lock"))


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), Exception("No space left on device (os error 28)")],
    ids=["system", "rust"],
)
@pytest.mark.parametrize("place", ["save", "copytree", "card", "rename"])
def test_a_failure_to_write_is_one_message_and_leaves_the_model_there_was(
    place, error, recipe, tmp_path, monkeypatch
):
    def full(*_, **__):
        raise error

    out = tmp_path / "base"
    if place != "save":
        job.run(recipe, out)
        before = (out / "model/model.safetensors").read_bytes()
    target = {
        "save": (job.Learner, "save"),
        "copytree": (job.shutil, "copytree"),
        "card": (job.card, "write"),
        "rename": (job, "replace_folder"),
    }[place]
    monkeypatch.setattr(*target, full)
    with pytest.raises(RunError, match=r"cannot be written .*No space left on device"):
        job.run(recipe, out, resume=True)
    monkeypatch.undo()
    monkeypatch.setitem(SHAPES, "small", MINI)
    if place != "save":
        assert (out / "model/model.safetensors").read_bytes() == before
    assert job.run(recipe, out, resume=True)["updates"] > 0
    assert {path.name for path in out.iterdir()} == {
        "mixture.jsonl.gz",
        "start",
        "run",
        "model",
        "prepared.json",
    }


def test_two_at_once_in_one_folder_are_one(recipe, tmp_path, monkeypatch):
    out = tmp_path / "base"
    with lock.held(out):
        for resume in (False, True):
            with pytest.raises(lock.BusyError, match="is doing this run"):
                job.run(recipe, out, resume=resume)
    assert not out.exists()


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"recipe": 3, "tasks": 4}', "[" * 9000, "\ud800"])
def test_a_damaged_record_of_what_was_prepared_is_named(text, recipe, tmp_path):
    out = tmp_path / "base"
    out.mkdir()
    (out / job.PREPARED).write_text(text, errors="surrogatepass")
    with pytest.raises(RunError, match=r"prepared\.json: is damaged"):
        job.run(recipe, out, resume=True)


def test_a_base_that_diverged_goes_on_by_the_two_commands_that_are_named(recipe, tmp_path, monkeypatch):
    out = tmp_path / "base"
    real = Pretrain.loss

    def wild(self, learner, batch):
        found = real(self, learner, batch)
        return Loss(found.sum * float("nan"), found.log) if self.config.train.learning_rate > 5e-3 else found

    monkeypatch.setattr(Pretrain, "loss", wild)
    with pytest.raises(DivergedError, match=r"(?s)kpig run .*run/config\.toml.*kpig pretrain again") as told:
        job.run(recipe, out)
    rate = re.search(r"train\.learning_rate=(\S+)", str(told.value))
    lower = config.load(out / "run/config.toml", [f"train.learning_rate={rate[1]}"])
    runs.run(lower, out / "run", resume=True)
    found = job.run(recipe, out, resume=True)
    assert found["recipe"]["learning_rate"] == 2.5e-3
