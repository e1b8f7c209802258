"""Runs on this machine, each in a process of its own and, where GPUs are named, on one of these. No torch."""

import os
import subprocess
from collections import Counter
from pathlib import Path

from kpig.config import dump
from kpig.runs.machine import has_driver
from kpig.sweep.sources import PlannedRun
from kpig.sweep.work import Ended, begin, num_threads

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The environment variable that says which GPUs a process sees; ROCm's builds of torch read it too."""

ORDER = "CUDA_DEVICE_ORDER"
"""The one that says what their numbers mean; "PCI_BUS_ID": what they mean to `nvidia-smi`."""


class LocalJob:
    """A process of this machine at work on a run, and the GPU it was given; "" where none was named."""

    def __init__(self, process: subprocess.Popen[bytes], gpu: str):
        self.process, self.gpu = process, gpu

    def ended(self) -> Ended | None:
        """How the process ended."""
        code = self.process.poll()
        return None if code is None else Ended(code)

    def give_notice(self) -> None:
        """SIGTERM: see `kpig.training.notice`."""
        self.process.terminate()

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self.process.kill()
        self.process.wait()


class Local:
    """Starts processes here, `workers` at a time at most, each on the GPU with the fewest runs at work."""

    def __init__(self, workers: int, gpus: tuple[str, ...] = ()):
        self.workers, self.gpus = workers, gpus
        self._jobs: list[LocalJob] = []

    def start(self, run: PlannedRun, folder: Path) -> LocalJob:
        """A process at work on the run."""
        gpu = self._freest()
        environment = {"OMP_NUM_THREADS": str(num_threads(self.workers))}
        if gpu:
            environment |= {VISIBLE: gpu, ORDER: os.environ.get(ORDER, "PCI_BUS_ID")}
        job = LocalJob(begin(folder, dump(run.config), environment), gpu)
        self._jobs.append(job)
        return job

    def _freest(self) -> str:
        """The GPU with the fewest runs at work, of several the one that was named first."""
        self._jobs = [job for job in self._jobs if job.ended() is None]
        busy = Counter(job.gpu for job in self._jobs)
        return min(self.gpus, key=lambda gpu: busy[gpu], default="")


def sharing(workers: int, gpus: tuple[str, ...]) -> list[str]:
    """What to know of the GPUs that were named: who shares one, which are idle, and where there are none."""
    if not gpus:
        return []
    told = []
    if workers < len(gpus):
        told.append(f"{workers} runs at a time leave GPUs idle: {', '.join(gpus[workers:])}")
    if workers > len(gpus):
        per_gpu = Counter(gpus[number % len(gpus)] for number in range(workers))
        shares = ", ".join(f"{count} on {gpu}" for gpu, count in per_gpu.items())
        told.append(f"{workers} runs at a time share {len(gpus)} GPUs and their memory: {shares}")
    if not has_driver():
        told.append('no driver of a GPU is installed here; runs whose train.device is "auto" use the CPU')
    return told
