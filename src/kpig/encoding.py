"""Text to token ids to padded batches that carry an example and its masked twin.

Shape letters: R rows, L sequence, N response tokens of all rows together, M those of the masked twins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kpig.errors import DataError, ModelError
from kpig.records import MASK_TEXT, Example

PLAIN_TEMPLATE = "{body}\nOutput:"
MAX_CACHED = 50_000


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


@dataclass(frozen=True)
class Rows:
    """Padded sequences and where their response tokens are predicted.

    `input_ids`, `attention_mask`, `position_ids` are [R, L]. Response token n of N, in row order, is
    `target[n]`; the position before it, which predicts it, is (`row[n]`, `column[n]`).
    Positions are found row by row, so twins with prompts of different lengths need no alignment.
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    row: Tensor
    column: Tensor
    target: Tensor
    num_tokens: int

    def to(self, device: torch.device) -> "Rows":
        """The same rows on another device."""
        tensors = (self.input_ids, self.attention_mask, self.position_ids, self.row, self.column, self.target)
        return Rows(*(tensor.to(device) for tensor in tensors), self.num_tokens)


@dataclass(frozen=True)
class Batch:
    """Examples as rows: all originals, then the masked twin of every example that has one.

    `twin_of` [M] gives for each twin response token the index of its original token among the first N.
    `example` [N] gives the example of each original token.
    """

    examples: tuple[Example, ...]
    rows: Rows
    twins: Rows | None
    num_tokens: int
    example: Tensor
    twin_of: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        twins = None if self.twins is None else self.twins.to(device)
        rows, example, twin_of = self.rows.to(device), self.example.to(device), self.twin_of.to(device)
        return Batch(self.examples, rows, twins, self.num_tokens, example, twin_of)


class Encoder:
    """Turns examples into token ids with one tokenizer, one length limit and one mask text.

    The tokenizer's chat template is used where there is one; `use_chat_template=False` turns it off.
    A special token spelled out in a task's text is encoded as plain text, save in a chat prompt, where it
    cannot be told from those of the template.
    """

    def __init__(
        self, tokenizer, max_length: int, mask_text: str = MASK_TEXT, use_chat_template: bool = True
    ):
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.mask_text = mask_text
        self.chat = use_chat_template and bool(getattr(tokenizer, "chat_template", None))
        self._cache: dict[tuple, Encoded] = {}

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
                f"the model's chat template changes the instruction of task {example.task!r}, so its key parts "
                "cannot be told apart in the prompt. Set model.chat_template = false to use the plain prompt."
            )
        return text

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
        return self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)

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
                f"task {example.task!r}, example {example.id!r}: instruction and response need {needed} tokens even "
                f"without the input; model.max_length is {self.max_length}. Raise it to at least {needed}."
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


def collate(encoded: Sequence[Encoded], pad_id: int, twins: bool = False, pad_side: str = "right") -> Batch:
    """One batch of examples; with `twins`, the masked twins follow as rows of their own.

    An example without key parts has no twin. `pad_side` changes nothing but the place of the padding.
    """
    originals = [(item.prompt, item.response) for item in encoded]
    masked = [
        (item.masked_prompt, item.response) for item in encoded if twins and item.masked_prompt is not None
    ]
    token_ranges = _token_ranges(encoded)
    pairs = zip(encoded, token_ranges, strict=True)
    twin_of = (
        [index for item, tokens in pairs if item.masked_prompt is not None for index in tokens]
        if twins
        else []
    )
    example = [number for number, tokens in enumerate(token_ranges) for _ in tokens]
    return Batch(
        examples=tuple(item.example for item in encoded),
        rows=pad(originals, pad_id, pad_side),
        twins=pad(masked, pad_id, pad_side) if masked else None,
        num_tokens=len(example),
        example=torch.tensor(example, dtype=torch.long),
        twin_of=torch.tensor(twin_of, dtype=torch.long),
    )


def pad(pairs: Sequence[tuple[Sequence[int], Sequence[int]]], pad_id: int, side: str = "right") -> Rows:
    """Rows from (prompt, response) pairs of ids, padded to the longest on one side."""
    length = max(len(prompt) + len(response) for prompt, response in pairs)
    input_ids = torch.full((len(pairs), length), pad_id, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    rows, columns, targets = [], [], []
    for number, (prompt, response) in enumerate(pairs):
        ids = (*prompt, *response)
        start = length - len(ids) if side == "left" else 0
        input_ids[number, start : start + len(ids)] = torch.tensor(ids)
        attention_mask[number, start : start + len(ids)] = 1
        first = start + len(prompt) - 1
        rows += [number] * len(response)
        columns += range(first, first + len(response))
        targets += response
    position_ids = (attention_mask.cumsum(1) - 1).clamp(min=0)
    index = (torch.tensor(values, dtype=torch.long) for values in (rows, columns, targets))
    return Rows(input_ids, attention_mask, position_ids, *index, num_tokens=int(attention_mask.sum()))


def join(first: Rows, second: Rows, pad_id: int) -> Rows:
    """The rows of both as one, so that one forward pass serves an original and its twin."""
    length = max(first.input_ids.shape[1], second.input_ids.shape[1])
    parts = [_widened(rows, length, pad_id) for rows in (first, second)]
    row = torch.cat([first.row, second.row + first.input_ids.shape[0]])
    column, target = torch.cat([first.column, second.column]), torch.cat([first.target, second.target])
    stacked = (torch.cat(pair) for pair in zip(*parts, strict=True))
    return Rows(*stacked, row, column, target, first.num_tokens + second.num_tokens)


def _widened(rows: Rows, length: int, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    extra = (0, length - rows.input_ids.shape[1])
    widen = torch.nn.functional.pad
    return (
        widen(rows.input_ids, extra, value=pad_id),
        widen(rows.attention_mask, extra),
        widen(rows.position_ids, extra),
    )


def _token_ranges(encoded: Sequence[Encoded]) -> list[range]:
    ranges, start = [], 0
    for item in encoded:
        ranges.append(range(start, start + len(item.response)))
        start += len(item.response)
    return ranges


def _ids(encoded: Encoded) -> tuple:
    return encoded.prompt, encoded.masked_prompt, encoded.response, encoded.num_cut


def _longest_prompt(encoded: Encoded) -> int:
    return max(len(encoded.prompt), len(encoded.masked_prompt or ()))


def token_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices grouped by similar length so that rows × longest row stays within `max_tokens` per group.

    A row longer than the budget makes a group of its own. Longest first, so that memory runs out early.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[groups[-1][0]] if groups else 0
        if groups and (len(groups[-1]) + 1) * longest <= max_tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
