"""Fit one step of the stream: the one training loop of every method, on Accelerate."""

import itertools
import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from accelerate import Accelerator

from kpig import ranks
from kpig.config import RunConfig, TrainSection
from kpig.config.section import AUTO
from kpig.errors import DivergedError, ModelError, TrainingError, is_out_of_memory
from kpig.methods.base import Clock, Method, Step
from kpig.methods.parts.memory import reworded
from kpig.model import portions
from kpig.model.generation import NOT_FINITE
from kpig.model.learner import Learner
from kpig.model.shards import whole
from kpig.records import Example, Task
from kpig.training import checkpoint, notice
from kpig.training.checkpoint import Checkpoint
from kpig.training.passes import Passes, require_finite, require_own_names
from kpig.training.penalty_watch import ratios, watch_over
from kpig.training.soundness import Soundness
from kpig.training.validation import Validation

HELD_OUT_LOSS_EXAMPLES = 256
"""Of twice as many test examples or more, every second, third, ... is read for the held-out loss, so that its
cost does not grow with them. Chosen, not measured."""


def fit_step(
    learner: Learner,
    method: Method,
    step: Step,
    config: RunConfig,
    log: Callable[[dict[str, Any]], None],
    save: Callable[[Checkpoint], None],
    resume_from: Checkpoint | None = None,
) -> None:
    """Train the learner on one step, in place.

    `log` receives one dict per update, one with a "warning" where a penalty stays too small or too
    large beside the cross-entropy, and one with a "note" where the validation loss was lowest before the
    last update and the step therefore ends early or goes back; `save` a checkpoint every
    `train.checkpoint_every` updates, and one after the update in which the process was given notice to end
    (`kpig.training.notice`), which ends the step with Stopped.
    Where the step goes back (`train.keep_best`) the method's `end_step` and `remember` find weights and state
    as they were after the best update, as if the step had ended there.
    A checkpoint whose own loss has exploded is not saved, which a "warning" tells. Raises DivergedError on a
    loss or gradient that is not finite, before the optimizer moves, and where the weights of a checkpoint, or
    of the step's end, are not finite or have no finite loss.
    """
    settings = config.train
    accelerator = _accelerator(learner.device)
    validation = Validation(step.tasks, settings, resume_from.best if resume_from else None)
    with learner.ledger.timed("train_seconds"):
        step = method.begin_step(step, learner)
    if notice.is_given_to_any():
        notice.heed()
    num_train = sum(len(task.train) for task in step.tasks)
    if settings.row_tokens not in (0, AUTO):
        require_packable(learner, _read_in_rows(step.tasks, settings), settings)
    optimizer = _optimizer(learner, settings)
    done = 0
    if resume_from is not None:
        checkpoint.restore(resume_from, learner, optimizer, method)
        done = resume_from.update
    learner.network.recompute(settings.gradient_checkpointing)
    learner.model.train()
    passes = Passes(accelerator, learner, method, settings, log)
    soundness = Soundness(learner)
    penalty_watch = watch_over(method, step.num_updates)
    while done < step.num_updates and not validation.is_over:
        clock = clock_at(config, step, done)
        done += 1
        with learner.ledger.timed("train_seconds"), _memory_explained(clock, passes):
            record, examples = _update(passes, step, optimizer, clock)
            if validation.is_due(clock, num_train):
                record["validation_loss"] = validation.measure(passes, done)
        if settings.held_out_loss_every and done % settings.held_out_loss_every == 0:
            record["held_out_loss"] = held_out_loss(learner, step.tasks, settings)
        log({"step": step.number, "update": done, **record})
        if warning := penalty_watch.warning(record):
            log({"step": step.number, "warning": warning})
        soundness.see(record.get("cross_entropy", record["loss"]))
        is_last = done == step.num_updates or validation.is_over
        is_due = settings.checkpoint_every and (is_last or done % settings.checkpoint_every == 0)
        must_end = notice.is_given_to_any()
        if not (is_last or is_due or must_end):
            continue
        with _memory_explained(clock, passes):
            doubt = soundness.doubt(passes, examples, clock)
        if doubt:
            log({"step": step.number, "warning": f"{doubt}. These weights are no checkpoint to go on from"})
        elif is_due or must_end:
            save(checkpoint.capture(done, learner, optimizer, method, validation.best))
        if must_end:
            notice.heed()
    if note := validation.note(done, step.num_updates):
        log({"step": step.number, "note": note})
    with learner.ledger.timed("train_seconds"):
        validation.restore(learner, method)
        method.end_step(step, learner)
        method.remember(step, learner)
    learner.model.eval()


def num_updates(tasks: Sequence[Task], settings: TrainSection) -> int:
    """Optimizer updates for one step: as configured, or enough for `epochs` passes over its examples."""
    return settings.updates_per_step or len(bounds(tasks, settings)) - 1


def bounds(tasks: Sequence[Task], settings: TrainSection) -> tuple[int, ...]:
    """How many current examples come before each update of `epochs` passes over a step, and before its end.

    A pass goes over each example once, so the last update takes what is left; a part of an example that a
    fraction of a pass asks for is a whole one. Empty with `updates_per_step`: every batch is full.
    """
    if settings.updates_per_step:
        return ()
    asked = settings.epochs * sum(len(task.train) for task in tasks)
    num_examples = max(1, math.ceil(round(asked, 6)))
    return (*range(0, num_examples, settings.batch_size), num_examples)


def joined(steps: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The bounds of several steps that are learned as one: the same updates, one step after the other."""
    if not all(steps):
        return ()
    ends = itertools.accumulate(step[-1] for step in steps)
    starts = (0, *ends)
    return (
        *(start + one for start, step in zip(starts, steps, strict=False) for one in step[:-1]),
        starts[-1],
    )


def learning_rate(settings: TrainSection, update: int, num_updates: int) -> float:
    """Linear warm-up, then a half cosine to 0 or a constant; `update` counts from 0."""
    num_warmup = math.ceil(settings.warmup * num_updates)
    if update < num_warmup:
        return settings.learning_rate * (update + 1) / num_warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = (update - num_warmup) / max(1, num_updates - num_warmup)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def current_examples(step: Step, clock: Clock, group_size: int = 1) -> list[Example]:
    """This update's examples of the current step: every epoch in a new order, under new wordings.

    With a `group_size` of more than 1, that many examples of a task follow each other.
    """
    sizes = tuple(len(task.train) for task in step.tasks)
    firsts = list(itertools.accumulate(sizes, initial=0))
    start = clock.current_before(clock.update)
    chosen = []
    for position in range(start, start + clock.num_current):
        epoch, index = divmod(position, firsts[-1])
        number = _order(sizes, group_size, f"{clock.seed}/order/{clock.step}/{epoch}")[index]
        at = bisect_right(firsts, number) - 1
        task = step.tasks[at]
        example = task.train[number - firsts[at]]
        rng = random.Random(f"{clock.seed}/wording/{clock.step}/{position}")
        chosen.append(reworded(example, task.instructions, rng))
    return chosen


def held_out_loss(learner: Learner, tasks: Sequence[Task], settings: TrainSection) -> float:
    """Mean cross-entropy, in nats per response token, on an even choice of the tasks' test examples.

    Raises DivergedError where it is not finite.
    """
    examples = [example for task in tasks for example in task.test]
    chosen = examples[:: max(1, len(examples) // HELD_OUT_LOSS_EXAMPLES)]
    with learner.ledger.unspent():
        found = learner.mean_loss(learner.training_batches(chosen, settings))
    if not math.isfinite(found):
        raise DivergedError(f"the loss on the test examples is not finite ({found}): {NOT_FINITE}")
    return round(found, 6)


def require_packable(learner: Learner, examples: Sequence[Example], settings: TrainSection) -> None:
    """Refuse shared rows of a given length for a model that cannot be told which examples share one.

    So are models whose attention is recurrent, windowed or blind to given positions: ModelError. A model with
    a window is refused where an example is longer than the window.
    """
    longest = max((one.num_tokens for one in learner.encoder.encode_all(examples)), default=0)
    if doubt := learner.sharing_doubt(longest):
        raise ModelError(
            f"train.row_tokens = {settings.row_tokens}: this model ({type(learner.model).__name__}) cannot "
            f'share rows: {doubt}; set train.row_tokens = 0, or "auto"'
        )


def _read_in_rows(tasks: Sequence[Task], settings: TrainSection) -> list[Example]:
    """What a step reads in shared rows: what it trains on, also under the longest wordings, and tests."""
    found = [example for task in tasks for example in task.train]
    for task in tasks:
        for example in task.train:
            longest = task.longest_wording(example)
            if longest != example.instruction:
                found.append(replace(example, instruction=longest))
    found += [example for task in tasks for example in task.validation]
    tested = tasks if settings.held_out_loss_every else ()
    return found + [example for task in tested for example in task.test]


def clock_at(config: RunConfig, step: Step, update: int) -> Clock:
    """Where training stands before an update."""
    size = config.train.batch_size
    if step.bounds:
        size = step.bounds[update + 1] - step.bounds[update]
    return Clock(config.seed, step.number, update, step.num_updates, size, step.bounds)


def _update(
    passes: Passes, step: Step, optimizer: torch.optim.Optimizer, clock: Clock
) -> tuple[dict[str, Any], list[Example]]:
    """One update of the optimizer: its record, and the examples that it read."""
    learner, method, settings = passes.learner, passes.method, passes.settings
    num_trained = learner.ledger.train_tokens
    torch.manual_seed(clock.rng(f"dropout{ranks.number() or ''}").getrandbits(63))
    with learner.computing(passes.precision):
        replayed = list(method.replay(clock, learner))
        current = list(method.current(current_examples(step, clock, settings.group_size), clock, learner))
    examples = current + replayed
    totals, num_tokens = passes.read(examples, len(replayed), clock)
    penalty = method.penalty(learner)
    if penalty is not None:
        require_finite("penalty", penalty, clock)
        passes.accelerator.backward(penalty)
    method.shape_gradients(learner, clock)
    norm = whole(passes.accelerator.clip_grad_norm_(list(learner.parameters().values()), settings.clip))
    require_finite("gradient", norm, clock)
    rate = learning_rate(settings, clock.update, clock.num_updates)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    learner.ledger.updates += 1
    learner.ledger.replayed_examples += len(replayed)
    means = {name: float(value) / max(1, num_tokens) for name, value in totals.items()}
    if penalty is not None:
        means["penalty"] = float(penalty.detach())
    penalties = method.all_penalties()
    fine = {"penalty", *penalties}
    means = {name: round(value, 9 if name in fine else 6) for name, value in means.items()}
    if found := ratios(means, penalties):
        means["penalty_ratio"] = float(f"{sum(found.values()):.4g}")
    counts = {"tokens": num_tokens, "replayed": len(replayed), "gradient_norm": round(float(norm), 6)}
    course = {"learning_rate": rate, "train_tokens": learner.ledger.train_tokens - num_trained}
    by_task = {"replayed_tasks": Counter(example.task for example in replayed)} if replayed else {}
    measured = method.measured(clock)
    require_own_names(method, "measured", measured)
    return {**means, **counts, **course, **by_task, **measured}, examples


def _accelerator(device: torch.device) -> Accelerator:
    """One device for each process. The precision is the passes' own: Accelerate would fix it for good."""
    accelerator = Accelerator(mixed_precision="no", cpu=device.type == "cpu")
    if accelerator.num_processes > ranks.num_started():
        raise TrainingError(
            f"a launcher has started {accelerator.num_processes} processes, which do not know of each other; "
            "call kpig.ranks.join() before anything else in each, or kpig.run, which does"
        )
    return accelerator


@contextmanager
def _memory_explained(clock: Clock, passes: Passes) -> Iterator[None]:
    """Memory that runs out where no smaller batches help: what to lower, as a TrainingError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        budget = portions.training(passes.learner.device, passes.settings.tokens_per_micro_batch)
        raise TrainingError(
            f"memory ran out at step {clock.step}, update {clock.update + 1}; lower "
            f"train.tokens_per_micro_batch (now {budget}) and continue with --resume: results stay the same "
            'up to rounding. Or set model.adapter = "lora" in a new run'
        ) from error


def _optimizer(learner: Learner, settings: TrainSection) -> torch.optim.Optimizer:
    """AdamW, anew for each step. ModelError for float16 weights, in which its second moments are 0."""
    if any(weight.dtype == torch.float16 for weight in learner.parameters().values()):
        raise ModelError(
            "weights to be trained are float16, in which Adam holds squares of small gradients for 0: its "
            'updates destroy them; set model.dtype = "float32", or model.adapter = "lora"'
        )
    fused = learner.device.type in ("cpu", "cuda")
    parameters = list(learner.parameters().values())
    betas, decay = (0.9, settings.beta2), settings.weight_decay
    return torch.optim.AdamW(parameters, settings.learning_rate, betas, weight_decay=decay, fused=fused)


@lru_cache(maxsize=4)
def _order(sizes: tuple[int, ...], group_size: int, seed: str) -> list[int]:
    """A random order of the numbers below sum(sizes), in runs of `group_size` from one of the `sizes`."""
    rng = random.Random(seed)
    if group_size == 1:
        order = list(range(sum(sizes)))
        rng.shuffle(order)
        return order
    runs, start = [], 0
    for size in sizes:
        members = rng.sample(range(start, start + size), size)
        runs += [members[first : first + group_size] for first in range(0, size, group_size)]
        start += size
    rng.shuffle(runs)
    return [number for run in runs for number in run]
