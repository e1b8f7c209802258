"""A job in several processes: each does its part, all know the same, one writes, and all end together."""

import json
import math
import os
import shutil
import signal
import time
from dataclasses import replace

import pytest
import torch

import forked
import launched
from kpig import config, ranks
from kpig.config import build
from kpig.errors import DivergedError, LostError, ModelError, RunError, TrainingError, UsageError
from kpig.methods.base import Clock, Loss, Method, Step
from kpig.methods.parts.fisher import diagonal_fisher
from kpig.methods.parts.gradient import mean_gradient
from kpig.model import gain
from kpig.ranks import heart, launch
from kpig.runs.folder import RunDir
from kpig.scoring import predictions
from kpig.scoring.scores import read_run
from kpig.tasks import suite
from kpig.testing import models
from kpig.testing.several import environment, free_port, in_processes
from kpig.training import checkpoint, loop, notice
from test_job import kill_after, small

TASKS = tuple(suite.task(pair, 11, 3, seed=0) for pair in (("reverse", "upper"), ("count", "period")))
EXAMPLES = [example for task in TASKS for example in task.train[:5]]


# Parts and what all know of them


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("sizes", [[], [4], [5, 1, 1, 3], [0, 0, 0, 0, 0], [9, 2, 2, 2, 2, 1]], ids=str)
def test_every_part_is_one_processes_and_no_process_has_much_more_than_another(sizes, size, monkeypatch):
    found = []
    for number in range(size):
        monkeypatch.setattr(ranks, "_groups", [ranks._Group(number, size)])
        found.append(ranks.mine(sizes))
    assert sorted(part for own in found for part in own) == list(range(len(sizes)))
    assert all(own == sorted(own) for own in found)
    loads = [sum(sizes[part] for part in own) for own in found]
    assert max(loads) - min(loads) <= max(sizes, default=0)


def test_a_job_of_one_process_never_asks_torch_distributed(monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_gather_object", None)
    ranks.join()
    assert not torch.distributed.is_initialized() and not ranks.has_joined()
    assert (ranks.number(), ranks.num_processes(), ranks.is_main()) == (0, 1, True)
    assert ranks.mine([3, 1]) == [0, 1] and ranks.united(lambda: 7) == [7]
    assert ranks.by_main(lambda: 5) == ranks.everywhere(lambda: 5) == 5
    weight = torch.nn.Parameter(torch.ones(2))
    ranks.sum_gradients({"w": weight})
    assert weight.grad is None
    ranks.agree(1, "nothing")
    ranks.leave()


def test_all_know_what_each_has_found_and_what_the_main_one_alone_did():
    def work():
        number = ranks.number()
        here = ranks.united(lambda: {number: torch.full((2,), float(number))})
        said = ranks.by_main(lambda: f"from {ranks.number()}")
        inside = ranks.everywhere(lambda: (ranks.num_processes(), ranks.mine([1, 1, 1]), ranks.is_main()))
        return [one.tolist() for one in ranks.in_order(here)], said, inside

    found = in_processes(work, 3)
    values = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    assert found == [(values, "from 0", (1, [0, 1, 2], number == 0)) for number in range(3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_sums_are_the_same_bits_everywhere_and_what_a_process_lacks_counts_as_zeros(dtype):
    def work():
        number = ranks.number()
        own = {"all": torch.arange(5, dtype=dtype) * (number + 1)}
        if number == 2:
            own["last"] = torch.ones(2, 3, dtype=dtype)
        weight = torch.nn.Parameter(torch.zeros(5, dtype=dtype))
        idle = torch.nn.Parameter(torch.zeros(5, dtype=dtype))
        weight.grad = own["all"].clone() if number != 1 else None
        ranks.sum_gradients({"weight": weight, "idle": idle})
        return ranks.summed(own, torch.device("cpu")), weight.grad, idle.grad

    for sums, gradient, idle in in_processes(work, 3):
        assert sums["all"].tolist() == [0, 6, 12, 18, 24] and sums["last"].tolist() == [[1] * 3] * 2
        assert gradient.tolist() == [0, 4, 8, 12, 16] and idle is None
        assert {one.dtype for one in (*sums.values(), gradient)} == {dtype}


class Odd(Exception):
    """An error that cannot be pickled."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")
        self.callback = lambda: None


@pytest.mark.parametrize("way", ["united", "everywhere", "by_main"])
@pytest.mark.parametrize("error", [RunError("no"), MemoryError(), Odd(1, 2), KeyError("k")], ids=repr)
def test_an_error_in_one_process_is_raised_in_all(error, way):
    failing = 0 if way == "by_main" else 1

    def fail():
        if ranks.number() == failing:
            raise error

    def work():
        try:
            getattr(ranks, way)(fail)
        except Exception as raised:
            return type(raised).__name__, str(raised), ranks.last_word(raised, 5), ranks.last_word(raised, 6)

    found = in_processes(work)
    portable = type(error).__name__, str(error)
    if isinstance(error, Odd):
        portable = "RuntimeError", "Odd: 1 and 2"
    for number, (*told, code, again) in enumerate(found):
        assert tuple(told) == ((type(error).__name__, str(error)) if number == failing else portable)
        assert code == again == (None if number == 0 else 5)


def test_of_errors_of_their_own_the_first_process_tells_and_the_others_end_with_its_code():
    """The others wait for it when it fails, and lose it."""

    def work():
        if not ranks.number():
            return ranks.last_word(RunError("mine"), 3)
        with pytest.raises(LostError) as lost:
            ranks.by_main(lambda: None)
        return ranks.last_word(lost.value, 1)

    assert in_processes(work, 3) == [None, 3, 3]


def test_processes_that_differ_in_what_they_need_are_refused_in_all():
    def work():
        with pytest.raises(RunError, match="differ in the data: 0, 1; each needs the same files"):
            ranks.agree(ranks.number(), "the data")
        ranks.agree("same", "the data")
        return True

    assert in_processes(work) == [True, True]


# Passes, gradients and answers


def everything(dropout=0.0):
    """What the divided places give: per example, in all, in order, as gradients, as answers."""
    learner = models.learner(dropout=dropout, keep_initial=True)
    train = build({"train": {"device": "cpu"}}).train
    prompts = [learner.encoder.encode(example).prompt for example in EXAMPLES]
    told = []
    return {
        "gains": gain.measure(learner, {"a": EXAMPLES[:4], "b": EXAMPLES[4:]}),
        "per_example": learner.per_example(EXAMPLES, lambda batch, _: [one.id for one in batch.examples]),
        "none": learner.per_example([], lambda batch, _: [0]),
        "loss": learner.mean_loss(learner.training_batches(EXAMPLES, train)),
        "gradient": mean_gradient(learner, EXAMPLES, train),
        "fisher": diagonal_fisher(learner, EXAMPLES[:3], train),
        "vectors": learner.embed(prompts),
        "answers": learner.answers(prompts, 5, advance=told.append),
        "no answers": learner.answers([], 5),
        "advanced": sum(told),
        "tokens": (learner.ledger.train_tokens, learner.ledger.forward_tokens),
    }


@pytest.fixture(scope="module")
def alone():
    return everything()


@pytest.mark.parametrize("size", [2, 3])
def test_what_is_divided_is_what_one_process_finds(size, alone):
    found = in_processes(everything, size)
    for one in found:
        same = ("per_example", "none", "answers", "no answers", "advanced", "tokens")
        assert [one[name] for name in same] == [alone[name] for name in same]
        assert one["loss"] == pytest.approx(alone["loss"], abs=1e-6)
        assert one["gains"]["a"].prob == pytest.approx(alone["gains"]["a"].prob, abs=1e-6)
        torch.testing.assert_close(one["vectors"], alone["vectors"], atol=1e-5, rtol=1e-5)
        for name in ("gradient", "fisher"):
            for key, value in alone[name].items():
                torch.testing.assert_close(one[name][key], value, atol=1e-6, rtol=1e-4)
    assert all(one["gains"] == found[0]["gains"] for one in found)
    assert all(torch.equal(one["vectors"], found[0]["vectors"]) for one in found)


def step_of(method, dropout=0.0, config=None):
    """A learner, and what a step of one update leaves: its record and the weights."""
    config = config or build({"train": {"updates_per_step": 1, "batch_size": 5, "device": "cpu"}})
    learner, records = models.learner(dropout=dropout), []
    step = Step(1, TASKS, 1)
    loop.fit_step(learner, method(config), step, config, records.append, lambda state: None)
    return records, learner.weights()


class Keeps(Method):
    """Keeps the gradients of its last update."""

    def shape_gradients(self, learner, clock):
        type(self).found = {name: one.grad.clone() for name, one in learner.parameters().items()}


@pytest.mark.parametrize("size", [2, 3, 7])
def test_an_update_is_the_same_in_any_number_of_processes_some_of_which_get_nothing(size):
    """Five examples: of seven processes two have none."""

    def work():
        (record,), weights = step_of(Keeps)
        return record, weights, Keeps.found

    alone, _, gradients = work()
    shared = in_processes(work, size)
    for record, weights, found in shared:
        assert record["loss"] == pytest.approx(alone["loss"], abs=1e-5)
        assert record["gradient_norm"] == pytest.approx(alone["gradient_norm"], rel=1e-5)
        assert (record["tokens"], record["train_tokens"]) == (alone["tokens"], alone["train_tokens"])
        for name, value in gradients.items():
            torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-4)
            assert torch.equal(weights[name], shared[0][1][name])


def test_dropout_differs_between_processes_and_in_one_it_is_as_it_was():
    class Seen(Method):
        def loss(self, learner, batch):
            return replace(super().loss(learner, batch), log={"seed": torch.tensor(0.0)})

        def shape_gradients(self, learner, clock):
            seeds.append(torch.initial_seed())

    seeds = []

    def work():
        step_of(Seen, dropout=0.1)
        return seeds[-1]

    was = Clock(0, 1, 0, 1, 5).rng("dropout").getrandbits(63)
    assert work() == was
    first, *others = in_processes(work, 3)
    assert first == was and len({first, *others}) == 3


class Failing(Method):
    """Its loss fails as `how` says, in one process only."""

    how = ""
    seen = 0

    def loss(self, learner, batch):
        loss = super().loss(learner, batch)
        type(self).seen += 1
        if ranks.number() != 1:
            return loss
        if self.how == "nan":
            return Loss(loss.sum * math.nan, {})
        if self.how == "memory" and type(self).seen == 1:
            raise RuntimeError("DefaultCPUAllocator: not enough memory")
        if self.how == "bug":
            raise AssertionError("a fault of ours")
        return loss


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [("nan", DivergedError, "the loss is not finite"), ("bug", AssertionError, "a fault of ours")],
)
def test_a_loss_that_fails_in_one_process_ends_all_before_the_optimizer_moves(how, error, words):
    def work():
        Failing.how = how
        with pytest.raises(error, match=words) as raised:
            step_of(Failing)
        return "".join(getattr(raised.value, "__notes__", ()))

    main, other = in_processes(work)
    assert ("in process 1" in main) == (how == "bug") and "Error" not in other[:0]


def test_processes_that_plan_different_work_are_told_so():
    class Drawn(Method):
        def replay(self, clock, learner):
            return EXAMPLES[: 1 + 2 * ranks.number()]

    def work():
        with pytest.raises(TrainingError, match="planned different work"):
            step_of(Drawn)
        return True

    assert in_processes(work) == [True, True]


def test_an_exchange_of_different_kinds_is_told_in_all():
    def work():
        with pytest.raises(TrainingError, match="planned different work"):
            if ranks.is_main():
                ranks.by_main(lambda: 1)
            else:
                ranks.united(lambda: 1)
        return True

    assert in_processes(work) == [True, True]


def test_memory_that_runs_out_in_one_process_makes_smaller_batches_in_all():
    (alone,), _ = step_of(Method)

    def work():
        Failing.how = "memory"
        return step_of(Failing)[0]

    for warning, record in in_processes(work):
        assert "memory ran out at update 1: it is repeated in" in warning["warning"]
        assert record["loss"] == pytest.approx(alone["loss"], abs=1e-5)
        assert record["train_tokens"] == alone["train_tokens"]


def test_answers_of_a_model_that_predicts_no_number_in_one_process_end_all():
    def work():
        learner = models.learner()
        if ranks.number() == 1:
            with torch.no_grad():
                next(learner.model.parameters()).fill_(math.nan)
        with pytest.raises(ModelError, match="no finite number"):
            learner.answers([[5, 6, 7], [8, 9, 10]], 3)
        return True

    assert in_processes(work) == [True, True]


# What a launcher says


GOOD = environment(1, 2, 29511)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MASTER_ADDR": ""}, "one of 2 processes, but MASTER_ADDR is not set"),
        ({"RANK": "", "MASTER_PORT": ""}, "RANK and MASTER_PORT are not set"),
        ({"LOCAL_RANK": ""}, "LOCAL_RANK is not set"),
        ({"RANK": "2"}, "numbered from 0 to 1"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE = 'two'"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE = '0'"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE = '-2'"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT = 'http'"),
        ({"WORLD_SIZE": "", "OMPI_COMM_WORLD_SIZE": "4"}, "started by mpirun"),
        ({"WORLD_SIZE": "", "PMI_SIZE": "2"}, "unset PMI_SIZE"),
    ],
)
def test_an_environment_that_cannot_be_served_is_refused_by_name(changes, words):
    with pytest.raises(UsageError, match=words):
        launch.found(GOOD | changes)


@pytest.mark.parametrize("changes", [{"WORLD_SIZE": ""}, {"WORLD_SIZE": "1", "RANK": ""}, {"PMI_SIZE": "2"}])
def test_other_environments_are_understood(changes):
    one = changes.get("WORLD_SIZE", "2") != "2"
    assert (launch.found(GOOD | changes) is None) == one
    assert launch.found({}) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("report", "runs"), "kpig report is none of the commands that processes can share"),
        (("sweep", "s.toml", "--out", "runs"), "and a launcher has started 3; start it without torchrun"),
        (("pretrain", "--tasks", "suite", "--out", "runs"), "kpig pretrain is none of the commands"),
        (
            ("rnu", "s.toml", "--out", "runs"),
            "kpig rnu is none of the commands that processes can share (run",
        ),
        (("annotate", "suite", "--by", "rules", "--out", "runs/a.json"), "share what gain measures"),
        (("run", "no.toml", "--out", "runs"), "no.toml"),
        (("run", "my.toml", "--out", "runs", "--set", "train.batch=3"), "[train] has no key 'batch'"),
        (("run", "my.toml", "--fast"), "No such option"),
        (("eval", "tiny", "--tasks", "no.jsonl", "--out", "runs"), "no.jsonl"),
        (("gain", "tiny", "--tasks", "no.jsonl", "--json", "runs"), "no.jsonl"),
        (("predict", "tiny", "no.jsonl", "--out", "runs"), "no.jsonl"),
        (("select", "no.jsonl", "--model", "tiny", "--budget", "2", "--out", "runs"), "no.jsonl"),
        (("select", "suite", "--model", "tiny", "--budget", "2", "--out", "."), "is there already"),
        (
            ("select", "suite", "--model", "tiny", "--budget", "9999", "--out", "runs"),
            "--budget 9999 is more",
        ),
    ],
)
def test_what_cannot_be_is_said_once_by_all_processes_together(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text(config.dump(small("init")))
    main, *others = launched.kpig(*arguments, size=3)
    assert words in main.stderr and main.returncode in (1, 2)
    assert main.stderr.count("error: ") + main.stderr.count("Error ") == 1
    assert [(one.stdout, one.stderr) for one in others] == [("", "")] * 2
    assert {one.returncode for one in others} == {main.returncode}
    assert [path.name for path in tmp_path.iterdir()] == ["my.toml"]


def test_each_process_takes_the_gpu_of_its_number_or_says_how_many_there_are(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    ranks.take_gpu(0)
    for number, on_machine in ((0, 0), (5, 1)):
        monkeypatch.setattr(ranks, "_groups", [ranks._Group(number, 8, on_machine)])
        ranks.take_gpu(2)
    assert taken == [0, 1]
    monkeypatch.setattr(ranks, "_groups", [ranks._Group(6, 8, 2)])
    with pytest.raises(RunError, match="process 6 is number 2 there, counted from 0, and torch sees 2"):
        ranks.take_gpu(2)


def test_a_launcher_that_says_too_little_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text(config.dump(small("init")))
    done = forked.kpig("run", "my.toml", first=lambda: os.environ.update(WORLD_SIZE="2", RANK="0"))
    assert done.returncode == 2 and "LOCAL_RANK and MASTER_ADDR and MASTER_PORT are not set" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["my.toml"]


def test_processes_that_do_not_come_are_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "JOIN", ranks.timedelta(seconds=1))
    (tmp_path / "my.toml").write_text(config.dump(small("init")))
    own = environment(0, 2, free_port())
    done = forked.kpig(
        "run", tmp_path / "my.toml", "--out", tmp_path / "run", first=lambda: os.environ.update(own)
    )
    assert done.returncode == 1 and "process 0 of 2 could not meet the others at 127.0.0.1" in done.stderr
    assert not (tmp_path / "run").exists()


# Whole runs

RUN = {
    "suite": {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 0, "num_train": 8, "num_test": 2},
    "train": {"updates_per_step": 3, "checkpoint_every": 1},
    "evaluate": {"max_new_tokens": 4, "new_wordings": False},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a config, its run in one process, and in two."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "my.toml").write_text(config.dump(small("kpig", **RUN)))
    done = forked.kpig("run", folder / "my.toml", "--out", folder / "one")
    assert done.returncode == 0, done.stderr
    main, other = launched.kpig("run", folder / "my.toml", "--out", folder / "two")
    assert (main.returncode, other.returncode) == (0, 0), main.stderr + other.stderr
    assert "step 2/2 kpig: train 3/3" in main.stderr and "report: " in main.stdout
    assert (other.stdout, other.stderr) == ("", "")
    return folder


def assert_alike(one, other):
    """The same learning, and the same files."""
    assert_same_learning(one, other)
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())


def assert_same_learning(one, other):
    """The same updates and choices, losses, gains, counts, and the same answers.

    Of the reference model's answers, which are kept, each process keeps its own: it may ask for more.
    """
    for here, there in zip(RunDir(one).updates(), RunDir(other).updates(), strict=True):
        same = ("step", "update", "tokens", "replayed", "replayed_tasks", "train_tokens")
        assert [here.get(name) for name in same] == [there.get(name) for name in same]
        assert here["loss"] == pytest.approx(there["loss"], abs=1e-4)
        assert here.get("gain") == pytest.approx(there.get("gain"), abs=1e-3)
    mine, theirs = (read_run(run / "scores.json") for run in (one, other))
    assert [step.seen and step.seen.p_score for step in mine.steps] == [
        step.seen and step.seen.p_score for step in theirs.steps
    ]
    costs = ("updates", "train_tokens", "replayed_examples")
    assert mine.cost.forward_tokens <= theirs.cost.forward_tokens
    assert [getattr(mine.cost, name) for name in costs] == [getattr(theirs.cost, name) for name in costs]


def starts_of(run):
    return json.loads((run / "environment.json").read_text())["starts"]


def test_a_run_in_two_processes_is_that_of_one(runs):
    assert_alike(runs / "one", runs / "two")
    assert starts_of(runs / "one") == [{"step": 1, "processes": 1}]
    assert starts_of(runs / "two") == [{"step": 1, "processes": 2}]


@pytest.mark.parametrize(("killed", "size"), [(2, 3), (0, 2)])
def test_a_process_that_is_killed_ends_the_job_and_any_number_goes_on(killed, size, runs, tmp_path):
    out = tmp_path / "run"
    children = launched.begin("run", runs / "my.toml", "--out", out, size=size)
    kill_after(children[killed], out / "events.jsonl", 2)
    begun = time.monotonic()
    left = launched.ended([child for child in children if child is not children[killed]], 60)
    assert time.monotonic() - begun < 60
    said = "".join(one.stderr for one in left)
    assert said.count("a process of this job has ended") == 1 and "--resume" in said
    assert said.count("what is finished is kept") == 1
    assert {one.returncode for one in left} == {LostError.exit_code}
    done = launched.kpig("run", runs / "my.toml", "--out", out, "--resume", size=3 - size + 1)
    assert [one.returncode for one in done] == [0] * (4 - size), done[0].stderr
    assert_alike(runs / "one", out)
    assert [start["processes"] for start in starts_of(out)] == [size, 4 - size]


def test_a_process_that_stands_still_is_lost(runs, tmp_path, monkeypatch):
    """It closes no connection; its peers miss its beats. The seconds are shorter here than they are set."""
    monkeypatch.setattr(heart, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(heart, "LOST_SECONDS", 6.0)
    out = tmp_path / "run"
    main, other = launched.begin("run", runs / "my.toml", "--out", out)
    launched.at_work([main, other], out)
    os.kill(other.pid, signal.SIGSTOP)
    try:
        done = main.ended(30)
    finally:
        os.kill(other.pid, signal.SIGKILL)
    assert done.returncode == LostError.exit_code
    assert done.stderr.count("a process of this job has ended") == 1


def test_the_seconds_that_are_set_end_a_job_within_a_minute():
    assert heart.LOST_SECONDS + 2 * heart.BEAT_SECONDS < 60


@pytest.mark.parametrize("told", [(0, 1), (0,), (1,)], ids=["all", "the main one", "another"])
def test_ctrl_c_is_one_message_and_the_job_goes_on(told, runs, tmp_path):
    out = tmp_path / "run"
    children = launched.begin("run", runs / "my.toml", "--out", out)
    launched.at_work(children, out)
    for number in told:
        os.kill(children[number].pid, signal.SIGINT)
    begun = time.monotonic()
    done = launched.ended(children)
    assert time.monotonic() - begun < heart.LAST_SECONDS  # nobody had to wait until who told it was gone
    said = "".join(one.stderr for one in done)
    assert {one.returncode for one in done} == {130}
    assert said.count("continue with: kpig run") == 1 and "Traceback" not in said
    done = launched.kpig("run", runs / "my.toml", "--out", out, "--resume")
    assert [one.returncode for one in done] == [0, 0], done[0].stderr
    assert_alike(runs / "one", out)


@pytest.mark.parametrize("told", [(0, 1), (1,)], ids=["all", "one"])
def test_a_schedulers_notice_ends_all_after_the_same_checkpoint(told, runs, tmp_path):
    out = tmp_path / "run"
    children = launched.begin("run", runs / "my.toml", "--out", out)
    launched.at_work(children, out)
    for number in told:
        os.kill(children[number].pid, signal.SIGTERM)
    done = launched.ended(children)
    said = "".join(one.stderr for one in done)
    assert {one.returncode for one in done} == {notice.UNFINISHED}
    assert said.count("continue with: kpig run") == 1 and "Traceback" not in said
    last = RunDir(out).updates()[-1]["update"]
    assert checkpoint.read(out / "steps/01/checkpoint").update == last


def test_a_folder_that_the_main_process_cannot_write_ends_all_with_one_message(runs, tmp_path):
    (tmp_path / "run").write_text("a file")
    main, other = launched.kpig("run", runs / "my.toml", "--out", tmp_path / "run")
    assert "is a file; give a folder for the run" in main.stderr and other.stderr == ""
    assert (main.returncode, other.returncode) == (1, 1)


def test_a_finished_run_says_so_once_and_goes_on_with_further_tasks(runs, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(runs / name, tmp_path / name)
    main, other = launched.kpig("run", runs / "my.toml", "--out", tmp_path / "two", "--resume")
    assert (main.returncode, other.returncode, other.stderr) == (0, 0, "")
    assert "already finished" in main.stderr
    rows = [
        {
            "task": "more",
            "instruction": "Say it twice.",
            "input": f"w{n}",
            "output": f"w{n} w{n}",
            "split": split,
        }
        for n, split in enumerate(["train"] * 6 + ["test"] * 2)
    ]
    (tmp_path / "more.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = ("--tasks", tmp_path / "more.jsonl")
    assert forked.kpig("continue", tmp_path / "one", *words).returncode == 0
    main, other = launched.kpig("continue", tmp_path / "two", *words)
    assert (main.returncode, other.returncode) == (0, 0), main.stderr + other.stderr
    assert_alike(tmp_path / "one", tmp_path / "two")


def test_eval_gain_predict_and_annotate_share_their_work(runs, tmp_path):
    model = runs / "one"
    jobs = {
        "eval": ("eval", model, "--max-new-tokens", 4, "--out"),
        "gain.json": ("gain", model, "--probes", 3, "--json"),
        "answers.jsonl": ("predict", model, "suite", "--max-new-tokens", 3, "--out"),
        "parts.json": ("annotate", model, "--by", "gain", "--model", "tiny", "--no-constraints", "--out"),
    }
    for name, words in jobs.items():
        alone = forked.kpig(*words, tmp_path / "one" / name)
        main, other = launched.kpig(*words, tmp_path / "two" / name)
        assert (alone.returncode, main.returncode, other.returncode) == (0, 0, 0), (
            alone.stderr + main.stderr + other.stderr
        )
        assert (other.stdout, other.stderr) == ("", "")
    one, two = tmp_path / "one", tmp_path / "two"
    assert (one / "answers.jsonl").read_text() == (two / "answers.jsonl").read_text()
    assert not list(two.glob("*.part"))
    answers = [
        [row.response for row in predictions.read(folder / "eval" / "predictions.jsonl")]
        for folder in (one, two)
    ]
    assert answers[0] == answers[1]
    gains = [json.loads((folder / "gain.json").read_text())["tasks"] for folder in (one, two)]
    for task, found in gains[0].items():
        assert found["prob"] == pytest.approx(gains[1][task]["prob"], abs=1e-6)
    parts = [json.loads((folder / "parts.json").read_text()) for folder in (one, two)]
    assert parts[0] == parts[1]
