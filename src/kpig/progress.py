"""What a person sees while a job goes on: bars on a terminal, lines in a log or in a notebook; tables."""

import html
import importlib
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.jupyter import JupyterRenderable
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

LINE_SECONDS = 30.0
"""Between two lines about a phase where standard error is no terminal, unless the job says otherwise. Chosen:
a day's log stays below 3,000 lines."""

NOTEBOOK_SECONDS = 0.5
"""Between two changes of the line in a notebook. Chosen: each is a message to the browser."""

NUM_BLOCKS = 24
"""Of a bar in a notebook."""

WIDTH = 132
"""Columns at least where no terminal sets them."""


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
    """Told what the job is doing; says nothing. The base of the others, and a way to have it quiet."""

    @contextmanager
    def phase(self, name: str, total: int, done: int = 0) -> Iterator["Watcher"]:
        """A stretch of `total` units of work, `done` of them behind us."""
        yield self

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more units are done; `note` is what else to say beside it."""

    def say(self, line: str) -> None:
        """One line worth reading."""

    def show(self, renderable: RenderableType) -> None:
        """Something larger worth reading, such as a table of rich's."""

    def pace(self, seconds: float) -> None:
        """At least so many seconds are to go by between two lines about a phase."""


@dataclass
class _Phase:
    """How far a stretch of work is; seconds are those of `time.monotonic`."""

    name: str
    total: int
    done: int
    note: str = ""
    begun: float = field(default_factory=lambda: time.monotonic())

    def __post_init__(self) -> None:
        self.before = self.done

    @property
    def seconds(self) -> float:
        """Since it began, here and now."""
        return time.monotonic() - self.begun

    def words(self) -> str:
        """Name, count, time left, note."""
        here = self.done - self.before
        left = [f"{duration(self.seconds / here * (self.total - self.done))} left"] if here else []
        return ", ".join(
            [f"{self.name} {self.done}/{self.total}", *left, *([self.note] if self.note else [])]
        )

    def ended(self) -> str:
        """Name, count, how long it took, note."""
        took = f"{self.name} {self.done}/{self.total}: done in {duration(self.seconds)}"
        return f"{took}, {self.note}" if self.note else took


class Bars(Watcher):
    """Live bars on a terminal; time-stamped lines now and then where standard error is none."""

    def __init__(self) -> None:
        found = Screen(stderr=True, highlight=False)
        wide = Screen(stderr=True, highlight=False, width=max(found.width, WIDTH))
        self.console = found if found.is_terminal else wide
        self._seconds, self._told = LINE_SECONDS, float("-inf")
        self._live: tuple[_Bar, TaskID] | None = None
        self._phase: _Phase | None = None

    def pace(self, seconds: float) -> None:
        self._seconds = seconds

    @contextmanager
    def phase(self, name: str, total: int, done: int = 0) -> Iterator["Bars"]:
        if not self.console.is_terminal:
            with self._in_lines(_Phase(name, total, done)):
                yield self
            return
        with _Bar(self.console) as bar:
            self._live = bar, bar.add_task(name, total=total, completed=done)
            try:
                yield self
            finally:
                self._live = None

    @contextmanager
    def _in_lines(self, phase: _Phase) -> Iterator[None]:
        self._phase = phase
        try:
            yield
        finally:
            self._phase = None
        self._stamped(phase.ended())

    def advance(self, count: int = 1, note: str = "") -> None:
        if self._live is not None:
            bar, task = self._live
            bar.note = note or bar.note
            bar.update(task, advance=count)
        elif self._phase is not None:
            self._phase.done += count
            self._phase.note = note or self._phase.note
            if time.monotonic() - self._told >= self._seconds:
                self._stamped(self._phase.words())

    def say(self, line: str) -> None:
        self.console.print(line, soft_wrap=not self.console.is_terminal)

    def show(self, renderable: RenderableType) -> None:
        self.console.print(renderable)

    def _stamped(self, line: str) -> None:
        self._told = time.monotonic()
        self.say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}")


class _Bar(Progress):
    """A bar with the time left, and below it a line for what else there is to say."""

    def __init__(self, console: Console) -> None:
        self.note = ""
        super().__init__(
            TextColumn("{task.description:<34}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.note:
            yield Text(f"  {self.note}")


class Notebook(Watcher):
    """One line for each phase in the output of a notebook's cell, which changes in place; tables below it."""

    def __init__(self) -> None:
        warnings.filterwarnings("ignore", "IProgress not found")  # of bars that nothing here shows
        self.console = Screen(highlight=False)
        self._display: Any = importlib.import_module("IPython.display").display
        self._phase: _Phase | None = None
        self._line: Any = None
        self._shown = 0.0

    @contextmanager
    def phase(self, name: str, total: int, done: int = 0) -> Iterator["Notebook"]:
        self._phase = phase = _Phase(name, total, done)
        self._line = self._display(_line(phase, phase.words()), display_id=True)
        try:
            yield self
        finally:
            self._phase = None
            self._line.update(_line(phase, phase.words()))
        self._line.update(_line(phase, phase.ended()))

    def advance(self, count: int = 1, note: str = "") -> None:
        if self._phase is None:
            return
        self._phase.done += count
        self._phase.note = note or self._phase.note
        if time.monotonic() - self._shown >= NOTEBOOK_SECONDS:
            self._shown = time.monotonic()
            self._line.update(_line(self._phase, self._phase.words()))

    def say(self, line: str) -> None:
        self.console.print(line)

    def show(self, renderable: RenderableType) -> None:
        self.console.print(renderable)


def here() -> Watcher:
    """Who tells a person how far a job is: in a notebook's cell, on the terminal, or in a log."""
    return Notebook() if Console().is_jupyter else Bars()


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds: 0:00:07, 26:40:00."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _line(phase: _Phase, words: str) -> JupyterRenderable:
    """A bar and words, for a notebook."""
    filled = NUM_BLOCKS * phase.done // max(1, phase.total)
    text = visible(f"{'█' * filled}{'░' * (NUM_BLOCKS - filled)} {words}")
    return JupyterRenderable(f"<pre>{html.escape(text)}</pre>", text)
