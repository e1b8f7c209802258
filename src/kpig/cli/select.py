"""The command `select`: which of many training examples to learn."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from kpig import ranks
from kpig.cli.app import (
    Device,
    DeviceOption,
    DtypeOption,
    MaxLengthOption,
    TasksPath,
    app,
    config_of,
    served_model,
)
from kpig.cli.screen import say, show
from kpig.errors import UsageError, some
from kpig.files import publish_json
from kpig.records import Stream, Task

if TYPE_CHECKING:
    from kpig.methods.parts.skills import Cluster
    from kpig.runs.selection import Selection


@app.command("select")
def select_examples(
    tasks: TasksPath,
    *,
    model: Annotated[
        str, typer.Option("--model", help="A model folder, a run or a run's step, a hub name, or 'tiny'.")
    ],
    budget: Annotated[int, typer.Option("--budget", min=1, help="Training examples to choose, in all.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for the tasks with what was chosen.")],
    clusters: Annotated[int, typer.Option("--clusters", min=1, help="Pseudo-skills at most.")] = 10,
    near_duplicate: Annotated[
        float,
        typer.Option(
            "--near-duplicate",
            min=0.0,
            max=1.0,
            help="Cosine of two gradients above which the later example is pruned; 1: none is.",
        ),
    ] = 0.95,
    seed: Annotated[int, typer.Option("--seed", help="Seed of clusters and draws.")] = 0,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write every example's scores and cluster to this file too.")
    ] = None,
    device: DeviceOption = Device.AUTO,
    dtype: DtypeOption = None,
    max_length: MaxLengthOption = None,
) -> None:
    """Choose the training examples that tell most, as the method adapt_inf does; nothing is trained.

    Examples are clustered by their gradients. Each cluster gives as many, over the whole range of the score
    that spreads most there. All test and validation examples are written too.

    Example: [bold]kpig select suite --model tiny --budget 100 --out chosen[/bold]
    """
    from kpig.progress import Bars
    from kpig.runs import selection
    from kpig.runs.machine import choose_device
    from kpig.tasks import written

    ranks.by_main(lambda: _require_new(out))
    served = served_model(model, tasks, dtype, max_length)
    stream = _stream(tasks)
    written.check(stream.tasks)
    wanted = selection.Wanted(budget, clusters, near_duplicate, seed)
    chosen_device = choose_device(device.value)
    found = selection.select(served.section, stream.steps, wanted, chosen_device, Bars(), served.clock)
    steps = selection.narrowed(stream.steps, found.chosen)
    ranks.by_main(lambda: written.write(out, steps))
    show(_table(found.clusters))
    if json_path is not None:
        result = selection.selection_json(served.section, wanted, found)
        ranks.by_main(partial(publish_json, json_path, result))
        say(f"numbers: {json_path}")
    say(f"{len(found.chosen)} of {len(found.examples)} training examples: {out / written.ROWS_FILE}")
    _tell(stream, found, steps, budget)


def _stream(tasks: str) -> Stream:
    """The stream at a path, of a config, or of the built-in suite as other commands read it."""
    from kpig.config import SUITE
    from kpig.runs import fitting
    from kpig.tasks import stream, suite

    if config := config_of(tasks):
        return fitting.stream_of(config)
    return suite.stream(num_train=16, num_test=20) if tasks == SUITE else stream.load(tasks)


def _require_new(out: Path) -> None:
    """Refuse a place where something is: other files in the folder would be read as tasks too."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already; give --out a new folder, or remove it first")


def _table(clusters: Sequence["Cluster"]) -> Table:
    table = Table(title="clusters", title_justify="left")
    for heading in ("cluster", "examples", "near-duplicates", "chosen"):
        table.add_column(heading, justify="right")
    table.add_column("score that spreads most")
    table.add_column("its entropy in bits", justify="right")
    for number, one in enumerate(clusters, start=1):
        size, pruned = len(one.members) + len(one.pruned), len(one.pruned)
        counts = (str(number), str(size), str(pruned), str(len(one.chosen)))
        table.add_row(*counts, one.score, f"{one.entropies[one.score]:.2f}")
    return table


def _tell(stream: Stream, found: "Selection", steps: Sequence[Sequence[Task]], budget: int) -> None:
    """Sentences about what differs from what was asked for, and what files cannot say."""
    from kpig.tasks import written

    if len(found.chosen) < budget:
        say(
            f"note: {budget - len(found.chosen)} fewer than --budget {budget}, for {found.num_pruned} are "
            "near-duplicates; raise --near-duplicate to keep more of them"
        )
    kept = {task.name for step in steps for task in step}
    if lost := [task.name for task in stream.tasks if task.name not in kept]:
        say(f"note: of {len(lost)} tasks ({some(lost)}) no example was chosen; they are not written")
    if not any(example.instruction.key_parts for example in found.examples):
        say("note: no instruction has key parts, so grounding tells nothing here; kpig annotate finds them")
    if absent := sum(len(written.unwritten(task)) for step in steps for task in step):
        say(f"note: {absent} wordings without key parts are not written, for their tasks have some")
