"""What a run says that it takes of memory is what it takes."""

import gc
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from accelerate.state import AcceleratorState
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen3Config

from kpig import config
from kpig.methods.base import Method, Step
from kpig.methods.chosen import create
from kpig.model import loading
from kpig.model.folder import resolve
from kpig.runs import job, memory, shapes
from kpig.runs.load import Load
from kpig.runs.memory import needed, phases
from kpig.runs.shapes import Shape
from kpig.tasks import stream
from kpig.testing.history import begin, configured, scripted
from kpig.training import loop
from test_cli import kpig
from test_job import small

BFLOAT16 = {"model.dtype": "bfloat16", "train.precision": "bfloat16"}
TWICE = {"train.gradient_checkpointing": True}
WORDS = ("ant", "box", "cup", "dog", "egg", "fox", "gum", "hat", "ink", "jar")


@pytest.fixture(autouse=True)
def any_precision():
    """Accelerate fixes the precision for the life of a process, and these tests want several."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def saved(folder: Path, kind: str, hidden: int, layers: int) -> Path:
    """A model from random weights with the shipped tokenizer."""
    shape = {"hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": 11 * hidden // 4}
    heads = {"num_attention_heads": hidden // 32, "num_key_value_heads": hidden // 64, "head_dim": 32}
    made = {"llama": LlamaConfig, "qwen3": Qwen3Config}[kind](
        **shape, **heads, vocab_size=4096, tie_word_embeddings=kind == "llama"
    )
    AutoModelForCausalLM.from_config(made).save_pretrained(folder)
    AutoTokenizer.from_pretrained(resolve("tiny")).save_pretrained(folder)
    return folder


def rows(path: Path, num_words: int) -> Path:
    """Two tasks of as many words to repeat, a step each."""
    found, chance = [], random.Random(1)
    for step, task in enumerate(("say", "tell"), 1):
        text = f"Please {task} all the words of the input once more, in their order."
        part = {"start": 7, "end": 7 + len(task), "text": task, "kind": "operation"}
        for number in range(30):
            words = " ".join(chance.choices(WORDS, k=num_words))
            row = {"task": task, "step": step, "instruction": text, "input": words, "output": words}
            found.append(row | {"split": "test" if number < 2 else "train", "key_parts": [part]})
    path.write_text("\n".join(map(json.dumps, found)))
    return path


def peak_of(chosen: config.RunConfig, out: Path) -> int:
    """Bytes that all tensors of a run together took at the most."""
    gc.collect()  # what an earlier test left would be freed inside, and counted as less than nothing
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        job.run(chosen, out)
    held = most = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


EVERY = {"method.kpig": {"twin_share": 1.0}}
CASES = [
    ("llama", 128, 3, "sequential", "none", 30, 1024, {}),
    ("llama", 192, 5, "kpig", "none", 20, 1500, EVERY),
    ("llama", 128, 4, "replay", "lora", 30, 1024, {}),
    ("qwen3", 128, 4, "replay", "none", 30, 1024, {}),
    ("llama", 256, 2, "kpig", "none", 25, 4096, EVERY),
    ("llama", 192, 5, "replay", "none", 30, 1024, {"train.precision": "bfloat16"}),
    ("llama", 192, 3, "kpig", "none", 20, 1024, EVERY | {"train.precision": "bfloat16"}),
    ("llama", 192, 6, "sequential", "lora", 30, 1024, {"train.precision": "bfloat16"}),
    ("llama", 192, 5, "replay", "none", 30, 1024, {"model.dtype": "bfloat16"}),
    ("llama", 192, 4, "replay", "lora", 20, 1024, BFLOAT16),
    ("llama", 192, 8, "replay", "none", 30, 1024, TWICE),
    ("llama", 192, 8, "replay", "lora", 30, 4096, BFLOAT16 | TWICE),
    ("llama", 256, 3, "ema", "none", 20, 1024, {}),
    ("llama", 192, 4, "ema", "none", 20, 1024, {"method.ema": {"decay": 0.9}}),
    ("llama", 256, 4, "tir", "none", 20, 1024, {}),
    ("llama", 256, 4, "a_gem", "none", 20, 1024, {}),
    ("llama", 256, 4, "osf", "none", 20, 1024, {}),
    ("llama", 192, 4, "osf", "none", 20, 1024, {"method.osf": {"preserved": 0.8}}),
    ("llama", 192, 4, "sdft", "none", 20, 1024, {}),
    ("llama", 192, 5, "sdft", "lora", 20, 1024, {"method.sdft": {"max_new_tokens": 20, "divergence": 0.5}}),
    ("llama", 192, 4, "adapt_inf", "none", 20, 1024, {}),
]


def table_of(folder, method, adapter, num_words, tokens, more):
    """A config of a small case, with a model in one folder with its rows."""
    table = {
        "model": {"path": str(folder / "model"), "adapter": adapter},
        "stream": {"path": str(rows(folder / "rows.jsonl", num_words))},
        "train": {"updates_per_step": 2, "batch_size": 8, "tokens_per_micro_batch": tokens},
        "method": {"name": method},
        "evaluate": {"max_new_tokens": 4, "half_listening": False, "gain": False},
    }
    for key, value in more.items():
        section, _, name = key.partition(".")
        table.setdefault(section, {})[name] = value
    return config.build(table)


def tensors_of(found):
    """The part of an estimate that tensors take: without the program, and what the allocator scatters."""
    passes = found.activations + found.logits
    return found.total - found.program - passes * memory.SCATTERED / (1 + memory.SCATTERED)


@pytest.mark.parametrize(
    ("kind", "hidden", "layers", "method", "adapter", "num_words", "tokens", "more"), CASES
)
def test_the_estimate_is_within_15_percent_of_what_tensors_take(
    kind, hidden, layers, method, adapter, num_words, tokens, more, tmp_path, monkeypatch
):
    # Weights that transformers converts in other threads are not seen by the profiler.
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "1")
    saved(tmp_path / "model", kind, hidden, layers)
    chosen = table_of(tmp_path, method, adapter, num_words, tokens, more)
    estimate = tensors_of(memory.of_run(chosen, stream.configured(chosen)))
    measured = peak_of(chosen, tmp_path / "run")
    print(f"RATIO {kind} {hidden} {layers} {method} {adapter} {more} {estimate / measured:.3f}")
    assert 0.85 < estimate / measured < 1.15, f"estimate {estimate:.0f}, measured {measured}"


@pytest.mark.parametrize(("num_words", "tokens", "row_tokens"), [(20, 1500, "auto"), (25, 1024, 0)])
def test_twins_of_some_examples_are_reckoned_with_a_little_too_high(num_words, tokens, row_tokens, tmp_path):
    """They may come together in one pass, which is then shorter where rows are shared."""
    saved(tmp_path / "model", "llama", 192, 5)
    more = {"method.kpig": {"twin_share": 0.25}, "train.row_tokens": row_tokens}
    chosen = table_of(tmp_path, "kpig", "none", num_words, tokens, more)
    estimate = tensors_of(memory.of_run(chosen, stream.configured(chosen)))
    assert 0.85 < estimate / peak_of(chosen, tmp_path / "run") < 1.25


SHAPE = Shape(1_000, 1_000, layers=2, hidden=8, keys=4, inner=16, gated=True, vocabulary=50)
LOAD = Load(tokens=10, targets=3, twin_targets=0, is_split=True, generated=0)


def test_the_arithmetic_by_hand():
    found = needed(SHAPE, LOAD)
    assert (found.weights, found.gradients, found.optimizer, found.reference) == (4000, 4000, 8000, 0)
    assert found.activations == 10 * 4 * (2 * (8 * 8 + 2 * 4 + 4 * 16) + 4 * 8)
    assert found.logits == 4 * 50 * 3 * 3 and found.program == 0
    assert found.total == 16_000 + found.activations + found.logits


def test_divided_weights_by_hand():
    """Of 1,000 numbers 800 are in eight layers, two of which are whole in a pass, as are the other 200."""
    shape = replace(SHAPE, layers=8, vocabulary=20, hidden=5, keys=1, inner=4, gated=False)
    plain, found = (phases(shape, LOAD, 1, divided=count).training for count in (1, 4))
    gathered = 200 + 2 * 800 / 8
    assert found.weights == found.gradients == 4 * (1000 / 4 + gathered)
    assert (found.optimizer, found.reference) == (plain.optimizer / 4, plain.reference / 4)
    assert (found.activations, found.logits) == (plain.activations, plain.logits)
    adapter = phases(replace(shape, trained=40), LOAD, divided=4).training
    assert (adapter.weights, adapter.gradients) == (4 * (250 + gathered + 10), 40)


@pytest.mark.parametrize(("checkpointed", "casts"), [(False, 1000), (True, 400)])
def test_casts_of_divided_weights_are_of_all_unless_layers_are_computed_twice(checkpointed, casts):
    shape = replace(SHAPE, layers=8, vocabulary=20, hidden=5, keys=1, inner=4, gated=False)
    found = phases(shape, replace(LOAD, autocast=True, checkpointed=checkpointed), divided=4)
    assert found.training.casts == 2 * casts and found.gain.casts == 0


def test_what_adds_memory_and_what_saves_it():
    whole = needed(SHAPE, LOAD).total
    assert needed(SHAPE, LOAD, num_references=2).total == whole + 8000
    assert needed(SHAPE, LOAD, program=7).total > whole + 7
    assert needed(SHAPE, replace(LOAD, is_split=False)).total < whole, "activations go as gradients come"
    assert needed(SHAPE, replace(LOAD, twin_targets=1)).total == whole + 4 * 50 * 9
    assert needed(replace(SHAPE, trained=10), LOAD).total < whole
    assert needed(replace(SHAPE, weight_bytes=2, trained_bytes=2), LOAD).weights == 2000
    answering = needed(SHAPE, replace(LOAD, generated=10_000))
    assert answering.optimizer == 0 and answering.total > whole


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ({"model": {"adapter": "lora"}}, False),
        ({"train": {"tokens_per_micro_batch": 4096, "batch_size": 64}}, True),
        ({"train": {"keep_best": True}}, True),
        ({"method": {"name": "sequential"}}, False),
    ],
)
def test_the_settings_that_cost_memory_do_so_in_the_estimate(change, more):
    chosen = small(train={"tokens_per_micro_batch": 1024})
    tasks = stream.configured(chosen)
    table = chosen.model_dump(mode="json")
    for section, values in change.items():
        table[section] = table[section] | values
    found = (memory.of_run(one, tasks) for one in (chosen, config.build(table)))
    plain, changed = (one.total - one.program for one in found)
    assert (changed > plain) == more and changed != plain


def test_check_and_run_say_it_beforehand_and_warn_where_less_is_free(tmp_path, monkeypatch):
    path = tmp_path / "my.toml"
    path.write_text(config.dump(small("sequential")))
    for command in (["check", path], ["run", path, "--out", tmp_path / "run"]):
        found = kpig(*command)
        assert found.returncode == 0, found.stderr
        (line,) = [line for line in found.stdout.splitlines() if line.startswith("memory: about ")]
        assert "weights 4.5 MB, activations" in line and "program 580 MB" in line
    chosen = small("sequential")
    tasks = stream.configured(chosen)
    free = type("Free", (), {"available": 10_000_000})
    monkeypatch.setattr(psutil, "virtual_memory", free)
    _, warning = memory.sentences(chosen, tasks)
    assert "only 10 MB of memory are free" in warning and "train.tokens_per_micro_batch" in warning
    assert memory.sentences(small(model={"path": "someone/on-a-hub"}), tasks) == []


def tensors_in(value, found):
    """The tensors that an object holds, in dicts, lists and methods that are a part of it, once each."""
    if torch.is_tensor(value):
        found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
    elif isinstance(value, dict):
        for one in value.values():
            tensors_in(one, found)
    elif isinstance(value, list | tuple):
        for one in value:
            tensors_in(one, found)
    elif isinstance(value, Method):
        tensors_in(vars(value), found)
    return found


KEEPING = [
    ("sequential", {}),
    ("adapt_inf", {}),
    ("l2", {}),
    ("lwf", {}),
    ("ewc", {}),
    ("tir", {}),
    ("a_gem", {}),
    ("ema", {}),
    ("ema", {"decay": 0.7}),
    ("sdft", {}),
    ("sdft", {"teacher_rate": 0.0}),
    ("sdft", {"teacher_rate": 1.0}),
    ("kpig", {"reference": "previous"}),
    ("kpig", {"base": "tir"}),
    ("kpig", {"base": "ema", "reference": "previous"}),
]


@pytest.mark.parametrize("adapter", ["none", "lora"])
@pytest.mark.parametrize(("name", "settings"), KEEPING, ids=str)
def test_what_a_method_says_that_it_keeps_is_what_it_keeps_while_the_second_step_learns(
    name, settings, adapter
):
    """To the byte: all tensors that can be reached from it after an update."""
    chosen = configured(name, {"kept_mib": 0, **settings} if name == "kpig" else settings, adapter)
    held = []
    with scripted():
        method, learner, steps = begin(chosen)

        def count(_):
            held.append(sum(tensors_in(method, {}).values()))

        for step in steps:
            loop.fit_step(learner, method, step, chosen, lambda _: None, count)
    trained = sum(one.numel() for one in learner.parameters().values())
    upkeep = method.upkeep({})
    assert held[-1] == 4 * trained * (upkeep.copies + upkeep.wide) and upkeep.factors is None


@pytest.mark.parametrize("preserved", [0.1, 0.5, 0.83])
def test_what_osf_says_that_it_learns_and_keeps_is_what_is_in_the_model(preserved, tmp_path):
    chosen = table_of(tmp_path, "osf", "none", 5, 1024, {"method.osf": {"preserved": preserved}})
    saved(tmp_path / "model", "llama", 128, 3)
    tasks, method, learner = stream.configured(chosen), create(chosen), loading.load(chosen.model, False)

    def numbers():
        every = itertools.chain(learner.model.parameters(), learner.model.buffers())
        return sum(one.numel() for one in every)

    plain = numbers()
    method.begin_step(Step(1, tasks.tasks[:1], 2), learner)
    told = method.upkeep(shapes.of_section(chosen.model).matrices).factors
    assert told.trained == sum(one.numel() for one in learner.parameters().values())
    assert told.trained + told.kept == numbers() - plain
