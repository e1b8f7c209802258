"""The runs at or under a folder that a user names. No torch."""

import os
from pathlib import Path

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
