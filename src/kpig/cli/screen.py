"""What commands print: lines and tables in which no text steers the terminal. What it needs loads late."""

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kpig.progress import Screen


def say(text: object, file: TextIO | None = None, end: str = "\n") -> None:
    """Print a text, whatever is in it, to standard output or another stream."""
    from kpig import rendering

    rendering.say(text, file, end)


def show(renderable: "RenderableType") -> None:
    """To standard output, as wide as it needs to be where that is no terminal."""
    wide().print(renderable)


def wide() -> "Screen":
    """Standard output, at least WIDTH columns wide where it is no terminal."""
    from kpig.progress import WIDTH, Screen

    console = Screen()
    return console if console.is_terminal else Screen(width=max(console.width, WIDTH))
