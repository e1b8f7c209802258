"""Updates of TRL's SFTTrainer, the other side of the comparison."""

import copy
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch

from kpig.methods.base import Clock
from kpig.model.learner import Learner
from kpig.records import Example
from sections.weights import Weights


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


def has_trl() -> bool:
    """Whether the other side of the comparison is installed."""
    with suppress(ImportError):
        import trl  # noqa: F401

        return True
    return False
