"""Answers from a model on this machine: greedy, in batches. Torch is loaded with the first model."""

import hashlib
import json
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from kpig.errors import ModelError
from kpig.llm.backend import Deliver
from kpig.llm.budget import Budget
from kpig.llm.exchange import BUDGET, Answer, Failure, LlmError, Outcome, Request

if TYPE_CHECKING:
    from kpig.model.encoding import Encoder
    from kpig.model.learner import Learner

LONGEST = 1 << 20
"""Tokens, above any model's context, which then is the limit: nothing is cut, what does not fit is
refused."""


def load_local(
    path: str, device: str = "cpu", dtype: str = "float32", trust_remote_code: bool = False
) -> "LocalModel":
    """The causal language model in a folder, an adapter's folder or under a hub name.

    Raises ModelError for a folder that cannot be loaded.
    """
    from kpig.config import ModelSection
    from kpig.model.loading import load

    given = {"path": path, "dtype": dtype, "max_length": LONGEST, "trust_remote_code": trust_remote_code}
    section = ModelSection.model_validate(given)
    return LocalModel(load(section, device=device))


class LocalModel:
    """A learner as a source of answers; its weights must not change while it is one.

    Its name is a digest of weights, config and tokenizer, so trained on, it answers anew. A JSON schema
    is not enforced. `tokens_per_batch` are padded tokens, answers included; lower it when memory runs out
    (0: what suits the device).
    """

    def __init__(self, learner: "Learner", tokens_per_batch: int = 0):
        self.learner = learner
        self.tokens_per_batch = tokens_per_batch
        self.model = f"local:{_digest(learner)}"

    def answer(self, requests: Sequence[Request], deliver: Deliver, budget: Budget) -> None:
        """Deliver outcomes batch by batch.

        Raises LlmError for a request that asks for sampling. Prompts that leave no room for `max_tokens`
        in the model's context fail as "too_long".
        """
        if any(request.temperature for request in requests):
            raise LlmError("a local model answers greedily only; set temperature = 0")
        prompts = [self._prompt_ids(request) for request in requests]
        fitting = [place for place in range(len(requests)) if self._fits(place, requests, prompts, deliver)]
        for max_tokens in sorted({requests[place].max_tokens for place in fitting}):
            places = [place for place in fitting if requests[place].max_tokens == max_tokens]
            own = [prompts[place] for place in places]
            for batch in self.learner.prompt_batches(own, max_tokens, self.tokens_per_batch):
                chosen = {places[number]: prompts[places[number]] for number in batch}
                self._answer_batch(chosen, requests, deliver, budget)

    def _answer_batch(
        self, prompts: dict[int, list[int]], requests: Sequence[Request], deliver: Deliver, budget: Budget
    ) -> None:
        """As much of the batch at a time as the budget allows."""
        left = list(prompts)
        while left:
            paid = list(takewhile(lambda place: budget.reserve(requests[place], wait=False), left))
            if not paid:
                for place in left:
                    deliver(place, Failure(BUDGET, "not asked: the budget is spent"))
                return
            answers: Sequence[Outcome | None] = [None] * len(paid)
            try:
                answers = self._answers([prompts[place] for place in paid], requests[paid[0]].max_tokens)
            finally:
                for place, answer in zip(paid, answers, strict=True):
                    budget.settle(requests[place], answer)
            for place, answer in zip(paid, answers, strict=True):
                deliver(place, answer)
            left = left[len(paid) :]

    def _answers(self, prompts: Sequence[list[int]], max_tokens: int) -> list[Answer]:
        found = self.learner.answers(prompts, max_tokens, self.tokens_per_batch)
        return [
            Answer(one.text, len(prompt), one.num_tokens, truncated=not one.finished)
            for prompt, one in zip(prompts, found, strict=True)
        ]

    def _fits(
        self, place: int, requests: Sequence[Request], prompts: Sequence[list[int]], deliver: Deliver
    ) -> bool:
        needed, limit = len(prompts[place]) + requests[place].max_tokens, self.learner.encoder.max_length
        fits = bool(needed <= limit)
        if not fits:
            words = f"prompt and answer may need {needed} tokens; the model takes {limit}"
            deliver(place, Failure("too_long", words))
        return fits

    def _prompt_ids(self, request: Request) -> list[int]:
        """The prompt in the tokenizer's chat template, or as plain text where there is none."""
        from kpig.model.encoding import PLAIN_TEMPLATE

        tokenizer = self.learner.tokenizer
        if self.learner.encoder.chat:
            return list(_templated(self.learner.encoder, request))
        body = "\n\n".join(message["content"] for message in request.messages)
        ids: list[int] = tokenizer.encode(PLAIN_TEMPLATE.format(body=body))
        return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids


def _templated(encoder: "Encoder", request: Request) -> tuple[int, ...]:
    """The request in the chat template; where that refuses a system message, it leads the prompt."""
    try:
        return encoder.conversation_ids(request.messages)
    except ModelError:
        joined = "\n\n".join(message["content"] for message in request.messages)
        return encoder.conversation_ids([{"role": "user", "content": joined}])


def _digest(learner: "Learner") -> str:
    import torch

    config = {**learner.model.config.to_dict(), "_name_or_path": None}
    vocabulary = sorted(learner.tokenizer.get_vocab().items())
    template = getattr(learner.tokenizer, "chat_template", None)
    ends = [] if set(learner.ends) == {learner.tokenizer.eos_token_id} else [learner.ends]
    content = [config, vocabulary, template, *ends]
    digest = hashlib.sha256(json.dumps(content, default=str, sort_keys=True).encode())
    for name, weight in sorted(learner.model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:32]
