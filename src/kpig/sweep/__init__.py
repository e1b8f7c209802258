"""Many runs as one resumable queue: methods x seeds x stream orders x settings. No torch here.

Each run is done by a process of its own, in a folder of its own, under a lock of its own, so that neither a
crash nor a second sweep in the same folder spoils one. What is finished is never done again. A launcher says
where the processes are: here, in jobs of Slurm, or in tasks of Ray.
The files import downwards only: launchers, commands; queue; slurm, ray_tasks, local; work, child; state,
folder; plan; sources, spec.
"""

from kpig.sweep.commands import commands
from kpig.sweep.folder import check_folder, keep_spec
from kpig.sweep.launchers import LAUNCHERS, launcher, visible_gpus
from kpig.sweep.local import sharing
from kpig.sweep.plan import Sweep, load, named
from kpig.sweep.queue import shard, work
from kpig.sweep.sources import PlannedRun
from kpig.sweep.state import FAILED, State, look
from kpig.sweep.work import Launcher

__all__ = [
    "FAILED",
    "LAUNCHERS",
    "Launcher",
    "PlannedRun",
    "State",
    "Sweep",
    "check_folder",
    "commands",
    "keep_spec",
    "launcher",
    "load",
    "look",
    "named",
    "shard",
    "sharing",
    "visible_gpus",
    "work",
]
