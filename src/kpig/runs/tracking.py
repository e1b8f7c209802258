"""A run told to trackers while it goes on: every point once, also after a stop. What fails stops no run.

`trackers/NAME.json` in the run folder says how far a tracker was told. Accelerate loads when one is opened.
"""

import json
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpig.config import RunConfig, build, settings_of
from kpig.errors import RunError, clause
from kpig.files import publish_json, true_path
from kpig.progress import Watcher
from kpig.runs import lock, trackers
from kpig.runs.folder import TRACKERS, RunDir
from kpig.runs.lock import Claim
from kpig.runs.points import Curve, Point, replayed, safe
from kpig.runs.trackers import KINDS, Place, quietly
from kpig.scoring import scores
from kpig.scoring.typed_json import Misfit, parse

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

Setting = bool | int | float | str
MOST_WORDS = 200
"""Characters of an error that are shown."""


def overrides(names: Sequence[str]) -> list[str]:
    """The `--set` that asks for these trackers; none for no name."""
    return [f"run.track={json.dumps(list(names), allow_nan=False)}"] if names else []


def asked(config: RunConfig, names: Sequence[str]) -> RunConfig:
    """The config with these trackers, if any are named; ConfigError for a name that is none."""
    return build(config.model_dump(mode="json"), overrides(names)) if names else config


def wanted(path: Path, config: RunConfig) -> list[str]:
    """The trackers of a start: those that its config names, and those that were told of the run before.

    Raises RunError where the package of one is not installed.
    """
    names = list(dict.fromkeys([*config.run.track, *_known(path)]))
    if told := trackers.problem(names):
        old = [str(path / TRACKERS / f"{name}.json") for name in _known(path) if trackers.problem([name])]
        way_out = f", or delete {', '.join(old)} to go on without it" if old else ""
        raise RunError(told + way_out)
    return names


def _known(path: Path) -> list[str]:
    return [name for name in KINDS if (path / TRACKERS / f"{name}.json").is_file()]


def catch_up(path: Path, config: RunConfig, device: str, watch: Watcher, claim: Claim | None = None) -> None:
    """Tell trackers what they have missed of a finished run; those that are not installed stay out."""
    named = dict.fromkeys([*config.run.track, *_known(path)])
    names = [name for name in named if not trackers.problem([name])]
    if names:
        with nullcontext(claim) if claim else lock.held(path) as ours:
            _follow(RunDir(path, ours), names, config, device, watch).close()


@contextmanager
def followed(folder: RunDir, config: RunConfig, device: str, watch: Watcher) -> Iterator[RunDir]:
    """The run folder, whose trackers are told what is written through it while the block lasts.

    First they are told what they have missed. `device` is the one that the run computes on.
    """
    names = wanted(folder.path, config)
    if not names:
        yield folder
        return
    follower = _follow(folder, names, config, device, watch)
    try:
        yield replace(folder, followers=(*folder.followers, follower))
    finally:
        follower.close()


def _follow(
    folder: RunDir, names: Sequence[str], config: RunConfig, device: str, watch: Watcher
) -> "Tracking":
    """A follower that has told what was missed; in another process than the main one it tells nobody.

    Accelerate keeps the device that it is first asked with, and training asks for the same one.
    """
    from accelerate import PartialState

    is_main = PartialState(cpu=device == "cpu").is_main_process
    return Tracking(folder, names if is_main else (), config, watch)


class Tracking:
    """The follower that tells the trackers of a run; see `kpig.runs.folder.Follower`."""

    def __init__(self, folder: RunDir, names: Sequence[str], config: RunConfig, watch: Watcher):
        self._folder, self._curve = folder, Curve()
        try:
            deque(replayed(folder, self._curve), maxlen=0)
            self._listeners = [_Listener(name, folder, config, watch) for name in names]
        except RunError as error:
            watch.say(f"warning: the run goes on untold to {', '.join(names)}: {error}")
            self._listeners = []
        for listener in self._listeners:
            listener.catch_up()

    def logged(self, event: Mapping[str, Any]) -> None:
        """An event stands in events.jsonl."""
        self._tell(self._curve.logged(event))

    def finished(self, number: int) -> None:
        """A step is done."""
        self._tell(self._curve.finished(*scores.read_step(self._folder.step(number) / "scores.json")))

    def close(self) -> None:
        """The run ends, or is stopped."""
        for listener in self._listeners:
            listener.close(self._curve.num_points)

    def _tell(self, points: Sequence[Point]) -> None:
        for point in points:
            for listener in self._listeners:
                listener.tell(point)


@dataclass(frozen=True)
class _State:
    """How far a tracker was told.

    `sent` points were sent, `begun` of them before it was opened the last time, for the `session` that it
    names so. If `is_sure`, all have arrived. `failures` counts over all starts.
    `config` is what it was told of configs, `settings` are those of the last start.
    """

    run: str
    sent: int = 0
    begun: int = 0
    session: str = ""
    is_sure: bool = True
    failures: int = 0
    config: Mapping[str, Setting] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)


class _Listener:
    """One tracker, told of one run; opened when it is needed, and again after it failed."""

    def __init__(self, name: str, folder: RunDir, config: RunConfig, watch: Watcher):
        self._name, self._folder, self._kind = name, folder, KINDS[name]
        self._settings, self._say = _plain(config), watch.say
        self._path = folder.path / TRACKERS / f"{name}.json"
        title = true_path(folder.path).name
        self._state = _read(self._path) or _State(self._kind.new_run(title, secrets.token_hex(4)))
        self._place = Place(true_path(self._path.parent), title, self._state.run)
        self._tracker: GeneralTracker | None = None
        self._open = ExitStack()
        self._num_failures, self._num_skipped = 0, 0
        self._is_sending, self._last_update = False, -1

    def catch_up(self) -> None:
        """Tell it all that it has missed."""
        self._trying(self._send_missing)

    def tell(self, point: Point) -> None:
        """Tell it of a point, and of those that it has missed. After a failure fewer and fewer points try."""
        self._num_skipped += 1
        if self._tracker is None and self._num_skipped < 2**self._num_failures:
            return
        self._num_skipped = 0
        if self._tracker is not None and point.number == self._state.sent:
            self._trying(lambda: self._send(point))
        elif point.number >= self._state.sent:
            self._trying(self._send_missing)

    def close(self, num_points: int) -> None:
        """Have it write what it holds; say what it could not be told."""
        if self._tracker is None:
            self._trying(self._send_missing)
        self._trying(self._finish)
        if self._num_failures:
            self._say(
                f"warning: tracker {self._name} failed {self._num_failures} times; it lacks "
                f"{max(0, num_points - self._state.sent)} of {num_points} points, which it is told when the "
                "run is given again with --resume, or continued"
            )

    def _trying(self, act: Callable[[], None]) -> None:
        """Whatever a tracker raises is its own trouble: the first time it is told, later counted."""
        try:
            with quietly():
                act()
        except Exception as error:
            self._num_failures += 1
            if self._num_failures == 1:
                words = (str(error).splitlines() or [""])[0][:MOST_WORDS]
                self._say(
                    f"warning: tracker {self._name} failed ({type(error).__name__}: {clause(words)}); the "
                    "run goes on, and the tracker is tried again"
                )
            self._give_up()

    def _give_up(self) -> None:
        """Let go of a tracker that failed; a point that it did not take counts as not sent."""
        tracker, self._tracker = self._tracker, None
        with suppress(Exception), quietly(), self._open:
            if tracker is not None:
                self._kind.close(tracker)
        sent = self._state.sent - self._is_sending
        self._is_sending = False
        with suppress(RunError):
            self._keep(sent=sent, failures=self._state.failures + 1)

    def _send_missing(self) -> None:
        if self._tracker is None:
            self._begin()
        for point in replayed(self._folder, Curve()):
            if point.number >= self._state.sent:
                self._send(point)

    def _send(self, point: Point) -> None:
        """Send one point. After a kill meanwhile a tracker that takes nothing back lacks it: never twice."""
        assert self._tracker is not None, "it was opened before"
        self._keep(sent=point.number + 1, is_sure=False)
        self._is_sending = True
        self._tracker.log(dict(point.figures), step=point.update)
        self._is_sending, self._last_update = False, point.update

    def _begin(self) -> None:
        """Open the tracker where it was left."""
        self._open.enter_context(trackers.environment(self._kind.environment(self._place.folder)))
        sent, first = self._arrived()
        self._tracker = self._kind.open(replace(self._place, run=self._state.run, first=first))
        run, session = self._kind.run_of(self._tracker, self._place), self._kind.session_of(self._tracker)
        self._keep(run=run, session=session, sent=sent, begun=sent, is_sure=False)
        self._configure()

    def _arrived(self) -> tuple[int, int | None]:
        """How many points have arrived for sure, and the update from which others are to be taken back."""
        held, sent = self._kind.held(self._place), self._state.sent
        if held is not None:
            return sum(point.update <= held for point in replayed(self._folder, Curve())), None
        if self._state.is_sure or not sent:
            return sent, None
        if self._kind.drop_session(self._place.folder, self._state.session):
            return self._state.begun, None
        if not self._kind.takes_back:
            return sent, None
        updates = [point.update for point in replayed(self._folder, Curve())]
        if len(updates) < sent:
            return sent, None
        return updates.index(updates[sent - 1]), updates[sent - 1]

    def _configure(self) -> None:
        """Tell it the settings of the first start, and those that differ in a later one under that's step."""
        assert self._tracker is not None, "it was opened before"
        before = self._state.settings
        new = {key: value for key, value in self._settings.items() if before.get(key) != value}
        start = f"from_step_{self._folder.current}." if before else ""
        told = {**self._state.config, **{f"{start}{key}": value for key, value in new.items()}}
        if new or self._kind.configures_anew:
            self._tracker.store_init_configuration(dict(told))
            self._keep(config=told, settings=self._settings)

    def _finish(self) -> None:
        if self._tracker is None:
            return
        tracker = self._tracker
        with self._open:
            self._kind.close(tracker)
            held = self._kind.held(self._place)
        self._tracker = None
        if held is not None and held < self._last_update:
            raise RunError(f"it holds updates up to {held} of {self._last_update}")
        self._keep(is_sure=not self._is_sending)

    def _keep(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        publish_json(self._path, asdict(self._state))


def _read(path: Path) -> _State | None:
    """What is known of a tracker; None where it was told nothing yet. RunError for a damaged file."""
    try:
        return parse(path.read_bytes(), _State) if path.is_file() else None
    except (OSError, Misfit) as error:
        raise RunError(
            f"{path}: cannot be read ({clause(error)}); restore it, or delete it and the tracker begins anew"
        ) from error


def _plain(config: RunConfig) -> dict[str, Setting]:
    """The settings under names and as values that every tracker takes; others are texts of JSON."""
    return {
        safe(key): value
        if isinstance(value, bool | int | float | str)
        else json.dumps(value, allow_nan=False)
        for key, value in settings_of(config).items()
    }
