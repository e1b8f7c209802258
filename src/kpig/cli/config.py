"""The command `config`: what every key means."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from kpig.cli.app import app
from kpig.cli.screen import say, show

if TYPE_CHECKING:
    from kpig.config.keys import Table as Keys


@app.command("config")
def explain_config(
    section: Annotated[
        str,
        typer.Argument(
            help="A table, such as train or method.kpig, or a key, such as train.epochs; default: all.",
            metavar="[SECTION]",
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Print every key of the configuration with its type, its default, its meaning and its cost.

    Example: [bold]kpig config train[/bold]
    """
    from kpig.methods.tables import tables_of

    found = tables_of(section)
    if as_json:
        say(json.dumps([one.as_json() for one in found], indent=2, ensure_ascii=False, allow_nan=False))
        return
    for one in found:
        show(_table(one))


def _table(found: "Keys") -> Table:
    table = Table(title=Text(_title(found)), title_justify="left", box=None, expand=False)
    for heading in ("key", "type", "default", "meaning"):
        table.add_column(heading, overflow="fold")
    for key in found.keys:
        meaning = f"{key.meaning}. Cost: {key.cost}" if key.cost else key.meaning
        table.add_row(*map(Text, (key.name, key.type, key.written, meaning)))
    return table


def _title(found: "Keys") -> str:
    return f"[{found.name}] {found.meaning}" if found.name else found.meaning
