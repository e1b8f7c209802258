"""How much goes through the model at once: as asked, else by device; results do not depend on it."""

import pytest
import torch

from kpig.config import EvaluateSection
from kpig.model import portions
from kpig.records import Task
from kpig.scoring import answers, probing

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("of", [portions.training, portions.generation])
def test_what_is_asked_for_is_taken_on_every_device(of):
    assert of(CPU, 100) == of(GPU, 100) == 100


@pytest.mark.parametrize("of", [portions.training, portions.forward, portions.generation])
def test_a_cpu_gets_less_at_a_time(of):
    assert 0 < of(CPU) < of(GPU)


def test_answers_do_not_depend_on_the_portions(make_learner, mixed_examples):
    learner = make_learner("llama")
    task = Task("mixed", (mixed_examples[0].instruction,), (), mixed_examples, "rougeL")
    found = []
    for budget in (1, 0, 100_000):
        settings = EvaluateSection(max_new_tokens=4, tokens_per_batch=budget)
        chosen = probing.probes({"seen": [task]}, settings)
        found.append([one.response for one in answers.score(learner, chosen, settings)])
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) > 1, "else nothing is compared"
