"""Weights divided between processes: the same choices, losses and weights as one process that has all."""

import math
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

import forked
import launched
from kpig import ranks
from kpig.config import build, dump
from kpig.errors import ConfigError, LostError, ModelError, TrainingError
from kpig.methods import chosen
from kpig.methods.base import Clock, Method, Step
from kpig.methods.chosen import create
from kpig.methods.registry import METHODS
from kpig.model.learner import Learner
from kpig.model.rows import pad
from kpig.model.shards import divided_as, gathered, local, whole
from kpig.testing import models
from kpig.testing.history import configured, learned
from kpig.testing.several import in_processes
from kpig.training import checkpoint
from test_job import kill_after, small
from test_ranks import assert_alike, assert_same_learning

DIVIDING = (
    "kpig",
    "replay",
    "derpp",
    "periodic_replay",
    "kmeans_replay",
    "inscl",
    "dynainst",
    "sequential",
    "mtl",
    "init",
    "ema",
)
"""Methods that learn while weights are divided; docs/several-gpus.md names the same."""

NEEDS = {"refresh": 2, "num_tasks": 2, "num_probes": 3}


def sharded(config):
    return config.model_copy(update={"train": config.train.model_copy(update={"shard": True})})


def test_the_page_names_the_methods_that_can_and_the_others_are_refused_by_name():
    """That those can, the contract of every method shows."""
    can = {name for name in METHODS if chosen.load(name).shards}
    page = (Path(__file__).parents[1] / "docs/several-gpus.md").read_text(encoding="utf-8")
    sentence = page.partition("These methods can: ")[2].partition(". ")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == can == set(DIVIDING)
    refused = page.partition("### Methods that need whole weights")[2].partition("## ")[0]
    rows = [
        re.findall(r"`(\w+)`", row.split("|")[1]) for row in refused.splitlines() if row.startswith("| `")
    ]
    assert sorted(name for row in rows for name in row) == sorted(set(METHODS) - can)
    has_reason = {name for name in METHODS if chosen.load(name).undivided != Method.undivided}
    assert has_reason == {name for row in rows[:-1] for name in row}, "the last row are those not tried"
    for name in set(METHODS) - can:
        config = configured(name, adapter="lora" if name == "o_lora" else "none")
        chosen.create(config)
        with pytest.raises(ConfigError, match=rf"train.shard = true.*method '{name}' is not.*shard = false"):
            chosen.create(sharded(config))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["method.kpig.reference=previous"], 'method.kpig.reference = "previous"'),
        (["model.adapter=lora", "model.quantization=nf4"], "quantization"),
        (["train.device=mps"], 'device is "mps"'),
        (["train.gradient_checkpointing=offload"], "offload"),
    ],
)
def test_a_setting_that_cannot_be_divided_is_refused_by_name(changes, words):
    with pytest.raises(ConfigError, match=rf"(?s){words}.*train\.shard = false"):
        chosen.create(build({}, [*changes, "train.shard=true"]))


@pytest.mark.parametrize("adapter", ["none", "lora"])
@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [({"gradient_checkpointing": True}, 1e-5), ({"precision": "bfloat16"}, 1e-2)],
    ids=["layers twice", "bfloat16"],
)
def test_layers_that_are_computed_twice_and_half_precision_are_as_in_one_process(changes, tolerance, adapter):
    config = configured("kpig", NEEDS, adapter)
    config = config.model_copy(update={"train": config.train.model_copy(update=changes)})
    alone = learned(config)
    for shared in in_processes(partial(learned, sharded(config))):
        assert [shared.drawn, shared.tokens[0]] == [alone.drawn, alone.tokens[0]]
        for here, there in zip(alone.records, shared.records, strict=True):
            assert here["loss"] == pytest.approx(there["loss"], abs=tolerance)
            assert here["twin_penalty"] == pytest.approx(there["twin_penalty"], abs=tolerance)


# What each process holds, and what it asks of the others


def started(adapter=False, is_begun=False):
    """A learner whose weights are divided, changed since it began, and one like it that has all of them."""
    found = []
    for is_divided in (True, False):
        learner = models.learner(adapter, keep_initial=True, dropout=0.0)
        if is_begun:
            learner = Learner(learner.model, learner.tokenizer, learner.encoder, True, is_begun=True)
        if is_divided:
            learner.network.shard("cpu", keep_initial=True)
        for number, weight in enumerate(learner.parameters().values()):
            with torch.no_grad():
                weight.add_(0.02 * (1 + number % 3))
        found.append(learner)
    return found


@pytest.mark.parametrize("size", [2, 3])
def test_a_tensor_of_any_length_is_whole_again_in_every_process_also_where_some_have_none_of_it(size):
    shapes = [(1,), (2, 3), (5,), (7, 2), (8, 1, 3), (4, 0)]
    tensors = [torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape) for shape in shapes]
    tensors.append(tensors[3].to(torch.bfloat16).requires_grad_())

    def work():
        mesh = init_device_mesh("cpu", (size,))
        divided = [distribute_tensor(one, mesh, [Shard(0)], src_data_rank=None) for one in tensors]
        return [whole(one) for one in divided], [one.to_local().shape[0] for one in divided]

    for found, lengths in in_processes(work, size):
        assert lengths != [len(one) for one in tensors] and not any(one.requires_grad for one in found)
        for one, like in zip(found, tensors, strict=True):
            assert one.dtype == like.dtype and torch.equal(one, like.detach())


ROWS = [((2, 3, 4), (5, 6, 7)), ((8, 9), (10, 11, 12, 13))]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("adapter", [False, True])
def test_each_process_holds_a_part_and_all_are_whole_together(adapter, size):
    def work():
        learner, like = started(adapter)
        parts = sum(local(one).numel() for one in learner.model.parameters())
        every = gathered(learner.weights())
        same = all(torch.equal(one, every[name]) for name, one in like.weights().items() if every)
        own = learner.network
        return parts, own.num_weights, like.network.num_weights, bool(every), same, own.is_finite()

    found = in_processes(work, size)
    _, num_weights, expected, *_ = found[0]
    assert num_weights == expected == sum(parts for parts, *_ in found)
    assert max(parts for parts, *_ in found) < 1.1 * num_weights / size
    assert [has_all for *_, has_all, _, _ in found] == [True] + [False] * (size - 1)
    assert all(same and finite for *_, same, finite in found)


@pytest.mark.parametrize(("adapter", "is_begun"), [(False, False), (True, False), (True, True)])
def test_present_and_starting_model_answer_as_whole_ones_in_whatever_order_they_are_asked(adapter, is_begun):
    """One process asks for two passes and a long answer, the other for the starting model and a short one."""

    def work():
        learner, like = started(adapter, is_begun)
        rows = pad(ROWS, learner.pad_id)
        before = learner.weights()

        def part():
            if ranks.is_main():
                asked = [learner.forward_logits(rows) for _ in range(2)]
                return asked, learner.generate([[2, 3, 4, 5]], 9)
            return [learner.reference_logits(rows, None)], learner.generate([[9, 8, 7]], 2)

        parts = ranks.united(part)
        present, starting = like.forward_logits(rows), like.reference_logits(rows, None)
        gaps = [float((one - present).abs().max()) for one in parts[0][0]]
        gaps.append(float((parts[1][0][0] - starting).abs().max()))
        texts = [like.generate([[2, 3, 4, 5]], 9), like.generate([[9, 8, 7]], 2)]
        unchanged = all(
            torch.equal(local(one), local(before[name])) for name, one in learner.weights().items()
        )
        return gaps, float((present - starting).abs().max()), [one[1] for one in parts] == texts, unchanged

    for gaps, difference, same_texts, unchanged in in_processes(work):
        assert max(gaps) < 1e-4 < 1e-2 < difference
        assert same_texts and unchanged


def test_work_of_the_main_process_alone_may_run_the_model():
    def work():
        learner, like = started()
        rows = pad(ROWS, learner.pad_id)
        found = ranks.by_main(lambda: learner.forward_logits(rows))
        return float((found - like.forward_logits(rows)).abs().max())

    assert max(in_processes(work)) < 1e-4


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_between_passes_in_one_process_is_raised_in_all(failing):
    def work():
        learner, _ = started()
        rows = pad(ROWS, learner.pad_id)

        def part():
            logits = learner.response_logits(rows)
            if ranks.number() == failing:
                raise ModelError("no more")
            learner.forward_logits(rows)
            with learner.network.turn_back():
                logits.sum().backward()

        with pytest.raises(ModelError, match="no more"):
            ranks.united(part)
        return ranks.united(lambda: ranks.number())

    assert in_processes(work) == [[0, 1], [0, 1]]


@pytest.mark.parametrize("failing", [0, 1])
def test_a_pass_that_fails_in_one_process_ends_the_others_as_one_that_is_lost(failing):
    """They wait in it, so that nothing can be repeated, also where memory has run out."""

    def fail(*_):
        raise torch.OutOfMemoryError("no memory is left")

    def work():
        learner, _ = started()
        rows = pad(ROWS, learner.pad_id)
        if ranks.number() == failing:
            list(learner.model.modules())[-1].register_forward_pre_hook(fail)
        with pytest.raises((torch.OutOfMemoryError, LostError)) as raised:
            ranks.united(lambda: learner.forward_logits(rows))
        return type(raised.value).__name__

    found = in_processes(work)
    assert found[failing] == "OutOfMemoryError" and found[1 - failing] == "LostError"


@pytest.mark.parametrize("adapter", [False, True])
def test_gradients_are_those_of_all_examples_with_a_base_in_half_precision_too(adapter):
    """An adapter in float32 on weights in bfloat16; the second process has two examples, the first none."""

    def work():
        base = models.random_model(models.gpt2_config()).to(torch.bfloat16 if adapter else torch.float32)
        found = []
        for is_divided in (True, False):
            learner = models.as_learner(base, models.tokenizer(), adapter)
            dtypes = {weight.dtype for weight in learner.parameters().values()}
            rows = [pad([one], learner.pad_id) for one in ROWS]
            if is_divided:
                learner.network.shard("cpu")

            def part(own, learner=learner, rows=rows):
                for one in own:
                    loss = learner.response_logits(rows[one]).float().log_softmax(-1)[:, 7].sum()
                    with learner.network.turn_back():
                        loss.backward()

            if is_divided:
                ranks.united(lambda: part([0, 1] if ranks.number() else []))
            else:
                part([0, 1])
            gradients = {name: one.grad for name, one in learner.parameters().items() if one.grad is not None}
            found.append({name: whole(one) for name, one in gradients.items()})
        assert dtypes == {torch.float32} and found[0].keys() == found[1].keys() and found[0]
        for name, expected in found[1].items():
            scale = float(expected.abs().max()) + 1e-6
            torch.testing.assert_close(found[0][name] / scale, expected / scale, atol=1e-4, rtol=0)
        return True

    assert in_processes(work) == [True, True]


def test_a_loss_with_two_passes_is_refused_in_all_processes():
    def work():
        learner, _ = started()
        rows = pad(ROWS, learner.pad_id)

        def part():
            if ranks.is_main():
                learner.response_logits(rows)
                learner.response_logits(rows)

        with pytest.raises(TrainingError, match=r"two passes with gradient.*shard = false"):
            ranks.united(part)
        return True

    assert in_processes(work) == [True, True]


def test_weights_of_others_than_the_starting_model_are_refused():
    def work():
        learner, _ = started()
        with pytest.raises(ModelError, match=r"with the starting ones.*shard = false"):
            learner.forward_logits(pad(ROWS, learner.pad_id), learner.weights())
        return True

    assert in_processes(work) == [True, True]


def test_a_checkpoint_is_whole_in_the_main_process_and_divided_again_where_it_is_restored():
    def work():
        learner, like = started()
        method, best = create(configured("sequential")), learner.weights()
        optimizers = [torch.optim.AdamW(one.parameters().values(), 1e-4) for one in (learner, like)]
        for weight, other in zip(learner.parameters().values(), like.parameters().values(), strict=True):
            other.grad = torch.ones_like(other) * 0.1
            weight.grad = divided_as(weight, other.grad)
        for optimizer in optimizers:
            optimizer.step()
        kept = checkpoint.Best(1, 0.5, 1, best, {})
        found = checkpoint.capture(1, learner, optimizers[0], method, kept)
        expected = checkpoint.capture(1, like, optimizers[1], method)
        if not ranks.is_main():
            return found.weights == {} and found.best.weights == {}
        moments = [found.optimizer[0]["exp_avg_sq"], expected.optimizer[0]["exp_avg_sq"]]
        torch.testing.assert_close(found.weights, expected.weights)
        torch.testing.assert_close(*moments)
        return not any(isinstance(one, DTensor) for one in (*found.best.weights.values(), moments[0]))

    assert in_processes(work) == [True, True]


@pytest.mark.parametrize("settings", [{}, {"decay": 0.8}], ids=str)
def test_an_average_is_divided_whole_in_a_checkpoint_and_divided_again_where_it_is_restored(settings):
    """Two updates, a checkpoint, and a third by a method that has taken it over, against whole weights."""

    def moved(learner, method, update):
        generator = torch.Generator().manual_seed(update)
        for weight in learner.parameters().values():
            gradient = 9 * torch.randn(weight.shape, generator=generator)
            weight.grad = divided_as(weight, gradient)
        method.shape_gradients(learner, Clock(0, 1, update, 3, 2))
        with torch.no_grad():
            for weight in learner.parameters().values():
                weight.sub_(0.01 * weight.grad)
        return method.decays

    def work():
        config = configured("ema", settings)
        found = []
        for learner in started():
            method, step = create(config), Step(1, (), 3)
            method.begin_step(step, learner)
            moved(learner, method, 0)
            moved(learner, method, 1)
            optimizer = torch.optim.AdamW(learner.parameters().values(), 1e-4)
            best = checkpoint.Best(1, 0.5, 1, learner.weights(), checkpoint.as_read(method.state_dict()))
            kept = checkpoint.capture(1, learner, optimizer, method, best)
            again = create(config)
            again.begin_step(step, learner)
            whole_one = ranks.by_main(lambda kept=kept: checkpoint.as_read(kept.method))
            checkpoint.restore_method(again, whole_one)
            decays = moved(learner, again, 2)
            again.end_step(step, learner)
            states = [kept.method["averaged"], kept.best.method["averaged"], *kept.method["former"].values()]
            found.append((decays, gathered(learner.weights()), states))
        (decays, weights, states), (expected_decays, expected_weights, expected_states) = found
        assert decays == pytest.approx(expected_decays, rel=1e-4) and bool(decays) == (not settings)
        if ranks.is_main():
            torch.testing.assert_close(weights, expected_weights, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(states, expected_states, rtol=1e-4, atol=1e-5)
        return all(one.numel() == 0 for state in states for one in state.values()) != ranks.is_main()

    assert in_processes(work) == [True, True]


def test_in_one_process_nothing_is_divided():
    config = configured("replay")
    assert learned(sharded(config)) == learned(config)


# Whole runs

RUN = {
    "suite": {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 0, "num_train": 8, "num_test": 2},
    "train": {"updates_per_step": 3, "checkpoint_every": 1, "learning_rate": 1e-4},
    "evaluate": {"max_new_tokens": 4, "new_wordings": False},
}
DIVIDED = ("--set", "train.shard=true")


@pytest.fixture(scope="module", params=["none", "lora"])
def runs(request, tmp_path_factory):
    """A folder with a config, its run in one process, and in two that divide the weights."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "my.toml").write_text(dump(small("kpig", **RUN, model={"adapter": request.param})))
    done = forked.kpig("run", folder / "my.toml", "--out", folder / "one")
    assert done.returncode == 0, done.stderr
    main, other = launched.kpig("run", folder / "my.toml", "--out", folder / "two", *DIVIDED)
    assert (main.returncode, other.returncode) == (0, 0), main.stderr + other.stderr
    return folder


def assert_same_weights(one, other):
    """Files of the same names and shapes, numbers within 2e-5 after three updates, as good as all after six.

    AdamW makes whole steps, here 1e-4, of gradients that are nothing but rounding. Of 1,127,296 weights 5
    were further off after six updates, and 6 where two processes had all of them.
    """
    for step, allowed in (("01", 0.0), ("02", 2e-5)):
        mine, theirs = (sorted((run / "steps" / step).glob("*/*model.safetensors")) for run in (one, other))
        assert [path.name for path in mine] == [path.name for path in theirs]
        for here, there in zip(mine, theirs, strict=True):
            found, expected = load_file(there), load_file(here)
            assert {name: (value.shape, value.dtype) for name, value in found.items()} == {
                name: (value.shape, value.dtype) for name, value in expected.items()
            }
            gaps = torch.cat([(found[name] - value).abs().flatten() for name, value in expected.items()])
            assert float((gaps > 2e-5).float().mean()) <= allowed and float(gaps.max()) < 6e-4


def configs_of(run):
    return {path.name: path.read_text() for path in run.glob("steps/02/*/*config.json")}


def test_a_run_that_divides_its_weights_is_that_of_one_process_with_the_same_files(runs):
    assert_alike(runs / "one", runs / "two")
    assert_same_weights(runs / "one", runs / "two")
    assert configs_of(runs / "one") == configs_of(runs / "two")


@pytest.mark.parametrize("runs", ["none"], indirect=True)
def test_killed_in_a_step_it_goes_on_in_one_process_that_has_all(runs, tmp_path):
    """The second step: so the first one's model is taken over, and a checkpoint of the second."""
    out = tmp_path / "run"
    children = launched.begin("run", runs / "my.toml", "--out", out, *DIVIDED)
    kill_after(children[1], out / "events.jsonl", 4)
    (left,) = launched.ended(children[:1], 60)
    assert left.returncode == LostError.exit_code
    assert left.stderr.count("a process of this job has ended") == 1 and "--resume" in left.stderr
    done = forked.kpig("run", runs / "my.toml", "--out", out, "--resume")
    assert done.returncode == 0, done.stderr
    assert_same_learning(runs / "one", out)
    assert_same_weights(runs / "one", out)


def test_begun_in_one_process_it_goes_on_divided(runs, tmp_path):
    out = tmp_path / "run"
    kill_after(forked.start("run", runs / "my.toml", "--out", out), out / "events.jsonl", 4)
    main, other = launched.kpig("run", runs / "my.toml", "--out", out, "--resume", *DIVIDED)
    assert (main.returncode, other.returncode) == (0, 0), main.stderr + other.stderr
    assert_same_learning(runs / "one", out)
    assert_same_weights(runs / "one", out)
