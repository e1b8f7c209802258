"""Commands that learn a stream and report on it: quickstart, run, check, report, methods."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kpig.cli.app import ConfigPath, Overrides, app, quiet, show_table


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option("--out", help="Where the runs and the report go.")] = Path(
        "runs/quickstart"
    ),
    methods: Annotated[
        str, typer.Option("--methods", help="Methods to compare, with commas.")
    ] = "sequential,kpig",
    seed: Annotated[int, typer.Option("--seed", help="Seed of training order, replay and adapters.")] = 0,
) -> None:
    """Run KPIG and sequential tuning side by side on the built-in suite: a few minutes on a laptop.

    Example: [bold]kpig quickstart --methods sequential,replay,kpig[/bold]
    """
    from kpig import report
    from kpig.cli import quickstart as first
    from kpig.progress import Bars

    quiet()
    records = first.run(out, methods.split(","), seed, Bars())
    _show_runs(records, report.write(records, out))


@app.command()
def run(
    config: ConfigPath,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run folder; default runs/CONFIG-METHOD-SEED.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run in the same folder.")
    ] = False,
) -> None:
    """Learn a task stream with one method and score it after every step.

    Example: [bold]kpig run examples/suite.toml --set method.name=replay --set seed=1[/bold]
    """
    from kpig.runs import check as checks

    settings, _ = checks.check(config, overrides or [])
    folder = out or Path("runs") / f"{config.stem}-{settings.method.name.replace(':', '-')}-{settings.seed}"
    from kpig import report
    from kpig.progress import Bars
    from kpig.runs import job

    quiet()
    job.run(settings, folder, resume, Bars())
    records = [report.read_run(folder)]
    _show_runs(records, report.write(records, folder))


@app.command()
def check(config: ConfigPath, overrides: Overrides = None) -> None:
    """Report every problem of a config and its tasks, and what can be told of its model before it loads.

    Example: [bold]kpig check my.toml --set train.batch_size=8[/bold]
    """
    from kpig.runs import check as checks

    settings, tasks = checks.check(config, overrides or [])
    table = Table(title=f"{config}: sound", title_justify="left")
    for heading in ("step", "task", "metric", "train", "test", "wordings", "key parts", "constraints"):
        table.add_column(
            heading, justify="left" if heading in ("step", "task", "metric") else "right", overflow="fold"
        )
    groups = [(str(number), task) for number, step in enumerate(tasks.steps, 1) for task in step]
    for step, task in groups + [("held out", task) for task in tasks.held_out]:
        counts = (
            len(task.train),
            len(task.test),
            len(task.instructions),
            len(task.instruction.key_parts),
            len(task.constraints),
        )
        table.add_row(step, task.name, task.metric, *map(str, counts))
    show_table(table)
    for caution in checks.cautions(settings, tasks):
        print(f"note: {caution}")
    print(f"method {settings.method.name}, model {settings.model.path}; run it with: kpig run {config}")


@app.command("report")
def show_report(
    runs: Annotated[
        list[Path], typer.Argument(help="One or several finished run folders.", metavar="RUN...")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the report goes; default: the first run.")
    ] = None,
) -> None:
    """Write report.html and report.md for one run, or for several side by side.

    Example: [bold]kpig report runs/quickstart/sequential runs/quickstart/kpig --out runs/quickstart[/bold]
    """
    from kpig import report

    records = [report.read_run(path) for path in runs]
    _show_runs(records, report.write(records, out or runs[0]))


@app.command()
def methods() -> None:
    """List the methods that can learn a stream.

    Example: [bold]kpig run my.toml --set method.name=replay[/bold]
    """
    from kpig.methods import METHODS

    table = Table("method", "what it does", box=None)
    for name, entry in METHODS.items():
        table.add_row(name, entry.help)
    show_table(table)
    print('A class of your own: method.name = "module:Class" (see kpig.methods.base.Method).')


def _show_runs(records, report_path: Path) -> None:
    from kpig import report

    show_table(report.terminal_table(records))
    print(f"report: {report_path}")
