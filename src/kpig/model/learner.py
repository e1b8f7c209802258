"""The Learner: a causal LM with its tokenizer; response logits, greedy generation, weights.

Shape letters: R rows, L sequence, N response tokens, V vocabulary, D hidden size.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GenerationConfig

from kpig.errors import ModelError
from kpig.model.batch import token_batches
from kpig.model.encoding import Encoder
from kpig.model.folder import explained
from kpig.model.ledger import Ledger
from kpig.model.rows import Rows, pad

Weights = Mapping[str, Tensor]


class Learner:
    """A causal LM with its tokenizer and encoder, and the ledger of what its passes have cost.

    `initial` are the trainable weights it started from, kept only with `keep_initial`; with LoRA the
    starting model is the same weights with the adapter switched off, so nothing is kept.
    """

    def __init__(self, model, tokenizer, encoder: Encoder, keep_initial: bool = False):
        self.model = model
        self.tokenizer = tokenizer
        self.encoder = encoder
        self.ledger = Ledger()
        self.is_adapter = hasattr(model, "peft_config")
        self._core = model.get_base_model() if self.is_adapter else model
        self._takes_positions = "position_ids" in inspect.signature(self._core.forward).parameters
        self.initial: Weights | None = None
        if keep_initial and not self.is_adapter:
            self.initial = self.weights()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def pad_id(self) -> int:
        """The id that fills padding; attention never sees it."""
        pad = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if pad is None else pad

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The trainable parameters by name, shared ones once."""
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}

    def weights(self) -> dict[str, Tensor]:
        """A frozen copy of the trainable weights."""
        return {name: weight.detach().clone() for name, weight in self.parameters().items()}

    def load_weights(self, weights: Weights) -> None:
        """Overwrite trainable weights in place; ModelError when names or shapes differ."""
        parameters = self.parameters()
        wrong = sorted(set(parameters) ^ set(weights)) or [
            name for name, weight in parameters.items() if weight.shape != weights[name].shape
        ]
        if wrong:
            raise ModelError(
                f"saved weights do not fit the model: {wrong[0]} (and {len(wrong) - 1} more) differs"
            )
        with torch.no_grad():
            for name, weight in parameters.items():
                weight.copy_(weights[name])

    def response_logits(self, rows: Rows, weights: Weights | None = None) -> Tensor:
        """Logits [N, V] that predict each response token; gradient as the caller's context says.

        The hidden states of response positions are gathered *before* the vocabulary projection, by a
        hook on the model's own output layer: soft-caps and scales that follow it stay the model's own.
        `weights` replaces the trainable weights for this pass.
        """
        rows = rows.to(self.device)
        mask = self._mask(rows.attention_mask)
        arguments = {"input_ids": rows.input_ids, "attention_mask": mask, "use_cache": False}
        if self._takes_positions:
            arguments["position_ids"] = rows.position_ids
        with self._gathered(rows):
            if weights is None:
                logits = self.model(**arguments).logits
            else:
                logits = torch.func.functional_call(self.model, dict(weights), kwargs=arguments).logits
        if torch.is_grad_enabled():
            self.ledger.train_tokens += rows.num_tokens
        else:
            self.ledger.forward_tokens += rows.num_tokens
        return logits[0]

    @torch.no_grad()
    def reference_logits(self, rows: Rows, weights: Weights | None) -> Tensor:
        """Logits [N, V] of a frozen earlier model, in evaluation mode.

        `weights` are those of that model; None stands for the starting model.
        """
        weights = self.initial if weights is None else weights
        if weights is None and not self.is_adapter:
            raise ModelError("the learner was built without its starting weights; pass keep_initial=True")
        adapter_off = self.model.disable_adapter() if weights is None else nullcontext()
        with adapter_off, self.evaluating():
            return self.response_logits(rows, weights)

    @torch.no_grad()
    def embed(self, prompts: Sequence[Sequence[int]], max_tokens: int = 16384) -> Tensor:
        """[P, D] in float32: the mean of the last hidden states over each prompt's token ids.

        The tokens count as forward tokens.
        """
        vectors: dict[int, Tensor] = {}
        with self.evaluating():
            for group in token_batches([len(prompt) for prompt in prompts], max_tokens):
                rows = pad([((), prompts[index]) for index in group], self.pad_id).to(self.device)
                hidden = self._hidden(rows).float()
                mask = rows.attention_mask.unsqueeze(-1)
                vectors |= zip(group, (hidden * mask).sum(1) / mask.sum(1), strict=True)
                self.ledger.forward_tokens += rows.num_tokens
        return torch.stack([vectors[index] for index in range(len(prompts))])

    @torch.no_grad()
    def generate(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[tuple[str, bool]]:
        """Greedy responses to token-id prompts, with whether each ended before the token limit."""
        width = max(map(len, prompts))
        ids = torch.tensor([[self.pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        end = self.tokenizer.eos_token_id
        with self.evaluating(), self._plain_generation():
            output = self._core.generate(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=self.pad_id,
            )
        return [self._decoded(row, end) for row in output[:, width:].tolist()]

    @contextmanager
    def as_initial(self) -> Iterator[None]:
        """The starting model inside the block, its present weights after it; gradients are left alone.

        Its weights are swapped in, or the adapter is switched off. ModelError without `keep_initial`.
        """
        if self.is_adapter:
            with self.model.disable_adapter():
                yield
            return
        if self.initial is None:
            raise ModelError("the learner was built without its starting weights; pass keep_initial=True")
        present = self.weights()
        self.load_weights(self.initial)
        try:
            yield
        finally:
            self.load_weights(present)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode inside the block (no dropout), the former mode after it."""
        was_training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(was_training)

    def save(self, folder: Path) -> None:
        """Write weights as safetensors (the adapter in PEFT's format where there is one) and tokenizer."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def restore(self, folder: Path) -> None:
        """Take over the weights that `save` wrote; ModelError where they are missing or damaged."""
        with explained(str(folder)):
            if self.is_adapter:
                from peft import load_peft_weights, set_peft_model_state_dict

                set_peft_model_state_dict(self.model, load_peft_weights(str(folder), device="cpu"))
                return
            dtype = next(self.model.parameters()).dtype
            saved = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        self.load_weights(dict(saved.named_parameters()))

    def _mask(self, mask: Tensor) -> Tensor:
        """A [R, L] mask as it is; a [R, 1, L, L] one as the model's attention takes it: added, or boolean."""
        if mask.dim() == 2 or self._core.config._attn_implementation == "sdpa":
            return mask
        dtype = next(self.model.parameters()).dtype
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(
            ~mask, torch.finfo(dtype).min
        )

    def _hidden(self, rows: Rows) -> Tensor:
        """The last hidden states [R, L, D], caught where they enter the output layer."""
        caught: list[Tensor] = []

        def catch(_module, arguments: tuple) -> tuple:
            caught.append(arguments[0])
            return (arguments[0][:, :1], *arguments[1:])

        handle = self._core.get_output_embeddings().register_forward_pre_hook(catch)
        try:
            self._core(input_ids=rows.input_ids, attention_mask=rows.attention_mask, use_cache=False)
        finally:
            handle.remove()
        return caught[0]

    @contextmanager
    def _gathered(self, rows: Rows) -> Iterator[None]:
        def gather(_module, arguments: tuple) -> tuple:
            return (arguments[0][rows.row, rows.column].unsqueeze(0), *arguments[1:])

        handle = self._core.get_output_embeddings().register_forward_pre_hook(gather)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _plain_generation(self) -> Iterator[None]:
        """Put aside generation settings that came with the model, such as a repetition penalty.

        Transformers fills whatever a call leaves open from them, and greedy would no longer mean greedy.
        """
        own = self._core.generation_config
        self._core.generation_config = GenerationConfig()
        try:
            yield
        finally:
            self._core.generation_config = own

    def _decoded(self, ids: list[int], end: int) -> tuple[str, bool]:
        finished = end in ids
        kept = ids[: ids.index(end)] if finished else ids
        return self.tokenizer.decode(kept, skip_special_tokens=True).strip(), finished
