"""Whether the other processes of a job still live, and which one tells why it ends: kept in their store.

A process that is killed closes its connections, which its peers see at once. A machine that is lost, or a
process that stands still, closes none: so every process beats in the store, and listens to the one before it.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

BEAT_SECONDS = 5.0

LOST_SECONDS = 45.0
"""Nine beats missed. Chosen: a job is to end within a minute of what it has lost, and no sound process holds
Python's lock for so long."""

PATIENCE_SECONDS = 2.0
"""How long other processes give the main one to say why the job ends. Chosen."""

LAST_SECONDS = 10.0
"""How long who keeps the store waits for the others at the end. Chosen."""

JOIN_SECONDS = 300.0
"""How long the first process waits for the last one. Chosen: launchers start all of them at once."""


class Heart:
    """Beats for process `number` of `size`; `lost` is called, in its thread, where the one before is lost."""

    def __init__(self, store: Any, number: int, size: int, lost: Callable[[], None]):
        self.store, self.number, self.before, self.size = store, number, (number - 1) % size, size
        self._lost = lost
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True, name="kpig-heart").start()

    def leave(self) -> None:
        """Say that this process ends as it should, so that nobody misses it."""
        self._ended.set()
        with suppress(RuntimeError):
            self.store.add(f"left/{self.number}", 1)
            self.store.add("asked", 1)
            self.outlast()

    def claim(self, code: int) -> int | None:
        """None for the first process that asks to tell why the job ends; for the others its exit code.

        The main one is let go first: it may have the same to say. RuntimeError where the store is gone.
        """
        until = time.monotonic() + (PATIENCE_SECONDS if self.number else 0.0)
        while time.monotonic() < until and not self.store.check(["ends"]):
            time.sleep(0.02)
        found: bytes = self.store.compare_set("ends", "", f"{self.number} {code}")
        self.store.add("asked", 1)
        teller, ends = map(int, found.decode().split())
        return None if teller == self.number else ends

    def outlast(self) -> None:
        """Where the store ends with this process, stay until the others have asked it for the last time."""
        is_agents = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        until = time.monotonic() + LAST_SECONDS
        while self.number == 0 and not is_agents and time.monotonic() < until:
            if self.store.add("asked", 0) >= self.size:
                return
            time.sleep(0.02)

    def _beat(self) -> None:
        """Beat and listen until one of the two has ended."""
        seen, since = -1, time.monotonic()
        while not self._ended.is_set():
            try:
                self.store.add(f"beat/{self.number}", 1)
                found = self.store.add(f"beat/{self.before}", 0)
                has_left = self.store.add(f"left/{self.before}", 0) > 0
            except RuntimeError:  # the store went with the process or the launcher that keeps it
                found, has_left = seen, False
            if found != seen or has_left:
                seen, since = found, time.monotonic()
            elif time.monotonic() - since > (LOST_SECONDS if seen else JOIN_SECONDS):
                self._lost()
                return
            self._ended.wait(BEAT_SECONDS)


def end(words: str, code: int) -> None:
    """End the process at once, from whatever thread: the main one may wait in a library for who is lost."""
    with suppress(OSError):
        os.write(2, f"{words}\n".encode(errors="backslashreplace"))
    os._exit(code)
