"""Text to token ids: a prompt, its masked twin, and the response that both share."""

import logging
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

from kpig.config import ModelSection
from kpig.errors import DataError, ModelError
from kpig.model.chat import NO_ARGUMENTS, Arguments, ChatTemplate, Messages, Turn
from kpig.records import MASK_TEXT, Example, Message

PLAIN_TEMPLATE = "{body}\nOutput:"
PLAIN_SYSTEM, PLAIN_ANSWER = "{text}\n\n", " {text}\n\n"
"""What a system prompt and an earlier answer add to the plain prompt, in front of what follows."""

PLAIN_TURN = Turn(before="Output:", lead=" ", end=None)
"""How a response goes on from the plain prompt."""

log = logging.getLogger(__name__)

MAX_CACHED = 200_000
"""Texts kept encoded, for an example comes again in every epoch and evaluation: a bound on memory. Chosen,
not measured."""

MAX_ANSWERS = 4_096
"""Responses whose ids are kept apart from the prompts', the first that come: labels are the same few texts in
many examples. Chosen."""

SHARE_EVICTED = 16
"""One part in so many goes at the bound, the oldest first: one by one, each would be sought behind the gaps
that those before it left. Chosen."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one example. Both twins carry the same `response`, with the token that ends it.

    `masked_prompt` is None for an example without key parts. `num_cut` counts the characters of the
    input that were dropped to make the example fit. `text` is the prompt that `prompt` are the ids of.
    """

    example: Example
    prompt: tuple[int, ...]
    masked_prompt: tuple[int, ...] | None
    response: tuple[int, ...]
    num_cut: int = 0
    text: str = ""

    @property
    def num_tokens(self) -> int:
        """Tokens of the longer twin."""
        return max(len(self.prompt), len(self.masked_prompt or ())) + len(self.response)


class Encoder:
    """Turns examples into token ids with one tokenizer, one length limit and one mask text.

    The tokenizer's chat template is used where there is one; `use_chat_template=False` turns it off. `clock`
    is the moment that a template which asks for the date is told; see `ChatTemplate`.
    A special token spelled out in a task's text is encoded as plain text, save in a chat prompt, where it
    cannot be told from those of the template.

    `end_id` is the token that ends a response: that with which the template ends a turn, where it has one,
    else the tokenizer's end of sequence.

    `num_rows` are those of the model's embedding; a tokenizer may have a few tokens more, which most texts
    never need (`kpig.model.loading`). A text that does is refused with ModelError. None: every token has one.

    `system` is the system prompt of examples that bring none. Where the template does not let a system
    prompt through, it stands in front of the first user's turn, a blank line between them; `merges_system`
    tells that. `use_chat_template` may be the name of one of several templates, and `arguments` are what the
    template is given besides. Raises ModelError for arguments without a template to take them.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        mask_text: str = MASK_TEXT,
        use_chat_template: bool | str = True,
        clock: str | None = None,
        num_rows: int | None = None,
        system: str = "",
        arguments: Arguments = NO_ARGUMENTS,
    ):
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.mask_text = mask_text
        self.system = system
        self.chat = bool(use_chat_template) and bool(getattr(tokenizer, "chat_template", None))
        name = use_chat_template if isinstance(use_chat_template, str) else ""
        self.template_name = name or "default"
        if not self.chat and (name or arguments):
            raise ModelError(
                "model.chat_template and model.chat_template_arguments ask for a chat template, but the "
                "model's tokenizer has none, or it is turned off; remove them"
            )
        self._template = ChatTemplate(tokenizer, clock, name, arguments)
        self._turn = self._template.turn() if self.chat else PLAIN_TURN
        self.end_id: int = tokenizer.eos_token_id if self._turn.end is None else self._turn.end
        self._special = set(tokenizer.all_special_ids)
        self._num_rows = len(tokenizer) if num_rows is None else num_rows
        self._cache: dict[Hashable, Encoded] = {}
        self._beginnings: dict[tuple[str, bool], tuple[int, ...]] = {}
        self._answers: dict[str, tuple[int, ...]] = {}
        self._numbers = tuple(range(len(tokenizer)))

    def encode(self, example: Example, num_reserved: int = 0) -> Encoded:
        """Token ids of both twins; the input is shortened at its end until the longer twin fits.

        Room is left for the response, or for `num_reserved` tokens where that is more. Key parts and
        response are never cut: DataError when they do not fit even with an empty input.
        """
        said = (example.context, example.as_system)
        key = (example.instruction, example.input, example.response, said, num_reserved)
        if key not in self._cache:
            if len(self._cache) >= MAX_CACHED:
                self._evict()
            self._cache[key] = self._fit(example, num_reserved)
        found = self._cache[key]
        return found if found.example is example else replace(found, example=example)

    def _evict(self) -> None:
        for key in list(islice(self._cache, -(-MAX_CACHED // SHARE_EVICTED))):
            del self._cache[key]

    def prompt_text(self, example: Example, masked: bool = False, num_cut: int = 0) -> str:
        """The prompt as the model sees it, or that of its masked twin.

        Key parts are replaced by their offsets in the instruction, before the chat template is applied: a
        search in the templated text could hit an input or a system prompt that quotes the instruction.
        Raises ModelError when the template does not leave the instruction as it is.
        """
        text = self._templated(self.messages(example, masked, num_cut))
        if self._instruction(example, masked).strip() not in text:
            raise ModelError(
                f"the model's chat template changes the instruction of task {example.task!r}, so its key "
                "parts cannot be told apart in the prompt. Set model.chat_template = false to use the plain "
                "prompt."
            )
        return text

    def messages(self, example: Example, masked: bool = False, num_cut: int = 0) -> list[dict[str, str]]:
        """The conversation that the prompt is made of, as a server of the model is to be sent it.

        The last message is the user's: instruction and input, or the input alone where the instruction is
        the system prompt.
        """
        instruction = self._instruction(example, masked)
        kept = example.input[: len(example.input) - num_cut]
        context = list(example.context)
        if example.as_system:
            context.insert(0, Message("system", instruction))
            body = kept
        else:
            body = f"{instruction}\n\nInput: {kept}" if kept else instruction
        if self.system and not (context and context[0].role == "system"):
            context.insert(0, Message("system", self.system))
        said = [*context, Message("user", body)]
        if said[0].role == "system" and self.merges_system:
            said[:2] = [Message("user", f"{said[0].text}\n\n{said[1].text}")]
        return [{"role": message.role, "content": message.text} for message in said]

    @cached_property
    def merges_system(self) -> bool:
        """Whether the template lets no system prompt through, so that the user's turn begins with it."""
        merges = self.chat and not self._template.takes_system()
        if merges:
            log.warning(
                "the model's chat template takes no system prompt: it is put in front of the user's first "
                "turn, with a blank line between"
            )
        return merges

    def _instruction(self, example: Example, masked: bool) -> str:
        return example.instruction.masked(self.mask_text) if masked else example.instruction.text

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Ids of a text to be continued: as it is, or as the user's turn where there is a chat template."""
        return self._prompt_ids(self._templated([{"role": "user", "content": text}]) if self.chat else text)

    def conversation_ids(self, messages: Messages) -> tuple[int, ...]:
        """Ids of a conversation that the assistant is to go on with, in the chat template.

        Raises ModelError where the template refuses it, as some do with a system's turn.
        """
        return self._prompt_ids(self._template.render(messages))

    def response_ids(self, response: str) -> tuple[int, ...]:
        """Ids of the response as it goes on from a prompt, with the token that ends it.

        They depend on no prompt, so that twins share them: prompts all end with the same text. A special
        token spelled out in a task's text stays text: it cannot end a response early.
        """
        if (known := self._answers.get(response)) is not None:
            return known
        found = self._known((*self._continuing(f"{self._turn.lead}{response}"), self.end_id))
        if len(self._answers) < MAX_ANSWERS:
            self._answers[response] = found
        return found

    def _continuing(self, text: str) -> tuple[int, ...]:
        """Ids of a text behind the end of a prompt: those of prompt and text in one, less the prompt's own.

        Encoded apart, a text may begin with other tokens: sentencepiece puts a blank before whatever comes
        first. Where no token ends at the boundary, and where the text spells out a special token, which
        would be one beside those of the template, a line break stands in for the prompt.
        """
        behind = self._behind(self._turn.before, text, as_text=not self.chat)
        if behind is None or (self.chat and not self._special.isdisjoint(behind)):
            behind = self._behind("\n", text, as_text=True)
        return self._ids_of(text, as_text=True) if behind is None else behind

    def _behind(self, before: str, text: str, as_text: bool) -> tuple[int, ...] | None:
        """What the ids of two texts in one are after those of the first; None where they part elsewhere."""
        if (own := self._beginnings.get((before, as_text))) is None:
            own = self._beginnings[before, as_text] = self._ids_of(before, as_text)
        whole = self._ids_of(before + text, as_text)
        return whole[len(own) :] if whole[: len(own)] == own else None

    def _ids_of(self, text: str, as_text: bool) -> tuple[int, ...]:
        """Ids of a text alone, with no token put around it; `as_text`: special tokens in it are text."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=as_text))

    def _templated(self, messages: Messages) -> str:
        return self._template.render(messages) if self.chat else plain_prompt(messages)

    def _prompt_ids(self, text: str) -> tuple[int, ...]:
        ids = self.tokenizer.encode(
            text, add_special_tokens=not self.chat, split_special_tokens=not self.chat
        )
        if not self.chat and len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id:
            ids = ids[:-1]
        if not ids:
            raise ModelError(
                f"the model's tokenizer has no token for the prompt {text[:80]!r}, so there is nothing to "
                "answer; look at its chat template and normalizer, or give the task another instruction"
            )
        return self._known(tuple(ids))

    def _known(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """The ids, each the same object wherever it stands: 8 bytes a token, not 36.

        ModelError that names the token where the embedding has no row for one.
        """
        beyond = max(ids)
        if beyond < self._num_rows:
            return tuple(map(self._numbers.__getitem__, ids)) if beyond < len(self._numbers) else ids
        raise ModelError(
            f"a text holds {self.tokenizer.convert_ids_to_tokens(beyond)!r}, token {beyond} of the "
            f"tokenizer, but the model's embedding has {self._num_rows} rows and so none for it; take it "
            "out of the text (or the chat template), or resize the model (resize_token_embeddings)"
        )

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
            before = "system prompt, earlier turns, " if len(self.messages(example)) > 1 else ""
            raise DataError(
                f"task {example.task!r}, example {example.id!r}: {before}instruction and response need "
                f"{needed} tokens even without the input; the limit is {self.max_length}: model.max_length, "
                f"or the model's own where that is lower. Raise it to at least {needed}; where the model "
                "cannot, shorten the instruction or take another model."
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
        text = self.prompt_text(example, num_cut=num_cut)
        masked = None
        if example.instruction.key_parts:
            masked = self._prompt_ids(self.prompt_text(example, masked=True, num_cut=num_cut))
        return Encoded(example, self._prompt_ids(text), masked, response, num_cut, text)


def configured(
    tokenizer: Any, section: ModelSection, longest: int, clock: str | None, num_rows: int | None = None
) -> Encoder:
    """The encoder that a [model] section describes, up to `longest` tokens; the rest as in Encoder."""
    return Encoder(
        tokenizer,
        longest,
        section.mask_text,
        section.chat_template,
        clock,
        num_rows,
        section.system,
        section.chat_template_arguments,
    )


def plain_prompt(messages: Messages) -> str:
    """A conversation without a chat template: the system prompt, then each user's turn with its answer."""
    forms = {"system": PLAIN_SYSTEM, "assistant": PLAIN_ANSWER}
    return "".join(
        PLAIN_TEMPLATE.format(body=message["content"])
        if message["role"] == "user"
        else forms[message["role"]].format(text=message["content"])
        for message in messages
    )


def _longest_prompt(encoded: Encoded) -> int:
    return max(len(encoded.prompt), len(encoded.masked_prompt or ()))
