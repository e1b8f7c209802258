"""Many runs as one resumable queue: methods x seeds x stream orders x settings. No torch here.

Each run is done by a process of its own, in a folder of its own, under a lock of its own, so that neither a
crash nor a second sweep in the same folder spoils one. What is finished is never done again.
The files import downwards only: queue, child; state, folder; plan; sources, spec.
"""

from kpig.sweep.folder import check_folder, keep_spec
from kpig.sweep.plan import Sweep, load
from kpig.sweep.queue import shard, work
from kpig.sweep.sources import PlannedRun
from kpig.sweep.state import FAILED, State, look

__all__ = [
    "FAILED",
    "PlannedRun",
    "State",
    "Sweep",
    "check_folder",
    "keep_spec",
    "load",
    "look",
    "shard",
    "work",
]
