"""A step that diverged is begun anew with another [train]; what diverges is never kept as a checkpoint."""

import json
import math
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from forked import kpig
from kpig import config
from kpig.errors import DivergedError, RunError
from kpig.methods.sequential import Sequential
from kpig.report import read_run, write
from kpig.runs import job, restart
from kpig.runs.folder import RunDir
from kpig.training import checkpoint, soundness
from test_job import small, weights, without_seconds
from test_resume import Listener
from test_train import TASKS, configured, create, fit, step_of

WILD = """
import math
from kpig.methods.base import Loss
from kpig.methods.sequential import Sequential

class Wild(Sequential):
    def loss(self, learner, batch):
        found = super().loss(learner, batch)
        rate = self.config.train.learning_rate
        bad = rate > 1e-3 and learner.ledger.updates >= {updates}
        return Loss(found.sum * (math.nan if bad else 1.0), found.log)
"""
"""Diverges at an update of a rate that is too high."""


@pytest.fixture
def wild(tmp_path, monkeypatch):
    """wild(updates): a config whose run diverges after so many, in a module of its own."""

    def make(updates, rate=4e-3):
        name = f"wild{updates}"
        (tmp_path / f"{name}.py").write_text(WILD.format(updates=updates))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[1] / 'src'}")
        return small(f"{name}:Wild", train={"learning_rate": rate})

    return make


def diverged(chosen, run):
    with pytest.raises(DivergedError) as raised:
        job.run(chosen, run)
    return str(raised.value)


@pytest.mark.parametrize(("updates", "step"), [(2, 1), (8, 2)])
def test_the_command_that_a_divergence_names_goes_on_and_the_run_tells_it(updates, step, wild, tmp_path):
    chosen, run = wild(updates), tmp_path / "a run"
    message = diverged(chosen, run)
    assert f"step {step}, update {1 + updates - 5 * (step - 1)}" in message
    command = shlex.split(message.split("\n")[-1])
    assert command[:3] == ["kpig", "run", str(run / "config.toml")]
    before = weights(run, 1) if step == 2 else None
    found = kpig(*command[1:])
    assert found.returncode == 0, found.stderr
    assert step == 1 or weights(run, 1) == before
    record = read_run(run)
    (note,) = [note for note in record.scores.notes if "anew" in note]
    assert f"step {step} was begun anew with train.learning_rate = 0.001 (before: 0.004)" in note
    assert note in (write([record], tmp_path / "page").parent / "report.md").read_text()
    first = config.load_resolved(run / "starts/config.01.toml")
    assert first == chosen_complete(chosen)
    assert config.load_resolved(run / "config.toml").train.learning_rate == 0.001
    environments = [
        json.loads((run / name).read_text()) for name in ("starts/environment.01.json", "environment.json")
    ]
    assert "from_step" not in environments[0] and environments[1]["from_step"] == step
    assert environments[0]["clock"] == environments[1]["clock"]
    (event,) = [event for event in RunDir(run).events() if "anew" in event]
    assert event["changed"] == {"train.learning_rate": [0.004, 0.001]}
    assert [(e["step"], e["update"]) for e in record.events] == [(s, u) for s in (1, 2) for u in range(1, 6)]


def chosen_complete(chosen):
    from kpig.methods import chosen as methods

    return methods.complete(chosen)


def test_a_step_begun_anew_is_learned_as_if_it_had_been_begun_so(wild, tmp_path):
    """Also where the new step has fewer updates, and after finished steps under the old settings."""
    diverged(wild(8), tmp_path / "run")
    lower = wild(8, 5e-4)
    lower = lower.model_copy(update={"train": lower.train.model_copy(update={"updates_per_step": 3})})
    found = job.run(lower, tmp_path / "run", resume=True)
    assert found.cost.updates == 5 + 3
    assert [e["update"] for e in RunDir(tmp_path / "run").updates() if e["step"] == 2] == [1, 2, 3]
    again = Path(shutil.copytree(tmp_path / "run", tmp_path / "again"))
    shutil.rmtree(again / "steps/02")
    (again / "scores.json").unlink()
    assert without_seconds(job.run(lower, again, resume=True)) == without_seconds(found)
    assert weights(again, 2) == weights(tmp_path / "run", 2)


def test_only_train_may_change_and_only_before_the_end(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        job.run(small(), tmp_path / "run", watch=Killer(7))
    for changed in (
        small(evaluate={"max_new_tokens": 5}, train={"learning_rate": 1e-3}),
        small(replay={"ratio": 0.25}),
        small().model_copy(update={"seed": 4}),
    ):
        with pytest.raises(RunError, match=r"another config; different"):
            job.run(changed, tmp_path / "run", resume=True)
    assert not (tmp_path / "run/starts").exists()
    job.run(small(), tmp_path / "run", resume=True)
    with pytest.raises(RunError, match=r"different: train\.learning_rate.*before the run is finished"):
        job.run(small(train={"learning_rate": 1e-3}), tmp_path / "run", resume=True)


class Killer(Listener):
    """Ends a run as a kill does, after so many updates."""

    def __init__(self, updates):
        super().__init__()
        self.left = updates

    def advance(self, count=1, note=""):
        self.left -= note.startswith("loss")
        if not self.left:
            raise KeyboardInterrupt


def test_smaller_portions_go_on_from_the_checkpoint(tmp_path):
    """5 updates in step 1, and of step 2 those after its last checkpoint: nothing is learned twice."""
    with pytest.raises(KeyboardInterrupt):
        job.run(small(), tmp_path / "run", watch=Killer(8))
    watch = Killer(99)
    changed = small(train={"tokens_per_micro_batch": 200, "checkpoint_every": 3})
    found = job.run(changed, tmp_path / "run", resume=True, watch=watch)
    assert 99 - watch.left == 3 and found.cost.updates == 10
    (note,) = [note for note in found.notes if "tokens_per_micro_batch" in note]
    assert "from step 2 on" in note and "anew" not in note


@pytest.mark.parametrize("name", ["environment.json", "config.toml", "events.jsonl"])
def test_a_kill_while_a_step_is_begun_anew_loses_nothing(name, wild, tmp_path, monkeypatch):
    run, lower = tmp_path / "run", wild(8, 5e-4)
    diverged(wild(8), run)
    other = Path(shutil.copytree(run, tmp_path / "other"))

    def killed(*arguments):
        raise KeyboardInterrupt

    place = {"environment.json": "publish_json", "config.toml": "publish"}
    real = getattr(restart, place.get(name, "publish"))

    def killed_at(path, value):
        if path == run / name:
            raise KeyboardInterrupt
        real(path, value)

    if name == "events.jsonl":
        monkeypatch.setattr(RunDir, "log", killed)
    else:
        monkeypatch.setattr(restart, place[name], killed_at)
    with pytest.raises(KeyboardInterrupt):
        job.run(lower, run, resume=True)
    monkeypatch.undo()
    wild(8)
    found = job.run(lower, run, resume=True)
    assert without_seconds(found) == without_seconds(job.run(lower, other, resume=True))
    assert len(list((run / "starts").glob("config.*"))) == 1


class Exploding(Sequential):
    """Throws weights far away in its fourth update."""

    factor = 300.0

    def shape_gradients(self, learner, clock):
        if clock.update == 3:
            with torch.no_grad():
                learner.model.get_output_embeddings().weight.mul_(self.factor)


class Overflowing(Exploding):
    factor = math.inf


def test_weights_whose_loss_has_exploded_are_no_checkpoint(make_learner):
    settings = configured(train={"checkpoint_every": 1, "updates_per_step": 5})
    log, saved = fit(make_learner(), Exploding(settings), step_of(1, *TASKS), settings)
    assert [state.update for state in saved] == [1, 2, 3]
    told = [event["warning"] for event in log if "warning" in event]
    assert len(told) == 2 and all("exploded" in one and "update" in one for one in told)


@pytest.mark.parametrize("every", [0, 2, 4])
def test_weights_that_are_not_finite_end_a_step_and_are_not_kept(every, make_learner):
    settings = configured(train={"checkpoint_every": every, "updates_per_step": 4})
    saved = []
    with pytest.raises(DivergedError, match="weights are not finite after step 1, update 4"):
        learner, method = make_learner(), Overflowing(settings)
        from kpig.training import loop

        loop.fit_step(
            learner, method, step_of(1, *TASKS, num_updates=4), settings, lambda _: None, saved.append
        )
    assert [state.update for state in saved] == ([2] if every == 2 else [])


def test_looking_at_a_checkpoint_changes_no_number(make_learner, monkeypatch):
    settings = configured("kpig", train={"checkpoint_every": 2})
    found = []
    for looks in (True, False):
        if not looks:
            monkeypatch.setattr(soundness.Soundness, "doubt", lambda *_: None)
        learner = make_learner("gpt2", keep_initial=True, dropout=0.2)
        log, saved = fit(learner, create(settings), step_of(2, *TASKS), settings)
        tokens = (learner.ledger.train_tokens, learner.ledger.forward_tokens)
        found.append((log, tokens, [float(sum(w.sum() for w in s.weights.values())) for s in saved]))
    assert found[0] == found[1]


def test_a_sweep_keeps_what_a_step_was_begun_anew_with(wild, tmp_path):
    from kpig.sweep.folder import _changes
    from kpig.sweep.sources import PlannedRun

    planned, run = chosen_complete(wild(2)), tmp_path / "run"
    diverged(planned, run)
    with pytest.raises(KeyboardInterrupt):
        job.run(wild(2, 5e-4), run, resume=True, watch=Killer(3))
    assert restart.going_on(run, planned).train.learning_rate == 5e-4
    assert _changes(PlannedRun("run", "wild", "", 3, "given", planned), run) == []
    other = planned.model_copy(update={"seed": 77})
    assert "seed" in _changes(PlannedRun("run", "wild", "", 3, "given", other), run)[0]
    assert re.search("learning_rate", restart.command(run, planned))
    assert checkpoint.find(run / "steps/01") is not None
