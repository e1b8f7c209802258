"""The runs at or under the folders that were given, each with a number, and how far each of them is."""

import json
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kpig.errors import KpigError, RunError
from kpig.files import true_path
from kpig.runs import lock
from kpig.runs.folder import RunDir, is_number, is_update
from kpig.runs.places import runs_at
from kpig.scoring import scores
from kpig.scoring.records import GroupScore

MOST_RUNS = 500
"""That are listed. Chosen: a sweep has tens of runs, and looking at so many takes a second."""

LOOK_SECONDS = 2.0
"""Between two searches of the folders, however often a page asks. Chosen: pages ask every few seconds."""

TAIL_BYTES = 65_536
"""Of events.jsonl, in which its last update is looked for."""

STEP_FILES = ("scores.json", "config.toml", "stream.json", "environment.json")

SAVED = ("compare.html", "report.html")
"""Pages that kpig wrote into a folder of their own."""

MOST_SAVED_BYTES = 64_000_000

Stamp = tuple[tuple[str, int, int], ...]
"""The name, time and size of files: other files have another one."""


@dataclass(frozen=True)
class Shelved:
    """A run on the shelf: its number, its folder, and its name below the folder that was given."""

    number: int
    path: Path
    name: str

    @property
    def is_finished(self) -> bool:
        """Whether every step of it is learned and scored."""
        return (self.path / "scores.json").is_file()

    def stamp(self) -> Stamp:
        """Of the files that a step that is done leaves behind."""
        steps = sorted(self.path.glob("steps/*/scores.json")) + sorted(self.path.glob("steps/*/DONE"))
        return tuple(_file_stamps([*(self.path / name for name in STEP_FILES), *steps]))

    def events_stamp(self) -> Stamp:
        """Of the file that grows with every update."""
        return tuple(_file_stamps([self.path / "events.jsonl"]))


@dataclass(frozen=True)
class Update:
    """The last update of a run: its step, its number there, its loss, and how many seconds ago it was."""

    step: int
    number: int
    loss: float | None
    age: int


@dataclass(frozen=True)
class Progress:
    """How far a run is. `stamp` changes with the files of its steps; `word` is "finished", "running" (a
    process has it), "stopped" or "damaged", and `why` then. P-scores are in percent."""

    number: int
    name: str
    stamp: str
    word: str
    why: str = ""
    done: int | None = None
    planned: int | None = None
    seen: float | None = None
    held_out: float | None = None
    last: Update | None = None


@dataclass
class Shelf:
    """What was found so far below the given folders. A run keeps its number as long as the server lives."""

    roots: Sequence[Path]
    num_more: int = 0
    _numbers: dict[Path, int] = field(default_factory=dict)
    _found: list[Shelved] = field(default_factory=list)
    _rows: dict[int, tuple[Stamp, Progress]] = field(default_factory=dict)
    _looked: float = float("-inf")
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def runs(self) -> list[Shelved]:
        """The runs that are there now, the first MOST_RUNS of them; `num_more` counts the others."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= LOOK_SECONDS:
                found = {run.number: run for root in self.roots for run in self._below(root)}
                self._found, self.num_more = list(found.values())[:MOST_RUNS], max(0, len(found) - MOST_RUNS)
                self._looked = now
            return self._found

    def run(self, number: int) -> Shelved | None:
        """The run of a number, None where there is none."""
        return next((one for one in self.runs() if one.number == number), None)

    def saved(self) -> list[Path]:
        """The comparisons and reports that were given by their folders, in which there is no run."""
        places = [root / name for root in self.roots for name in SAVED]
        return [one for one in places if _is_page(one) and not runs_at(one.parent)]

    def state(self, run: Shelved) -> Progress:
        """How far a run is; that of a finished one is looked up once for files of a stamp."""
        stamp = run.stamp()
        with self._lock:
            known = self._rows.get(run.number)
            if known is None or known[0] != stamp or not run.is_finished:
                known = self._rows[run.number] = (stamp, _state(run, stamp))
            return known[1]

    def _below(self, root: Path) -> Iterator[Shelved]:
        for folder in runs_at(root):
            number = self._numbers.setdefault(true_path(folder), len(self._numbers))
            yield Shelved(number, folder, str(Path(true_path(root).name) / folder.relative_to(root)))


def _is_page(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= MOST_SAVED_BYTES


def check_plain(folder: Path) -> None:
    """Raise RunError where anything in a run is no plain file or folder: a link may lead outside of it."""
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent) / name
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise RunError(
                    f"{path} is no plain file or folder; a run that is shown holds no links. Put what it "
                    "leads to in its place"
                )


def _state(run: Shelved, stamp: Stamp) -> Progress:
    """A row of the list; a damaged run says so instead of failing."""
    row = Progress(run.number, run.name, f"{hash(stamp) % 2**32:x}", _word(run))
    try:
        check_plain(run.path)
        return _measured(row, run)
    except (KpigError, OSError) as error:
        return replace(row, word="damaged", why=str(error))


def _measured(row: Progress, run: Shelved) -> Progress:
    folder = RunDir(run.path)
    last = max(folder.current - 1, 0)
    row = replace(row, planned=_planned(folder), done=last)
    if run.is_finished:
        final = scores.read_run(run.path / "scores.json").final
        return replace(row, seen=_p_score(final.seen), held_out=_p_score(final.held_out))
    row = replace(row, last=last_update(run.path / "events.jsonl"))
    if not folder.is_done(0):
        return row
    step = scores.read_step(folder.step(last) / "scores.json")[0]
    return replace(row, seen=_p_score(step.seen), held_out=_p_score(step.held_out))


def _word(run: Shelved) -> str:
    if run.is_finished:
        return "finished"
    return "running" if lock.holder(lock.path_of(run.path), time.time()) else "stopped"


def _planned(folder: RunDir) -> int | None:
    steps = folder.read("stream.json").get("steps")
    return len(steps) if isinstance(steps, list) else None


def _p_score(group: GroupScore | None) -> float | None:
    return group and round(group.p_score, 1)


def last_update(path: Path) -> Update | None:
    """The last update in the end of a file of events; None where there is none to be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).splitlines()
    except OSError:
        return None
    return next((found for line in reversed(lines) if (found := _update(line))), None)


def _update(line: bytes) -> Update | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not is_update(event) or not is_number(event.get("t")):
        return None
    age = max(0, round(time.time() - event["t"]))
    return Update(event["step"], event["update"], event.get("loss"), age)


def _file_stamps(paths: Sequence[Path]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        try:
            found = path.lstat()
        except OSError:
            continue
        yield str(path), found.st_mtime_ns, found.st_size
