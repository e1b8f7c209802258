"""A run that goes on with another [train]: its current step is begun anew, and the run says so. No torch.

The step from which a start holds is `from_step` in its environment; see `kpig.runs.starts` for earlier ones.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from kpig.config import PORTIONS, RunConfig, differing_keys, dump, load_resolved, settings_of
from kpig.errors import ConfigError, RunError
from kpig.files import publish, publish_json
from kpig.methods import chosen
from kpig.runs import starts
from kpig.runs.folder import GROWN_AT, RunDir

LOWER = 4
"""What a learning rate that diverged is divided by in the command that is proposed. Chosen, not measured."""


def begin(run: RunDir, config: RunConfig, environment: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Take over a config that differs from the run's own in what may change; nothing where none does.

    The checkpoints of the current step go first and config.toml comes last: a kill between leaves the run
    under its old config, with its step to be learned from the beginning.
    """
    begun = chosen.begun_with(run.path / "config.toml")
    changed = _changed(begun, config)
    if not changed:
        return
    step, anew = run.current, _is_anew(changed)
    starts.keep(run)
    if anew:
        run.drop_checkpoints(step)
    publish_json(run.path / "environment.json", {**environment, "from_step": step})
    run.log({"step": step, "anew": anew, "changed": changed})
    publish(run.path / "config.toml", dump(config))
    say(f"{run.path}: {_sentence(step, changed)}")


def notes(run: RunDir) -> list[str]:
    """A sentence for every time that the run went on with another [train], or with further steps."""
    configs = [*starts.configs(run.path), run.path / "config.toml"]
    found = []
    for number, (earlier, later) in enumerate(pairwise(configs), start=2):
        changed = _changed(load_resolved(earlier), load_resolved(later))
        is_last = later == configs[-1]
        name = "environment.json" if is_last else f"{starts.STARTS}/environment.{number:02d}.json"
        start = run.read(name)
        if GROWN_AT in start:
            found.append(_grown(start[GROWN_AT], changed))
        elif changed:
            found.append(_sentence(start.get("from_step"), changed))
    return found


def going_on(path: Path, planned: RunConfig) -> RunConfig:
    """The config to resume a run with that was planned with `planned`: its own, if it was begun anew since.

    `planned` has every setting of its method written out.
    Raises RunError where the run's configs are damaged.
    """
    kept = starts.configs(path)
    if not kept:
        return planned
    try:
        if differing_keys(chosen.begun_with(kept[0]), planned):
            return planned
        return chosen.begun_with(path / "config.toml")
    except ConfigError as error:
        raise RunError(f"{path}: a config of the run cannot be used: {error}") from error


def command(path: Path, config: RunConfig) -> str:
    """The command that begins the current step anew, with a lower learning rate."""
    rate = f"{config.train.learning_rate / LOWER:.3g}"
    parts = ["kpig", "run", str(path / "config.toml"), "--out", str(path), "--resume"]
    return shlex.join([*parts, "--set", f"train.learning_rate={rate}"])


def _changed(begun: RunConfig, config: RunConfig) -> dict[str, list[Any]]:
    """The keys in which two configs differ, each with both values."""
    before, now = settings_of(begun), settings_of(config)
    return {key: [before.get(key), now.get(key)] for key in differing_keys(begun, config)}


def _is_anew(changed: Iterable[str]) -> bool:
    """Whether a step must be learned from its beginning: it is more than portions that changed."""
    return any(key not in PORTIONS for key in changed)


def _grown(step: object, changed: Mapping[str, list[Any]]) -> str:
    values = [
        f"{key} = {now!r} (before: {before!r})"
        for key, (before, now) in changed.items()
        if not key.startswith(("stream.", "suite."))
    ]
    told = f"; learned with {', '.join(values)}" if values else ""
    return (
        f"from step {step} on the run learned tasks that it did not know before (kpig continue): no step "
        f"before was scored on them{told}"
    )


def _sentence(step: object, changed: Mapping[str, list[Any]]) -> str:
    values = ", ".join(f"{key} = {now!r} (before: {before!r})" for key, (before, now) in changed.items())
    if not _is_anew(changed):
        return f"from step {step} on with {values}: the same results up to rounding"
    return (
        f"step {step} was begun anew with {values}; this holds for the steps after it too, and what the "
        "attempt before it cost is not counted"
    )
