"""What the program and its libraries log or warn of: on standard error, each once, and none that steers."""

import logging
import sys
import warnings
from typing import Any

from kpig.cli.screen import say


class Notes(logging.Handler):
    """Prints each message once, for data may be read twice in one command.

    Of our own that differ in a name or a number only, such as one per task, the first is printed and the
    others are counted. A single other one is printed too: no count says as much.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()
        self._kinds: dict[str, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().rstrip()
        if message in self._told:
            return
        self._told.add(message)
        if record.name.partition(".")[0] != "kpig":
            say(message, file=sys.stderr)
            return
        kind = self._kinds.setdefault(str(record.msg), [])
        kind.append(message)
        if len(kind) == 1:
            say(f"note: {message}", file=sys.stderr)

    def count(self) -> None:
        """Say how many there were of a kind beside the one that was printed."""
        for first, *others in self._kinds.values():
            if len(others) == 1:
                say(f"note: {others[0]}", file=sys.stderr)
            elif others:
                say(f"note: and {len(others)} more like this: {first}", file=sys.stderr)
        self._kinds.clear()


FOR_AUTHORS = (FutureWarning, DeprecationWarning, PendingDeprecationWarning)
"""Warnings of libraries about how they will be called one day, with which no user can do anything."""


def listen() -> Notes:
    """Take over what nobody else prints, warnings of Python too, but for those in `FOR_AUTHORS`."""
    notes = Notes()
    logging.captureWarnings(True)
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, FOR_AUTHORS):
            shown(message, category, *place, **more)

    warnings.showwarning = show
    logging.getLogger().addHandler(notes)
    return notes
