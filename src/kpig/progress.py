"""What a person sees while a run goes on: bars with the time left, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


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
        self.console = Console(stderr=True, highlight=False)
        self._running: tuple[Progress, TaskID] | None = None

    @contextmanager
    def phase(self, name: str, total: int, done: int = 0) -> Iterator["Bars"]:
        columns = (
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
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
        self.console.print(line, markup=False)
