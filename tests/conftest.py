"""What tests share: tiny random models of four architectures, and factories for examples and learners."""

import itertools
import os
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from transformers import Gemma2Config, LlamaConfig, Qwen3Config

from kpig.records import Example, Instruction, KeySpan
from kpig.testing import models
from kpig.testing.models import LONGEST

ARCHITECTURES = ("llama", "qwen3", "gpt2", "gemma2")

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = (
    "1"  # of the processes that tests start: models this small only wait for threads
)

settings.register_profile("gate", deadline=None)
settings.register_profile("torture", max_examples=1500, deadline=None, derandomize=True)
settings.load_profile("gate")  # a busy machine is no fault; --hypothesis-profile=torture comes after this


TRIED = "tried "
"""How a report names what its test tried and how often: the figures of docs/reliability.md."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Count the inputs of fuzz tests; a test of many tries counts its own with `record_property`."""
    fuzzed = getattr(getattr(item, "obj", None), "hypothesis", None)
    if fuzzed is None or not item.path.name.startswith("test_fuzz"):
        return (yield)
    inner, number = fuzzed.inner_test, itertools.count()

    def counted(*arguments, **options):
        next(number)
        return inner(*arguments, **options)

    fuzzed.inner_test = counted
    try:
        return (yield)
    finally:
        fuzzed.inner_test = inner
        item.user_properties.append(
            (f"{TRIED}inputs, {item.path.stem.removeprefix('test_fuzz_')}", next(number))
        )


def pytest_terminal_summary(terminalreporter):
    """Reports travel from the workers with their properties, so the sums are over all of them."""
    sums = Counter()
    for report in (one for outcome in ("passed", "failed") for one in terminalreporter.getreports(outcome)):
        for name, count in report.user_properties:
            if name.startswith(TRIED) and report.when == "call":
                sums[name.removeprefix(TRIED)] += count
    if sums:
        terminalreporter.section("tried")
        for name, count in sorted(sums.items()):
            terminalreporter.line(f"{count:7d} {name}")


def architecture_config(name, dropout=0.0):
    """A config of two small layers; Gemma's soft-caps are low enough to change every logit.

    GPT-2's input and output embeddings are shared, the others' are not, so that greedy answers vary.
    """
    if name == "gpt2":
        return models.gpt2_config(dropout)
    size = {
        "hidden_size": 32,
        "intermediate_size": 56,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": LONGEST,
        "attention_dropout": dropout,
        "tie_word_embeddings": False,
    }
    if name == "gemma2":
        caps = {"final_logit_softcapping": 6.0, "attn_logit_softcapping": 10.0, "sliding_window": 16}
        return Gemma2Config(**models.ENDS, **size, **caps, query_pre_attn_scalar=8)
    return {"llama": LlamaConfig, "qwen3": Qwen3Config}[name](**models.ENDS, **size)


@pytest.fixture(scope="session")
def tokenizer():
    """The shipped tokenizer; tests that change it take a copy."""
    return models.tokenizer()


@pytest.fixture(scope="session")
def make_learner(tokenizer):
    """make_learner(architecture, adapter, keep_initial): a new learner, equal for equal arguments."""
    built = {}

    def make(
        architecture="llama", adapter=False, keep_initial=False, seed=0, dropout=0.0, max_length=LONGEST
    ):
        key = (architecture, seed, dropout)
        if key not in built:
            built[key] = models.random_model(architecture_config(architecture, dropout), seed)
        return models.as_learner(
            built[key], tokenizer, adapter, keep_initial, seed=seed, dropout=dropout, max_length=max_length
        )

    return make


@pytest.fixture(scope="session")
def make_instruction():
    """make_instruction("Please {sort the words}."): curly brackets mark the key parts."""

    def make(marked="Here is a row of words. Please {sort them}. {Use commas}.", origin="seed"):
        text, spans = "", []
        for piece in re.split(r"(\{[^}]*\})", marked):
            bare = piece.strip("{}") if piece.startswith("{") else piece
            if piece.startswith("{"):
                spans.append(KeySpan(len(text), len(text) + len(bare), "operation"))
            text += bare
        return Instruction(text, tuple(spans), origin)

    return make


@pytest.fixture(scope="session")
def make_example(make_instruction):
    """make_example(marked, input, response): an example with a number of its own."""
    numbers = itertools.count()

    def make(marked=None, input="ant box river", response="ant, box, river", task="sort"):
        instruction = make_instruction() if marked is None else make_instruction(marked)
        return Example(f"{task}-{next(numbers)}", task, instruction, input, (response,))

    return make


@pytest.fixture(scope="session")
def mixed_examples(make_example):
    """Five examples of unequal length: with one, two and no key parts, with and without an input."""
    return (
        make_example(),
        make_example("You must {reverse the order of the words}.", "moon tree", "tree moon", "reverse"),
        make_example("Say something about the list.", "egg fox hat ink jar", "egg", "vague"),
        make_example("Please {count the words}.", "", "three", "count"),
        make_example(
            "Below is a row of words. {Drop the first word} and {write the rest in capital letters}.",
            "lemon piano anchor airport bird",
            "PIANO ANCHOR AIRPORT BIRD",
            "drop",
        ),
    )


@pytest.fixture
def model_folder(tmp_path, tokenizer):
    """model_folder(architecture): a folder as save_pretrained writes it, with the tokenizer."""

    def make(architecture="llama", name="model", seed=0, dropout=0.0):
        folder = tmp_path / name
        models.random_model(architecture_config(architecture, dropout), seed).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def shared_data():
    """The folder of annotated public tasks that lies beside the repository on some machines."""
    folder = Path(__file__).parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("shared/data is not beside the repository")
    return folder
