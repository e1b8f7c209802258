"""The runs that a spec stands for: methods x seeds x stream orders x settings, each with its checked config."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from kpig import config as configuration
from kpig import stream
from kpig.config import RunConfig
from kpig.errors import ConfigError, KpigError
from kpig.model_folder import check_folder, is_adapter, resolve
from kpig.sweep.spec import Order, Setting, Spec, base_table, contradictions, read, refuse

MOST_LISTED = 3


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


@dataclass(frozen=True)
class Sweep:
    """The runs in the order of the queue, and the spec they come from as TOML that needs no other file."""

    runs: tuple[PlannedRun, ...]
    text: str


def load(path: Path) -> Sweep:
    """Read a spec and check all of it: every run's config, its model folder and its stream.

    Seeds are outermost, then orders, methods and settings, so that an interrupted sweep leaves runs that
    can be compared. Raises ConfigError listing every problem.
    """
    spec = read(path)
    base = base_table(spec, path)
    refuse(path, contradictions(spec, base))
    runs = _planned(spec, base, path)
    _check_sources(runs, path)
    resolved = spec.model_dump(mode="json", exclude_none=True) | {"base": base}
    return Sweep(runs, tomli_w.dumps(resolved))


def _planned(spec: Spec, base: Mapping[str, Any], path: Path) -> tuple[PlannedRun, ...]:
    runs: dict[str, PlannedRun | None] = {}
    problems: dict[str, list[str]] = {}
    for seed in spec.seeds:
        for order in spec.orders:
            for method in spec.methods:
                for setting in _settings_of(method, spec):
                    name = _run_name(method, setting, seed, order)
                    if name.lower() in runs:
                        problems.setdefault("two runs would share this folder", []).append(name)
                    runs[name.lower()] = None
                    try:
                        config = _config(spec, base, method, setting, seed, order, path)
                    except ConfigError as error:
                        for problem in _single_problems(error):
                            problems.setdefault(problem, []).append(name)
                        continue
                    label = setting.name if setting else ""
                    runs[name.lower()] = PlannedRun(name, method, label, seed, order_label(order), config)
    refuse(path, [_with_runs(problem, names, len(runs)) for problem, names in problems.items()])
    return tuple(run for run in runs.values() if run is not None)


def _settings_of(method: str, spec: Spec) -> list[Setting | None]:
    """The settings a method runs with; None is the base config alone."""
    found: list[Setting | None] = [one for one in spec.settings if one.method in (None, method)]
    return [None, *found] if spec.include_default or not found else found


def _run_name(method: str, setting: Setting | None, seed: int, order: Order) -> str:
    middle = f"-{setting.name}" if setting else ""
    return f"{method.replace(':', '-')}{middle}-seed{seed}-order{order_label(order)}"


def order_label(order: Order) -> str:
    """A stream order as it stands in a folder's name; a long list of steps is named by its digest."""
    if not isinstance(order, tuple):
        return str(order)
    text = "-".join(map(str, order))
    return f"steps-{text if len(text) <= 24 else hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _config(
    spec: Spec,
    base: Mapping[str, Any],
    method: str,
    setting: Setting | None,
    seed: int,
    order: Order,
    path: Path,
) -> RunConfig:
    shuffled = type(order) is int
    values = configuration.flat(setting.set) if setting else {}
    values |= {"suite.seed": seed} if spec.suite_per_seed else {}
    values |= {
        "seed": seed,
        "method.name": method,
        "stream.order": "shuffled" if shuffled else list(order) if isinstance(order, tuple) else order,
        "stream.order_seed": order if shuffled else 0,
    }
    table = copy.deepcopy(dict(base))
    for key, value in values.items():
        _put(table, key, value)
    configuration.find_beside(path.parent, table)
    return configuration.build(table, where="")


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{key!r} cannot be set: {parent!r} is no table")
    table[last] = value


def _check_sources(runs: Sequence[PlannedRun], path: Path) -> None:
    """Refuse model folders and streams that cannot be used; each is looked at once."""
    problems: dict[str, list[str]] = {}
    seen: dict[Any, list[str]] = {}
    for run in runs:
        checks = {run.config.model.path: _check_model, _stream_key(run.config): stream.configured}
        for key, check in checks.items():
            if key not in seen:
                seen[key] = _problems_of(check, run.config)
            for problem in seen[key]:
                problems.setdefault(problem, []).append(run.name)
    refuse(path, [_with_runs(problem, names, len(runs)) for problem, names in problems.items()])


def _stream_key(config: RunConfig) -> str:
    return config.stream.model_dump_json() + config.suite.model_dump_json()


def _problems_of(check, config: RunConfig) -> list[str]:
    try:
        check(config)
    except KpigError as error:
        return [f"[{'model' if check is _check_model else 'stream'}] {error}"]
    return []


def _check_model(config: RunConfig) -> None:
    folder = resolve(config.model.path)
    check_folder(folder)
    if is_adapter(folder):
        raise ConfigError(f"{folder} is an adapter; train from a whole model")


def _single_problems(error: ConfigError) -> list[str]:
    """The problems that one message of `config.build` lists."""
    return [line.removeprefix(":").strip() for line in str(error).split("\n")]


def _with_runs(problem: str, names: Sequence[str], num_runs: int) -> str:
    if len(names) == num_runs:
        return problem
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return f"{problem} ({', '.join(names[:MOST_LISTED])}{more})"
