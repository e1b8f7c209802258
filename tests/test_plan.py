"""What kpig plan reckons is what is measured, as far as this machine can: memory, computing, sizes."""

import json
import runpy
import shutil
from pathlib import Path

import pytest
from torch.utils.flop_counter import FlopCounterMode

import architectures
from kpig import config
from kpig.config import ModelSection
from kpig.errors import ModelError, UsageError
from kpig.methods.base import Step
from kpig.methods.chosen import create
from kpig.model import loading
from kpig.model.folder import resolve
from kpig.records import Gain
from kpig.runs import disk, load, operations, plan, shapes
from kpig.runs.load import Data, Length
from kpig.runs.plan import Told
from kpig.tasks import stream
from kpig.training import loop
from kpig.training.soundness import Soundness
from test_cli import kpig
from test_job import small
from test_memory_needed import peak_of, saved, table_of, tensors_of

ROOT = Path(__file__).parents[1]
TOLD = {"examples": 1000, "tokens": 100, "response_tokens": 20}


@pytest.fixture
def bare(tmp_path):
    """A folder with the config.json and the tokenizer of the shipped model, and no weights."""
    folder = tmp_path / "bare"
    shutil.copytree(resolve("tiny"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


@pytest.mark.parametrize(
    ("name", "weights"),
    [("llama-1b", 1_235_814_400), ("llama-8b", 8_030_261_248), ("llama-70b", 70_553_706_496)],
)
def test_known_shapes_have_as_many_weights_as_their_models(name, weights):
    found = shapes.of_table(shapes.named(name), ModelSection())
    assert (found.weights, found.trained, found.gated) == (weights, weights, True)


@pytest.mark.parametrize("changes", [{}, {"adapter": "lora"}, {"adapter": "lora", "lora_rank": 3}])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_config_alone_tells_the_same_as_a_folder_with_weights(changes, dtype, bare):
    section = ModelSection(dtype=dtype, **changes)
    assert shapes.of_table(shapes.named(str(bare)), section) == shapes.of_section(section)
    assert shapes.of_table(shapes.named(str(bare / "config.json")), section) == shapes.of_section(section)


def test_a_base_in_4_bits_takes_about_half_a_byte_a_weight_outside_the_embedding():
    section = ModelSection(adapter="lora", dtype="bfloat16", quantization="nf4")
    found = shapes.of_table(shapes.named("llama-70b"), section)
    outside = 2 * 128256 * 8192
    expected = 2 * outside + (found.weights - outside) * (0.5 + 1 / 64 + 1 / 4096)
    assert found.weights * found.weight_bytes == pytest.approx(expected)
    assert 38e9 < expected < 41e9


@pytest.mark.parametrize(
    ("hidden", "layers", "method", "adapter"),
    [(192, 5, "kpig", "none"), (256, 4, "replay", "lora")],
)
def test_a_plan_from_a_config_alone_is_within_15_percent_of_the_measured_peak(
    hidden, layers, method, adapter, tmp_path
):
    saved(tmp_path / "model", "llama", hidden, layers)
    chosen = table_of(tmp_path, method, adapter, 25, 1024, {"train.device": "cpu"})
    alone = tmp_path / "alone.json"
    shutil.copy(tmp_path / "model/config.json", alone)
    found = plan.plan(chosen, Told(gigabytes=8, model=str(alone)))
    assert found.taken.fits and found.taken.changes == ()
    estimate, measured = tensors_of(found.taken.phases.most), peak_of(chosen, tmp_path / "run")
    print(f"PLAN {hidden} x {layers} {method} {adapter} {estimate / 1e6:.1f} {measured / 1e6:.1f}")
    assert 0.85 < estimate / measured < 1.15, f"estimate {estimate:.0f}, measured {measured}"


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("replay", {}),
        ("replay", {"model.adapter": "lora"}),
        ("kpig", {}),
        ("kpig", {"train.gradient_checkpointing": True}),
        ("kpig", {"model.adapter": "lora", "train.gradient_checkpointing": True}),
    ],
)
def test_the_work_of_an_example_is_what_torch_counts(method, changes, tmp_path):
    saved(tmp_path / "model", "llama", 192, 4)
    every = {"train.row_tokens": 0, "method.kpig": {"twin_share": 1.0}}
    chosen = table_of(tmp_path, method, "none", 30, 1024, changes | every)
    tasks = stream.configured(chosen)
    algorithm = create(chosen)
    learner = loading.load(chosen.model, algorithm.needs_initial)
    learner.model.set_attn_implementation("eager")  # torch counts no other attention on a CPU
    learner.network.recompute(chosen.train.gradient_checkpointing)
    example = tasks.tasks[0].train[0]
    algorithm.begin_step(Step(1, tasks.tasks[:1], 1), learner)
    if method == "kpig":
        algorithm.gains = {example.task: Gain(0.2, 0.2, 0.5, 0.3)}
    learner.model.train()
    (batch,) = learner.training_batches([example], chosen.train, algorithm.paired)
    with FlopCounterMode(display=False) as counted:
        algorithm.loss(learner, batch).sum.backward()
    length = load.sampled(chosen, tasks)[0]
    shape = shapes.of_section(chosen.model)
    found = operations.example_work(chosen, algorithm, shape, length)
    print(f"FLOP {method} {changes} {found / counted.get_total_flops():.3f}")
    assert found == pytest.approx(counted.get_total_flops(), rel=0.1)


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("replay", {}),
        ("lwf", {}),
        ("tir", {"method.tir": {"num_examples": 7}}),
        ("a_gem", {}),
        ("a_gem", {"method.a_gem": {"num_examples": 3}}),
        ("adapt_inf", {"model.adapter": "lora", "replay.memory_per_task": 9}),
        ("osf", {"method.osf": {"preserved": 0.8}}),
        ("sdft", {"method.sdft": {"max_new_tokens": 9}}),
        ("sdft", {"model.adapter": "lora", "method.sdft": {"max_new_tokens": 25, "teacher_rate": 1.0}}),
    ],
    ids=str,
)
def test_the_work_of_a_run_is_what_torch_counts(method, changes, tmp_path, monkeypatch):
    """All passes of two steps: those of updates, and those that a method makes of its own.

    The pass that tells whether weights are sound comes once in a step: of many updates it is little.
    """
    monkeypatch.setattr(Soundness, "doubt", lambda *_: "")
    saved(tmp_path / "model", "llama", 192, 4)
    chosen = table_of(tmp_path, method, "none", 25, 1024, changes | {"train.row_tokens": 0})
    tasks, algorithm = stream.configured(chosen), create(chosen)
    learner = loading.load(chosen.model, algorithm.needs_initial)
    learner.model.set_attn_implementation("eager")
    algorithm.arrange(tasks.steps)
    with FlopCounterMode(display=False) as counted:
        for number, step in enumerate(tasks.steps, 1):
            loop.fit_step(learner, algorithm, Step(number, step, 2), chosen, lambda _: None, lambda _: None)
    longest = max(load.sampled(chosen, tasks))  # rows of a batch are as long
    data = Data((longest,), 56, 2, load.measured(tasks))
    found = operations.work_of(chosen, shapes.of_section(chosen.model), data)
    print(f"RUN {method} {changes} {found.total / counted.get_total_flops():.3f}")
    assert found.total == pytest.approx(counted.get_total_flops(), rel=0.1)


def test_updates_and_work_by_hand():
    chosen = small("replay", train={"updates_per_step": 0, "batch_size": 10}, replay={"ratio": 0.5})
    found = plan.plan(chosen, Told(model="llama-1b", steps=4, **TOLD))
    assert found.updates == 25, "1000 examples in 4 steps, 10 at a time"
    per_example = operations.example_work(chosen, create(chosen), found.shape, Length(100, 20, True))
    assert found.work.update == pytest.approx(15 * per_example)
    assert found.work.updates == pytest.approx(25 * (10 + 3 * 15) * per_example) and not found.work.gains
    assert found.work == found.plain


def test_fewer_twins_are_less_work():
    """Of an example with its twin, plain work is 3 forward passes; the twin adds 3, and the reference 1."""

    def work(**table):
        asked = {"twin_share": 1.0} | table
        given = {"train": {"device": "cpu"}, "replay": {"ratio": 0.5}, "method": {"kpig": asked}}
        chosen = config.build(given)
        shape = plan.plan(chosen, Told(model="llama-1b", steps=4, **TOLD)).shape
        return operations.example_work(chosen, create(chosen), shape, Length(100, 20, True))

    plain, whole = work(twin_weight=0.0), work()
    assert work(twin_share=0.25) - plain == pytest.approx(0.25 * (whole - plain))
    assert work(twins_of="replayed") - plain == pytest.approx((whole - plain) / 3)
    assert work(twins_of="current", twin_share=0.5) - plain == pytest.approx((whole - plain) / 3)


def test_seconds_go_with_the_rate_and_the_devices_that_have_a_pass():
    chosen = small("kpig", train={"device": "auto", "batch_size": 64, "tokens_per_micro_batch": 100})
    one, eight = (
        plan.plan(chosen, Told(model="llama-1b", devices=devices, teraflops=100, **TOLD))
        for devices in (1, 8)
    )
    assert one.update_seconds == pytest.approx(one.work.update / 1e14)
    assert eight.micro_batches == one.micro_batches >= 64
    assert eight.update_seconds == pytest.approx(one.update_seconds / 8, rel=0.05)
    assert plan.plan(chosen, Told(model="llama-1b", **TOLD)).update_seconds is None


def test_kpig_takes_seven_thirds_of_the_work_of_replay_where_every_example_has_a_twin():
    every = config.build(
        {
            "train": {"device": "auto"},
            "method": {"name": "kpig", "kpig": {"twin_share": 1.0, "kept_mib": 0, "gain_from": "probe"}},
        }
    )
    found = plan.plan(every, Told(model="llama-1b", **TOLD))
    assert found.work.update / found.plain.update == pytest.approx(7 / 3)
    assert 0 < found.work.gains < found.work.updates


def test_kept_answers_save_the_reference_where_twins_come_again_and_there_is_room():
    def share(epochs, kept_mib, **more):
        chosen = config.build(
            {
                "train": {"device": "cuda", "epochs": epochs, "batch_size": 10},
                "method": {"name": "kpig", "kpig": {"kept_mib": kept_mib, "twin_share": 1.0} | more},
            }
        )
        found = plan.plan(chosen, Told(gigabytes=10**6, model="llama-1b", **TOLD))
        return found.work.update / found.plain.update, found.work.gains

    assert share(1, 256)[0] == pytest.approx(7 / 3) == share(4, 0)[0]
    assert share(4, 10_000)[0] == pytest.approx(2 + 1 / 12), (
        "a quarter of the passes of the reference is left"
    )
    one_megabyte = 100 * 20 * 2048 * 4 / 2**20
    assert share(4, round(one_megabyte))[0] == pytest.approx(7 / 3 - 0.1 / 4, rel=1e-2), "a tenth is kept"
    assert share(1, 256, gain_from="probe")[1] > 0 == share(1, 256)[1]


@pytest.mark.parametrize(
    ("model", "gigabytes", "fits"),
    [
        ("llama-1b", 80, ()),
        ("llama-8b", 80, plan.WAYS[2]),
        ("llama-8b", 40, plan.WAYS[4]),
        ("llama-70b", 80, plan.WAYS[5]),
        ("llama-70b", 24, None),
    ],
)
def test_the_first_way_that_fits_is_taken(model, gigabytes, fits):
    chosen = small("kpig", train={"device": "auto", "tokens_per_micro_batch": 4096})
    found = plan.plan(chosen, Told(model=model, gigabytes=gigabytes, **TOLD))
    assert found.taken.fits == (fits is not None)
    assert found.taken.changes == (plan.WAYS[-1] if fits is None else fits)
    totals = [way.phases.training.total for way in found.ways]
    assert len(totals) == len(plan.WAYS) and totals[-1] == min(totals)


def test_ways_that_change_nothing_or_cannot_be_are_left_out():
    chosen = small("replay", model={"adapter": "lora"}, train={"device": "auto"})
    found = plan.plan(chosen, Told(model="llama-1b", **TOLD))
    assert [way.changes for way in found.ways] == [plan.WAYS[0], plan.WAYS[1], plan.WAYS[4], plan.WAYS[5]]
    on_cpu = plan.plan(small("replay", train={"device": "cpu"}), Told(model="llama-1b", **TOLD))
    assert all(plan.FOUR_BITS not in way.changes for way in on_cpu.ways)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"model": "lama-8b", **TOLD}, r"did you mean 'llama-8b'\?"),
        ({"model": "llama-8b", "tokens": 100}, r"--examples N"),
        ({"model": "llama-8b", **TOLD, "response_tokens": 100}, r"R below 100"),
        ({"model": "llama-8b", **TOLD, "tokens": 10**6}, r"--set model\.max_length=1000000"),
        ({**TOLD, "model": "llama-8b", "teraflops": float("nan")}, r"teraflops of a device are nan"),
        ({**TOLD, "model": "llama-8b", "gigabytes": float("inf")}, r"gigabytes of a device are inf"),
        ({**TOLD, "model": "llama-8b", "bandwidth": -1.0}, r"bandwidth of a device are -1"),
        ({"model": "llama-8b", "response_tokens": 3}, r"part of --tokens, which is not told"),
        (TOLD, r"someone/on-a-hub.*is no folder here; tell its shape: --model"),
        ({"model": "llama-8b"}, r"its tokenizer cannot count"),
    ],
)
def test_what_is_told_must_do(told, words):
    chosen = small(model={"path": "someone/on-a-hub"})
    with pytest.raises(UsageError, match=words):
        plan.plan(chosen, Told(**told))


def test_divided_weights_take_a_part_of_each_device_and_are_asked_once_more_for_twins():
    def found(shard, devices):
        train = {"device": "cuda", "shard": shard, "epochs": 3, "gradient_checkpointing": True}
        return plan.plan(
            small("kpig", train=train),
            Told(model="llama-8b", devices=devices, **TOLD, gigabytes=10**6),
        )

    whole, part = (found(shard, 8).taken.phases.training for shard in (False, True))
    assert part.optimizer == whole.optimizer / 8 and part.reference == whole.reference / 8
    assert whole.weights / 8 < part.weights < whole.weights / 2
    assert found(True, 1).taken.phases.training.weights == whole.weights, "one process has all"
    assert not any(plan.FOUR_BITS in way.changes for way in found(True, 8).ways)
    assert found(True, 8).work.update >= found(False, 8).work.update


def test_the_command_says_which_way_to_take_and_prints_json(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(config.dump(small("kpig", train={"device": "auto"})))
    said = ["plan", path, "--model", "llama-8b", "--devices", "4", "--memory", "40"]
    said += ["--examples", "1000", "--tokens", "100", "--response-tokens", "20", "--tflops", "300"]
    said += ["--set", "train.batch_size=2", "--set", "replay.ratio=0"]
    found = kpig(*said)
    assert found.returncode == 0, found.stderr
    assert "8.03 billion weights" in found.stdout and "of each of 4 x 40 GB" in found.stdout
    assert (
        f"torchrun --nproc_per_node 4 -m kpig run {path} --set model.path=FOLDER --set model.adapter=lora"
        in found.stdout
    )
    assert (
        "passes of an update: 2, so that 2 of 4 devices have none" in found.stdout
        and "1.33 times the FLOP" in found.stdout
    )
    assert "at 300 TFLOP/s a device" in found.stdout and "train.keep_models bounds them" in found.stdout
    table = json.loads(kpig(*said, "--json").stdout)
    assert table["shape"]["weights"] == 8_030_261_248 and table["ways"][0]["fits"] is False
    assert table["taken"]["changes"][0] == "model.adapter=lora"


def test_the_data_of_the_config_are_counted_where_nothing_is_told(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(config.dump(small("replay")))
    found = kpig("plan", path, "--bandwidth", "2000")
    assert found.returncode == 0, found.stderr
    assert "take: kpig run" in found.stdout and "when all tasks are scored, " in found.stdout


def test_the_tables_of_the_page_are_what_the_benchmark_prints():
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    printed = runpy.run_path(str(ROOT / "benchmarks" / "scaling.py"))
    assert all(printed["markdown"](rows()) in page for rows in printed["TABLES"])


@pytest.mark.parametrize("name", [*architectures.CAUSAL])
def test_a_config_of_any_architecture_tells_its_weights_or_is_refused(name):
    made = architectures.CAUSAL[name]()
    built = sum(weight.numel() for weight in architectures.build(made).parameters())
    try:
        found = shapes.of_table(made.to_dict(), ModelSection())
    except ModelError as error:
        assert "tells its sizes by other names" in str(error) and name in ("mamba", "mpt", "bloom")
    else:
        assert (found.weights, found.trained) == (built, built) and found.layers == 2


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "cannot be loaded"),
        ({"model_type": "no such"}, "cannot be loaded"),
        ({"model_type": "llama", "hidden_size": -1}, "cannot be loaded"),
        ({"is_encoder_decoder": True, "model_type": "t5"}, "encoder-decoder"),
        ({"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}, "quantized weights"),
    ],
)
def test_a_config_that_makes_no_model_is_refused_in_words(table, words, tmp_path):
    with pytest.raises(ModelError, match=words):
        shapes.of_table(table, ModelSection())


def test_the_disk_is_that_which_a_run_says_that_it_takes():
    for adapter in ("none", "lora"):
        chosen = small("replay", model={"adapter": adapter})
        found = plan.plan(chosen, Told(gigabytes=10**6))
        assert found.disk == disk.needed(chosen, disk.trained_bytes(chosen.model), found.data.steps)


def test_many_steps_and_devices_are_reckoned_at_once():
    probing = {"name": "kpig", "kpig": {"gain_from": "probe"}}
    chosen = config.build({"train": {"device": "auto"}, "method": probing})
    found = plan.plan(chosen, Told(model="llama-1b", steps=10**9, devices=10**6, **TOLD))
    assert found.updates >= 1 and found.work.gains > 0
