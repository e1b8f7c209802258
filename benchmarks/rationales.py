"""Rationales to be read: what radis has written for a few examples of each task of a stream.

    python benchmarks/rationales.py [--writer MODEL --base-url URL]

Without a writer, the starting model explains by itself, as in a run with the defaults of radis. With one, a
server is asked. Five examples each of six tasks of superni-stream. One JSON line for each rationale that can
be used, with what was asked and given. Stderr tells how many were asked for, and what they cost.
"""

import argparse
import json
import sys
from dataclasses import asdict

from kpig import config
from kpig.methods.base import Step
from kpig.methods.chosen import create
from kpig.methods.radis import Radis
from kpig.model import loading
from kpig.records import Example
from kpig.tasks import stream

STREAM = {"train_per_task": 48, "test_per_task": 8, "max_steps": 3, "max_tasks_per_step": 2}


def main() -> None:
    """Have the rationales written, and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="../shared/data/superni-stream")
    parser.add_argument("--model", default="models/smollm2-135m-instruct")
    parser.add_argument("--writer", default="learner")
    parser.add_argument("--base-url", default="")
    parser.add_argument("--num-examples", type=int, default=5)
    given = parser.parse_args()
    server = {"base_url": given.base_url, "key_variable": ""} if given.base_url else {}
    settings = {"writer": given.writer, "num_examples": given.num_examples, **server}
    chosen = config.build(
        {
            "model": {"path": given.model},
            "stream": {"path": given.data, **STREAM},
            "method": {"name": "radis", "radis": settings},
        }
    )
    method, learner = create(chosen), loading.load(chosen.model, keep_initial=True)
    assert isinstance(method, Radis)
    for number, tasks in enumerate(stream.configured(chosen).steps, 1):
        step = method.begin_step(Step(number, tasks, 1), learner)
        for example in (one for task in step.tasks for one in task.train):
            if example.id.endswith("/explained"):
                print(json.dumps(_told(example, method.settings.separator)))
    print(json.dumps({"counts": method.written, "cost": asdict(learner.ledger)}, indent=1), file=sys.stderr)


def _told(example: Example, separator: str) -> dict[str, str]:
    response, _, rationale = example.response.partition(separator)
    return {
        "task": example.task,
        "instruction": example.instruction.text,
        "input": example.input,
        "response": response,
        "rationale": rationale,
    }


if __name__ == "__main__":
    main()
