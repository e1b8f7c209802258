"""The name of a run's row: its method, and the settings in which runs of that method differ.

A method's own setting is left out where it has its default: "kpig" beside "kpig twin_weight=0.0".
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from kpig.compare.equality import Difference
from kpig.compare.runs import Run, as_text
from kpig.config import TrainSection, flat
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


def num_changed(run: Run) -> int:
    """In how many of its method's settings a run differs from their defaults, the learning rate included."""
    defaults = _defaults(run) | {TUNED: as_text(TrainSection().learning_rate)}
    return sum(value != defaults.get(key) for key, value in _settings(run).items())


def _settings(run: Run) -> dict[str, str]:
    """What a method may set: its table and the learning rate, as text."""
    chosen = [key for key in run.settings if key.startswith("method.") and key != "method.name"]
    return {key: run.text(key) for key in (*chosen, TUNED)}


def _defaults(run: Run) -> dict[str, str]:
    """The defaults of the method's settings, as text, as the run recorded them.

    Runs of earlier versions did not; then those of the built-in method of that name are looked up.
    """
    recorded = run.record.environment.get("method_defaults")
    if isinstance(recorded, Mapping):
        return {key: as_text(value) for key, value in recorded.items()}
    if run.method not in METHODS:
        return {}
    found = flat({"method": {run.method: chosen.defaults(run.method)}})
    return {key: as_text(value) for key, value in found.items()}


def _labelled(runs: Sequence[Run], texts: Sequence[Mapping[str, str]]) -> list[str]:
    by_method: dict[str, list[tuple[Run, Mapping[str, str]]]] = {}
    for run, text in zip(runs, texts, strict=True):
        by_method.setdefault(run.method, []).append((run, text))
    names = {method: _names([text for _, text in found]) for method, found in by_method.items()}
    defaults = {
        method: _agreed([run for run, _ in found]) if names[method] else {}
        for method, found in by_method.items()
    }
    return [
        " ".join([run.method, ", ".join(_changed(text, names[run.method], defaults[run.method]))]).strip()
        for run, text in zip(runs, texts, strict=True)
    ]


def _agreed(runs: Sequence[Run]) -> dict[str, str]:
    """The defaults that are the same wherever runs of one method have them.

    A setting whose default was changed has none: a run at the old one is no repetition of one at the new.
    """
    found: dict[str, set[str]] = {}
    for run in runs:
        for key, value in _defaults(run).items():
            found.setdefault(key, set()).add(value)
    return {key: next(iter(values)) for key, values in found.items() if len(values) == 1}


def _names(texts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The keys in which the runs of a method differ, each with a name as short as stays distinct."""
    keys = [
        key
        for key in dict.fromkeys(key for text in texts for key in text)
        if len({text.get(key) for text in texts}) > 1
    ]
    counts = Counter(map(_last, keys))
    return {key: _last(key) if counts[_last(key)] == 1 else key for key in keys}


def _last(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _changed(text: Mapping[str, str], names: Mapping[str, str], defaults: Mapping[str, str]) -> list[str]:
    """`key=value` for those of the named keys in which a run differs from its method's defaults."""
    found = {key: text.get(key, "unset") for key in names}
    return [f"{name}={found[key]}" for key, name in names.items() if found[key] != defaults.get(key)]
