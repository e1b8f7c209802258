"""The folder of a sweep: the spec it keeps, and the refusal to mix two sweeps. No torch."""

from pathlib import Path

from kpig.config import PORTIONS, differing_keys, settings_of
from kpig.errors import ConfigError, RunError
from kpig.files import publish
from kpig.methods import chosen
from kpig.runs import restart
from kpig.sweep.plan import Sweep
from kpig.sweep.sources import PlannedRun
from kpig.sweep.state import is_done

SPEC = "sweep.toml"


def check_folder(sweep: Sweep, out: Path) -> None:
    """Refuse a folder that the sweep may not use; writes nothing.

    Raises RunError for a folder that holds anything but a sweep, and where runs that were begun have another
    config in the spec now; a finished run may differ in what decides nothing about it. Runs that the spec
    has gained or lost are no problem.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; give a folder for the sweep")
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if SPEC not in names and any(not name.startswith(f".{SPEC}.") for name in names):
        raise RunError(f"{out} is not empty and holds no sweep; give --out another folder")
    problems = [problem for run in sweep.runs for problem in _changes(run, out / run.name)]
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise RunError(
            f"{out}: the spec has changed for runs that were begun:\n{lines}\n"
            "Restore the spec, name the new values as a setting of their own, or give --out another folder."
        )


def keep_spec(sweep: Sweep, out: Path) -> None:
    """Make the folder and keep the spec in it, whole; RunError where the disk does not take it."""
    path = out / SPEC
    if path.is_file() and path.read_bytes() == sweep.text.encode():
        return
    publish(path, sweep.text)


def _changes(run: PlannedRun, folder: Path) -> list[str]:
    """How the config of a run differs from the one it began with, as one line or none.

    A run whose step was begun anew with another [train] keeps that.
    """
    if not (folder / "stream.json").is_file():
        return []
    try:
        begun = chosen.begun_with(folder / "config.toml")
    except ConfigError as error:
        return [f"{run.name}: its config.toml cannot be used: {error}"]
    planned = restart.going_on(folder, run.config)
    before, now = (settings_of(one) for one in (begun, planned))
    keys = differing_keys(begun, planned)
    if is_done(folder):
        keys = [key for key in keys if key not in PORTIONS]
    changed = [f"{key} was {before.get(key)!r}, is now {now.get(key)!r}" for key in keys]
    return [f"{run.name}: {'; '.join(changed)}"] if changed else []
