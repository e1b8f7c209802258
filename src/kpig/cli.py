"""The command line. Heavy imports wait inside each command, so help and checks start in a blink."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kpig import __version__
from kpig.errors import KpigError, UsageError
from kpig.records import MASK_TEXT

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Keep teaching one language model new tasks without it half-listening.\n\n"
    "Start with: [bold]kpig quickstart[/bold]",
)
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; may be repeated."),
]
ConfigPath = Annotated[Path, typer.Argument(help="A TOML config; examples/ has some.", metavar="CONFIG")]
ModelPath = Annotated[
    str, typer.Argument(help="A model folder, an adapter folder, a hub name, or 'tiny'.", metavar="MODEL")
]
TasksPath = Annotated[str, typer.Option("--tasks", help="A file or folder of tasks, or 'suite'.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]


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
    from kpig import quickstart as first
    from kpig import report
    from kpig.progress import Bars

    _quiet()
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
    from kpig import check as checks

    settings, _ = checks.check(config, overrides or [])
    folder = out or Path("runs") / f"{config.stem}-{settings.method.name.replace(':', '-')}-{settings.seed}"
    from kpig import job, report
    from kpig.progress import Bars

    _quiet()
    job.run(settings, folder, resume, Bars())
    records = [report.read_run(folder)]
    _show_runs(records, report.write(records, folder))


@app.command()
def check(config: ConfigPath, overrides: Overrides = None) -> None:
    """Report every problem of a config, its model folder and its tasks, before anything is loaded.

    Example: [bold]kpig check my.toml --set train.batch_size=8[/bold]
    """
    from kpig import check as checks

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
    _print(table)
    print(f"method {settings.method.name}, model {settings.model.path}; run it with: kpig run {config}")


@app.command("eval")
def evaluate(
    path: ModelPath,
    tasks: TasksPath,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for scores.json and predictions.jsonl.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Tokens of a response at most.")
    ] = 64,
    test_per_task: Annotated[
        int, typer.Option("--test-per-task", min=0, help="Test examples per task; 0: all.")
    ] = 0,
    device: Device = "auto",
) -> None:
    """Score any model on any tasks: P-score, V-score by kind, half-listening rate, gain.

    Example: [bold]kpig eval tiny --tasks suite[/bold]
    """
    from kpig import diagnose, rundir
    from kpig.progress import Bars

    _quiet()
    section, chosen = _model_section(path), _tasks(tasks, test_per_task)
    settings = _evaluate_section(max_new_tokens)
    result, predictions = diagnose.evaluate_model(section, chosen, settings, _device(device), Bars())
    _print(_score_table(path, result))
    if out is not None:
        rundir.publish_json(out / "scores.json", result)
        diagnose.write_predictions(out / "predictions.jsonl", predictions)
        print(f"scores and predictions: {out}")


@app.command()
def gain(
    path: ModelPath,
    tasks: TasksPath,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the numbers to this file too.")
    ] = None,
    probes: Annotated[int, typer.Option("--probes", min=1, help="Examples per task.")] = 16,
    mask_text: Annotated[
        str, typer.Option("--mask-text", help="What stands in place of a key part.")
    ] = MASK_TEXT,
    device: Device = "auto",
) -> None:
    """Does the model listen? Per task, how much its answer depends on the instruction's key parts.

    Example: [bold]kpig gain tiny --tasks suite --json gain.json[/bold]
    """
    from kpig import diagnose, rundir
    from kpig.progress import Bars

    _quiet()
    section = _model_section(path, mask_text)
    gains = diagnose.measure_tasks(section, _tasks(tasks), probes, _device(device), Bars())
    result = diagnose.gain_json(section, gains)
    _print(_gain_table(path, result))
    if json_path is not None:
        rundir.publish_json(json_path, result)
        print(f"numbers: {json_path}")


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
    _print(table)
    print('A class of your own: method.name = "module:Class" (see kpig.methods.base.Method).')


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"kpig {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point: a KpigError becomes one message and its exit code, never a traceback."""
    try:
        app()
    except KpigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped; continue a run with the same command and --resume", file=sys.stderr)
        sys.exit(130)


def _quiet() -> None:
    """Keep the libraries' own notices off the screen; errors still show."""
    from transformers.utils import logging

    logging.set_verbosity_error()


def _model_section(path: str, mask_text: str = MASK_TEXT):
    from kpig.config import ModelSection

    return ModelSection(path=path, mask_text=mask_text)


def _evaluate_section(max_new_tokens: int):
    from kpig.config import EvaluateSection

    return EvaluateSection(max_new_tokens=max_new_tokens)


def _tasks(path: str, test_per_task: int = 0):
    from kpig import stream, suite
    from kpig.config import SUITE

    if path == SUITE:
        built = suite.stream(num_train=1, num_test=test_per_task or 20)
        return (*built.tasks, *built.held_out)
    return stream.load_tasks(path, test_per_task=test_per_task)


def _device(name: str) -> str:
    from kpig.job import choose_device

    if name not in ("auto", "cpu", "cuda", "mps"):
        raise UsageError(f"--device {name!r} is not known; expected auto, cpu, cuda or mps")
    return choose_device(name)


def _show_runs(records, report_path: Path) -> None:
    from kpig import report

    _print(report.terminal_table(records))
    print(f"report: {report_path}")


def _print(table: Table) -> None:
    """To standard output, as wide as it needs to be where that is no terminal."""
    console = Console()
    (console if console.is_terminal else Console(width=max(console.width, 132))).print(table)


def _score_table(path: str, result: dict) -> Table:
    table = Table(
        title=f"{path}: {len(result['tasks'])} tasks, scorer {result['scorer']}", title_justify="left"
    )
    table.add_column("task", overflow="fold")
    for heading in ("metric", "P-score", "V-score", "half-listening %", "gain", "examples"):
        table.add_column(heading, justify="right")
    for name, score in result["tasks"].items():
        table.add_row(name, score["metric"], *_cells(score), str(score["n"]))
    table.add_section()
    total = sum(score["n"] for score in result["tasks"].values())
    table.add_row("mean over tasks", "", *_cells(result["all"]), str(total))
    table.caption = (
        f"V-score: lower is better; {result['all']['constrained']:.0f} % of the tasks have constraints"
    )
    table.caption_justify = "left"
    return table


def _cells(score: dict) -> list[str]:
    decimals = {"p_score": 1, "v_score": 1, "half_listening": 1, "gain": 3}
    return ["–" if score[key] is None else f"{score[key]:.{places}f}" for key, places in decimals.items()]


def _gain_table(path: str, result: dict) -> Table:
    table = Table(title=f"{path}: does it listen to the key parts?", title_justify="left")
    table.add_column("task", overflow="fold")
    for heading in ("p(y given I)", "p(y given M(I))", "prob gain ± s.e.", "log gain ± s.e.", "probes"):
        table.add_column(heading, justify="right")
    table.add_column("reading")
    for name, found in sorted(result["tasks"].items(), key=lambda item: item[1]["prob"]):
        table.add_row(
            name,
            f"{found['instructed']:.3f}",
            f"{found['masked']:.3f}",
            f"{found['prob']:.3f} ± {found['prob_error']:.3f}",
            f"{found['log']:.2f} ± {found['log_error']:.2f}",
            str(found["num_examples"]),
            found["reading"],
        )
    table.caption = "lowest gain first; log gain in nats per response token; M(I): the instruction with its key parts masked"
    table.caption_justify = "left"
    return table
