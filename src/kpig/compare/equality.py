"""What all compared runs must share (docs/method.md, section 8), and where they do not."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kpig.compare.runs import Run, data_digest, has_suite_per_seed, held_out_tasks, learned_tasks
from kpig.config import PORTIONS
from kpig.errors import some
from kpig.files import true_path
from kpig.model.folder import resolve
from kpig.model.identity import NAMES

SECTIONS = ("model.", "train.", "replay.", "evaluate.")
"""Sections of the config that must be equal: the budgets of docs/method.md, section 8."""

INDIFFERENT = {"model.path", "train.learning_rate", "train.held_out_loss_every"} | PORTIONS
"""Keys of those sections that may differ: where and in what portions a run computes, what it only records,
and the learning rate, which is tuned for each method. The starting weights are compared by themselves."""

TEXT_DIGESTS = ("tokenizer_digest", "chat_template_digest")
"""Of `kpig.model.identity.NAMES`, those of what makes tokens of texts."""


@dataclass(frozen=True)
class Difference:
    """One thing that must be equal and is not: its name, its value in every run, and what is known of it."""

    key: str
    values: tuple[str, ...]
    detail: str = ""


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Everything that must be equal over the runs and is not, starting weights and data first."""
    keys = dict.fromkeys(key for run in runs for key in run.settings if key.startswith(SECTIONS))
    by_key: dict[str, Callable[[Run], str]] = {key: _setting(key) for key in keys if key not in INDIFFERENT}
    data = {} if has_suite_per_seed(runs) else {"data": data_digest}
    checks = _weights(runs) | _texts(runs) | data | {"scorer": lambda run: run.record.scores.scorer} | by_key
    found = [Difference(key, tuple(read(run) for run in runs)) for key, read in checks.items()]
    return [
        Difference(one.key, one.values, _changed_tasks(runs) if one.key == "data" else "")
        for one in found
        if len(set(one.values)) > 1
    ]


def _setting(key: str) -> Callable[[Run], str]:
    return lambda run: run.text(key, partial(json.dumps, ensure_ascii=False))


def sentence(difference: Difference, runs: Sequence[Run]) -> str:
    """The difference in words: every value, and which runs have it."""
    holders: dict[str, list[str]] = {}
    for run, value in zip(runs, difference.values, strict=True):
        holders.setdefault(value, []).append(str(run.path))
    values = "; ".join(f"{value} in {some(paths)}" for value, paths in holders.items())
    return f"{difference.key}: {values}" + (f" ({difference.detail})" if difference.detail else "")


def _weights(runs: Sequence[Run]) -> dict[str, Callable[[Run], str]]:
    """How the starting weights are told apart: by digest, and by path where some run recorded none."""
    if all(_digest(run) for run in runs):
        return {"model weights": lambda run: _digest(run)[:12]}
    known = {_digest(run) for run in runs} - {""}
    by_digest = {"model weights": lambda run: _digest(run)[:12] or "not recorded"} if len(known) > 1 else {}
    return {"model.path": lambda run: _place(run.settings["model.path"])} | by_digest


def _texts(runs: Sequence[Run]) -> dict[str, Callable[[Run], str]]:
    """What makes tokens of texts, as far as all runs recorded it: the same weights may have another."""
    recorded = [key for key in TEXT_DIGESTS if all(_digest(run, key) for run in runs)]
    return {NAMES[key]: _short_digest(key) for key in recorded}


def _short_digest(key: str) -> Callable[[Run], str]:
    return lambda run: _digest(run, key)[:12]


def _digest(run: Run, key: str = "model_digest") -> str:
    return str(run.record.environment.get(key) or "")


def _place(path: str) -> str:
    """The one way to write a local folder; a hub name as it is."""
    found = Path(resolve(path))
    return str(true_path(found)) if found.exists() else str(found)


def _changed_tasks(runs: Sequence[Run]) -> str:
    """How the data of the first run that has others differ from those of the first run."""
    first = _tasks(runs[0])
    other = next(run for run in runs if data_digest(run) != data_digest(runs[0]))
    second = _tasks(other)
    changed = sorted(name for name in first.keys() & second.keys() if first[name] != second[name])
    parts = [
        _listed(f"only in {runs[0].path}", sorted(first.keys() - second.keys())),
        _listed(f"only in {other.path}", sorted(second.keys() - first.keys())),
        _listed("with other contents", changed),
    ]
    return "; ".join(part for part in parts if part) or "the same tasks, otherwise divided into steps"


def _tasks(run: Run) -> Mapping[tuple[str, str], Any]:
    learned = {("task", t["task"]): t["digest"] for step in learned_tasks(run) for t in step}
    return learned | {("held-out task", t["task"]): t["digest"] for t in held_out_tasks(run)}


def _listed(lead: str, tasks: Sequence[tuple[str, str]]) -> str:
    return f"{lead}: {some([f'{kind} {name}' for kind, name in tasks])}" if tasks else ""
