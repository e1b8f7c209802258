"""What docs/baselines.md says about a pool of low-rank increments: what PEFT takes, what a gate does."""

import numpy as np
import pytest
import torch

from kpig.config import ModelSection
from kpig.methods.parts import embeddings
from kpig.model import loading
from kpig.tasks import suite
from kpig.testing import models


@pytest.fixture
def adapted():
    learner = models.learner(adapter=True)
    for seed, weight in enumerate(learner.parameters().values()):
        generator = torch.Generator().manual_seed(seed)
        weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
    return learner.model.eval()


IDS = torch.randint(5, 200, (3, 11), generator=torch.Generator().manual_seed(0))


def test_peft_takes_one_adapter_a_row_and_none_while_it_trains(adapted):
    with pytest.raises(TypeError, match="str"):
        adapted(input_ids=IDS, adapter_names=[("default", "default")] * 3)
    adapted.train()
    with pytest.raises(ValueError, match="training mode"):
        adapted(input_ids=IDS, adapter_names=["default"] * 3)


@torch.no_grad()
def test_a_gate_on_the_rows_of_a_is_an_adapter_of_its_own_for_each_example(adapted):
    """Each example's logits are those of the adapter whose columns of B are scaled by the example's gate."""
    gates = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.5, 0.0, -2.0]])
    layers = [module for name, module in adapted.named_modules() if name.endswith("lora_A.default")]
    handles = [layer.register_forward_hook(lambda _m, _a, out: out * gates[:, None]) for layer in layers]
    together = adapted(input_ids=IDS).logits
    for handle in handles:
        handle.remove()
    columns = {name: weight.clone() for name, weight in adapted.named_parameters() if ".lora_B." in name}
    for row, gate in enumerate(gates):
        for name, weight in adapted.named_parameters():
            if name in columns:
                weight.copy_(columns[name] * gate)
        torch.testing.assert_close(adapted(input_ids=IDS[row : row + 1]).logits[0], together[row])


def unit_vectors(learner, examples):
    return embeddings.unit(embeddings.of_examples(learner, examples))


def nearest_step(learner, steps, keyed):
    """How many test prompts have their nearest key, by cosine, in their own step; and how many there are."""
    groups = [(number, tasks) for number, step in enumerate(steps) for tasks in keyed(step)]
    means = [
        unit_vectors(learner, [one for task in tasks for one in task.train]).mean(0) for _, tasks in groups
    ]
    keys, right, total = embeddings.unit(np.stack(means)), 0, 0
    for number, step in enumerate(steps):
        prompts = unit_vectors(learner, [one for task in step for one in task.test])
        right += sum(groups[place][0] == number for place in (prompts @ keys.T).argmax(1))
        total += len(prompts)
    return right, total


def test_prompts_of_the_starting_model_are_nearer_to_a_key_of_their_task_than_to_one_of_their_step():
    learner = loading.load(ModelSection(), device="cpu")
    steps = suite.stream(8, 3, 0, 6, 2, 0).steps
    by_task, total = nearest_step(learner, steps, lambda step: [(task,) for task in step])
    by_step, _ = nearest_step(learner, steps, lambda step: [step])
    assert by_task > 0.9 * total > 0.7 * total > by_step
