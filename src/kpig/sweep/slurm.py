"""Runs as jobs of Slurm, through submitit: each goes back into the queue when its time is over. No torch."""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kpig.errors import RunError, UsageError, clause
from kpig.sweep.sources import PlannedRun
from kpig.sweep.work import Ended, Errand
from kpig.training.notice import UNFINISHED

MISSING = "--launcher slurm needs submitit; install it with: pip install 'kpig[slurm]'"

FOLDER = "slurm"
"""In the folder of the sweep: what submitit keeps of its jobs, and what they print."""

MINUTES = 60
"""Of a job, where nothing else is asked. Chosen: short jobs start early, and runs go on in the next one."""

MOST_TIMEOUTS = 10_000
"""How often a job may go back into the queue. Chosen: never the reason why a run ends, as each goes on."""

RULE = re.compile("^-{8,}$", re.MULTILINE)
"""What submitit puts around the trace of a job."""

TAKEN = ("BOOT_FAIL", "NODE_FAIL", "PREEMPTED", "REQUEUED", "REVOKED")
"""How Slurm calls the state of a job whose machine it lost or took away: its run goes on in another job."""

LONGEST = 500
"""Characters of what Slurm says that are shown."""


class Requeued:
    """What submitit carries to the machine of a job, and asks for once more before the job's time is over."""

    def __init__(self, errand: Errand):
        self.errand = errand

    def __call__(self) -> int:
        """Do the run; the exit code of its process."""
        return self.errand()

    def checkpoint(self) -> Any:
        """Called by submitit on the job's machine: what the job does when it starts again."""
        self.errand.give_notice()
        return importlib.import_module("submitit.helpers").DelayedSubmission(self)


class SlurmJob:
    """A run in Slurm's hands."""

    def __init__(self, job: Any):
        self.job = job

    def ended(self) -> Ended | None:
        """How the job ended; what Slurm says of it where it came to no end of its own.

        It is unfinished where its machine died or was taken away. Should Slurm itself put it back into the
        queue, the run's lock keeps the two jobs apart.
        """
        if not self.job.done():
            return None
        try:
            return Ended(self.job.result())
        except Exception as error:  # submitit's own, whatever the job raised, and a result that is no pickle
            if str(self.job.state).startswith(TAKEN):
                return Ended(UNFINISHED)
            return Ended(1, f"job {self.job.job_id}: {_words(error)}")

    def give_notice(self) -> None:
        """Cancel the job: Slurm sends SIGTERM to the run's process."""
        self.job.cancel(check=False)

    def kill(self) -> None:
        """Nothing more: Slurm kills what outlives its cancellation."""


class Slurm:
    """Submits jobs that ask for `asked`, such as {"gpus_per_node": 1, "slurm_partition": "long"}.

    The key "cluster" names another of submitit's clusters; "local" needs no Slurm. UsageError where submitit
    is not installed, there is no Slurm, or something is asked that submitit does not know.
    """

    def __init__(self, out: Path, asked: Mapping[str, Any]):
        wanted = {"name": "kpig", "timeout_min": MINUTES, **asked}
        cluster = str(wanted.pop("cluster", "slurm"))
        try:
            submitit = importlib.import_module("submitit")
        except ModuleNotFoundError as error:
            raise UsageError(MISSING) from error
        try:
            self.executor: Any = submitit.AutoExecutor(
                out.absolute() / FOLDER, cluster=cluster, slurm_max_num_timeout=MOST_TIMEOUTS
            )
            self.executor.update_parameters(**wanted)
        except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
            raise UsageError(f"--launcher slurm: {clause(error)}") from error

    def start(self, run: PlannedRun, folder: Path) -> SlurmJob:
        """A job of the run. RunError where Slurm takes none."""
        try:
            return SlurmJob(self.executor.submit(Requeued(Errand(run, folder))))
        except (OSError, RuntimeError) as error:
            raise RunError(
                f"Slurm did not take the job of {run.name} ({clause(error)}); what runs have done is kept; "
                "give the same command again"
            ) from error


def _words(error: Exception) -> str:
    """The last line of the trace that submitit frames in dashes; without one the first lines of the error."""
    framed = [part.strip() for part in RULE.split(str(error))]
    words = framed[1].splitlines()[-1] if len(framed) == 3 and framed[1] else " ".join(framed[0].split())
    return words[:LONGEST] or type(error).__name__
