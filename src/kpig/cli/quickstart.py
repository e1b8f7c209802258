"""The command `quickstart`, the first five minutes: KPIG beside sequential tuning on the built-in suite."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpig.cli.app import Overrides, app, quiet, show_report

if TYPE_CHECKING:
    from kpig.progress import Watcher
    from kpig.report import RunRecord

METHODS = ("sequential", "kpig")
SETTINGS: dict[str, Any] = {
    "train": {"updates_per_step": 100, "batch_size": 16, "learning_rate": 3e-4},
    "evaluate": {"max_new_tokens": 24},
}
"""Small enough for two minutes on two CPU cores, and large enough that sequential tuning forgets (README)."""


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option("--out", help="Where the runs and the report go.")] = Path(
        "runs/quickstart"
    ),
    methods: Annotated[str, typer.Option("--methods", help="Methods to compare, with commas.")] = ",".join(
        METHODS
    ),
    seed: Annotated[int, typer.Option("--seed", help="Seed of training order, replay and adapters.")] = 0,
    overrides: Overrides = None,
) -> None:
    """Run KPIG and sequential tuning side by side on the built-in suite: a few minutes on a laptop.

    Example: [bold]kpig quickstart --methods sequential,replay,kpig[/bold]
    """
    from kpig.progress import Bars

    quiet()
    show_report(run(out, methods.split(","), seed, Bars(), overrides or []), out)


def run(
    out: Path,
    methods: Sequence[str] = METHODS,
    seed: int = 0,
    watch: "Watcher | None" = None,
    overrides: Sequence[str] = (),
) -> "list[RunRecord]":
    """One run per method under `out`, with equal budgets and data; finished ones are taken as they are."""
    from kpig.config import build
    from kpig.report import read_run
    from kpig.runs import job

    records = []
    for method in methods:
        settings = build(SETTINGS | {"seed": seed, "method": {"name": method}}, overrides)
        folder = out / method
        job.run(settings, folder, resume=folder.exists(), watch=watch)
        records.append(read_run(folder))
    return records
