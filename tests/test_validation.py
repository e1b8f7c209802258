"""Validation: when its loss is measured, when a step ends early, and what a step that goes back leaves."""

import copy
import dataclasses
import json
import math

import pytest
import torch

from kpig import config
from kpig.errors import ConfigError, DivergedError, RunError
from kpig.methods.base import Clock, Method, Step
from kpig.methods.chosen import create
from kpig.methods.registry import METHODS
from kpig.model.learner import Learner
from kpig.progress import Watcher
from kpig.runs import job
from kpig.runs.folder import RunDir
from kpig.tasks import suite
from kpig.testing import history, models
from kpig.training import checkpoint, loop
from kpig.training.validation import Validation

PAIRS = (("reverse", "upper"), ("count", "period"), ("sort", "commas"))


def judged(pair, num_train=9, num_validation=5):
    """A task of which the last training examples are validation examples instead."""
    task = suite.task(pair, num_train + num_validation, 2, seed=0)
    return dataclasses.replace(task, train=task.train[:num_train], validation=task.train[num_train:])


TASKS = tuple(judged(pair) for pair in PAIRS)


def configured(name="sequential", **train):
    """A small config. O-LoRA wants an adapter; periodic replay makes up for its period in the last update."""
    table = {"batch_size": 4, "learning_rate": 3e-3, "device": "cpu", "updates_per_step": 6} | train
    method = {"name": name} | ({"periodic_replay": {"every": 1}} if name == "periodic_replay" else {})
    model = {"adapter": "lora", "lora_rank": models.RANK} if name == "o_lora" else {}
    replay = {"memory_per_task": 5, "ratio": 0.75}
    return config.build({"train": table, "replay": replay, "method": method, "model": model})


def planned(number, tasks, settings):
    """The step as the job plans it."""
    return Step(number, tasks, loop.num_updates(tasks, settings.train), loop.bounds(tasks, settings.train))


def fit(settings, tasks=TASKS[:1], learner=None, method=None, begun=None, number=1):
    """A step's learner, method, events and checkpoints."""
    learner = learner or models.learner(keep_initial=True)
    method = method or create(settings)
    log, saved = [], []
    step = planned(number, tasks, settings)
    save = lambda state: saved.append(copy.deepcopy(state))  # noqa: E731
    loop.fit_step(learner, method, step, settings, log.append, save, begun)
    return learner, method, log, saved


def measured(log):
    return {one["update"]: one["validation_loss"] for one in log if "validation_loss" in one}


GENUINE = Validation.measure


def scored(validation, passes, update, loss):
    """A measurement that comes out as `loss`; it is measured all the same."""
    genuine = passes.learner.mean_loss
    passes.learner.mean_loss = lambda *rest: genuine(*rest) * 0 + loss
    try:
        return GENUINE(validation, passes, update)
    finally:
        passes.learner.mean_loss = genuine


def scripted(monkeypatch, losses):
    """Validation losses in this order instead of measured ones; the last one for ever."""
    left = list(losses)

    def measure(validation, passes, update):
        return scored(validation, passes, update, left.pop(0) if len(left) > 1 else left[0])

    monkeypatch.setattr(Validation, "measure", measure)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- when it is measured -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({"updates_per_step": 0, "epochs": 3}, [3, 5, 7]),
        ({"updates_per_step": 0, "epochs": 3, "batch_size": 9}, [1, 2, 3]),
        ({"updates_per_step": 0, "epochs": 2.5, "batch_size": 5}, [2, 4, 5]),
        ({"updates_per_step": 0, "epochs": 3, "batch_size": 20}, [1, 2]),
        ({"updates_per_step": 6}, [3, 5, 6]),
        ({"updates_per_step": 7, "validation_every": 3}, [3, 6, 7]),
        ({"updates_per_step": 2}, [2]),
    ],
)
def test_the_loss_is_measured_after_each_pass_or_every_so_many_updates_and_at_the_end(train, expected):
    _, _, log, _ = fit(configured(**train))
    assert list(measured(log)) == expected


def test_the_loss_is_the_mean_over_all_response_tokens_of_the_validation_examples():
    learner, _, log, _ = fit(configured(updates_per_step=3), TASKS[:2])
    total, count = 0.0, 0
    for task in TASKS[:2]:
        for example in task.validation:
            encoded = learner.encoder.encode(example)
            ids = torch.tensor([[*encoded.prompt, *encoded.response]])
            with torch.no_grad():
                log_probs = learner.model(ids).logits[0].double().log_softmax(-1)
            for place, token in enumerate(encoded.response, start=len(encoded.prompt) - 1):
                total -= float(log_probs[place, token])
            count += len(encoded.response)
    assert measured(log)[3] == pytest.approx(total / count, abs=1e-5)


def test_measuring_changes_no_number_but_the_tokens_that_were_only_read_forward():
    bare = (dataclasses.replace(TASKS[0], validation=()),)
    settings = configured(checkpoint_every=2)
    plain, _, plain_log, plain_saved = fit(settings, bare)
    learner, _, log, saved = fit(settings)
    assert measured(log) and not measured(plain_log)
    dropped = [{key: one[key] for key in one if key != "validation_loss"} for one in log]
    assert dropped == plain_log
    assert same(learner.weights(), plain.weights())
    read = sum(learner.encoder.encode(one).num_tokens for one in TASKS[0].validation)
    assert learner.ledger.forward_tokens - plain.ledger.forward_tokens == read * len(measured(log))
    assert learner.ledger.train_tokens == plain.ledger.train_tokens
    assert all(one.best is None for one in plain_saved) and saved[-1].best is not None


def test_examples_of_a_task_that_has_some_do_for_a_step_in_which_others_have_none():
    tasks = (dataclasses.replace(TASKS[0], validation=()), TASKS[1])
    _, _, log, _ = fit(configured(), tasks)
    assert list(measured(log)) == [5, 6]


def test_a_validation_loss_that_is_not_finite_ends_the_run(monkeypatch):
    scripted(monkeypatch, [math.nan])
    with pytest.raises(DivergedError, match="validation examples is not finite"):
        fit(configured())


def test_shared_rows_give_the_same_validation_loss():
    learners = [models.learner(dropout=0.0) for _ in range(2)]
    plain, shared = (
        measured(fit(configured(row_tokens=tokens), learner=learner)[2])
        for tokens, learner in zip((0, 192), learners, strict=True)
    )
    assert plain == pytest.approx(shared, abs=1e-3)


# --- early stopping ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patience", "losses", "last"),
    [
        (1, [3.0, 2.0, 2.0], 3),
        (2, [3.0, 4.0, 5.0, 1.0], 3),
        (2, [3.0, 4.0, 2.0, 2.5, 2.25, 0.0], 5),
        (3, [3.0, 4.0, 2.0, 2.5, 2.25, 2.125], 6),
        (0, [1.0, 2.0], 8),
        (9, [1.0, 2.0], 8),
    ],
)
def test_a_step_ends_after_so_many_measurements_without_a_lower_loss(monkeypatch, patience, losses, last):
    scripted(monkeypatch, losses)
    settings = configured(updates_per_step=8, validation_every=1, patience=patience, checkpoint_every=5)
    learner, _, log, saved = fit(settings)
    assert [one["update"] for one in log if "update" in one][-1] == last
    assert learner.ledger.updates == last and saved[-1].update == last
    notes = [one["note"] for one in log if "note" in one]
    assert len(notes) == (last < 8)
    assert all(f"ended after update {last} of 8" in note for note in notes)


def test_the_updates_before_a_step_ends_early_are_those_of_a_step_that_does_not(monkeypatch):
    scripted(monkeypatch, [1.0, 2.0])
    stopped = fit(configured(updates_per_step=9, validation_every=2, patience=1))[2]
    scripted(monkeypatch, [1.0, 2.0])
    whole = fit(configured(updates_per_step=9, validation_every=2))[2]
    assert [one for one in stopped if "update" in one] == whole[:4]


def test_a_step_that_had_ended_early_when_it_was_killed_trains_no_further(monkeypatch):
    scripted(monkeypatch, [1.0, 2.0])
    settings = configured(updates_per_step=9, validation_every=2, patience=1, checkpoint_every=3)
    straight, _, _, saved = fit(settings)
    assert [one.update for one in saved] == [3, 4]
    again, _, log, _ = fit(settings, begun=saved[-1])
    assert not [one for one in log if "update" in one]
    assert same(again.weights(), straight.weights())


# --- the best weights --------------------------------------------------------------------------------


def state_of(method):
    return checkpoint.as_read(method.state_dict())


def alike(one, other):
    """Whether two states are equal, tensors bit by bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


STEADY = {"schedule": "constant", "warmup": 0.0}


@pytest.mark.parametrize("name", [one for one in METHODS if one not in ("init", "mtl")])
def test_a_step_that_goes_back_ends_as_if_the_best_update_had_been_its_last(monkeypatch, name):
    """Weights, what `end_step` made of them, and everything that the method keeps."""
    monkeypatch.setattr(Learner, "generate", history._scripted)

    def two_steps(last, losses=(), **train):
        learner, method = models.learner(name == "o_lora", True), create(configured(name, **STEADY))
        method.arrange([TASKS[:1], TASKS[1:2]])
        fit(configured(name, updates_per_step=3, **STEADY), TASKS[:1], learner, method)
        if losses:
            scripted(monkeypatch, losses)
        fit(configured(name, updates_per_step=last, **STEADY, **train), TASKS[1:2], learner, method, number=2)
        return learner, method

    straight, first = two_steps(3)
    back, second = two_steps(6, [4.0, 3.0, 2.0, 5.0], validation_every=1, keep_best=True)
    assert same(back.weights(), straight.weights())
    assert alike(state_of(second), state_of(first))
    assert back.ledger.updates == straight.ledger.updates + 3


class Witness(Method):
    """Counts its updates in the state, and notes what the end of a step finds."""

    def __init__(self, settings):
        super().__init__(settings)
        self.counts, self.found = [], []

    def shape_gradients(self, learner, clock):
        self.counts.append([clock.update])

    def end_step(self, step, learner):
        self.found.append(("end_step", copy.deepcopy(self.counts), learner.weights()))

    def remember(self, step, learner):
        self.found.append(("remember", copy.deepcopy(self.counts), learner.weights()))

    def state_dict(self):
        return {"counts": self.counts}

    def load_state_dict(self, state):
        self.counts = state["counts"]


def test_the_end_of_a_step_finds_weights_and_state_of_the_best_update(monkeypatch):
    settings = configured(**STEADY, validation_every=1, keep_best=True, patience=2)
    until = fit(configured(**STEADY, updates_per_step=2))[0].weights()
    scripted(monkeypatch, [3.0, 2.0, 5.0, 4.0])
    _, method, log, _ = fit(settings, method=Witness(settings))
    assert [one[0] for one in method.found] == ["end_step", "remember"]
    assert all(counts == [[0], [1]] and same(weights, until) for _, counts, weights in method.found)
    (note,) = [one["note"] for one in log if "note" in one]
    assert "after update 4 of 6" in note and "weights of update 2" in note and "2" in note


def test_a_step_whose_last_update_is_the_best_ends_as_without_keeping(monkeypatch):
    plain = fit(configured())[0].weights()
    scripted(monkeypatch, [3.0, 2.0, 1.0])
    learner, _, log, _ = fit(configured(keep_best=True))
    assert same(learner.weights(), plain) and not [one for one in log if "note" in one]


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("pause", [1, 2, 3, 5, 6, 7])
def test_resumed_from_files_a_step_ends_to_the_same_bits(monkeypatch, tmp_path, pause, adapter):
    """From before the best update, at it, after it, and from where the step ended early."""
    losses = {1: 4.0, 2: 5.0, 3: 2.0, 4: 3.0, 5: 2.5, 6: 2.25, 7: 6.0}
    monkeypatch.setattr(
        Validation, "measure", lambda self, passes, update: scored(self, passes, update, losses[update])
    )
    settings = configured(
        "derpp", updates_per_step=11, validation_every=1, patience=4, keep_best=True, checkpoint_every=1
    )
    straight, method, log, saved = fit(settings, learner=models.learner(adapter))
    assert [one["update"] for one in log if "update" in one][-1] == 7
    checkpoint.publish(saved[pause - 1], tmp_path)
    begun = checkpoint.newest(tmp_path, print)
    again, other, tail, _ = fit(settings, learner=models.learner(adapter), begun=begun)
    assert tail == log[pause:]
    assert same(again.weights(), straight.weights()) and alike(state_of(other), state_of(method))
    assert again.ledger.forward_tokens == straight.ledger.forward_tokens


def published(tmp_path, **train):
    settings = configured(validation_every=1, checkpoint_every=2, **train)
    checkpoint.publish(fit(settings)[3][-1], tmp_path)
    return tmp_path / "checkpoint"


def test_a_checkpoint_holds_best_weights_only_where_they_are_kept(tmp_path):
    folder = published(tmp_path)
    assert not (folder / "best").exists() and checkpoint.read(folder).best.weights is None
    folder = published(tmp_path, keep_best=True)
    assert checkpoint.read(folder).best.weights is not None


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "best" / "weights.safetensors").unlink(),
        lambda folder: (folder / "best" / "state.json").write_text("{"),
        lambda folder: _change(folder, loss="low"),
        lambda folder: _change(folder, loss=math.nan),
        lambda folder: _change(folder, num_since=-1),
        lambda folder: _change(folder, update=None),
    ],
)
def test_a_damaged_best_is_a_damaged_checkpoint(tmp_path, harm):
    folder = published(tmp_path, keep_best=True)
    harm(folder)
    with pytest.raises(RunError, match="damaged checkpoint"):
        checkpoint.read(folder)


def _change(folder, **values):
    state = json.loads((folder / "state.json").read_text())
    state["best"] |= values
    (folder / "state.json").write_text(json.dumps(state))


def test_without_updates_nothing_is_measured_and_the_step_ends_as_it_began():
    settings = configured("init", keep_best=True, patience=1)
    learner, before = models.learner(), models.learner().weights()
    loop.fit_step(learner, create(settings), Step(1, TASKS[:1], 0), settings, print, print)
    assert same(learner.weights(), before)


def test_a_pass_is_over_all_tasks_of_a_step():
    validation = Validation(TASKS, config.TrainSection())
    due = [update for update in range(20) if validation.is_due(Clock(0, 1, update, 20, 4), 27)]
    assert due == [6, 13, 19]


# --- the whole job -----------------------------------------------------------------------------------


class Killed(BaseException):
    """What ends a process, and nothing catches."""


class Killer(Watcher):
    """Ends the job at an update, or writes down what it is told."""

    def __init__(self, last=0):
        self.last, self.updates, self.said = last, 0, []

    def advance(self, count=1, note=""):
        self.updates += note.startswith("loss")
        if self.updates == self.last > 0:
            raise Killed

    def say(self, line):
        self.said.append(line)


def job_config(tmp_path):
    """Two tasks that are learned far too fast, so that their validation loss rises before the last pass."""
    rows = [
        {
            "task": task,
            "instruction": f"Name the {task}.",
            "input": f"{task} {n}",
            "output": f"{n * 7} {task}",
        }
        for task in ("river", "lake")
        for n in range(14)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    table = {
        "stream": {"path": str(tmp_path / "a.jsonl"), "validation_per_task": 3, "test_per_task": 2},
        "train": {"epochs": 10, "batch_size": 4, "learning_rate": 0.005, "checkpoint_every": 2}
        | {"patience": 2, "keep_best": True, "device": "cpu"},
        "replay": {"memory_per_task": 4},
        "evaluate": {"max_new_tokens": 4, "half_listening": False},
        "method": {"name": "replay"},
    }
    return config.build(table)


def kept_files(run):
    """The weights, the state and the numbers of a run, without its seconds."""
    found = {path.relative_to(run): path.read_bytes() for path in sorted(run.rglob("*.safetensors"))}
    states = [json.loads(path.read_text()) for path in sorted(run.glob("steps/*/state/state.json"))]
    for state in states:
        state["ledger"] = {k: v for k, v in state["ledger"].items() if not k.endswith("_seconds")}
    updates = [{k: v for k, v in one.items() if k != "t"} for one in RunDir(run).updates()]
    return found, states, updates


@pytest.mark.parametrize("last", [2, 5, 8, 9, 13])
def test_a_run_that_was_killed_in_a_step_with_validation_ends_to_the_same_bits(tmp_path, last):
    settings, watch = job_config(tmp_path), Killer()
    straight = job.run(settings, tmp_path / "straight", watch=watch)
    ended = [line for line in watch.said if "validation loss" in line and "ended after update" in line]
    assert ended and any("validation examples of 2 of 2 tasks" in line for line in watch.said)
    with pytest.raises(Killed):
        job.run(settings, tmp_path / "killed", watch=Killer(last))
    resumed = job.run(settings, tmp_path / "killed", resume=True)
    assert kept_files(tmp_path / "killed") == kept_files(tmp_path / "straight")
    seconds = {"gain_seconds": 0.0, "train_seconds": 0.0, "eval_seconds": 0.0}
    one, other = (
        dataclasses.replace(run, cost=dataclasses.replace(run.cost, **seconds)) for run in (resumed, straight)
    )
    assert one == other and straight.cost.forward_tokens > 0
    assert not list((tmp_path / "killed").rglob("best"))


def test_a_run_that_cannot_be_judged_is_refused_before_its_folder_is_made(tmp_path):
    settings = job_config(tmp_path)
    bare = settings.model_copy(
        update={"stream": settings.stream.model_copy(update={"validation_per_task": 0})}
    )
    with pytest.raises(ConfigError, match="patience = 2 and keep_best = true need validation examples"):
        job.run(bare, tmp_path / "run")
    assert not (tmp_path / "run").exists()
