"""What the planned runs start from: their models, methods and streams, each looked at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpig import stream
from kpig.config import RunConfig
from kpig.errors import ConfigError, KpigError
from kpig.methods import why_missing
from kpig.model_folder import check_folder, is_adapter, resolve


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
    """Model folders, methods and streams that cannot be used, and stream orders that are one: problem, names of its runs."""
    problems: dict[str, list[str]] = {}
    seen: dict[Any, list[str]] = {}
    sequences: dict[tuple, PlannedRun] = {}
    for run in runs:
        for key, check in (
            (("model", run.config.model.path), _check_model),
            (("method", run.config.method.name), _check_method),
            (("stream", _stream_key(run.config)), stream.configured),
        ):
            if key not in seen:
                seen[key], found = _looked_at(key[0], check, run.config)
                if key[0] == "stream" and found is not None:
                    _compare_orders(run, found, sequences, problems)
            for problem in seen[key]:
                problems.setdefault(problem, []).append(run.name)
    return problems


def _looked_at(kind: str, check: Callable[[RunConfig], Any], config: RunConfig) -> tuple[list[str], Any]:
    """The problems of one source, and what the check found."""
    try:
        return [], check(config)
    except KpigError as error:
        text = str(error)
        return [text if text.startswith("[") else f"[{kind}] {text}"], None


def _compare_orders(
    run: PlannedRun, found, sequences: dict[tuple, PlannedRun], problems: dict[str, list[str]]
) -> None:
    """Note a stream whose steps come in the order of another one of the sweep: its runs would be the same runs."""
    steps = tuple(tuple(task.name for task in step) for step in found.steps)
    first = sequences.setdefault((run.seed, run.config.suite.model_dump_json(), steps), run)
    if first.order != run.order:
        same = f"orders {first.order} and {run.order} are the same order of these {len(steps)} steps; leave one out"
        problems.setdefault(same, [])


def _stream_key(config: RunConfig) -> str:
    return config.stream.model_dump_json() + config.suite.model_dump_json()


def _check_method(config: RunConfig) -> None:
    missing = why_missing(config.method.name)
    if missing:
        raise ConfigError(missing)


def _check_model(config: RunConfig) -> None:
    folder = resolve(config.model.path)
    check_folder(folder)
    if is_adapter(folder):
        raise ConfigError(f"{folder} is an adapter; train from a whole model")
