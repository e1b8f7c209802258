"""The runs at or under a folder that a user names. No torch."""

import os
from pathlib import Path

from kpig.errors import nearest
from kpig.files import true_path
from kpig.runs.folder import is_run


def runs_at(path: Path, links: bool = False) -> list[Path]:
    """Run folders at or under a path, by name; a run folder is not searched for others. Maybe none.

    With `links` one to a run is that run, unless it is there itself. Other links are not followed.
    """
    found, linked = [], []
    for folder, below, _ in os.walk(path):
        if is_run(Path(folder)):
            below.clear()
            found.append(Path(folder))
        elif links:
            places = [Path(folder, name) for name in below]
            linked += [one for one in places if one.is_symlink() and is_run(one)]
    known = {true_path(one) for one in found}
    for link in sorted(linked):
        if true_path(link) not in known:
            known.add(true_path(link))
            found.append(link)
    return sorted(found)


def told_new(path: Path, name: str = "") -> str:
    """The sentence for a command that is to go on in a folder where nothing was begun; a slip is named.

    Beside the folder are looked through those that hold a run, in a folder of theirs where a `name` is given.
    """
    beside = path.absolute().parent
    runs = [one.name for one in beside.iterdir() if is_run(one / name)] if beside.is_dir() else []
    near = nearest(path.name, runs)
    meant = f"; did you mean {path.with_name(near)}?" if near else ""
    return f"note: {path}: nothing was begun there that --resume could continue, so it begins anew{meant}"
