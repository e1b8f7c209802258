"""The command `explain`: what a number means."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from kpig.cli.app import app
from kpig.cli.screen import say, show

if TYPE_CHECKING:
    from kpig.scoring.meanings.meaning import Meaning

WIDTH = 88
"""Characters of a line of explanation at most."""


@app.command("explain")
def explain_score(
    score: Annotated[
        str,
        typer.Argument(
            help="A number as a table calls it, such as V-score or 'P seen'; default: list all.",
            metavar="[SCORE]",
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what a number of a table means: its formula, range, direction and source.

    Example: [bold]kpig explain forgetting[/bold]
    """
    from kpig.scoring.meanings import MEANINGS, explained

    asked = [explained(score)] if score else list(MEANINGS.values())
    if as_json:
        say(json.dumps([asdict(one) for one in asked], indent=2, ensure_ascii=False, allow_nan=False))
    elif score:
        say("\n".join(_lines(asked[0])))
    else:
        show(_table())


def _table() -> Table:
    from kpig.scoring.meanings import MEANINGS

    table = Table("name", "number", "what it is", "better", box=None)
    for key, one in MEANINGS.items():
        table.add_row(*map(Text, (key, one.title, one.brief, one.better)))
    return table


def _lines(one: "Meaning") -> Iterator[str]:
    yield f"{one.title}: {one.brief}"
    yield from textwrap.wrap(one.says, WIDTH)
    better = f"{one.better} is better" if one.better else "neither way is better by itself"
    facts = (("formula", one.formula), ("range", one.range), ("better", better), ("source", one.source))
    for name, fact in facts:
        yield from textwrap.wrap(f"{name + ':':<9}{fact}", WIDTH, subsequent_indent=" " * 9)
