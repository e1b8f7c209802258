"""The runs at or under a folder that a user names. No torch."""

import os
from pathlib import Path

from kpig.errors import nearest
from kpig.runs.folder import is_run


def runs_at(path: Path) -> list[Path]:
    """Run folders at or under a path, by name; a run folder is not searched for others. Maybe none."""
    found = []
    for folder, below, _ in os.walk(path):
        below.sort()
        if is_run(Path(folder)):
            below.clear()
            found.append(Path(folder))
    return found


def told_new(path: Path, name: str = "") -> str:
    """The sentence for a command that is to go on in a folder where nothing was begun; a slip is named.

    Beside the folder are looked through those that hold a run, in a folder of theirs where a `name` is given.
    """
    beside = path.absolute().parent
    runs = [one.name for one in beside.iterdir() if is_run(one / name)] if beside.is_dir() else []
    near = nearest(path.name, runs)
    meant = f"; did you mean {path.with_name(near)}?" if near else ""
    return f"note: {path}: nothing was begun there that --resume could continue, so it begins anew{meant}"
