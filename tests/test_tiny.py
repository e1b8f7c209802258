"""The shipped tiny model is what its card says."""

import json
import random
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpig.config import ModelSection
from kpig.model import loading
from kpig.records import Example
from kpig.tasks import suite

FOLDER = Path(str(files("kpig") / "tiny"))
CARD = json.loads((FOLDER / "card.json").read_text())


@pytest.fixture(scope="module")
def tiny():
    return loading.load(ModelSection())


def test_it_is_small_and_its_weights_are_safetensors(tiny):
    assert sum(weight.numel() for weight in tiny.model.parameters()) == CARD["parameters"] <= 1_500_000
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 8 * 2**20
    assert {file.suffix for file in FOLDER.iterdir()} == {".safetensors", ".json", ".md"}


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_its_tokenizer_loses_nothing_of_any_text(tiny, text):
    ids = tiny.tokenizer.encode(text, add_special_tokens=False)
    if not any(special in text for special in tiny.tokenizer.all_special_tokens):
        assert tiny.tokenizer.decode(ids) == text


def test_it_knows_the_base_skills_as_its_card_says(tiny):
    """Three fresh examples per skill: 192 answers, so the share lies within 7 points of the card's."""
    rng = random.Random("fresh")
    examples = [fresh(skill, rng) for skill in suite.base_skills() for _ in range(3)]
    prompts = [tiny.encoder.encode(example).prompt for example in examples]
    answers = tiny.generate(prompts, max_new_tokens=32)
    right = sum(text == example.response for (text, _), example in zip(answers, examples, strict=True))
    stated = sum(CARD["accuracy"].values()) / len(CARD["accuracy"])
    assert stated >= 0.85
    assert abs(right / len(examples) - stated) < 0.07


def test_its_card_covers_the_base_skills_and_no_other_as_trained():
    assert set(CARD["accuracy"]) == {"-".join(skill) for skill in suite.base_skills()}
    assert set(CARD["accuracy_unseen"]) == {"-".join(pair) for pair in suite.free_compositions()}


def fresh(skill: suite.Composition, rng: random.Random) -> Example:
    wordings = [rng.randrange(suite.NUM_TRAINED_WORDINGS) for _ in range(3)]
    words = suite.word_list(rng)
    text = suite.instruction(skill, *wordings)
    return Example("fresh", "-".join(skill), text, " ".join(words), (suite.solve(skill, words),))
