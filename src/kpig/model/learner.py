"""The Learner: a causal LM with its tokenizer; its passes over examples, greedy answers, weights.

Shape letters: R rows, L sequence, N response tokens, M those of masked twins, V vocabulary, D hidden size.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from kpig import ranks
from kpig.config import TrainSection
from kpig.config.section import AUTO
from kpig.errors import ModelError
from kpig.model import division, embedding, generation, internals, portions
from kpig.model.answering import Answering, Text
from kpig.model.batch import PLAIN, Batch, Layout, Logits, in_batches, one_layout, sharing_pays
from kpig.model.encoding import Encoded, Encoder
from kpig.model.generation import Answer, Sampling
from kpig.model.head import Head, OutputLayer, few_rows
from kpig.model.ledger import Ledger
from kpig.model.network import Network
from kpig.model.objective import cross_entropy_sum
from kpig.model.packing import Ids, Pair, RowTokens
from kpig.model.rows import Rows
from kpig.model.shards import Weights as Weights
from kpig.model.sharing import Sharing, has_dropout, plain_ids
from kpig.records import Example

T = TypeVar("T")


class Learner:
    """A causal LM with its tokenizer and encoder, and the ledger of what its passes have cost.

    `network` is the model by its weights: who saves, divides or recomputes these asks it. `keep_initial` and
    `is_begun` are as there. `model` and `tokenizer` are those of transformers, or a PEFT model around one.

    Devices: whoever makes a tensor of ids for the model puts it where the weights are. For examples that is
    `batches` alone; a pass expects its rows there and moves nothing, and what it returns is there too.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        encoder: Encoder,
        keep_initial: bool = False,
        is_begun: bool = False,
    ):
        self.network = Network(model, keep_initial, is_begun)
        self.model = model
        self.tokenizer = tokenizer
        self.encoder = encoder
        self.ledger = Ledger()
        self._width: int = model.get_input_embeddings().weight.shape[1]
        self._sharing = Sharing(self.network.core, self._probed)
        self._output = OutputLayer(self.network.core, self._probed_states)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device

    @property
    def is_adapter(self) -> bool:
        """Whether an adapter is trained, and not the model around which it is."""
        return self.network.is_adapter

    @property
    def initial(self) -> Weights | None:
        """The trainable weights it started from, where these are kept."""
        return self.network.initial

    @property
    def pad_id(self) -> int:
        """The id that fills padding; attention never sees it."""
        found: int | None = self.tokenizer.pad_token_id
        end: int = self.tokenizer.eos_token_id
        return end if found is None else found

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids of which any ends an answer: first the one that ends the responses which are learned."""
        own = (self.encoder.end_id, self.tokenizer.eos_token_id)
        return generation.all_ends(self.network.core, self.tokenizer, own)

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The trainable parameters by name, shared ones once."""
        return self.network.parameters()

    def weights(self) -> dict[str, Tensor]:
        """A frozen copy of the trainable weights."""
        return self.network.weights()

    def load_weights(self, weights: Weights) -> None:
        """Overwrite trainable weights in place; ModelError when names or shapes differ."""
        self.network.load_weights(weights)

    def batches(
        self, examples: Sequence[Example | Encoded], layout: Layout = PLAIN, num_replayed: int = 0
    ) -> Iterator[Batch]:
        """The examples in batches on the learner's device: the one place that encodes, groups and collates.

        A layout without `max_tokens` takes what suits the device for a forward pass. With "auto", rows are
        shared where that costs less and changes nothing. The last `num_replayed` examples are marked as
        replayed. Processes that share a job get smaller batches where there would be too few for all.
        """
        new = self.encoder.encode_all(one for one in examples if not isinstance(one, Encoded))
        encoded = [one if isinstance(one, Encoded) else next(new) for one in examples]
        if not layout.max_tokens:
            layout = replace(layout, max_tokens=portions.forward(self.device))
        total = sum(one.num_tokens for one in encoded) * (2 if layout.twins else 1)
        portion = portions.shared(layout.max_tokens, total, ranks.num_processes())
        layout = replace(layout, max_tokens=portion, costs=portions.costs(self.device, self._width))
        if layout.row_tokens == AUTO and not self._shares(encoded, layout):
            layout = replace(layout, row_tokens=0)
        for batch in in_batches(encoded, self.pad_id, layout, num_replayed):
            yield batch.to(self.device)

    def rows(self, pairs: Sequence[Pair], row_tokens: RowTokens) -> Rows:
        """(prompt, response) pairs of ids as rows on the learner's device, as `collate` lays them out.

        `row_tokens` 0: a row for each. Whether rows may be shared is the caller's to know.
        """
        found = one_layout(pairs, self.pad_id, row_tokens, portions.costs(self.device, self._width))
        return found.to(self.device)

    def training_batches(
        self,
        examples: Sequence[Example | Encoded],
        settings: TrainSection,
        twins: bool = False,
        reading: bool = False,
        num_replayed: int = 0,
    ) -> list[Batch]:
        """The examples in micro-batches, as large and laid out as the [train] section of a config says."""
        budget = portions.training(self.device, settings.tokens_per_micro_batch)
        layout = Layout(budget, twins, settings.row_tokens, reading)
        return list(self.batches(examples, layout, num_replayed))

    def sharing_doubt(self, longest: int) -> str:
        """What speaks against shared rows where the longest example has so many tokens; "" for nothing."""
        ids = plain_ids(self.model, self.tokenizer, self.pad_id)
        return ranks.by_main(lambda: self._sharing.doubt(longest, ids, self.pad_id))

    def divided(self, sizes: Sequence[int], work: Callable[[list[int]], T]) -> list[T]:
        """What `work` gives in each process of the job, which is told the numbers of the parts that it does.

        `sizes` say how much work each part is. What it gives can be pickled; an error in one process is
        raised in all. The tokens that all parts cost are counted in every process. TrainingError where the
        processes have not planned the same parts.
        """
        return division.divided(self.ledger, sizes, work)

    def response_logits(self, rows: Rows) -> Tensor:
        """The pass that trains: logits [N, V] that predict each target of the rows, with gradient.

        The mode of the model (dropout) is left as it is, and the tokens count as train tokens. `rows` are
        on the learner's device. ModelError where no gradient can flow: `forward_logits` is the pass for that.
        """
        with self._training("response_logits", "forward_logits", rows):
            return self.network.logits(rows)

    def response_states(self, rows: Rows) -> Tensor:
        """The pass that trains, up to the output layer: hidden states [N, D], with gradient.

        `head` makes the logits of `response_logits` of them. The rest as there.
        """
        with self._training("response_states", "reference_states", rows):
            return self.network.states(rows)

    def head(self) -> Head | None:
        """What makes logits of hidden states, with the model's own weights.

        None where that is not known of the model, or its weights are divided: then `response_logits` are to
        be used. See `OutputLayer`.
        """
        return None if self.network.is_sharded else self._output.head()

    def reference_head(self, weights: Weights | None) -> Head | None:
        """The same of a frozen earlier model; `weights` as in `reference_logits`."""
        weights = self.initial if weights is None else weights
        if weights is None or self.network.is_sharded:
            return self.head()
        return self._output.head_with(weights, self.parameters())

    @torch.no_grad()
    def forward_logits(self, rows: Rows, weights: Weights | None = None) -> Tensor:
        """The forward-only pass: the same logits [N, V] in evaluation mode, without gradient.

        The tokens count as forward tokens. `weights` replace the trainable weights for this pass. `rows` are
        on the learner's device.
        """
        with self._reading(rows):
            return self.network.logits(rows, weights)

    def reference_logits(self, rows: Rows, weights: Weights | None) -> Tensor:
        """The forward-only pass of a frozen earlier model.

        `weights` are those of that model; None stands for the starting model.
        """
        with self.network.as_reference(weights) as chosen:
            return self.forward_logits(rows, chosen)

    @torch.no_grad()
    def reference_states(self, rows: Rows, weights: Weights | None) -> Tensor:
        """The same pass up to the output layer: hidden states [N, D], for `reference_head`."""
        with self.network.as_reference(weights) as chosen, self._reading(rows):
            return self.network.states(rows, chosen)

    @torch.no_grad()
    def per_batch(
        self,
        batches: Iterable[Batch],
        value: Callable[[Batch, Logits], T],
        weights: Weights | None = None,
    ) -> list[T]:
        """`value` of each batch and its logits, in order: the one loop of every pass without gradient.

        Each process of a job reads its part of the batches and has the values of all, which can be pickled.
        Evaluation mode; the tokens, twins included, count as forward tokens. `weights` replace the
        trainable weights for this pass. Logits are freed from batch to batch, so a value should hold
        no view of them.
        """
        if ranks.num_processes() == 1:
            return [value(batch, self._forward(batch, weights)) for batch in batches]
        every = list(batches)
        return ranks.in_order(
            self.divided(
                [batch.rows.num_computed for batch in every],
                lambda own: {n: value(every[n], self._forward(every[n], weights)) for n in own},
            )
        )

    def per_example(
        self,
        examples: Sequence[Example | Encoded],
        value: Callable[[Batch, Logits], Sequence[T]],
        *,
        max_tokens: int = 0,
        twins: bool = False,
        row_tokens: RowTokens = AUTO,
        weights: Weights | None = None,
    ) -> list[T]:
        """A value of each example, in the order of `examples`, from one pass without gradient.

        `value` gets a batch and its logits and returns one value for each of `batch.examples`. `max_tokens`,
        `twins` and `row_tokens` lay the batches out as in `batches`; `weights` as in `per_batch`.
        """

        def placed(batch: Batch, logits: Logits) -> list[tuple[int, T]]:
            return list(zip(batch.places, value(batch, logits), strict=True))

        batches = self.batches(examples, Layout(max_tokens, twins, row_tokens))
        values = dict(itertools.chain.from_iterable(self.per_batch(batches, placed, weights)))
        return [values[place] for place in range(len(examples))]

    def mean_loss(self, batches: Sequence[Batch], weights: Weights | None = None) -> float:
        """Cross-entropy in nats per response token of all batches, from one pass without gradient."""
        total = sum(self.per_batch(batches, _cross_entropy, weights))
        return total / max(1, sum(batch.num_tokens for batch in batches))

    def embed(self, prompts: Sequence[Ids], max_tokens: int = 16384) -> Tensor:
        """[P, D] in float32: the mean of the last hidden states over each prompt's token ids.

        The tokens count as forward tokens. `max_tokens` padded ones go side by side: chosen, not measured.
        The same bits in any number of processes on equal devices: choices by distance hang on them.
        """
        with self.evaluating():
            return embedding.means(self.network.core, self.ledger, prompts, self.pad_id, max_tokens)

    def answers(
        self,
        prompts: Sequence[Ids],
        max_new_tokens: int,
        tokens_per_batch: int = 0,
        advance: Callable[[int], None] = lambda count: None,
        row_tokens: RowTokens = AUTO,
        sampling: Sampling | None = None,
    ) -> list[Answer]:
        """Greedy answers to prompts of token ids, in order; drawn ones with `sampling`.

        `advance` is told how many more have come in. The rest as in `answer_batches` and `prompt_batches`.
        """
        found: dict[int, Answer] = {}
        row_tokens = row_tokens if sampling is None else 0
        batches = self.prompt_batches(prompts, max_new_tokens, tokens_per_batch, row_tokens)
        for given in self.answer_batches(prompts, batches, max_new_tokens, row_tokens, sampling):
            found |= given
            advance(len(given))
        return [found[place] for place in range(len(prompts))]

    def answer_batches(
        self,
        prompts: Sequence[Ids],
        batches: Iterable[Sequence[int]],
        max_new_tokens: int,
        row_tokens: RowTokens = AUTO,
        sampling: Sampling | None = None,
    ) -> Iterator[dict[int, Answer]]:
        """Answers to prompts, a batch of `prompt_batches` at a time: the one loop that generates.

        Greedy, or drawn with `sampling`, for which beginnings are not read once.

        Each by the number of its prompt. What prompts begin with is read once where that saves more than the
        proof costs that the model takes it; never with `row_tokens` 0. Processes that share a job answer a
        batch each at a time. Tokens read and written count as forward tokens. Whether there is room for
        prompt and answer is the caller's to know.
        """
        answering = self._answering()
        row_tokens = answering.worth(prompts, max_new_tokens, row_tokens)

        def write(places: Sequence[int]) -> list[Text]:
            chosen = [prompts[place] for place in places]
            if sampling is None:
                return self.generate(chosen, max_new_tokens, row_tokens)
            return self.sample(chosen, max_new_tokens, sampling.of(places))

        yield from answering.answers(prompts, batches, max_new_tokens, write)

    def prompt_batches(
        self,
        prompts: Sequence[Ids],
        max_new_tokens: int,
        tokens_per_batch: int = 0,
        row_tokens: RowTokens = AUTO,
    ) -> list[list[int]]:
        """Which prompts are answered side by side: their numbers, prompts of similar length together.

        Where beginnings are read once, prompts that share them stay together; `row_tokens` as in
        `answer_batches`. `tokens_per_batch` are padded tokens, answers included; 0: what suits the device.
        """
        return self._answering().batches(prompts, max_new_tokens, tokens_per_batch, row_tokens)

    def generate(
        self, prompts: Sequence[Ids], max_new_tokens: int, row_tokens: RowTokens = AUTO
    ) -> list[Text]:
        """Greedy responses to one batch of prompts, with whether each ended before the token limit.

        What the prompts begin with is read once, where that saves enough and the model takes it; never with
        `row_tokens` 0.
        """
        return self._answering().greedy(prompts, max_new_tokens, row_tokens)

    def sample(self, prompts: Sequence[Ids], max_new_tokens: int, sampling: Sampling) -> list[Text]:
        """Drawn responses to one batch of prompts, with whether each ended before the token limit."""
        return self._answering().drawn(prompts, max_new_tokens, sampling)

    def as_initial(self) -> AbstractContextManager[None]:
        """The starting model inside the block, its present weights after it; gradients are left alone.

        ModelError without `keep_initial`.
        """
        return self.network.as_initial()

    @contextmanager
    def computing(self, precision: str) -> Iterator[None]:
        """The passes inside the block in "bfloat16" where matrices are multiplied, or in "float32".

        Weights stay as they are: in "float32", those that are held in less are computed in that. No copy in
        bfloat16 is kept of divided ones: it would be of all of them, and outlive a change of what it is of.
        """
        is_half, keeps = precision == "bfloat16", not self.network.is_sharded
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_half, cache_enabled=keeps):
            yield

    def evaluating(self) -> AbstractContextManager[None]:
        """Evaluation mode inside the block (no dropout), the former mode after it."""
        return internals.evaluating(self.model)

    def save(self, folder: Path, saved: Weights | None = None) -> None:
        """Write weights and tokenizer; `saved` as `Network.save` takes it."""
        generation.name_ends(self.network.core, self.ends)
        self.network.save(folder, saved)
        self.tokenizer.save_pretrained(folder)

    def restore(self, folder: Path) -> None:
        """Take over the weights that `save` wrote; ModelError where some are missing or damaged."""
        self.network.restore(folder)

    @contextmanager
    def _training(self, name: str, other: str, rows: Rows) -> Iterator[None]:
        """Counts a pass with gradient; ModelError where none can flow."""
        if not torch.is_grad_enabled():
            raise ModelError(
                f"{name} is the pass that trains, but it was called without gradient "
                f"(torch.no_grad); use {other}, which counts its tokens as forward tokens"
            )
        yield
        self.ledger.train_tokens += rows.num_tokens
        self.ledger.add_computed(rows.num_computed)

    @contextmanager
    def _reading(self, rows: Rows) -> Iterator[None]:
        """Evaluation mode for a pass without gradient, which is counted."""
        with self.evaluating():
            yield
        self.ledger.forward_tokens += rows.num_tokens
        self.ledger.add_computed(rows.num_computed)

    def _forward(self, batch: Batch, weights: Weights | None) -> Logits:
        if batch.both is None:
            return Logits(self.forward_logits(batch.rows, weights), None)
        logits = self.forward_logits(batch.both, weights)
        return Logits(logits[: batch.num_tokens], logits[batch.num_tokens :])

    def _shares(self, encoded: Sequence[Encoded], layout: Layout) -> bool:
        """Whether examples are to share rows: where counting tells that it pays and the model takes it."""
        if not encoded or layout.reading or not sharing_pays(encoded, layout):
            return False
        is_left_to_chance = self.model.training and has_dropout(self.model)
        return not is_left_to_chance and not self.sharing_doubt(max(one.num_tokens for one in encoded))

    def _answering(self) -> Answering:
        """How the model answers as it is now."""
        return Answering(
            model=self.network.core,
            tokenizer=self.tokenizer,
            pad_id=self.pad_id,
            ends=self.ends,
            max_length=self.encoder.max_length,
            width=self._width,
            takes_positions=self.network.takes_positions,
            sharing=self._sharing,
            ledger=self.ledger,
        )

    def _probed(self, rows: Rows) -> Tensor:
        with self.ledger.unspent():
            return self.forward_logits(rows)

    @torch.no_grad()
    def _probed_states(self) -> tuple[Tensor, Tensor]:
        ids = plain_ids(self.model, self.tokenizer, self.pad_id)
        rows = few_rows(ids, self.pad_id).to(self.device)
        with self.evaluating():
            return self.network.states_and_logits(rows)


def _cross_entropy(batch: Batch, logits: Logits) -> float:
    own = slice(batch.num_tokens)
    return float(cross_entropy_sum(logits.rows[own], batch.rows.target[own]))
