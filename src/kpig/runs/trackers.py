"""The trackers of Accelerate's: what each needs installed, and how it is opened for a run, without a network.

Accelerate, and the package of the tracker, load when one is opened.
"""

import contextlib
import io
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

PROJECT = "kpig"
"""What runs stand under in trackers that put many runs side by side."""


@dataclass(frozen=True)
class Place:
    """Where one run stands in a tracker; `folder` is the run's own for trackers, `title` the run's name.

    `run` is what the tracker tells it from others by, "" where the tracker has yet to choose it. `first` is
    the update from which points are sent again, None where none is.
    """

    folder: Path
    title: str
    run: str
    first: int | None = None


@dataclass(frozen=True)
class Kind:
    """A tracker: the packages of which it takes one, and how it is opened, read and closed.

    `environment` are the variables that hold while it is open where the user has set none. `run_of` says
    what it tells the run by; `held` what update it has come to, None where it does not say.
    """

    packages: tuple[str, ...]
    new_run: Callable[[str, str], str]
    open: "Callable[[Place], GeneralTracker]"
    environment: Callable[[Path], Mapping[str, str]] = field(default=lambda folder: MappingProxyType({}))
    run_of: "Callable[[GeneralTracker, Place], str]" = field(default=lambda tracker, place: place.run)
    held: Callable[[Place], int | None] = field(default=lambda place: None)
    close: "Callable[[GeneralTracker], None]" = field(default=lambda tracker: tracker.finish())
    takes_back: bool = False
    """Whether it hides what was sent from `Place.first` on."""

    session_of: "Callable[[GeneralTracker], str]" = field(default=lambda tracker: "")
    """The name of what it writes from its opening to its closing."""

    drop_session: Callable[[Path, str], bool] = field(default=lambda folder, session: False)
    """Takes back all that was sent in a session; whether it could."""

    configures_anew: bool = False
    """Whether it forgets the config of a run that goes on, so that it is told again."""


def problem(names: Sequence[str]) -> str:
    """What to install for the trackers of these names; "" where they are all there."""
    missing = [name for name in names if not any(map(_is_installed, KINDS[name].packages))]
    if not missing:
        return ""
    packages = ", ".join(KINDS[name].packages[0] for name in missing)
    return (
        f"--track {' --track '.join(missing)} (run.track): not installed: {packages}; "
        f"pip install 'kpig[{','.join(missing)}]'"
    )


def _is_installed(package: str) -> bool:
    """A folder of that name alone, such as the ./wandb of wandb's own runs, is no package."""
    found = find_spec(package)
    return found is not None and found.origin is not None


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep what a tracker prints off standard output, and its draws out of Python's random numbers."""
    state = random.getstate()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        random.setstate(state)


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that are not set, for a while."""
    ours = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _tensorboard(place: Place) -> "GeneralTracker":
    """Its files are in `place.folder`/tensorboard."""
    from accelerate.tracking import TensorBoardTracker

    return _started(TensorBoardTracker("tensorboard", place.folder, purge_step=place.first))


def _trackio(place: Place) -> "GeneralTracker":
    """Its files are where trackio keeps those of all projects (TRACKIO_DIR)."""
    from accelerate.tracking import TrackioTracker

    tracker = TrackioTracker(
        PROJECT, name=place.run, resume="allow", embed=False, auto_log_cpu=False, auto_log_gpu=False
    )
    with contextlib.nullcontext() if _is_served() else _without_hub():
        return _started(tracker)


def _is_served() -> bool:
    """Whether the user has trackio send to a Space or a server."""
    return any(os.environ.get(name) for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"))


@contextlib.contextmanager
def _without_hub() -> Iterator[None]:
    """Without this trackio asks the Hugging Face Hub for the user's name where it finds a token."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _held_by_trackio(place: Place) -> int | None:
    """The last update in its database: it writes twice a second, so that a kill loses what came later."""
    from trackio.sqlite_storage import SQLiteStorage
    from trackio.utils import get_storage_mode

    if _is_served() or get_storage_mode() != "sqlite":
        return None
    found = SQLiteStorage.get_max_step_for_run(PROJECT, place.run)
    return -1 if found is None else int(found)


def _close_trackio(tracker: "GeneralTracker") -> None:
    """Its own `finish` also forgets the run, which would be finished again, in words, as Python ends."""
    import trackio

    tracker.finish()
    trackio.finish()  # type: ignore[no-untyped-call]


def _wandb(place: Place) -> "GeneralTracker":
    """Its files are in `place.folder`/wandb; offline where WANDB_MODE does not say otherwise."""
    from accelerate.tracking import WandBTracker

    settings = {
        "silent": True,
        "console": "off",
        "symlink": False,
        "disable_git": True,
        "disable_code": True,
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
    }
    project, mode = os.environ.get("WANDB_PROJECT", PROJECT), os.environ.get("WANDB_MODE", "offline")
    options: dict[str, Any] = {"id": place.run, "name": place.title, "dir": str(place.folder), "mode": mode}
    if mode == "online":
        options["resume"] = "allow"
    return _started(WandBTracker(project, settings=settings, **options))


def _session_of_wandb(tracker: "GeneralTracker") -> str:
    return Path(tracker.tracker.dir).parent.name


def _drop_session_of_wandb(folder: Path, session: str) -> bool:
    """Remove what a start wrote offline that was not closed: wandb loses up to 32 KiB of it with a kill."""
    path = folder / "wandb" / session
    if not session.startswith("offline-run-") or not path.is_dir() or any(path.glob("*.synced")):
        return False
    shutil.rmtree(path)
    return True


def _mlflow(place: Place) -> "GeneralTracker":
    """Its files are in `place.folder`/mlflow where MLFLOW_TRACKING_URI does not say otherwise."""
    from accelerate.tracking import MLflowTracker

    return _started(MLflowTracker(PROJECT, run_id=place.run or None, run_name=place.title))


def _started(tracker: "GeneralTracker") -> "GeneralTracker":
    tracker.start()
    return tracker


def _files_of_mlflow(folder: Path) -> dict[str, str]:
    """Its store of files asks for leave since MLflow 3; the other store needs a database's package."""
    return {
        "MLFLOW_TRACKING_URI": (folder / "mlflow").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "tensorboard": Kind(
            ("tensorboard", "tensorboardX"), lambda title, key: title, _tensorboard, takes_back=True
        ),
        "trackio": Kind(
            ("trackio",),
            lambda title, key: f"{title}-{key}",
            _trackio,
            held=_held_by_trackio,
            close=_close_trackio,
            configures_anew=True,
        ),
        "wandb": Kind(
            ("wandb",),
            lambda title, key: key,
            _wandb,
            environment=lambda folder: {"WANDB_ERROR_REPORTING": "false"},
            session_of=_session_of_wandb,
            drop_session=_drop_session_of_wandb,
        ),
        "mlflow": Kind(
            ("mlflow",),
            lambda title, key: "",
            _mlflow,
            environment=_files_of_mlflow,
            run_of=lambda tracker, place: str(tracker.tracker.info.run_id),
        ),
    }
)
"""The trackers by name; each name is also that of the extra that installs it."""
