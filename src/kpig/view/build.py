"""Pages as they were built last, built anew when the files of their runs have changed. One at a time."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kpig import compare
from kpig.compare.page import page as compare_page
from kpig.errors import RunError
from kpig.report.page import rendered
from kpig.report.record import read_begun
from kpig.view.shelf import Shelved, check_plain

MOST_KEPT = 8
"""Pages in memory. Chosen: a page has 3 to 8 MB."""

REST = 3.0
"""A page is built again for further updates alone at the earliest after so many times what it took. Chosen:
the run that is looked at keeps three quarters of a core."""


@dataclass(frozen=True)
class Built:
    """A page, the stamps of the files it was built from, when it was, and what it took in seconds."""

    text: str
    stamp: Hashable
    growing: Hashable
    at: float
    seconds: float


@dataclass
class Builder:
    """The pages that were built last. Requests that come while one is built wait for it."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: "OrderedDict[Hashable, Built]" = field(default_factory=OrderedDict)

    def page(self, name: Hashable, stamp: Hashable, make: Callable[[], str], growing: Hashable = None) -> str:
        """The page of a name for files of a stamp. Raises what making it raises.

        `growing` is the stamp of a file that changes all the time: for that alone the page takes its rest.
        """
        with self._lock:
            known = self._kept.pop(name, None)
            if known is None or known.stamp != stamp or (known.growing != growing and _is_rested(known)):
                start = time.monotonic()
                text = make()
                known = Built(text, stamp, growing, time.monotonic(), time.monotonic() - start)
            self._kept[name] = known
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            return known.text


def _is_rested(known: Built) -> bool:
    return time.monotonic() - known.at >= REST * known.seconds


def run_page(builder: Builder, run: Shelved) -> str:
    """The report of a run, finished or not. RunError where it cannot be shown."""
    return builder.page(run.number, run.stamp(), lambda: _report(run.path), run.events_stamp())


def comparison_page(builder: Builder, runs: Sequence[Shelved]) -> str:
    """The comparison of the finished runs; what must be equal and is not stands on top. RunError for none."""
    finished = [run for run in runs if run.is_finished]
    stamp = tuple((run.number, run.stamp()) for run in finished)
    return builder.page("compare", stamp, lambda: _comparison([run.path for run in finished]))


def _report(path: Path) -> str:
    check_plain(path)
    return rendered([read_begun(path)])[0]


def _comparison(paths: Sequence[Path]) -> str:
    if not paths:
        raise RunError("no run is finished yet, so there is nothing to compare; look at the runs themselves")
    for path in paths:
        check_plain(path)
    return compare_page(compare.compare(paths, anyway=True))
