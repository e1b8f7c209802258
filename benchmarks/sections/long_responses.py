"""Section `long`: one update on responses of 200 to 400 tokens, which instruction data of today have."""

import argparse
import random
from collections.abc import Sequence
from dataclasses import replace

from kpig.model.encoding import Encoder
from kpig.records import Example, Task
from sections.updates import KINDS, compare
from sections.weights import starting

LEAST, MOST = 200, 400
NUM_EXAMPLES = 60
"""Of a task: an update draws from so many."""


def show(given: argparse.Namespace) -> None:
    """A table for each kind."""
    for kind in given.kinds:
        learner, tasks = starting(given, KINDS[kind][0])
        answered = [longer(task, learner.encoder) for task in tasks]
        title = f"{kind}: one update of {given.examples} examples with responses of {LEAST} to {MOST} tokens"
        compare(given, kind, learner, answered, f"{title}, {given.together} of a task together")


def longer(task: Task, encoder: Encoder) -> Task:
    """The task with responses made of its inputs, one after another, cut to a length that is drawn."""
    rng = random.Random(f"{task.name}/long")
    inputs = [example.input for example in task.train]
    train = tuple(_longer(example, inputs, encoder, rng) for example in task.train[:NUM_EXAMPLES])
    return replace(task, train=train)


def _longer(example: Example, inputs: Sequence[str], encoder: Encoder, rng: random.Random) -> Example:
    wanted, texts = rng.randint(LEAST, MOST), ""
    while len(encoder.response_ids(texts)) < wanted:
        texts = f"{texts} {rng.choice(inputs)}".strip()
    ids = encoder.response_ids(texts)[: wanted - 1]
    return replace(example, references=(encoder.tokenizer.decode(ids).strip(),))
