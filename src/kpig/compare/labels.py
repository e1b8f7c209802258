"""The name of a run's row: its method, and the settings in which runs of that method differ.

A method's own setting is left out where it has its default: "kpig" beside "kpig twin_weight=0.0".
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kpig.compare.equality import Difference
from kpig.compare.runs import Run
from kpig.config import RunConfig, flat
from kpig.methods import METHODS

TUNED = "train.learning_rate"
"""The one setting outside a method's own table that may be tuned for it, and so tells rows apart."""

DEFAULTS = {
    key: value if isinstance(value, str) else json.dumps(value)
    for key, value in flat(RunConfig().model_dump(mode="json")).items()
    if key.startswith("method.")
}
"""The defaults of the methods' settings, as text."""


def label_runs(runs: Sequence[Run], differences: Sequence[Difference]) -> list[str]:
    """A label for every run, equal for repetitions over seeds and orders: "kpig", or "kpig twin_weight=0".

    `differences` are those of `equality.differences`: what should be equal and is not tells rows apart too.
    """
    texts = [
        _settings(run) | {one.key: one.values[number] for one in differences}
        for number, run in enumerate(runs)
    ]
    labels = _labelled(
        runs, [{k: v for k, v in t.items() if _own(k, r)} for r, t in zip(runs, texts, strict=True)]
    )
    cells = [(label, run.cell) for label, run in zip(labels, runs, strict=True)]
    return labels if len(set(cells)) == len(cells) else _labelled(runs, texts)


def _settings(run: Run) -> dict[str, str]:
    """What a method may set: its tables and the learning rate, as text."""
    chosen = {k: v for k, v in run.settings.items() if k.startswith("method.") and k != "method.name"}
    chosen[TUNED] = run.settings[TUNED]
    return {key: _text(value) for key, value in chosen.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _own(key: str, run: Run) -> bool:
    """Whether a key can matter to the run: not where it lies in the table of another shipped method."""
    section = key.split(".")[1] if key.startswith("method.") else run.method
    return section == run.method or ":" in run.method or section not in METHODS


def _labelled(runs: Sequence[Run], texts: Sequence[Mapping[str, str]]) -> list[str]:
    return [
        " ".join([run.method, ", ".join(_differing(run.method, text, runs, texts))]).strip()
        for run, text in zip(runs, texts, strict=True)
    ]


def _differing(
    method: str, text: Mapping[str, str], runs: Sequence[Run], texts: Sequence[Mapping[str, str]]
) -> list[str]:
    """`key=value` for the keys in which the runs of the method differ, keys as short as they stay distinct."""
    others = [other for run, other in zip(runs, texts, strict=True) if run.method == method]
    keys = [
        key
        for key in dict.fromkeys(key for other in others for key in other)
        if len({other.get(key) for other in others}) > 1
    ]
    last = [key.rsplit(".", 1)[-1] for key in keys]
    names = [short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)]
    found = {key: text.get(key, "unset") for key in keys}
    return [
        f"{name}={found[key]}"
        for name, key in zip(names, keys, strict=True)
        if found[key] != DEFAULTS.get(key)
    ]
