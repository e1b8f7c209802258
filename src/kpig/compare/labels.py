"""The name of a run's row: its method, and the settings in which runs of that method differ.

A method's own setting is left out where it has its default: "kpig" beside "kpig twin_weight=0.0".
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kpig.compare.equality import Difference
from kpig.compare.runs import Run
from kpig.config import flat
from kpig.methods import METHODS, chosen

TUNED = "train.learning_rate"
"""The one key outside the method's table that is found anew for each method."""


def label_runs(runs: Sequence[Run], differences: Sequence[Difference]) -> list[str]:
    """A label for every run, equal for repetitions over seeds and orders: "kpig", or "kpig twin_weight=0".

    `differences` are those of `equality.differences`: what should be equal and is not tells rows apart too.
    """
    texts = [
        _settings(run) | {one.key: one.values[number] for one in differences}
        for number, run in enumerate(runs)
    ]
    return _labelled(runs, texts)


def _settings(run: Run) -> dict[str, str]:
    """What a method may set: its table and the learning rate, as text."""
    chosen = {k: v for k, v in run.settings.items() if k.startswith("method.") and k != "method.name"}
    chosen[TUNED] = run.settings[TUNED]
    return {key: _text(value) for key, value in chosen.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _defaults(run: Run) -> dict[str, str]:
    """The defaults of the method's settings, as text, as the run recorded them.

    Runs of earlier versions did not; then those of the built-in method of that name are looked up.
    """
    recorded = run.record.environment.get("method_defaults")
    if isinstance(recorded, Mapping):
        return {key: _text(value) for key, value in recorded.items()}
    if run.method not in METHODS:
        return {}
    found = flat({"method": {run.method: chosen.defaults(run.method)}})
    return {key: _text(value) for key, value in found.items()}


def _labelled(runs: Sequence[Run], texts: Sequence[Mapping[str, str]]) -> list[str]:
    return [
        " ".join([run.method, ", ".join(_differing(run, text, runs, texts))]).strip()
        for run, text in zip(runs, texts, strict=True)
    ]


def _differing(
    run: Run, text: Mapping[str, str], runs: Sequence[Run], texts: Sequence[Mapping[str, str]]
) -> list[str]:
    """`key=value` for the keys in which the runs of the method differ, keys as short as stays distinct."""
    others = [other for one, other in zip(runs, texts, strict=True) if one.method == run.method]
    keys = [
        key
        for key in dict.fromkeys(key for other in others for key in other)
        if len({other.get(key) for other in others}) > 1
    ]
    last = [key.rsplit(".", 1)[-1] for key in keys]
    names = [short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)]
    found = {key: text.get(key, "unset") for key in keys}
    defaults = _defaults(run) if keys else {}
    return [
        f"{name}={found[key]}"
        for name, key in zip(names, keys, strict=True)
        if found[key] != defaults.get(key)
    ]
