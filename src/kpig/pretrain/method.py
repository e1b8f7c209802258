"""Training from random weights: the model also learns to predict the inputs (`kpig pretrain`)."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import AUTO
from kpig.errors import ConfigError
from kpig.methods.base import Loss, Method, Settings
from kpig.model.batch import Batch
from kpig.model.learner import Learner
from kpig.model.objective import cross_entropy_sum
from kpig.records import Task


class PretrainSettings(Settings):
    """Training from random weights (`kpig pretrain`)."""

    reading_weight: Annotated[float, Field(ge=0)] = Field(
        0.3, description="weight of an input token's cross-entropy, where a response token's is 1"
    )


class Pretrain(Method):
    """Cross-entropy of responses + `reading_weight` times that of the inputs, all tasks in one step.

    A starting model knows the language of its inputs; one of random weights has to learn it, and the
    inputs hold several times the tokens of the responses. ConfigError where there are no shared rows.
    """

    Settings = PretrainSettings
    settings: PretrainSettings

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.weight = self.settings.reading_weight
        self.reading = self.weight > 0
        if self.reading and config.train.row_tokens in (0, AUTO):
            raise ConfigError(
                "[method] Pretrain learns the inputs in shared rows only: set train.row_tokens (now "
                f"{config.train.row_tokens}) to "
                "the length of the longest examples, or method.options.reading_weight = 0"
            )

    def arrange(self, steps: Sequence[tuple[Task, ...]]) -> list[tuple[Task, ...]]:
        return [tuple(task for step in steps for task in step)]

    def loss(self, learner: Learner, batch: Batch) -> Loss:
        logits, target = learner.response_logits(batch.rows), batch.rows.target
        responses = cross_entropy_sum(logits[: batch.num_tokens], target[: batch.num_tokens])
        inputs = cross_entropy_sum(logits[batch.num_tokens :], target[batch.num_tokens :])
        log = {"cross_entropy": responses.detach(), "reading": inputs.detach()}
        return Loss(responses + self.weight * inputs, log)
