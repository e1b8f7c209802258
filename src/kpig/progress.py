"""What a person sees on a terminal: a screen for tables, and bars with the time left while a run goes on."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from kpig.rendering import visible


class Screen(Console):
    """A console on which no text does more than stand there, be it a task's, a model's or a file's name.

    Characters that steer a terminal are replaced, and brackets and colons are no markup.
    """

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def render_str(self, text: str, **options: Any) -> Text:
        """As in Console; replaced before it is measured, so that columns stay straight."""
        return super().render_str(visible(text), **options)


class Watcher:
    """Told what the job is doing; says nothing. The base of `Bars`, and the default from Python."""

    @contextmanager
    def phase(self, name: str, total: int, done: int = 0) -> Iterator["Watcher"]:
        """A stretch of `total` units of work, `done` of them behind us."""
        yield self

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more units are done."""

    def say(self, line: str) -> None:
        """One line worth reading."""


class Bars(Watcher):
    """Live bars on a terminal; one line per phase where standard error is no terminal."""

    def __init__(self) -> None:
        self.console = Screen(stderr=True, highlight=False)
        self._running: tuple[Progress, TaskID] | None = None

    @contextmanager
    def phase(self, name: str, total: int, done: int = 0) -> Iterator["Bars"]:
        columns = (
            TextColumn("{task.description:<34}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as bars:
            self._running = bars, bars.add_task(name, total=total, completed=done, note="")
            yield self
        if not self.console.is_terminal:
            self.say(f"{name}: done")
        self._running = None

    def advance(self, count: int = 1, note: str = "") -> None:
        if self._running is not None:
            bars, task = self._running
            bars.update(task, advance=count, note=note)

    def say(self, line: str) -> None:
        self.console.print(line)
