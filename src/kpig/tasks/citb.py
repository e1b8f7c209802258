"""CITB's protocol (Zhang et al., 2023): its lists of tasks, and folders of them made from task files."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kpig.errors import DataError, RunError, some
from kpig.files import publish, publish_json
from kpig.tasks.drafts import Draft, Row, identity_of
from kpig.tasks.problems import Problems
from kpig.tasks.readers import read, superni
from kpig.tasks.readers.files import STREAM_FILE, missing, parse_object, place, read_text

PROTOCOL_PATH = Path(__file__).parents[1] / "citb" / "protocol.json"
STREAMS = ("instrdialog", "instrdialog++")
"""The two streams of the protocol, as `build` takes them; PROTOCOL_PATH has their tasks."""

STREAM, INITIAL, OFFICIAL = "stream", "initial", "official"
"""The parts of the protocol, and the folders that they are written into."""


@dataclass(frozen=True)
class Part:
    """Tasks by name, and how many examples of each are tested, developed on and trained on."""

    tasks: tuple[str, ...]
    num_test: int
    num_dev: int = 0
    num_train: int = 0


@dataclass(frozen=True)
class Protocol:
    """A stream with its published orders (numbers from 1 into its tasks), and the two sets around it.

    `initial` is what the model is instruction-tuned on before the stream, `official` are the held-out tasks.
    """

    stream: Part
    orders: tuple[tuple[int, ...], ...]
    initial: Part
    official: Part

    @property
    def parts(self) -> dict[str, Part]:
        """The parts by the folders that they are written into."""
        return {STREAM: self.stream, INITIAL: self.initial, OFFICIAL: self.official}


Splits = dict[str, list[Row]]
"""The rows of a task that are used, by what they are for."""


@dataclass(frozen=True)
class Chosen:
    """What of a part is used: the splits of every task that is there, in the protocol's order.

    `absent` are the tasks that no source has, `short` those with fewer examples to train on than the protocol
    takes; `num_repeated` counts the examples that were dropped as repetitions.
    """

    splits: Mapping[str, Splits]
    absent: tuple[str, ...]
    short: tuple[str, ...]
    num_repeated: int

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks that are there."""
        return tuple(self.splits)


def protocol(stream: str = STREAMS[0]) -> Protocol:
    """The protocol with one of STREAMS."""
    raw = parse_object(read_text(PROTOCOL_PATH), str(PROTOCOL_PATH))
    chosen = dict(raw["streams"][stream])
    orders = tuple(map(tuple, chosen.pop("orders")))
    return Protocol(_part(chosen), orders, _part(raw["initial"]), _part(raw["official"]))


def _part(raw: Mapping[str, Any]) -> Part:
    return Part(**{**raw, "tasks": tuple(raw["tasks"])})


def present(orders: Sequence[Sequence[int]], tasks: Sequence[str], there: Sequence[str]) -> list[list[int]]:
    """The orders over those of the tasks that are there, numbered anew in the same sequence."""
    numbers = {name: number for number, name in enumerate(there, start=1)}
    return [[numbers[tasks[one - 1]] for one in order if tasks[one - 1] in numbers] for order in orders]


def build(
    sources: Sequence[str | Path],
    out: Path,
    stream: str = STREAMS[0],
    order: int = 1,
    num_train: int | None = None,
    num_dev: int | None = None,
    num_test: int | None = None,
    partial: bool = False,
) -> dict[str, Chosen]:
    """Write the parts of the protocol as folders of `out`, with configs beside them; what is used, by part.

    `sources` are folders of Super-NaturalInstructions task files. The numbers replace those of the stream.
    Without `partial` every task must be there. Raises DataError naming the tasks that no source has, and
    RunError where `out` holds such folders already.
    """
    wanted = _sized(protocol(stream), num_train, num_dev, num_test)
    taken = [path for path in map(out.joinpath, wanted.parts) if path.exists()]
    if taken:
        raise RunError(f"{taken[0]} is there already; give another folder, or remove it")
    files = _files(sources)
    _check_complete(wanted, files, partial)
    problems = Problems(skips_rows=True)
    chosen = {name: _choose(part, files, problems) for name, part in wanted.parts.items()}
    problems.check()
    problems.tell()
    for name, part in chosen.items():
        _write_part(out / name, name, part, files)
    orders = present(wanted.orders, wanted.stream.tasks, chosen[STREAM].tasks)
    _write_configs(out, stream, order, orders, chosen, wanted.stream)
    return chosen


def _sized(found: Protocol, num_train: int | None, num_dev: int | None, num_test: int | None) -> Protocol:
    """The protocol with other numbers of the stream's examples, where they are given."""
    part = found.stream
    sized = Part(
        tasks=part.tasks,
        num_test=part.num_test if num_test is None else num_test,
        num_dev=part.num_dev if num_dev is None else num_dev,
        num_train=part.num_train if num_train is None else num_train,
    )
    return replace(found, stream=sized)


def _files(sources: Sequence[str | Path]) -> dict[str, Path]:
    """The task files of all folders by the names of their tasks; of two with one name the first."""
    found: dict[str, Path] = {}
    for folder in map(place, sources):
        if not folder.is_dir():
            raise missing(folder) if not folder.exists() else DataError(f"{folder}: expected a folder")
        found = {path.stem: path for path in superni.task_files(folder)} | found
    return found


def _check_complete(wanted: Protocol, files: Mapping[str, Path], partial: bool) -> None:
    absent = {name: [task for task in part.tasks if task not in files] for name, part in wanted.parts.items()}
    nothing = len(absent[STREAM]) == len(wanted.stream.tasks)
    if nothing or (any(absent.values()) and not partial):
        lines = [
            f"{len(tasks)} of {len(wanted.parts[name].tasks)} tasks of '{name}' are missing: "
            f"{some(tasks, len(tasks) if name == STREAM else 3)}"
            for name, tasks in absent.items()
            if tasks
        ]
        advice = "name the folder tasks/ of a Super-NaturalInstructions checkout"
        advice += "" if nothing else ", further folders, or --partial to go on without them"
        raise DataError("\n".join([*lines, advice]))


def _choose(part: Part, files: Mapping[str, Path], problems: Problems) -> Chosen:
    """The examples of every task of a part that is there; what is wrong with a file is collected."""
    splits: dict[str, Splits] = {}
    num_repeated = 0
    for task in part.tasks:
        if task in files:
            with problems.collected():
                for draft in read(files[task], "superni", problems):
                    splits[task], repeated = split(draft, part)
                    num_repeated += repeated
    return Chosen(
        splits=splits,
        absent=tuple(task for task in part.tasks if task not in files),
        short=tuple(task for task, rows in splits.items() if len(rows["train"]) < part.num_train),
        num_repeated=num_repeated,
    )


def _write_part(folder: Path, name: str, part: Chosen, files: Mapping[str, Path]) -> None:
    """Copy the chosen examples of every task, and put the tasks into a stream file."""
    entries = []
    for task, splits in part.splits.items():
        _copy(files[task], folder / "tasks" / f"{task}.json", splits)
        ids = {f"{key}_ids": [row.id for row in rows] for key, rows in splits.items() if rows}
        entries.append({"task": task, "file": f"tasks/{task}.json", **ids})
    if entries:
        publish_json(folder / STREAM_FILE, {"stream": f"citb-{name}", **_steps(name, entries, part.absent)})


def _steps(name: str, entries: Sequence[Mapping[str, Any]], absent: Sequence[str]) -> dict[str, Any]:
    """The stream is a step for each task, the initial set one for all, the official tasks are none."""
    steps = {
        STREAM: [{"step": number, "tasks": [one]} for number, one in enumerate(entries, start=1)],
        INITIAL: [{"step": 1, "tasks": list(entries)}],
    }
    tasks = {"steps": steps[name]} if name in steps else {"tasks": list(entries)}
    return {**tasks, "absent_tasks": list(absent)}


def split(draft: Draft, part: Part) -> tuple[Splits, int]:
    """The rows of a task by split, and how many were dropped as repetitions of an earlier split's input.

    As in CITB's code: the first are tested, the next developed on, and of the rest so many are drawn to be
    trained on. The draw is ours, by the name of the task alone; the repetitions stay in theirs.
    """
    identity = identity_of(draft.rows)
    test = list(draft.rows[: part.num_test])
    seen = set(map(identity, test))
    later = draft.rows[part.num_test :]
    dev = [row for row in later[: part.num_dev] if identity(row) not in seen]
    seen |= set(map(identity, dev))
    rest = [row for row in later[part.num_dev :] if identity(row) not in seen]
    random.Random(f"kpig-citb|{draft.name}").shuffle(rest)
    num_repeated = len(draft.rows) - len(test) - len(dev) - len(rest) if part.num_train else 0
    train = rest[: part.num_train]
    if not test:
        raise DataError(f"{draft.where}: task '{draft.name}': has no examples; take the whole file")
    if part.num_train and not train:
        raise DataError(
            f"{draft.where}: task '{draft.name}': {len(draft.rows)} examples, {len(test)} to test and "
            f"{len(dev)} to develop on, leave none to train on; lower --test or --dev"
        )
    return {"train": train, "validation": dev, "test": test}, num_repeated


def _copy(source: Path, target: Path, splits: Mapping[str, Sequence[Row]]) -> None:
    """The task file with the chosen instances alone; all else, such as the licence, stays as it is."""
    raw = parse_object(read_text(source), str(source))
    instances = {
        superni.id_of(one, f"{source.stem}-{number}"): one
        for number, one in enumerate(raw["Instances"], start=1)
    }
    kept = [row.id for rows in splits.values() for row in rows]
    publish_json(target, {**raw, "Instances": [{**instances[one], "id": one} for one in kept]})


def _write_configs(
    out: Path,
    stream: str,
    order: int,
    orders: Sequence[Sequence[int]],
    chosen: Mapping[str, Chosen],
    part: Part,
) -> None:
    """A config for the stream in one order, one for the initial set, and a spec for all three orders."""
    held_out = f'held_out = "{OFFICIAL}"\n' if chosen[OFFICIAL].tasks else ""
    early = "patience = 3\nkeep_best = true\n" if part.num_dev else ""
    values = {"stream": stream, "order": order, "held_out": held_out, "early": early}
    publish(out / "citb.toml", _CONFIG.format(steps=list(orders[order - 1]), **values))
    publish(out / "orders.toml", _SPEC.format(orders=[list(one) for one in orders], **values))
    if chosen[INITIAL].tasks:
        publish(out / "initial.toml", _INITIAL.format(**values))


_CONFIG = """\
# {stream} of CITB (Zhang et al., 2023) in its order {order}: docs/citb.md says what differs from the paper.
#   kpig run citb.toml --set model.path=MODEL --set method.name=replay

[model]
path = "tiny"
max_length = 1152         # 1,024 of prompt and 128 of response

[stream]
path = "stream"
{held_out}order = {steps}
metrics = {{ "*" = "rougeL" }}

[train]
epochs = 15
batch_size = 8
learning_rate = 1e-5      # of T5-small, all weights; find one for your model
schedule = "constant"
warmup = 0.0
{early}
[replay]
memory_per_task = 50      # REPLAY-50; 10 for REPLAY-10

[method]
name = "sequential"

[evaluate]
max_new_tokens = 128
"""

_SPEC = """\
# {stream} of CITB in its three published orders.
#   kpig sweep orders.toml --out runs/citb
#   kpig compare runs/citb

base = "citb.toml"
methods = ["sequential", "replay", "kpig"]
seeds = [0]
orders = {orders}
"""

_INITIAL = """\
# The first stage of CITB: one step of instruction tuning on its initial set. The stream goes on from there:
#   kpig run initial.toml --set model.path=MODEL --out runs/initial
#   kpig run citb.toml --set model.path=runs/initial/steps/01

[model]
path = "tiny"
max_length = 1152

[stream]
path = "initial"
{held_out}metrics = {{ "*" = "rougeL" }}

[train]
epochs = 15
batch_size = 8
learning_rate = 1e-5
schedule = "constant"
warmup = 0.0
patience = 3
keep_best = true

[method]
name = "sequential"

[evaluate]
max_new_tokens = 128
"""
