"""The options of the commands that may ask a chat model: one set, which they take as one argument."""

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from kpig.cli.app import Device, quiet
from kpig.errors import UsageError

if TYPE_CHECKING:
    from kpig.llm import TextBackend


@dataclass(frozen=True)
class ChatModel:
    """Which chat model to ask, and how much."""

    llm: Annotated[
        str, typer.Option("--llm", help="The chat model's name on the server, or a local model folder.")
    ] = ""
    base_url: Annotated[
        str, typer.Option("--base-url", help="An OpenAI-compatible server; empty: a local folder.")
    ] = ""
    key_variable: Annotated[
        str, typer.Option("--key-variable", help="Environment variable with the API key; '': none.")
    ] = "OPENAI_API_KEY"
    max_requests: Annotated[
        int, typer.Option("--max-requests", min=0, help="Stop after so many requests; 0: no limit.")
    ] = 0
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=0, help="Stop after so many tokens; 0: no limit.")
    ] = 0
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.001, help="Seconds that one attempt at a server may take.")
    ] = 120.0
    retries: Annotated[
        int, typer.Option("--retries", min=0, help="Further attempts at a request that a server failed.")
    ] = 5
    max_failures: Annotated[
        int, typer.Option("--max-failures", min=1, help="Stop after so many failed requests in a row.")
    ] = 8
    cache: Annotated[Path, typer.Option("--cache", help="Folder of answers already paid for.")] = Path(
        ".kpig-cache"
    )

    @property
    def is_folder(self) -> bool:
        """Whether it is a model on this machine: a folder of that name, and no server is given."""
        return bool(self.llm) and not self.base_url and Path(self.llm).is_dir()

    def refuse(self, why: str) -> None:
        """Raise UsageError where an option of these was given though no chat model is asked, and why not."""
        given = [
            f"--{field.name.replace('_', '-')}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        if given:
            have = "has" if len(given) == 1 else "have"
            raise UsageError(f"{', '.join(given)} {have} no effect {why}, or leave the option out")

    def backend(self, device: Device) -> "TextBackend":
        """A server where --base-url is given, else the model in a folder of that name, else a server."""
        from kpig.llm import Budget, HttpModel, TextBackend, load_local, settings_from

        if not self.llm and not os.environ.get("OPENAI_MODEL"):
            raise UsageError("name a chat model with --llm (and --base-url for a server), or use --by rules")
        budget = Budget(self.max_requests or None, self.max_tokens or None)
        if self.is_folder:
            from kpig.runs.machine import choose_device

            quiet()
            return TextBackend(load_local(self.llm, choose_device(device.value)), self.cache, budget)
        given = {"model": self.llm, "base_url": self.base_url}
        named = {name: value for name, value in given.items() if value}
        settings = settings_from(
            key_variable=self.key_variable,
            timeout_s=self.timeout,
            max_retries=self.retries,
            max_failures=self.max_failures,
            **named,
        )
        return TextBackend(HttpModel(settings), self.cache, budget)


def takes_chat_model(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of ChatModel as options, in the place of its argument `chat`."""
    hints = get_type_hints(ChatModel, include_extras=True)
    names = [field.name for field in fields(ChatModel)]
    options = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(ChatModel)
    ]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        command(chat=ChatModel(**{name: given.pop(name) for name in names}), **given)

    own = inspect.signature(command).parameters.values()
    parameters = [
        one
        for parameter in own
        for one in (
            options if parameter.name == "chat" else [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
        )
    ]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_options
