"""The command line's root: the app that commands join, the options that several share, what they print."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpig.cli.screen import say, show
from kpig.errors import RunError, UsageError
from kpig.records import HELD_OUT, SEEN, Stream, Task

if TYPE_CHECKING:
    from kpig.config import ModelSection, RunConfig
    from kpig.report import RunRecord
    from kpig.runs.fitting import Fitter
    from kpig.runs.folder import RunDir
    from kpig.runs.served import Served
    from kpig.tasks.readers.renewal import Renewal

app = typer.Typer(
    no_args_is_help=True,
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
    str,
    typer.Argument(
        help="A model or adapter folder, a run or a run's step (RUN/steps/02), a hub name, or 'tiny'.",
        metavar="MODEL",
    ),
]
TasksOption = Annotated[
    str,
    typer.Option(
        "--tasks",
        help="A file or folder of tasks, 'suite', 'general', a config for the tasks that it names, or a run "
        "folder for that run's own.",
    ),
]
OwnTasksOption = Annotated[
    str,
    typer.Option(
        "--tasks",
        help="A file or folder of tasks, 'suite', 'general', a config for the tasks that it names, or a run "
        "folder for that run's own; default: the own ones, where MODEL is a run.",
        show_default=False,
    ),
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="[TASK=]METRIC",
        help="Another metric: exact, accuracy, rougeL, json, number, token_f1, chrf or a module:function of "
        "yours; for one task or all. May be repeated.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there, hand-made entries too.")]
TasksPath = Annotated[
    str,
    typer.Argument(
        help="A file or folder of tasks, 'suite', 'general', or a config for the tasks that it names.",
        metavar="TASKS",
    ),
]
PROMPT_KEYS = ("max_length", "chat_template", "chat_template_arguments", "system", "mask_text")
"""What of a config's [model] decides the prompt of an example."""


class Device(StrEnum):
    """What `train.device` of a config may be, too."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


DeviceOption = Annotated[
    Device, typer.Option("--device", help="Where the model computes; auto: a GPU, or the CPU.")
]


class Tracker(StrEnum):
    """What `run.track` of a config may hold, too."""

    TENSORBOARD = "tensorboard"
    TRACKIO = "trackio"
    WANDB = "wandb"
    MLFLOW = "mlflow"


TrackOption = Annotated[
    list[Tracker] | None,
    typer.Option("--track", help="Tell a tracker of the run as well; may be repeated: docs/trackers.md."),
]


class Dtype(StrEnum):
    """What `model.dtype` of a config may be, too."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


DtypeOption = Annotated[
    Dtype | None,
    typer.Option("--dtype", help="How weights are held; default: a run's own, else float32."),
]
MaxLengthOption = Annotated[
    int | None,
    typer.Option(
        "--max-length",
        min=16,
        help="Tokens of prompt and response at most; default: a run's own, else 1024.",
    ),
]
MaxNewTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens", min=1, help="Tokens of a response at most; default: a run's own, else 64."
    ),
]


LikeOption = Annotated[
    str,
    typer.Option(
        "--like",
        help="A run: read TASKS as it reads its own, with the columns that it names.",
        show_default=False,
    ),
]


def served_model(path: str, tasks: str, dtype: Dtype | None, max_length: int | None) -> "Served":
    """The model that a path names, held and cut as the options say.

    A run is prompted as it was trained; any other model as what the tasks come from says (`prompted`).
    """
    from kpig.runs.served import served

    quiet()
    found = served(path)
    section = found.section if found.of_run else prompted(found.section, tasks)
    given = {"dtype": dtype and dtype.value, "max_length": max_length}
    changes = {name: value for name, value in given.items() if value}
    section = section.model_copy(update=changes)
    note_half("model.dtype", section.dtype, "--dtype")
    return replace(found, section=section)


def note_half(setting: str, value: str, option: str) -> None:
    """Say where a setting, of a run or as given, asks 16-bit products of a CPU that is slow in them."""
    from kpig.runs import machine

    device = "cuda" if machine.has_cuda() else "cpu"
    for caution in machine.half_cautions({setting: value}, device, f"give {option} float32"):
        say(f"note: {caution}", file=sys.stderr)


def tasks_for(path: str, tasks: str) -> str:
    """Where the tasks are that a model is judged on: as named, else those of the run that it is of.

    UsageError where neither is.
    """
    from kpig.runs.served import step_at

    if tasks:
        return tasks
    step = step_at(path)
    if step is None:
        raise UsageError(
            f"{path} is no run with tasks of its own; give --tasks: a file or folder of tasks, 'suite', "
            "'general', a config or a run"
        )
    return str(step.run.path)


def show_report(records: "Sequence[RunRecord]", out: Path) -> None:
    """Write the report of finished runs into a folder, and show their table."""
    from kpig.report import portraits, terminal_table, write

    found = portraits(records)
    page = write(records, out, found)
    show(terminal_table(records))
    for one in found:
        say(f"gate: {one.run.path}: {one.gate}")
    say(f"report: {page}")


def print_counts(what: str, counts: Counter[str]) -> None:
    """One line, the largest count first; nothing where there is nothing to count."""
    if counts:
        say(f"{what}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common()))


def quiet() -> None:
    """Keep the libraries' own notices and bars off the screen; errors still show."""
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def metrics_of(values: Sequence[str] | None) -> dict[str, str]:
    """What `--metric` says, by task name or "*" for every task; UsageError for one that is no assignment."""
    found: dict[str, str] = {}
    for value in values or ():
        name, separator, metric = value.rpartition("=")
        if (separator and not name) or not metric or (name or "*") in found:
            raise UsageError(
                f"--metric {value!r:.80}: expected METRIC for all tasks, or TASK=METRIC, each task once"
            )
        found[name or "*"] = metric
    return found


def read_tasks(
    path: str,
    test_per_task: int = 0,
    for_training: bool = False,
    metrics: Sequence[str] | None = None,
    unanswered: bool = False,
    like: str = "",
    renewal: "Renewal | None" = None,
) -> tuple[Task, ...]:
    """The tasks at a path, the built-in suite's, or those of a config or a run, capped as it caps them.

    `for_training` splits examples that state no split; `metrics` are the values of `--metric`. With
    `unanswered` rows may only ask. Where `like` is a run, data alone are read as the run reads its own.
    With a `renewal` key parts of files are read to be found anew; those of a run or the suite stay.
    RunError for a run whose data have changed.
    """
    groups = read_groups(path, test_per_task, for_training, metrics, unanswered, like, renewal)
    return tuple(task for tasks in groups.values() for task in tasks)


def read_groups(
    path: str,
    test_per_task: int = 0,
    for_training: bool = False,
    metrics: Sequence[str] | None = None,
    unanswered: bool = False,
    like: str = "",
    renewal: "Renewal | None" = None,
) -> dict[str, tuple[Task, ...]]:
    """The same tasks: held-out ones of a config, a run or the suite under HELD_OUT, all others under SEEN."""
    from kpig.tasks import stream

    groups = _tasks_at(path, test_per_task, for_training, unanswered, like, renewal)
    every = {task.name: task for tasks in groups.values() for task in tasks}
    found = stream.measured(every, metrics_of(metrics))
    return {group: tuple(found[task.name] for task in tasks) for group, tasks in groups.items()}


def _tasks_at(
    path: str,
    test_per_task: int,
    for_training: bool,
    unanswered: bool,
    like: str,
    renewal: "Renewal | None",
) -> dict[str, Sequence[Task]]:
    from kpig.config import GENERAL, SUITE
    from kpig.runs import fitting
    from kpig.runs.folder import RunDir, is_run
    from kpig.tasks import stream, suite

    if config := config_of(path):
        found = stream.configured(config, renewal=renewal) if for_training else fitting.stream_of(config)
        return _capped(found, test_per_task)
    if path == SUITE:
        return _capped(suite.stream(num_train=16, num_test=test_per_task or 20), 0)
    if path != GENERAL and is_run(Path(path)):
        return _tasks_of_run(RunDir(Path(path)), test_per_task)
    reading = {} if path == GENERAL else _reading_of(like)
    if reading:
        say(f"note: {path} is read as {like} reads its tasks: {', '.join(reading)}", file=sys.stderr)
    fitter = _fitter_of(like) if reading.get("bad_rows") == "skip" and not for_training else None
    alone = stream.load_tasks(
        path,
        test_per_task=test_per_task,
        split_by_rule=for_training,
        unanswered=unanswered,
        borrowed=bool(reading),
        fits=fitter,
        renewal=renewal,
        **reading,
    )
    if fitter:
        fitter.tell()
    return {SEEN: alone}


def run_at(path: str, tasks: str) -> str:
    """The path of a run or its step that `--like` names, or "".

    UsageError for anything else, and where the tasks say themselves how they are read.
    """
    from kpig.config import GENERAL, SUITE
    from kpig.runs.served import step_at

    if path and step_at(path) is None:
        raise UsageError(f"--like {path}: is no run; give the folder of one, or leave it out")
    if path and (tasks in (SUITE, GENERAL) or Path(tasks).suffix == ".toml" or step_at(tasks) is not None):
        raise UsageError(
            f"{tasks} says itself how its tasks are read; leave --like out, which is for files of tasks"
        )
    return path


def _fitter_of(path: str) -> "Fitter":
    """What leaves out the rows that do not fit the run of a model, as that run does."""
    from kpig.runs import course
    from kpig.runs.fitting import Fitter
    from kpig.runs.served import step_at

    step = step_at(path)
    assert step is not None  # only a run reads otherwise than by default
    return Fitter(course.configuration(step.run.path), step.run.path)


def _reading_of(path: str) -> dict[str, Any]:
    """How the run of a model reads rows, as far as it is not as by default; {} for any other model."""
    from kpig.config.data import READING, StreamSection
    from kpig.runs import course
    from kpig.runs.served import step_at

    step = step_at(path) if path else None
    if step is None:
        return {}
    own, default = course.configuration(step.run.path).stream, StreamSection()
    found = {name: getattr(own, name) for name in READING if getattr(own, name) != getattr(default, name)}
    return found | ({"columns": own.columns.given} if "columns" in found else {})


def _tasks_of_run(run: "RunDir", test_per_task: int) -> dict[str, Sequence[Task]]:
    """All tasks of a run; with `test_per_task` only so many test examples of each."""
    from kpig.runs import course, fitting
    from kpig.tasks import stream

    if course.growth_of(run.path):
        found = course.whole(run.path)
    else:
        found = fitting.stream_of(course.configuration(run.path), run.path)
        if run.read("stream.json").get("digest") != stream.digest(found):
            raise RunError(
                f"{run.path}: its task data have changed since it began; restore them, or name the tasks"
            )
    return _capped(found, test_per_task)


def _capped(found: Stream, test_per_task: int) -> dict[str, Sequence[Task]]:
    groups = {SEEN: found.tasks, HELD_OUT: found.held_out}
    return {
        group: [replace(task, test=task.test[: test_per_task or None]) for task in tasks]
        for group, tasks in groups.items()
        if tasks
    }


def prompted(section: "ModelSection", tasks: str) -> "ModelSection":
    """The model of a section, prompted as the config or the run says that its tasks come from, if either."""
    from kpig.config import load_resolved
    from kpig.runs.folder import is_run

    config = config_of(tasks)
    if config is None and is_run(Path(tasks)):
        config = load_resolved(Path(tasks) / "config.toml")
    if config is None:
        return section
    return section.model_copy(update={key: getattr(config.model, key) for key in PROMPT_KEYS})


def model_of(tasks: str, path: str) -> "ModelSection | None":
    """The model at a path, prompted as `prompted` does; without a path that of the config of the tasks."""
    from kpig.config import ModelSection

    if path:
        return prompted(ModelSection(path=path), tasks)
    config = config_of(tasks)
    return config.model if config else None


def config_of(path: str) -> "RunConfig | None":
    """The config where TASKS is one, by its ending .toml; None for anything else."""
    from kpig.config import load

    return load(Path(path)) if Path(path).suffix == ".toml" else None
