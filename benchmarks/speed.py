"""How fast kpig is on this machine: the tables of docs/performance.md in one command.

    python benchmarks/speed.py [updates] [lengths] [gain] [divergence] [check] [--model DIR] [--tasks DIR]

CPU seconds of one process on one thread. The arms of a table take turns; figures are medians over --rounds
turns, after one that does not count. `updates` sets one update of plain tuning beside TRL's SFTTrainer, where
`trl` is installed (padded and padding-free), and KPIG's update beside the plain one; each with a row for
every example and with shared rows. KPIG is measured as it was before too: with the logits of all tokens, and
the reference asked anew; and where all of its twins come again, so that the reference's answers are kept. All
have the same examples, token ids, optimizer, precision, and loss on
the response alone, without checkpointing, and a learning rate of 0: so the losses must agree. TRL's path
without Triton scores every position of a text, which on a GPU it does not.
"""

import argparse
import copy
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from kpig import config
from kpig.config import ModelSection
from kpig.methods.base import Clock, Step
from kpig.methods.chosen import create
from kpig.methods.kpig import KpigSettings
from kpig.model import gain
from kpig.model.head import Head
from kpig.model.learner import Learner
from kpig.model.loading import load
from kpig.model.objective import jsd
from kpig.model.projection import Divergence, summed
from kpig.records import Example, Gain, Task
from kpig.tasks import stream
from kpig.training import loop
from kpig.training.passes import Passes

ROOT = Path(__file__).parents[1]
MODEL, TASKS = ROOT / "models" / "smollm2-135m-instruct", ROOT.parent / "shared" / "data" / "superni-stream"
KINDS = {
    "full bfloat16": ("none", "bfloat16"),
    "LoRA bfloat16": ("lora", "bfloat16"),
    "full float32": ("none", "float32"),
    "LoRA float32": ("lora", "float32"),
}
ARMS = {
    "plain, own rows": ("sequential", 0, "first"),
    "plain": ("sequential", "auto", "first"),
    "KPIG, own rows, as before": ("kpig", 0, "logits"),
    "KPIG, as before": ("kpig", "auto", "logits"),
    "KPIG": ("kpig", "auto", "first"),
    "KPIG, twins that come again": ("kpig", "auto", "again"),
}
"""By name: the method, its rows, and whether its examples are read for the first time, or again after a pass
that does not count; "logits" has the logits of all tokens at once, and keeps nothing."""

SECTIONS = ("updates", "lengths", "gain", "divergence", "check")
NUM_READ = 24
"""Examples of an update at its defaults: 16, and half as many replayed."""

SHAPES = ((4, 128), (8, 128), (16, 128), (4, 256), (2, 512), (1, 1024))
"""Rows and their length: how many tokens a pass takes, and how long rows may be."""

Arm = Callable[[], Mapping[str, float]]


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", choices=SECTIONS, help="all, unless some are named")
    parser.add_argument("--model", type=Path, default=MODEL, help="scripts/smollm2.py makes the default")
    parser.add_argument("--tasks", type=Path, default=TASKS, help="a folder with a stream of tasks")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plain", action="store_true", help="leave TRL out")
    parser.add_argument("--examples", type=int, default=8, help="of an update")
    parser.add_argument("--together", type=int, default=1, help="examples of one task drawn together")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sections = given.sections or SECTIONS
    if "updates" in sections:
        rates = {name: rate(getattr(torch, name)) for name in ("float32", "bfloat16")}
        told = (f"{name} {found / 1e9:.0f}" for name, found in rates.items())
        print(f"matrix products, GFLOP per CPU second: {', '.join(told)}\n", flush=True)
        for kind in given.kinds:
            updates(given, kind, rates)
    for name, section in {
        "lengths": lengths,
        "gain": gains,
        "divergence": divergence,
        "check": check,
    }.items():
        if name in sections:
            section(given)


# One update


def updates(given: argparse.Namespace, kind: str, rates: Mapping[str, float]) -> None:
    """Plain tuning, KPIG and TRL, one update each in turn."""
    adapter, precision = KINDS[kind]
    learner, tasks = starting(given, adapter)
    step = Step(1, tasks, 10_000)
    weights = Weights(learner.model)
    made: dict[str, Kpig | Trl] = {}
    if has_trl() and not given.plain:
        made["TRL padded"] = Trl(learner, weights, precision, padding_free=False)
        made["TRL padding-free"] = Trl(learner, weights, precision, padding_free=True)
    for name, (method, row_tokens, way) in ARMS.items():
        made[name] = Kpig(learner, weights, method, precision, row_tokens, way)
    found: dict[str, list[Mapping[str, float]]] = {name: [] for name in made}
    for number in range(given.rounds + 1):
        clock = Clock(0, 1, number, step.num_updates, given.examples)
        examples = loop.current_examples(step, clock, given.together)
        for name, training in made.items():
            result = training.update(examples, clock)
            print(f"{kind}, update {number}, {name}: {described(result)}", file=sys.stderr, flush=True)
            if number:
                found[name].append(result)
    show(f"{kind}: one update of {given.examples} examples, {given.together} of a task together", found)
    plain = median(found["plain"], "seconds")
    tokens = median(found["plain"], "computed")
    body = sum(weight.numel() for weight in learner.model.parameters() if weight.dim() > 1)
    body -= learner.model.get_input_embeddings().weight.numel()
    operations = 6 if adapter == "none" else 4
    share = operations * body * tokens / plain / rates[precision]
    print(
        f"plain: {share:.0%} of the {precision} matrix rate, of a weight and token {operations} operations\n"
    )


class Weights:
    """A model's weights with their optimizer, whose steps take their time and change nothing."""

    def __init__(self, model: Any):
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, 0.0, weight_decay=0.0, fused=True)

    def step(self) -> float:
        """What follows the backward pass; the norm of the gradient."""
        norm = torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)


class Kpig:
    """Updates by one of kpig's methods."""

    def __init__(
        self, learner: Learner, weights: Weights, method: str, precision: str, row_tokens: int | str, way: str
    ):
        settings = {"row_tokens": row_tokens, "precision": precision, "device": "cpu"}
        run = config.build({"method": {"name": method}, "train": settings})
        self.learner, self.weights, self.method, self.way = learner, weights, create(run), way
        if way == "logits":
            self.learner = copy.copy(learner)
            self.learner.head = lambda: None
            learner = self.learner
        self.passes = Passes(Plain(precision), learner, self.method, run.train, lambda _: None)

    def update(self, examples: Sequence[Example], clock: Clock) -> Mapping[str, float]:
        """What one update took, its loss and its tokens."""
        self.method.gains = dict.fromkeys((one.task for one in examples), Gain(0.3, 0.3, 0.5, 0.2))
        self.method.kept = {}
        self.learner.model.train()
        if self.way == "again":
            self.passes.read(examples, 0, clock)
            self.learner.model.zero_grad(set_to_none=True)
        before, start = self.learner.ledger.computed_tokens, time.process_time()
        totals, num_tokens = self.passes.read(examples, 0, clock)
        norm = self.weights.step()
        seconds, computed = time.process_time() - start, self.learner.ledger.computed_tokens - before
        loss = float(totals["cross_entropy"]) / num_tokens
        return {"seconds": seconds, "loss": loss, "norm": norm, "computed": computed}


class Plain:
    """What a pass needs of Accelerate, which fixes the precision for the life of a process."""

    def __init__(self, precision: str):
        self.precision = precision

    def autocast(self) -> Any:
        """bfloat16 where it is asked for."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")

    def backward(self, loss: torch.Tensor) -> None:
        """As it is."""
        loss.backward()


class Trl:
    """Updates of TRL's SFTTrainer on the same token ids: its collator, its loss, its backward pass."""

    PER_PASS = 8
    """Examples of a pass: TRL's default."""

    def __init__(self, learner: Learner, weights: Weights, precision: str, padding_free: bool):
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        self.learner, self.weights = learner, weights
        # TRL puts a forward pass of its own on the model: a copy, around the same weights.
        model = copy.deepcopy(learner.model, {id(one): one for one in learner.model.parameters()})
        ids = {"input_ids": [[1, 2]], "labels": [[1, 2]]}
        settings = SFTConfig(
            output_dir="/tmp/unused",
            use_cpu=True,
            bf16=precision == "bfloat16",
            gradient_checkpointing=False,
            padding_free=padding_free,
            dataset_kwargs={"skip_prepare_dataset": True},
            per_device_train_batch_size=self.PER_PASS,
            report_to=[],
            max_length=None,
        )
        with torch.random.fork_rng(devices=[]):
            self.trainer = SFTTrainer(
                model,
                args=settings,
                train_dataset=Dataset.from_dict(ids),
                processing_class=learner.tokenizer,
            )

    def update(self, examples: Sequence[Example], clock: Clock) -> Mapping[str, float]:
        """What one update took, its loss and its tokens."""
        self.trainer.model.train()
        start = time.process_time()
        encoded = [self.learner.encoder.encode(one) for one in examples]
        texts = [
            {"input_ids": [*one.prompt, *one.response], "labels": [*[-100] * len(one.prompt), *one.response]}
            for one in encoded
        ]
        num_tokens, loss, computed = torch.tensor(sum(len(one.response) for one in encoded)), 0.0, 0
        for first in range(0, len(texts), self.PER_PASS):
            inputs = self.trainer.data_collator(texts[first : first + self.PER_PASS])
            computed += inputs["input_ids"].numel()
            loss += float(self.trainer.training_step(self.trainer.model, inputs, num_tokens))
        norm = self.weights.step()
        seconds = time.process_time() - start
        return {"seconds": seconds, "loss": loss, "norm": norm, "computed": computed}


def starting(given: argparse.Namespace, adapter: str) -> tuple[Learner, tuple[Task, ...]]:
    """The model, and the tasks of the stream's first step."""
    section = ModelSection(path=str(given.model), max_length=1024, adapter=adapter)
    learner = load(section, keep_initial=True)
    return learner, stream.load(given.tasks, train_per_task=200, test_per_task=1).steps[0]


def has_trl() -> bool:
    """Whether the other side of the comparison is installed."""
    with suppress(ImportError):
        import trl  # noqa: F401

        return True
    return False


def rate(dtype: torch.dtype, size: int = 2048) -> float:
    """Floating-point operations per CPU second of a large matrix product, the best of five."""
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(6):
        start = time.process_time()
        (left @ right)[0, 0].item()
        seconds.append(time.process_time() - start)
    return 2 * size**3 / min(seconds[1:])


# Tables


def show(title: str, found: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Medians of every arm, and how many times as long as each it takes the others."""
    print(f"## {title}\n")
    names = list(found)
    print("| | seconds | tokens computed | loss | " + " | ".join(f"/ {name}" for name in names) + " |")
    print("|---" * (4 + len(names)) + "|")
    for name, results in found.items():
        ratios = [paired(results, found[other]) for other in names]
        figures = (f"{ratio:.2f}" for ratio in ratios)
        low, high = (pick(one["seconds"] for one in results) for pick in (min, max))
        print(
            f"| {name} | {median(results, 'seconds'):.2f} ({low:.2f} to {high:.2f}) | "
            f"{median(results, 'computed'):.0f} | {median(results, 'loss'):.4f} | {' | '.join(figures)} |"
        )
    print(flush=True)


def paired(one: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]) -> float:
    """The median of the ratios of seconds, turn by turn."""
    return statistics.median(a["seconds"] / b["seconds"] for a, b in zip(one, other, strict=True))


def median(results: Iterable[Mapping[str, float]], name: str) -> float:
    """Of one figure over all turns."""
    return statistics.median(one[name] for one in results)


def described(result: Mapping[str, float]) -> str:
    """One turn in words."""
    return ", ".join(f"{name} {value:.4g}" for name, value in result.items())


def in_turn(title: str, arms: Mapping[str, Arm], rounds: int) -> Mapping[str, Sequence[Mapping[str, float]]]:
    """The table of arms that take turns, and what is in it."""
    found: dict[str, list[Mapping[str, float]]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, arm in arms.items():
            start = time.process_time()
            result = arm()
            if number:
                found[name].append({"seconds": time.process_time() - start} | result)
    show(title, found)
    return found


# What else costs


def lengths(given: argparse.Namespace) -> None:
    """A forward and backward pass over rows of other numbers and lengths, of a model of the first 6 layers.

    What `kpig.model.portions` has of them; masks as shared rows have them.
    """
    shape = AutoConfig.from_pretrained(given.model)
    shape.num_hidden_layers = 6
    model = AutoModelForCausalLM.from_config(shape).train()

    def arm(num_rows: int, length: int, precision: str) -> Mapping[str, float]:
        ids = torch.randint(3, shape.vocab_size, (num_rows, length))
        mask = torch.ones(num_rows, 1, length, length, dtype=torch.bool).tril()
        mask[:, :, length // 2 :, 5:10] = False
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        loss = hidden[:, :8].float().pow(2).mean()
        loss.backward()
        model.zero_grad(set_to_none=False)
        return {"computed": num_rows * length, "loss": float(loss.detach())}

    for precision in ("bfloat16", "float32"):
        arms = {
            f"{rows} x {length}": lambda rows=rows, length=length, precision=precision: arm(
                rows, length, precision
            )
            for rows, length in SHAPES
        }
        in_turn(f"Rows x length, 6 layers, {precision}", arms, given.rounds)


def gains(given: argparse.Namespace) -> None:
    """What measuring gain takes beside updates at their defaults, and its share of a run over the stream.

    The gain of the tasks of a step is measured, and an update of as many examples of theirs made as a default
    one has, replayed ones included. None comes again. The share follows by counting: how many tasks are
    measured how often, how many updates are made.
    """
    steps = stream.load(given.tasks, test_per_task=1).steps
    for kind in given.kinds:
        adapter, precision = KINDS[kind]
        learner, tasks = starting(given, adapter)
        training = Kpig(learner, Weights(learner.model), "kpig", precision, "auto", "first")
        clock = Clock(0, 1, 0, 10_000, NUM_READ)
        examples = loop.current_examples(Step(1, tasks, 10_000), clock)
        probes = {task.name: training.method.memory.part(task)[: KpigSettings().num_probes] for task in tasks}
        arms = {
            "gain": lambda learner=learner, precision=precision, probes=probes: measured(
                learner, probes, precision
            ),
            "update": lambda training=training, examples=examples, clock=clock: training.update(
                examples, clock
            ),
        }
        found = in_turn(f"{kind}: gain of {len(tasks)} tasks, and an update", arms, given.rounds)
        measure, update = (median(found[name], "seconds") for name in arms)
        run, settings = config.build({"method": {"name": "kpig"}}), KpigSettings()
        seconds_of_gain = seconds_of_updates = 0.0
        for number, step in enumerate(steps, 1):
            num_updates = loop.num_updates(step, run.train)
            num_measured = math.ceil(num_updates / settings.refresh) * number
            seconds_of_gain += num_measured * measure
            seconds_of_updates += num_updates * update
        share = seconds_of_gain / (seconds_of_gain + seconds_of_updates)
        print(f"{kind}: measuring gain takes {share:.1%} of training over {len(steps)} steps\n", flush=True)


def measured(
    learner: Learner, probes: Mapping[str, Sequence[Example]], precision: str
) -> Mapping[str, float]:
    """The gain of tasks, as a run at its defaults measures it; the first task's stands under loss."""
    before = learner.ledger.computed_tokens
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        found = gain.measure(learner, probes, "auto")
    return {"computed": learner.ledger.computed_tokens - before, "loss": next(iter(found.values())).prob}


def divergence(given: argparse.Namespace) -> None:
    """Memory and time of the divergence of 512 tokens, forward and backward, each in a process of its own."""
    print("## Jensen-Shannon divergence of 512 tokens, from hidden states of width 576\n")
    print("| vocabulary | head | logits | seconds (least to most) | MiB | of these the head's gradient |")
    print("|---" * 6 + "|")
    ways = [(head, logits) for head in ("frozen", "trained") for logits in ("all", "in parts")]
    for vocabulary in (49_152, 150_000):
        found: dict[tuple[str, str], list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(given.rounds):
            for way in ways:
                code = f"import speed; speed.one_divergence({vocabulary}, {way})"
                told = subprocess.run(
                    [sys.executable, "-c", code],
                    cwd=Path(__file__).parent,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                seconds, memory = map(float, told.stdout.split())
                found[way].append((seconds, memory))
        for (head, logits), results in found.items():
            seconds, memory = (sorted(column) for column in zip(*results, strict=True))
            gradient = vocabulary * 576 * 4 / 2**20 if head == "trained" else 0
            print(
                f"| {vocabulary:,} | {head} | {logits} | {statistics.median(seconds):.2f} "
                f"({seconds[0]:.2f} to {seconds[-1]:.2f}) | {statistics.median(memory):.0f} "
                f"| {gradient:.0f} |",
                flush=True,
            )
    print()


def one_divergence(vocabulary: int, way: tuple[str, str]) -> None:
    """Print seconds and MiB above hidden states and weights of one divergence."""
    torch.set_num_threads(1)
    states, reference, weight, other = (
        torch.empty(count, 576).normal_(0, scale)
        for count, scale in ((512, 1), (512, 1), (vocabulary, 0.05), (vocabulary, 0.05))
    )
    states.requires_grad_()
    weight.requires_grad_(way[0] == "trained")
    target = torch.arange(512)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    if way[1] == "all":
        total = jsd(states @ weight.T, reference @ other.T).sum()
    else:
        held = Divergence(target, reference, Head(other), torch.ones(512))
        total = summed(states, Head(weight), [held]).total
    total.backward()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{time.process_time() - start:.3f}", f"{memory / 1024:.0f}")


def check(given: argparse.Namespace) -> None:
    """What `kpig check` takes on the shipped example."""
    found = []
    for _ in range(given.rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "kpig", "check", str(ROOT / "examples" / "suite.toml")]
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(sum(getattr(after, key) - getattr(before, key) for key in ("ru_utime", "ru_stime")))
    print(f"## kpig check\n\n{statistics.median(found):.2f} CPU seconds, median of {given.rounds}\n")


if __name__ == "__main__":
    main()
