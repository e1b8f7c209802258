"""Runs as tasks of Ray, on this machine or on a cluster of Ray's. No torch."""

import importlib
import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kpig.errors import RunError, UsageError, clause
from kpig.sweep.sources import PlannedRun
from kpig.sweep.work import Ended, Errand
from kpig.training import notice

MISSING = "--launcher ray needs Ray; install it with: pip install 'kpig[ray]'"

FOREVER = -1
"""How often Ray starts a task again whose process or machine died: each goes on from its checkpoint."""

LONGEST = 500
"""Characters of what Ray says that are shown."""


class RayJob:
    """A run in Ray's hands."""

    def __init__(self, ray: Any, reference: Any):
        self.ray, self.reference = ray, reference

    def ended(self) -> Ended | None:
        """How the task ended; what Ray says of it where it came to no end of its own."""
        ready, _ = self.ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        try:
            return Ended(self.ray.get(self.reference))
        except self.ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return Ended(1, f"Ray: {lines[-1][:LONGEST]}")

    def give_notice(self) -> None:
        """Interrupt the task, which gives the run's process notice and waits."""
        self.ray.cancel(self.reference)

    def kill(self) -> None:
        """End the task's process, and with it the run's."""
        self.ray.cancel(self.reference, force=True)


class OnRay:
    """Has tasks done that ask for `asked`, such as {"num_gpus": 1}.

    Ray's own rules find the cluster: RAY_ADDRESS, one on this machine, else Ray starts one here. UsageError
    where Ray is not installed or something is asked that it does not know.
    """

    def __init__(self, asked: Mapping[str, Any]):
        with _own_signals():
            try:
                self.ray: Any = importlib.import_module("ray")
            except ModuleNotFoundError as error:
                raise UsageError(MISSING) from error
            try:
                self.do: Any = self.ray.remote(_do).options(
                    **{"num_cpus": 1, "max_retries": FOREVER, **asked}
                )
            except (TypeError, ValueError) as error:
                raise UsageError(f"--launcher ray: {clause(error)}") from error
            try:
                self.ray.init(
                    ignore_reinit_error=True,
                    log_to_driver=False,
                    include_dashboard=False,
                    logging_level=logging.WARNING,
                )
            except (OSError, RuntimeError, ValueError) as error:
                raise RunError(f"Ray does not start ({clause(error)})") from error

    def start(self, run: PlannedRun, folder: Path) -> RayJob:
        """A task of the run."""
        return RayJob(self.ray, self.do.remote(Errand(run, folder)))


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's own ways with signals, which Ray would change when it is loaded and started."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *notice.SIGNALS)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: it was not set by Python
                signal.signal(number, handler)


def _do(errand: Errand) -> int:
    """What the task does."""
    return errand()
