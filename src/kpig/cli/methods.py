"""The command `methods`: what can learn a stream."""

from rich.table import Table

from kpig.cli.app import app
from kpig.cli.screen import say, show


@app.command()
def methods() -> None:
    """List the methods that can learn a stream.

    Example: [bold]kpig run my.toml --set method.name=replay[/bold]
    """
    from kpig.methods import METHODS

    table = Table("method", "what it does", box=None)
    for name, entry in METHODS.items():
        table.add_row(name, entry.help)
    show(table)
    say('A class of your own: method.name = "module:Class" (docs/add-a-method.md).')
