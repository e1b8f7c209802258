"""The command `init`: a config to start from."""

from pathlib import Path
from typing import Annotated

import typer

from kpig.cli.app import app
from kpig.cli.screen import say

FILE = "kpig.toml"


@app.command("init")
def write_config(
    folder: Annotated[Path, typer.Argument(help="Where kpig.toml goes.", metavar="[DIR]")] = Path("."),
    method: Annotated[
        str, typer.Option("--method", help="The method whose settings it holds; see kpig methods.")
    ] = "kpig",
) -> None:
    """Write a config with every key, its default and its meaning. Nothing is asked, and nothing replaced.

    As it stands it learns the built-in tasks with the shipped model.

    Example: [bold]kpig init my && kpig check my/kpig.toml[/bold]
    """
    from kpig.config import MethodSection
    from kpig.config.commented import commented
    from kpig.errors import ConfigError, RunError
    from kpig.files import publish
    from kpig.methods import chosen

    path = folder / FILE
    if path.exists():
        raise RunError(f"{path} is there already; give another folder, or remove it")
    if problems := chosen.problems(MethodSection(name=method)):
        raise ConfigError("\n".join(problems))
    publish(path, commented(method, chosen.load(method).Settings))
    say(f"{path}: name your tasks under [stream] and your model under [model], then: kpig check {path}")
