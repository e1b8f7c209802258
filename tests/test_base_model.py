"""The shipped base model is what its card says: size, weights, tokenizer, scores above what needs none."""

import json
from pathlib import Path

import pytest

from kpig.config import ModelSection
from kpig.model.loading import load

FOLDER = Path(__file__).parents[1] / "models" / "superni-base"


@pytest.fixture(scope="module")
def card():
    return json.loads((FOLDER / "card.json").read_text())


def test_it_is_small_and_holds_safetensors_only():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 20_000_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md"}


def test_it_loads_like_any_other_model_and_has_the_weights_of_its_card(card):
    learner = load(ModelSection(path=str(FOLDER)))
    assert sum(weight.numel() for weight in learner.parameters().values()) == card["parameters"]
    assert len(learner.tokenizer) == card["shape"]["vocabulary"]


def test_its_loss_on_unseen_examples_fell_and_the_card_tells_what_it_beats(card):
    curve = [loss for _, loss in card["held_out_loss"]]
    assert curve[-1] == min(curve) or curve[-1] < 0.8 * curve[0]
    own = card["own"]
    assert own["p_score"] > own["untuned_p_score"]
    assert own["p_score"] > max(own["constant"], own["copy"])
    text = (FOLDER / "README.md").read_text()
    for number in (own["p_score"], own["v_score"], own["constant"], own["copy"], own["commonest_of_task"]):
        assert f"{number:.1f}" in text


def test_no_machine_is_named_in_what_ships():
    for path in FOLDER.glob("*"):
        if path.suffix in (".json", ".md"):
            assert not any(place in path.read_text() for place in ("/tmp/", "/work/", "/home/", "/root/"))
