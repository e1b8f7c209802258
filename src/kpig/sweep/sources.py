"""What the planned runs start from: their models and streams, each looked at once."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kpig.config import RunConfig
from kpig.errors import ConfigError, DataError, KpigError, ModelError
from kpig.model import vocabulary
from kpig.model.folder import is_local, resolve
from kpig.records import Stream
from kpig.runs import fitting
from kpig.runs.check import learning_problems, model_problem


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: the name of its folder, where it stands on each axis, and its whole config.

    `setting` is "" for the base config alone, `order` the label of the stream order.
    """

    name: str
    method: str
    setting: str
    seed: int
    order: str
    config: RunConfig


def source_problems(runs: Sequence[PlannedRun]) -> Mapping[str, list[str]]:
    """Model folders and streams that cannot be used, with the names of their runs; each is looked at once.

    And what `kpig check` would say of each run: of its method with its stream, and of examples that do not
    fit its model. Without names: stream orders that are one, whose runs would be the same runs.
    """
    problems: dict[str, list[str]] = {}
    streams: list[tuple[PlannedRun, Stream]] = []
    for kind, key_of, look in (
        ("model", lambda config: config.model.path, _check_model),
        ("stream", _stream_key, fitting.stream_of),
    ):
        for same in _grouped(runs, key_of):
            try:
                found = look(same[0].config)
            except KpigError as error:
                problem = str(error) if str(error).startswith("[") else f"[{kind}] {error}"
                problems.setdefault(problem, []).extend(run.name for run in same)
            else:
                if found is not None:
                    streams.append((same[0], found))
                    for run, problem in _told_of(same, found):
                        problems.setdefault(problem, []).append(run.name)
    return problems | {problem: [] for problem in _repeated_orders(streams)}


def _told_of(runs: Sequence[PlannedRun], tasks: Stream) -> Iterator[tuple[PlannedRun, str]]:
    """What would stop runs that learn one stream, each with the run."""
    for run in runs:
        for problem in learning_problems(run.config, tasks):
            yield run, problem
    for same in _grouped(runs, lambda config: config.model.model_dump_json() + _answer_key(config)):
        if is_local(resolve(same[0].config.model.path)):
            try:
                fitting.require(vocabulary.encoder_of(same[0].config.model), tasks, same[0].config)
            except ModelError:
                continue  # it is told of the model's folder
            except DataError as error:
                yield from ((run, f"[stream] {error}") for run in same)


def _answer_key(config: RunConfig) -> str:
    return f"{config.evaluate.max_new_tokens} {config.evaluate.new_wordings}"


def _grouped(runs: Sequence[PlannedRun], key_of: Callable[[RunConfig], str]) -> Collection[list[PlannedRun]]:
    groups: dict[str, list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault(key_of(run.config), []).append(run)
    return groups.values()


def _repeated_orders(streams: Sequence[tuple[PlannedRun, Stream]]) -> Iterator[str]:
    """A sentence for every order of steps that comes again under another label."""
    first_with: dict[tuple[int, str, tuple[tuple[str, ...], ...]], PlannedRun] = {}
    for run, found in streams:
        steps = tuple(tuple(task.name for task in step) for step in found.steps)
        first = first_with.setdefault((run.seed, run.config.suite.model_dump_json(), steps), run)
        if first.order != run.order:
            same = f"orders {first.order} and {run.order} are the same order"
            yield f"{same} of these {len(steps)} steps; leave one out"


def _stream_key(config: RunConfig) -> str:
    read_with = (
        config.model.model_dump_json() + _answer_key(config) if config.stream.bad_rows == "skip" else ""
    )
    return config.stream.model_dump_json() + config.suite.model_dump_json() + read_with


def _check_model(config: RunConfig) -> None:
    if problem := model_problem(config.model):
        raise ConfigError(problem)
