"""Text to token ids: a prompt, its masked twin, and the response that both share."""

from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from kpig.errors import DataError, ModelError
from kpig.records import MASK_TEXT, Example, Instruction

PLAIN_TEMPLATE = "{body}\nOutput:"
MAX_CACHED = 200_000
"""Texts kept encoded, for an example comes again in every epoch and evaluation. A bound on memory, at which
the cache starts anew. Chosen, not measured."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of one example. Both twins carry the same `response`, end-of-sequence included.

    `masked_prompt` is None for an example without key parts. `num_cut` counts the characters of the
    input that were dropped to make the example fit.
    """

    example: Example
    prompt: tuple[int, ...]
    masked_prompt: tuple[int, ...] | None
    response: tuple[int, ...]
    num_cut: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of the longer twin."""
        return max(len(self.prompt), len(self.masked_prompt or ())) + len(self.response)


class Encoder:
    """Turns examples into token ids with one tokenizer, one length limit and one mask text.

    The tokenizer's chat template is used where there is one; `use_chat_template=False` turns it off.
    A special token spelled out in a task's text is encoded as plain text, save in a chat prompt, where it
    cannot be told from those of the template.
    """

    def __init__(
        self, tokenizer: Any, max_length: int, mask_text: str = MASK_TEXT, use_chat_template: bool = True
    ):
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.mask_text = mask_text
        self.chat = use_chat_template and bool(getattr(tokenizer, "chat_template", None))
        self._cache: dict[tuple[Instruction, str, str, int], Encoded] = {}

    def encode(self, example: Example, num_reserved: int = 0) -> Encoded:
        """Token ids of both twins; the input is shortened at its end until the longer twin fits.

        Room is left for the response, or for `num_reserved` tokens where that is more. Key parts and
        response are never cut: DataError when they do not fit even with an empty input.
        """
        key = (example.instruction, example.input, example.response, num_reserved)
        if key not in self._cache:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[key] = self._fit(example, num_reserved)
        found = self._cache[key]
        return found if found.example is example else Encoded(example, *_ids(found))

    def prompt_text(self, example: Example, masked: bool = False, num_cut: int = 0) -> str:
        """The prompt as the model sees it, or that of its masked twin.

        Key parts are replaced by their offsets in the instruction, before the chat template is applied: a
        search in the templated text could hit an input or a system prompt that quotes the instruction.
        Raises ModelError when the template does not leave the instruction as it is.
        """
        instruction = example.instruction.masked(self.mask_text) if masked else example.instruction.text
        kept = example.input[: len(example.input) - num_cut]
        text = self._templated(f"{instruction}\n\nInput: {kept}" if kept else instruction)
        if instruction.strip() not in text:
            raise ModelError(
                f"the model's chat template changes the instruction of task {example.task!r}, so its key "
                "parts cannot be told apart in the prompt. Set model.chat_template = false to use the plain "
                "prompt."
            )
        return text

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Ids of a text to be continued: as it is, or as the user's turn where there is a chat template."""
        return self._prompt_ids(self._templated(text) if self.chat else text)

    def response_ids(self, response: str) -> tuple[int, ...]:
        """Ids of the response with the end of sequence. It is tokenized apart from the prompt.

        A special token spelled out in a task's text stays text: it cannot end a response early.
        """
        text = response if self.chat else f" {response}"
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return (*ids, self.tokenizer.eos_token_id)

    def _templated(self, body: str) -> str:
        if not self.chat:
            return PLAIN_TEMPLATE.format(body=body)
        message = [{"role": "user", "content": body}]
        try:
            text: str = self.tokenizer.apply_chat_template(
                message, tokenize=False, add_generation_prompt=True
            )
            return text
        except TemplateError as error:
            raise ModelError(
                f"the tokenizer's chat template cannot be used ({error}); mend it, or set "
                "model.chat_template = false"
            ) from error

    def _prompt_ids(self, text: str) -> tuple[int, ...]:
        ids = self.tokenizer.encode(
            text, add_special_tokens=not self.chat, split_special_tokens=not self.chat
        )
        if not self.chat and len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id:
            ids = ids[:-1]
        return tuple(ids)

    def _fit(self, example: Example, num_reserved: int) -> Encoded:
        response = self.response_ids(example.response)
        room = self.max_length - max(len(response), num_reserved)
        whole = self._with_cut(example, response, 0)
        if _longest_prompt(whole) <= room:
            return whole
        too_little, enough = 0, len(example.input)
        best = self._with_cut(example, response, enough)
        if _longest_prompt(best) > room:
            needed = self.max_length + _longest_prompt(best) - room
            raise DataError(
                f"task {example.task!r}, example {example.id!r}: instruction and response need {needed} "
                f"tokens even without the input; model.max_length is {self.max_length}. Raise it "
                f"to at least {needed}."
            )
        while enough - too_little > 1:
            middle = (too_little + enough) // 2
            tried = self._with_cut(example, response, middle)
            if _longest_prompt(tried) <= room:
                enough, best = middle, tried
            else:
                too_little = middle
        return best

    def _with_cut(self, example: Example, response: tuple[int, ...], num_cut: int) -> Encoded:
        prompt = self._prompt_ids(self.prompt_text(example, num_cut=num_cut))
        masked = None
        if example.instruction.key_parts:
            masked = self._prompt_ids(self.prompt_text(example, masked=True, num_cut=num_cut))
        return Encoded(example, prompt, masked, response, num_cut)


def _ids(encoded: Encoded) -> tuple[tuple[int, ...], tuple[int, ...] | None, tuple[int, ...], int]:
    return encoded.prompt, encoded.masked_prompt, encoded.response, encoded.num_cut


def _longest_prompt(encoded: Encoded) -> int:
    return max(len(encoded.prompt), len(encoded.masked_prompt or ()))
