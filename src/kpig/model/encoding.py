"""Text to token ids: a prompt, its masked twin, and the response that both share."""

import logging
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

from kpig.config import ModelSection
from kpig.errors import DataError, ModelError
from kpig.model.chat import NO_ARGUMENTS, Arguments, ChatTemplate, Messages, Turn
from kpig.model.encoded import Encoded as Encoded
from kpig.model.encoded import Shelf
from kpig.model.token_ids import ids_of
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

IN_BATCH = 256
"""Examples that `encode_all` takes at once. Chosen: what a batch saves is saved by then."""

MAX_ANSWERS = 4_096
"""Responses whose ids are kept apart from the prompts', the first that come: labels are the same few texts in
many examples. Chosen."""


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
        self._beginnings: dict[tuple[str, bool], tuple[int, ...]] = {}
        self._answers: dict[str, tuple[int, ...]] = {}
        self._numbers = tuple(range(len(tokenizer)))
        self._cache = Shelf(MAX_CACHED, self._numbers)

    def encode(self, example: Example, num_reserved: int = 0) -> Encoded:
        """Token ids of both twins; the input is shortened at its end until the longer twin fits.

        Room is left for the response, or for `num_reserved` tokens where that is more. Key parts and
        response are never cut: DataError when they do not fit even with an empty input.
        """
        return next(self.encode_all((example,), num_reserved))

    def encode_all(self, examples: Iterable[Example], num_reserved: int = 0) -> Iterator[Encoded]:
        """What `encode` gives for each of many examples, in order.

        Template and tokenizer take IN_BATCH of them at once. Raises as `encode` does for the first example
        that it would raise for.
        """
        left = iter(examples)
        while some := list(islice(left, IN_BATCH)):
            keys = [_texts_of(one) for one in some]
            found = self._of_batch(keys, some, num_reserved)
            for key, one in zip(keys, some, strict=True):
                yield found[key] if found[key].example is one else replace(found[key], example=one)

    def _of_batch(
        self, keys: Sequence[Hashable], examples: Sequence[Example], num_reserved: int
    ) -> dict[Hashable, Encoded]:
        """The examples, by their texts, encoded: as they are kept, and else now."""
        found: dict[Hashable, Encoded] = {}
        new: dict[Hashable, Example] = {}
        for key, example in zip(keys, examples, strict=True):
            if (known := self._kept(key, num_reserved)) is None:
                new.setdefault(key, example)
            else:
                found[key] = known
        for key, whole in zip(new, self._wholes(list(new.values())), strict=True):
            found[key] = self._fit(whole, num_reserved)
            self._cache.put((key, num_reserved) if found[key].num_cut else key, found[key])
        return found

    def _kept(self, key: Hashable, num_reserved: int) -> Encoded | None:
        """What is kept of an example: one that fits as it is is the same however much room is asked for."""
        whole = self._cache.get(key)
        if whole is not None and _longest_prompt(whole) <= self._room(whole.response, num_reserved):
            return whole
        return self._cache.get((key, num_reserved))

    def num_tokens_apart(self, example: Example, num_reserved: int = 0) -> int:
        """Tokens that the longer twin of an example needs without its input, which alone may be cut.

        With the response, or `num_reserved` tokens where that is more.
        """
        response = self.response_ids(example.response)
        least = self._with_cut([example], [response], len(example.input))[0]
        return _longest_prompt(least) + max(len(response), num_reserved)

    def prompt_text(self, example: Example, masked: bool = False, num_cut: int = 0) -> str:
        """The prompt as the model sees it, or that of its masked twin.

        Key parts are replaced by their offsets in the instruction, before the chat template is applied: a
        search in the templated text could hit an input or a system prompt that quotes the instruction.
        Raises ModelError when the template does not leave the instruction as it is.
        """
        return self._prompt_texts([(example, masked)], num_cut)[0]

    def _prompt_texts(self, twins: Sequence[tuple[Example, bool]], num_cut: int = 0) -> list[str]:
        """The prompts of examples, or of the masked twins of those that are paired with True."""
        texts = self._templated([self.messages(example, masked, num_cut) for example, masked in twins])
        for (example, masked), text in zip(twins, texts, strict=True):
            if self._instruction(example, masked).strip() not in text:
                raise ModelError(
                    f"the model's chat template changes the instruction of task {example.task!r}, so its key "
                    "parts cannot be told apart in the prompt. Set model.chat_template = false to use the "
                    "plain prompt."
                )
        return texts

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
        said = [{"role": "user", "content": text}]
        return self._prompt_ids(self._templated([said]) if self.chat else [text])[0]

    def conversation_ids(self, messages: Messages) -> tuple[int, ...]:
        """Ids of a conversation that the assistant is to go on with, in the chat template.

        Raises ModelError where the template refuses it, as some do with a system's turn.
        """
        return self._prompt_ids([self._template.render(messages)])[0]

    def response_ids(self, response: str) -> tuple[int, ...]:
        """Ids of the response as it goes on from a prompt, with the token that ends it.

        They depend on no prompt, so that twins share them: prompts all end with the same text. A special
        token spelled out in a task's text stays text: it cannot end a response early.
        """
        return self._responses([response])[0]

    def _responses(self, responses: Sequence[str]) -> list[tuple[int, ...]]:
        """`response_ids` of many."""
        new = [one for one in dict.fromkeys(responses) if one not in self._answers]
        continued = self._continuing([f"{self._turn.lead}{one}" for one in new])
        found = {one: self._known((*ids, self.end_id)) for one, ids in zip(new, continued, strict=True)}
        self._answers.update(islice(found.items(), max(0, MAX_ANSWERS - len(self._answers))))
        return [found.get(one) or self._answers[one] for one in responses]

    def _continuing(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Ids of texts behind the end of a prompt: those of prompt and text in one, less the prompt's own.

        Encoded apart, a text may begin with other tokens: sentencepiece puts a blank before whatever comes
        first. Where no token ends at the boundary, and where the text spells out a special token, which
        would be one beside those of the template, a line break stands in for the prompt.
        """
        behind = self._behind(self._turn.before, texts, as_text=not self.chat)
        doubtful = [
            place
            for place, ids in enumerate(behind)
            if ids is None or (self.chat and not self._special.isdisjoint(ids))
        ]
        after_break = self._behind("\n", [texts[place] for place in doubtful], as_text=True)
        for place, ids in zip(doubtful, after_break, strict=True):
            behind[place] = self._ids_of([texts[place]], as_text=True)[0] if ids is None else ids
        return [ids for ids in behind if ids is not None]

    def _behind(self, before: str, texts: Sequence[str], as_text: bool) -> list[tuple[int, ...] | None]:
        """What the ids of two texts in one are after those of the first; None where they part elsewhere."""
        if (own := self._beginnings.get((before, as_text))) is None:
            own = self._beginnings[before, as_text] = self._ids_of([before], as_text)[0]
        wholes = self._ids_of([before + text for text in texts], as_text)
        return [whole[len(own) :] if whole[: len(own)] == own else None for whole in wholes]

    def _ids_of(self, texts: Sequence[str], as_text: bool) -> list[tuple[int, ...]]:
        """Ids of each text alone, with no token put around it; `as_text`: special tokens in it are text."""
        return ids_of(self.tokenizer, texts, add_special_tokens=False, split_special_tokens=as_text)

    def _templated(self, conversations: Sequence[Messages]) -> list[str]:
        if self.chat:
            return self._template.render_all(conversations)
        return [plain_prompt(messages) for messages in conversations]

    def _prompt_ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        alone = not self.chat
        found = ids_of(self.tokenizer, texts, add_special_tokens=alone, split_special_tokens=alone)
        return [self._prompt(text, ids) for text, ids in zip(texts, found, strict=True)]

    def _prompt(self, text: str, ids: tuple[int, ...]) -> tuple[int, ...]:
        """The ids of a prompt without an end of sequence that the tokenizer puts behind it."""
        if not self.chat and len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id:
            ids = ids[:-1]
        if not ids:
            raise ModelError(
                f"the model's tokenizer has no token for the prompt {text[:80]!r}, so there is nothing to "
                "answer; look at its chat template and normalizer, or give the task another instruction"
            )
        return self._known(ids)

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

    def _room(self, response: tuple[int, ...], num_reserved: int) -> int:
        """Tokens that a prompt may have before a response."""
        return self.max_length - max(len(response), num_reserved)

    def _fit(self, whole: Encoded, num_reserved: int) -> Encoded:
        """An encoded example with as much of its input as there is room for."""
        example, response = whole.example, whole.response
        room = self._room(response, num_reserved)
        if _longest_prompt(whole) <= room:
            return whole
        too_little, enough = 0, len(example.input)
        best = self._with_cut([example], [response], enough)[0]
        if _longest_prompt(best) > room:
            needed = self.max_length + _longest_prompt(best) - room
            before = "system prompt, earlier turns, " if len(self.messages(example)) > 1 else ""
            asks = num_reserved > len(response)
            answer = f"room for an answer of {num_reserved} tokens" if asks else "response"
            raise DataError(
                f"task {example.task!r}, example {example.id!r}: {before}instruction and {answer} need "
                f"{needed} tokens even without the input; the limit is {self.max_length}: model.max_length, "
                f"or the model's own where that is lower. Raise it to at least {needed}"
                f"{', or ask for shorter answers' if asks else ''}; where the model cannot, shorten the "
                "instruction or take another model."
            )
        while enough - too_little > 1:
            middle = (too_little + enough) // 2
            tried = self._with_cut([example], [response], middle)[0]
            if _longest_prompt(tried) <= room:
                enough, best = middle, tried
            else:
                too_little = middle
        return best

    def _wholes(self, examples: Sequence[Example]) -> Iterator[Encoded]:
        """The examples with all of their input: together, or one by one where one of them is refused.

        So whoever takes them in order is told of the first.
        """
        if not examples:
            return
        try:
            found = self._with_cut(examples, self._responses([one.response for one in examples]), 0)
        except ModelError:
            if len(examples) == 1:
                raise
            yield from (whole for one in examples for whole in self._wholes([one]))
        else:
            yield from found

    def _with_cut(
        self, examples: Sequence[Example], responses: Sequence[tuple[int, ...]], num_cut: int
    ) -> list[Encoded]:
        twins = [(one, masked) for one in examples for masked in (False, True)[: 1 + _has_twin(one)]]
        texts = self._prompt_texts(twins, num_cut)
        both = iter(zip(texts, self._prompt_ids(texts), strict=True))
        found = []
        for example, response in zip(examples, responses, strict=True):
            text, prompt = next(both)
            masked_prompt = next(both)[1] if _has_twin(example) else None
            found.append(Encoded(example, prompt, masked_prompt, response, num_cut, text))
        return found


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


def _texts_of(example: Example) -> Hashable:
    """What decides the ids of an example."""
    return (example.instruction, example.input, example.response, example.context, example.as_system)


def _has_twin(example: Example) -> bool:
    return bool(example.instruction.key_parts)


def _longest_prompt(encoded: Encoded) -> int:
    return max(len(encoded.prompt), len(encoded.masked_prompt or ()))
