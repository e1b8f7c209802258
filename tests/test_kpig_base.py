"""KPIG beside another method: with no twins it is that method, and with twins their losses add up."""

import pytest
import torch

from kpig.errors import ConfigError
from kpig.methods.base import Method
from kpig.methods.chosen import create
from kpig.methods.kpig import Kpig
from kpig.methods.registry import METHODS
from kpig.testing import history
from kpig.training import loop, passes

BASES = [name for name in METHODS if name not in ("kpig", "init")]
TWINLESS = {"twin_weight": 0.0}


def lived(config):
    """Records and weights after all steps."""
    records = []
    with history.scripted():
        method, learner, steps = history.begin(config)
        for step in steps:
            loop.fit_step(learner, method, step, config, records.append, lambda state: None)
    return [one for one in records if "update" in one], learner.weights(), method


def beside(name, adapter=history.FULL, ratio=history.RATIO, **settings):
    config = history.configured("kpig", {"base": name} | settings, adapter)
    replay = config.replay.model_copy(update={"ratio": ratio})
    return config.model_copy(update={"replay": replay})


def alone(name, adapter=history.FULL):
    return history.configured(name, None, adapter)


def adapter_of(name):
    return history.LORA if name == "o_lora" else history.FULL


def has_memory(name):
    return create(alone(name, adapter_of(name))).memory is not None


@pytest.mark.parametrize("name", BASES)
def test_without_twins_it_is_the_other_method_to_the_bit(name):
    adapter = adapter_of(name)
    ratio = history.RATIO if has_memory(name) else 0.0
    found, weights, _ = lived(beside(name, adapter, ratio, **TWINLESS))
    expected, others, _ = lived(alone(name, adapter))
    assert found == expected
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[key], others[key]) for key in others)


@pytest.mark.parametrize("name", ["derpp", "ewc", "inscl", "dare", "migu", "lwf"])
def test_with_twins_its_loss_is_that_of_the_other_method_and_theirs(name):
    records, weights, method = lived(beside(name, weighting="none"))
    _, others, _ = lived(alone(name))
    assert any(not torch.equal(weights[key], others[key]) for key in others)
    assert max(record["twin_penalty"] for record in records) > 0
    parts = [key for key in method.all_penalties() if key != "penalty"]
    for record in records:
        known = sum(record.get(key, 0.0) for key in parts)
        assert record["loss"] == pytest.approx(record["cross_entropy"] + known, rel=1e-4, abs=1e-5)


def test_a_method_without_memory_gets_the_replay_of_kpig():
    records, _, method = lived(beside("ewc", selection="lowest", num_tasks=1))
    last = [record for record in records if record["step"] == 2]
    assert all(record["replayed"] == 3 and len(record["replayed_tasks"]) == 1 for record in last)
    assert "penalty" in last[-1] and method.memory.tasks


def test_alone_it_is_what_it_is_beside_a_method_that_does_nothing():
    found, weights, _ = lived(history.configured("kpig"))
    expected, others, _ = lived(beside("sequential"))
    assert found == expected and max(record["twin_penalty"] for record in found) > 0
    assert all(torch.equal(weights[key], others[key]) for key in others)


def test_every_hook_is_passed_on():
    hooks = {name for name in vars(Method) if callable(getattr(Method, name)) and not name.startswith("_")}
    helpers = {"rng", "Settings", "most_replayed"}
    assert len(hooks) > 15 and hooks - helpers <= set(vars(Kpig)), hooks - set(vars(Kpig))


def test_what_an_attempt_changed_in_the_other_method_is_put_back():
    """Where memory runs out in an update, migu has counted already; it must not count twice."""
    method, learner, (_, step) = history.begin(beside("migu"))
    method.begin_step(step, learner)
    before = passes._Before(learner, method)
    assert method.method.magnitudes == {}
    (batch,) = learner.training_batches(
        step.tasks[0].train[:2], method.config.train.model_copy(update={"row_tokens": 0}), True
    )
    method.twinned(batch.examples, 0, loop.clock_at(method.config, step, 0))
    method.loss(learner, batch)
    assert method.method.magnitudes
    before.restore()
    assert method.method.magnitudes == {}


def test_settings_of_the_other_method_are_its_own():
    method = create(beside("derpp", base_settings={"alpha": 0.25, "top_k": 3}))
    assert (method.method.settings.alpha, method.method.settings.top_k) == (0.25, 3)
    assert method.all_penalties() == {
        "twin_penalty": "method.kpig.twin_weight",
        "dark_knowledge": "method.kpig.base_settings.alpha",
    }
    assert method.divergence_weights() == {"twin_penalty": 1.0, "dark_knowledge": 0.25}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"base": "kpig"}, "would be itself"),
        ({"base": "derp"}, "method.kpig.base = 'derp': [method] 'derp' is not a method; did you mean"),
        ({"base": "derpp", "base_settings": {"alhpa": 1.0}}, "alhpa"),
        ({"base": "osf"}, "set method.kpig.reference = 'previous'"),
        ({"base_settings": {"alpha": 1.0}}, "there is none; set base"),
        ({"base": "derpp", "selection": "lowest"}, "'derpp' chooses what is replayed"),
        ({"base": "derpp", "weighting": "example"}, "'derpp' has a loss of its own; set weighting = 'gain'"),
        ({"base": "lwf", "gain_from": "training"}, "set gain_from = 'probe'"),
    ],
)
def test_what_cannot_be_combined_is_refused(settings, told):
    with pytest.raises(ConfigError) as caught:
        create(history.configured("kpig", settings))
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["derpp", "ewc", "migu"])
def test_it_goes_on_from_a_checkpoint_to_the_bit(name, tmp_path):
    config = beside(name)
    found = history.live(config, tmp_path)
    assert found.tail == found.log[history.PAUSE :]
    method, learner = found.again
    assert all(torch.equal(learner.weights()[key], value) for key, value in found.learner.weights().items())
    assert method.state_dict().keys() == found.method.state_dict().keys() >= {"base"}


def test_beside_radis_tasks_are_replayed_as_they_are_asked():
    """radis learns explained examples under the names of their tasks; what is kept is the plain ones."""
    _, _, method = lived(beside("radis"))
    kept = [one for found in method.memory.tasks.values() for one in found.examples]
    assert len(kept) == history.CAPACITY * len(history.TASKS)
    assert not [one.id for one in kept if one.id.endswith("/explained")]
