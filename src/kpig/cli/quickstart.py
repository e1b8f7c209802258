"""The first five minutes: KPIG and sequential tuning side by side on the built-in suite."""

from collections.abc import Sequence
from pathlib import Path

from kpig import config, report
from kpig.progress import Watcher
from kpig.runs import job

METHODS = ("sequential", "kpig")
SETTINGS = {
    "train": {"updates_per_step": 100, "batch_size": 16, "learning_rate": 3e-4},
    "evaluate": {"max_new_tokens": 24},
}
"""Small enough for two minutes on two CPU cores, and large enough that sequential tuning forgets (README)."""


def run(
    out: Path, methods: Sequence[str] = METHODS, seed: int = 0, watch: Watcher | None = None
) -> list[report.RunRecord]:
    """One run per method under `out`, with equal budgets and data; finished ones are taken as they are."""
    records = []
    for method in methods:
        settings = config.build(SETTINGS | {"seed": seed, "method": {"name": method}})
        folder = out / method
        job.run(settings, folder, resume=folder.exists(), watch=watch)
        records.append(report.read_run(folder))
    return records
