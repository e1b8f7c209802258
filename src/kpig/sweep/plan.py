"""The runs that a spec stands for: methods x seeds x orders x settings, each with its checked config."""

import copy
import hashlib
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from kpig.config import PORTIONS, RunConfig, build, find_beside, flat, settings_of
from kpig.errors import ConfigError, UsageError, nearest, shown
from kpig.methods import chosen
from kpig.sweep.sources import PlannedRun, source_problems
from kpig.sweep.spec import Order, Setting, Spec, base_table, contradictions, read, refuse

SHARING = "run.share_untuned"
"""On in the runs of a sweep, unless its base says otherwise: many begin with the same model."""

MOST_LISTED = 3
"""Runs that are named beside a problem, the others are counted. Chosen, so that a problem stays on a line."""


@dataclass(frozen=True)
class Sweep:
    """The runs in the order of the queue, and the spec they come from as TOML that needs no other file."""

    runs: tuple[PlannedRun, ...]
    text: str


def load(path: Path, only: Collection[str] = ()) -> Sweep:
    """Read a spec and check all of it: every run's config, its model folder and its stream.

    With `only`, names of runs, models and streams of these are looked at alone. Seeds are outermost, then
    orders, methods and settings, so that an interrupted sweep leaves runs that can be compared. Raises
    ConfigError listing every problem, UsageError for a name of no run.
    """
    spec = read(path)
    base = base_table(spec, path)
    refuse(path, contradictions(spec, base))
    runs = _planned(spec, base, path)
    begun = named(runs, only)
    refuse(path, [_with_runs(problem, names, len(runs)) for problem, names in source_problems(begun).items()])
    resolved = spec.model_dump(mode="json", exclude_none=True) | {"base": base}
    return Sweep(runs, tomli_w.dumps(resolved))


def named(runs: Sequence[PlannedRun], names: Collection[str]) -> tuple[PlannedRun, ...]:
    """The runs of these names, in the order of the queue; all without names. UsageError for one of no run."""
    known = [run.name for run in runs]
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near!r}?" if near else "--dry-run lists them"
            raise UsageError(f"--run {shown(name)!r} is no run of the spec; {hint}")
    return tuple(run for run in runs if not names or run.name in names)


def _planned(spec: Spec, base: Mapping[str, Any], path: Path) -> tuple[PlannedRun, ...]:
    runs: list[PlannedRun] = []
    problems: dict[str, list[str]] = {}
    for seed, order, method in itertools.product(spec.seeds, spec.orders, spec.methods):
        for setting in _settings_of(method, spec):
            name, label = _run_name(method, setting, seed, order), setting.name if setting else ""
            try:
                config = _config(spec, base, method, setting, seed, order, path)
            except ConfigError as error:
                for problem in _single_problems(error):
                    problems.setdefault(problem, []).append(name)
            else:
                runs.append(PlannedRun(name, method, label, seed, order_label(order), config))
    num_runs = len(runs) + len({name for names in problems.values() for name in names})
    refuse(path, [_with_runs(problem, names, num_runs) for problem, names in problems.items()])
    runs, idle = _with_effect(runs, spec)
    refuse(path, [*idle, *_repetitions(runs)])
    return tuple(runs)


def _with_effect(runs: Sequence[PlannedRun], spec: Spec) -> tuple[list[PlannedRun], list[str]]:
    """The runs without those of a setting for all methods that changes nothing for theirs; the base config
    stands in for them where it would not run. And a sentence for every setting that changes nothing at all.
    """
    bases = {_place(run): _what_matters(run.config) for run in runs if not run.setting}
    for_all = {one.name for one in spec.settings if one.method is None}
    kept = [
        run for run in runs if run.setting not in for_all or _what_matters(run.config) != bases[_place(run)]
    ]
    varied = {_place(run) for run in kept if run.setting}
    if not spec.include_default:
        kept = [run for run in kept if run.setting or _place(run) not in varied]
    acting = {run.setting for run in kept}
    names = ", ".join(spec.methods)
    return kept, [
        f"settings {name!r}: nothing in it matters to any of methods ({names})"
        for name in sorted(for_all - acting)
    ]


def _place(run: PlannedRun) -> tuple[int, str, str]:
    """Where a run stands, whatever its setting."""
    return run.seed, run.order, run.method


def _repetitions(runs: Sequence[PlannedRun]) -> list[str]:
    """Settings whose runs would share the folders of others, or be the same runs once more."""
    folders: dict[str, PlannedRun] = {}
    known: dict[str, PlannedRun] = {}
    problems: dict[str, None] = {}
    for run in runs:
        where = f"settings {run.setting!r} of {run.method}"
        if folders.setdefault(run.name.lower(), run) is not run:
            problems[f"{where}: another one has the same folders (a and A count as one); rename it"] = None
        first = known.setdefault(_what_matters(run.config), run)
        if first is not run:
            same = f"settings {first.setting!r}" if first.setting else "the base config"
            problems[f"{where}: nothing that matters to it differs from {same}"] = None
    return list(problems)


def _settings_of(method: str, spec: Spec) -> list[Setting | None]:
    """The base config alone, None, and the settings that are for the method or for all."""
    return [None, *(one for one in spec.settings if one.method in (None, method))]


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
    values = flat(setting.set) if setting else {}
    values |= {"suite.seed": seed} if spec.suite_per_seed else {}
    values |= {
        "seed": seed,
        "method.name": method,
        "stream.order": "shuffled" if shuffled else list(order) if isinstance(order, tuple) else order,
        "stream.order_seed": order if shuffled else 0,
    }
    table = copy.deepcopy(dict(base))
    if SHARING not in flat(table):
        values |= {SHARING: True}
    for key, value in values.items():
        _put(table, key, value)
    find_beside(path.parent, table)
    config = build(table, where="")
    if found := chosen.problems(config.method):
        raise ConfigError("\n".join(found))
    return chosen.complete(config)


def _what_matters(config: RunConfig) -> str:
    """Everything of a config that decides about the run's results, as text."""
    return json.dumps({key: value for key, value in settings_of(config).items() if key not in PORTIONS})


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{key!r} cannot be set: {parent!r} is no table")
    table[last] = value


def _single_problems(error: ConfigError) -> list[str]:
    """The problems that one message of `config.build` lists."""
    return [line.removeprefix(":").strip() for line in str(error).split("\n")]


def _with_runs(problem: str, names: Sequence[str], num_runs: int) -> str:
    if len(names) in (0, num_runs):
        return problem
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return f"{problem} ({', '.join(names[:MOST_LISTED])}{more})"
