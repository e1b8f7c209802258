"""A command for each run of a sweep, for whoever starts commands: a scheduler, xargs, a shell. No torch."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from kpig.errors import UsageError
from kpig.files import true_path
from kpig.rendering import visible
from kpig.sweep.folder import SPEC
from kpig.sweep.sources import PlannedRun
from kpig.sweep.state import is_done


def commands(runs: Sequence[PlannedRun], out: Path) -> list[str]:
    """What does each run that is not done, quoted for a shell, with paths that hold in any folder.

    The spec is the one that the sweep's folder keeps. UsageError where a path is not one line of plain text.
    """
    out = true_path(out)
    start = [sys.executable, "-P", "-m", "kpig", "sweep", str(out / SPEC), "--out", str(out), "--run"]
    found = [shlex.join([*start, run.name]) for run in runs if not is_done(out / run.name)]
    for command in found:
        if visible(command) != command or "\n" in command:
            raise UsageError(
                f"{out}: its path, or that of Python, holds control characters, which no line of text shows; "
                "give --out another folder"
            )
    return found
