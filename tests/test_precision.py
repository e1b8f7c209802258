"""Which arithmetic passes have: as asked, by itself only where it is fast and pays, and each kind its own."""

import itertools
from dataclasses import dataclass

import pytest
import torch
from typer.testing import CliRunner

from kpig import config
from kpig.cli.commands import app
from kpig.config import TINY, ModelSection, TrainSection
from kpig.methods.chosen import create
from kpig.model import gain
from kpig.model.learner import Learner
from kpig.model.loading import load
from kpig.records import SEEN, Stream
from kpig.runs import check, job, machine
from kpig.runs.folder import RunDir
from kpig.scoring import answers, probing
from kpig.tasks import suite
from kpig.training import precision as chosen
from kpig.training.precision import FEWEST_WEIGHTS, precision
from test_continue import configured, write_months

CPU_LINE = "processor\t: 0\nflags\t\t: fpu sse2 avx512f {}\nbugs\t\t: amx_bf16 avx512_bf16\n"


@dataclass(frozen=True)
class Device:
    type: str


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """flags("avx512_bf16"): a machine whose first processor has these flags; None: nothing is known."""

    def write(text):
        path = tmp_path / "cpuinfo"
        path.write_text(CPU_LINE.format(text) * 2) if text is not None else path.unlink(missing_ok=True)
        monkeypatch.setattr(chosen, "CPU_FLAGS", path)

    return write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("avx512_bf16", "bfloat16"),
        ("amx_tile amx_bf16", "bfloat16"),
        ("avx_vnni avx512_bf16 amx_int8", "bfloat16"),
        ("avx512_fp16 avx2", "float32"),
        ("amx_int8 avx512_bf16_emulated", "float32"),
        ("", "float32"),
        (None, "float32"),
    ],
)
def test_a_cpu_takes_bfloat16_by_itself_where_it_multiplies_it_and_the_model_is_large(text, expected, flags):
    flags(text)
    auto, cpu = TrainSection(), Device("cpu")
    assert precision(auto, cpu, FEWEST_WEIGHTS) == precision(auto, cpu, 10**9) == expected
    assert precision(auto, cpu, FEWEST_WEIGHTS - 1) == precision(auto, cpu, 1) == "float32"


@pytest.mark.parametrize("has", [True, False])
def test_a_gpu_takes_it_where_it_has_it_whatever_the_model(has, flags, monkeypatch):
    flags("avx512_bf16")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has)
    for num_weights in (1, 10**9):
        assert precision(TrainSection(), Device("cuda"), num_weights) == ("bfloat16" if has else "float32")
        assert precision(TrainSection(), Device("mps"), num_weights) == "float32"


AVX2, AVX512 = "avx2 fma", "avx2 avx512bw avx512vl"


@pytest.mark.parametrize(
    ("text", "is_told"),
    [(AVX2, True), (AVX512, False), ("avx512_bf16", False), ("amx_bf16", False), (None, False)],
)
def test_a_cpu_that_is_slow_in_16_bits_is_told_where_a_run_asks_for_them(text, is_told, flags):
    flags(text)
    given = {
        "model": {"dtype": "bfloat16", "adapter": "lora"},
        "train": {"precision": "bfloat16", "device": "cpu"},
        "evaluate": {"precision": "bfloat16"},
        "method": {"name": "kpig", "kpig": {"gain_precision": "bfloat16"}},
    }
    found = [one for one in check.cautions(config.build(given), Stream((), ())) if "16-bit" in one]
    assert len(found) == is_told
    for name in ("model.dtype", "train.precision", "evaluate.precision", "method.kpig.gain_precision"):
        assert all(f'{name} = "bfloat16"' in one and 'set "float32"' in one for one in found)


def test_16_bits_are_no_matter_where_none_are_asked_for_or_a_gpu_computes(flags):
    flags(AVX2)
    for given in ({}, {"train": {"precision": "float32"}}):
        assert not any("16-bit" in one for one in check.cautions(config.build(given), Stream((), ())))
    asked = {"train.precision": "bfloat16"}
    assert machine.half_cautions(asked, "cuda") == machine.half_cautions(asked, "mps") == []
    assert len(machine.half_cautions(asked, "cpu")) == 1


def test_an_evaluation_in_slow_16_bits_is_told_and_can_be_had_in_32(flags, monkeypatch, tmp_path):
    """A run in 16 bits can be asked in 32 where the CPU is slow in them: each note names its option."""
    monkeypatch.setattr(machine, "has_cuda", lambda: False)
    given = {
        "model": {"path": TINY, "dtype": "bfloat16", "adapter": "lora"},
        "suite": {"num_steps": 1, "tasks_per_step": 1, "num_held_out": 1, "num_train": 2, "num_test": 1},
        "method": {"name": "init"},
        "train": {"precision": "float32", "device": "cpu"},
        "evaluate": {"precision": "bfloat16", "max_new_tokens": 1, "new_wordings": False},
    }
    job.run(config.build(given), tmp_path / "run")
    asked = ("--tasks", "suite", "--test-per-task", "1", "--max-new-tokens", "1")
    options = ("--dtype", "float32"), ("--precision", "float32")
    computing, computed = Learner.computing, set()

    def watched(self, precision):
        computed.add((next(self.model.parameters()).dtype, precision))
        return computing(self, precision)

    monkeypatch.setattr(Learner, "computing", watched)

    used = []

    def notes(*given):
        done = CliRunner().invoke(
            app, ["eval", str(tmp_path / "run/steps/00"), *asked, *itertools.chain(*given)]
        )
        assert done.exit_code == 0, done.stderr
        used.append(set(computed))
        computed.clear()
        return [line for line in done.stderr.splitlines() if "16-bit" in line]

    flags(AVX2)
    found = notes()
    assert [line.split(": this CPU")[0] for line in found] == [
        'note: model.dtype = "bfloat16"',
        'note: evaluate.precision = "bfloat16"',
    ]
    for line, option in zip(found, options, strict=True):
        assert line.endswith(f"give {' '.join(option)}")
        assert len(notes(option)) == 1
    assert notes(*options) == []
    assert used[0] == {(torch.bfloat16, "bfloat16")} and used[-1] == {(torch.float32, "float32")}
    flags(AVX512)
    assert notes() == []


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_what_is_asked_for_holds_everywhere(asked, flags):
    for text in ("avx512_bf16", None):
        flags(text)
        for device in ("cpu", "cuda", "mps"):
            assert precision(TrainSection(precision=asked), Device(device), 10**9) == asked


def test_the_shipped_model_keeps_its_bits():
    learner = load(ModelSection(path=TINY))
    assert learner.network.num_weights == sum(w.numel() for w in learner.model.parameters()) < FEWEST_WEIGHTS
    assert precision(TrainSection(), learner.device, learner.network.num_weights) == "float32"


def test_tied_weights_count_once(make_learner):
    tied, untied = make_learner("gpt2"), make_learner("llama")
    embedding, output = (tied.model.get_input_embeddings(), tied.model.get_output_embeddings())
    assert embedding.weight is output.weight
    assert tied.network.num_weights < 2 * embedding.weight.numel()
    assert untied.network.num_weights > 2 * untied.model.get_input_embeddings().weight.numel()


def enabled():
    return torch.is_autocast_enabled("cpu")


def test_a_block_has_the_precision_it_asks_for_and_what_was_before_comes_back(make_learner):
    learner = make_learner("llama")
    with learner.computing("bfloat16"):
        assert enabled() and torch.get_autocast_dtype("cpu") == torch.bfloat16
        with learner.computing("float32"):
            assert not enabled()
        assert enabled()
    assert not enabled()


@pytest.mark.parametrize("given", ["float32", "bfloat16"])
@pytest.mark.parametrize("outside", ["float32", "bfloat16"])
def test_an_evaluation_has_its_own(given, outside, make_learner, monkeypatch):
    learner, seen = make_learner("llama"), set()
    for name in ("answers", "per_batch"):
        inner = getattr(learner, name)
        monkeypatch.setattr(
            learner,
            name,
            lambda *a, inner=inner, name=name, **k: seen.add((name, enabled())) or inner(*a, **k),
        )
    task = suite.task(("reverse", "upper"), 2, 3, seed=0)
    settings = config.EvaluateSection(precision=given, max_new_tokens=3)
    with learner.computing(outside):
        answers.score(learner, probing.probes({SEEN: [task]}, settings), settings)
    assert seen == {(name, given == "bfloat16") for name in ("answers", "per_batch")}


@pytest.mark.parametrize("asked", ["train", "float32", "bfloat16"])
@pytest.mark.parametrize("training", ["float32", "bfloat16"])
def test_gain_between_updates_has_its_own_or_that_of_training(asked, training, tmp_path, monkeypatch):
    seen = set()
    inner = gain.measure
    monkeypatch.setattr(gain, "measure", lambda *given: seen.add(enabled()) or inner(*given))
    months = write_months(tmp_path)
    settings = configured(months, "old", gain_from="probe", gain_precision=asked, num_probes=2)
    train = settings.train.model_copy(update={"precision": training, "updates_per_step": 1})
    stream = settings.stream.model_copy(update={"max_steps": 1, "held_out": ""})
    evaluate = settings.evaluate.model_copy(update={"gain": False, "every": "last"})
    given = settings.model_copy(update={"train": train, "stream": stream, "evaluate": evaluate})
    job.run(given, tmp_path / "run")
    assert seen == {(training if asked == "train" else asked) == "bfloat16"}
    assert RunDir(tmp_path / "run").read("environment.json")["train_precision"] == training


def test_one_process_may_train_in_one_precision_after_the_other(tmp_path):
    """Accelerate would refuse the second; with "auto" two models of one process may differ."""
    months = write_months(tmp_path)
    losses = {}
    for number, asked in enumerate(("bfloat16", "float32", "bfloat16")):
        settings = configured(months, "old", "sequential")
        train = settings.train.model_copy(update={"precision": asked, "updates_per_step": 2})
        stream = settings.stream.model_copy(update={"max_steps": 1, "held_out": ""})
        evaluate = settings.evaluate.model_copy(update={"gain": False, "every": "last"})
        given = settings.model_copy(update={"train": train, "stream": stream, "evaluate": evaluate})
        job.run(given, tmp_path / f"run-{number}")
        losses[number] = [one["loss"] for one in RunDir(tmp_path / f"run-{number}").updates()]
    assert losses[0] == losses[2] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_a_method_says_what_its_gain_is_measured_in():
    assert create(config.build({})).settings.gain_precision == "train"
