"""A tokenizer's chat template: conversations to text, within limits; where a turn begins and ends.

Transformers renders it, in a process of its own (`kpig.model.template_process`), with a clock that stands.
"""

import atexit
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock, Timer
from types import MappingProxyType
from typing import Any

from kpig.errors import ModelError, nearest

MOST_CPU_SECONDS = 3
"""For one conversation, which takes a template well under a hundredth of a second."""

MOST_SECONDS = 120
"""By the wall, where the kernel counts no CPU seconds, and for the start of the process on a busy machine."""

MOST_MEMORY = 2**30
"""Bytes that a template may take: two thousand times the longest conversation that a model reads."""

MOST_ADDED = 1_000_000
"""Characters that a template may write beyond those of the conversation. Chosen: long system prompts have
20,000."""

USER, ASSISTANT, SYSTEM = "kpiguserturn", "kpigassistantturn", "kpigsystemprompt"
"""Texts to find again in a rendered conversation; letters only, which templates leave alone."""

OWN_ARGUMENTS = (
    *("messages", "conversation", "conversations", "chat_template", "add_generation_prompt"),
    *("tools", "documents", "continue_final_message", "return_assistant_tokens_mask"),
)
"""What a template is given anyway, or what would turn its text into another kind of thing."""

Messages = Sequence[Mapping[str, str]]
Arguments = Mapping[str, bool | int | float | str]
NO_ARGUMENTS: Arguments = MappingProxyType({})


@dataclass(frozen=True)
class Turn:
    """Where the assistant's text stands in a prompt's continuation.

    `before` is the fixed text at the end of every prompt, `lead` the blanks that come before the text itself,
    and `end` the id of the token that ends the turn; None where no token does.
    """

    before: str
    lead: str
    end: int | None


class ChatTemplate:
    """The chat template of a tokenizer.

    `clock` is the moment, in ISO 8601, that a template which asks for the date is told: else the prompt of a
    run that goes on tomorrow would be another one. Without one it is the moment at which this was made.
    `name` chooses one of several templates, and `arguments` are values that the template asks for by name.
    Raises ModelError for a name or an argument that the tokenizer or its template does not know.
    """

    def __init__(
        self,
        tokenizer: Any,
        clock: str | None = None,
        name: str = "",
        arguments: Arguments = NO_ARGUMENTS,
    ):
        self.tokenizer = tokenizer
        self.clock = clock or present_moment()
        self.name = name
        self.arguments = dict(arguments)
        if name or arguments:
            self._check_arguments()

    def render(self, messages: Messages, add_generation_prompt: bool = True) -> str:
        """A conversation as text. Raises ModelError for a template that fails or goes beyond the limits."""
        return self.render_all([messages], add_generation_prompt)[0]

    def render_all(self, conversations: Sequence[Messages], add_generation_prompt: bool = True) -> list[str]:
        """Each conversation as text, in one exchange with the process. Raises ModelError as `render` does.

        The limits are of each conversation, save that on the whole process's time.
        """
        request = {
            "template": self._source(),
            "conversations": [[dict(message) for message in messages] for messages in conversations],
            "add_generation_prompt": add_generation_prompt,
            "values": {**self.tokenizer.special_tokens_map, **self.arguments},
            "clock": self.clock,
            "most_added": MOST_ADDED,
        }
        answer = RENDERER.ask(request)
        if "error" in answer:
            raise self._unusable(answer["error"])
        return list(answer["texts"])

    def turn(self) -> Turn:
        """Where an assistant's turn begins and ends in conversations of this template.

        A template that refuses or changes an assistant's turn tells nothing about it. Raises ModelError where
        it cannot render a user's turn either.
        """
        user = {"role": "user", "content": USER}
        prompt = self.render([user])
        before = prompt.rpartition(USER)[2] if USER in prompt else ""
        try:
            whole = self.render([user, {"role": "assistant", "content": ASSISTANT}], False)
        except ModelError:
            return Turn(before, "", None)
        start, found, rest = whole.rpartition(ASSISTANT)
        if not found:
            return Turn(before, "", None)
        lead = start.removeprefix(prompt) if start.startswith(prompt) else ""
        return Turn(before, lead if lead.isspace() else "", self._first_end(rest))

    def takes_system(self) -> bool:
        """Whether a system prompt comes through: some templates refuse that role, and some leave it out."""
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]
        try:
            return SYSTEM in self.render(messages)
        except ModelError:
            return False

    def _check_arguments(self) -> None:
        """Raise ModelError for an argument that is kpig's own to set, or that the template never reads."""
        source = self._source()
        for name in self.arguments:
            if name in OWN_ARGUMENTS or name in self.tokenizer.special_tokens_map:
                raise ModelError(f"model.chat_template_arguments: {name!r} is set by kpig; remove it")
            if not re.search(rf"\b{re.escape(name)}\b", source):
                near = nearest(name, set(re.findall(r"[A-Za-z_]\w+", source)), cutoff=0.75)
                hint = f"did you mean {near!r}?" if near else "remove it"
                raise ModelError(
                    f"model.chat_template_arguments: the chat template reads no {name!r}; {hint}"
                )

    def _first_end(self, text: str) -> int | None:
        """The first token of a text that stands for more than text: one added to the vocabulary.

        It must stand in the text: a tokenizer may write an added token for what it does not know.
        """
        names = {number: str(token) for number, token in self.tokenizer.added_tokens_decoder.items()}
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        return next((one for one in ids if names.get(one, "").strip() and names[one] in text), None)

    def _source(self) -> str:
        """The template itself; of several, the one that was named, or default, as transformers chooses."""
        found = self.tokenizer.chat_template
        if isinstance(found, Mapping):
            names = " and ".join(sorted(map(str, found)))
            if self.name and self.name not in found:
                raise ModelError(f"model.chat_template is {self.name!r}; the tokenizer has {names}")
            if not self.name and "default" not in found:
                raise self._unusable(
                    f"there are several, {names}, and none is named default; name one as model.chat_template"
                )
            found = found[self.name or "default"]
        elif self.name:
            raise ModelError(
                f"model.chat_template is {self.name!r}, but the tokenizer has one template without a name; "
                "set it to true"
            )
        if not isinstance(found, str):
            raise self._unusable(f"it is of type {type(found).__name__}, not a text")
        return found

    def _unusable(self, said: str) -> ModelError:
        name = getattr(self.tokenizer, "name_or_path", "") or "of this tokenizer"
        return ModelError(
            f"model {name}: its chat template cannot be used ({said.rstrip('.')}); mend it, or set "
            "model.chat_template = false to use the plain prompt"
        )


def present_moment() -> str:
    """The present, in ISO 8601 and whole seconds, as the clock of this machine shows it."""
    return datetime.now().isoformat(timespec="seconds")


class Renderer:
    """The one process that renders, started when first asked, and again after a template had it killed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What the process answers, or {"error": ...} where it had to be ended."""
        line = json.dumps(request, default=str, allow_nan=False) + "\n"
        with self._lock:
            process = self._running()
            watch = Timer(MOST_SECONDS, process.kill)
            watch.daemon = True
            watch.start()
            answer = ""
            try:
                answer = _exchanged(process, line)
            finally:
                watch.cancel()
                if not answer:  # ended, or interrupted: what it may still write answers no later question
                    self.close()
            if not answer:
                return {"error": _last_words(process.returncode)}
            found: dict[str, Any] = json.loads(answer)
            return found

    def close(self) -> None:
        """End the process, if it runs and is this one's."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.communicate()

    def _running(self) -> subprocess.Popen[str]:
        """The process; a copy of this one, made by a fork, may not share it."""
        if self._process is None or self._owner != os.getpid():
            program = Path(__file__).with_name("template_process.py")
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(program), str(MOST_CPU_SECONDS), str(MOST_MEMORY)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="ascii",
            )
            self._owner = os.getpid()
        return self._process


RENDERER = Renderer()
atexit.register(RENDERER.close)


def _exchanged(process: subprocess.Popen[str], line: str) -> str:
    """The line that answers a line; "" where the process has ended."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(line)
        process.stdin.flush()
        return process.stdout.readline()
    except OSError:
        return ""


def _last_words(code: int) -> str:
    """Why the process ended, from its exit status."""
    if code == -getattr(signal, "SIGXCPU", 0):
        return f"it was still at work after {MOST_CPU_SECONDS} seconds: does it loop for ever?"
    if code == -getattr(signal, "SIGKILL", 0):
        return f"it took more memory than there is, or more than {MOST_SECONDS} seconds"
    return f"the process that renders it ended with status {code}"
