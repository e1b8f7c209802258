"""Speed of pre-training updates: shared rows against a padded row each, float32 against bfloat16.

    python benchmarks/rows.py TASKS [UPDATES]

The same examples, the same model of random weights, the four layouts in turn within one process; the matrix
rates of the machine are measured before them. Prints examples and tokens per second and the share of the
float32 matrix rate; attention products, padding and, in the reading term, the output layer are not counted as
work. The losses of the layouts must agree.
"""

import statistics
import sys
import time

import torch

from kpig import config
from kpig.methods.base import Clock, Step
from kpig.methods.chosen import create
from kpig.model.encoding import Encoder
from kpig.model.learner import Learner
from kpig.pretrain import job, mixture, shapes, speed
from kpig.pretrain.tokenizer import train_tokenizer
from kpig.training.loop import current_examples

LAYOUTS = [(0, "float32"), (448, "float32"), (0, "bfloat16"), (448, "bfloat16")]


def main() -> None:
    """Measure and print."""
    path, num_updates = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    tasks, dropped = mixture.read_mixture(path, test_per_task=5)
    shape = shapes.SHAPES["small"]
    tokenizer = train_tokenizer(tasks, shape.vocabulary)
    encoder = Encoder(tokenizer, 448)
    tasks = mixture.fitting(tasks, encoder, job.MAX_NEW_TOKENS, dropped).tasks
    learner = Learner(shapes.build(shape, tokenizer, seed=0), tokenizer, encoder)
    rates = speed.matmul_rates()
    print(", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in rates.items()), flush=True)
    step, seconds, losses = Step(1, tasks, num_updates), {layout: [] for layout in LAYOUTS}, {}
    for update in range(num_updates + 1):
        for layout in LAYOUTS:
            found = timed(learner, step, update, *layout)
            if update:
                seconds[layout].append(found[0])
                losses[layout] = found[1]
                tokens, responses = found[2:]
                work = 6 * shape.body * tokens + 6 * shape.width * shape.vocabulary * responses
                print(update, *layout, f"{found[0]:.2f} s, {tokens / found[0]:.0f} tokens/s,", end=" ")
                print(f"{work / found[0] / rates['float32_rate']:.0%} of the float32 rate", flush=True)
    plain = statistics.median(seconds[LAYOUTS[0]])
    for layout, values in seconds.items():
        middle = statistics.median(values)
        print(*layout, f"{64 / middle:.1f} examples/s, {plain / middle:.2f} x, loss {losses[layout]:.4f}")


def timed(learner: Learner, step: Step, update: int, row_tokens: int, precision: str) -> tuple:
    """Seconds, loss, tokens, response tokens of a forward and backward over 64 examples; responses only."""
    settings = config.build({"train": {"batch_size": 64, "group_size": 4, "row_tokens": row_tokens}})
    method = create(config.build({"method": {"name": "sequential"}}))
    examples = current_examples(step, Clock(0, 1, update, step.num_updates, 64), group_size=4)
    before, total, count = learner.ledger.train_tokens, 0.0, 0
    start = time.perf_counter()
    for batch in learner.training_batches(examples, settings.train):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = method.loss(learner, batch)
        loss.sum.backward()
        total, count = total + float(loss.sum.detach()), count + batch.num_tokens
    taken = time.perf_counter() - start
    learner.model.zero_grad()
    return taken, total / count, learner.ledger.train_tokens - before, count


if __name__ == "__main__":
    main()
