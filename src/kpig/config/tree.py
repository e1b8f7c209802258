"""The configuration of a run: one frozen tree, loaded from TOML, overridden, checked all at once, saved.

Every field says what it means; `kpig check` reports every problem of a file before any model loads.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, Field, ValidationError

from kpig.config.section import Section
from kpig.config.sections import (
    SUITE,
    TINY,
    EvaluateSection,
    MethodSection,
    ModelSection,
    ReplaySection,
    StreamSection,
    SuiteSection,
    TrainSection,
)
from kpig.errors import ConfigError, UsageError, nearest
from kpig.methods import METHODS


class RunConfig(Section):
    """Everything that decides a run's numbers."""

    seed: int = Field(0, description="seed of training order, replay and fresh adapters")
    model: ModelSection = ModelSection()
    stream: StreamSection = StreamSection()
    suite: SuiteSection = SuiteSection()
    train: TrainSection = TrainSection()
    replay: ReplaySection = ReplaySection()
    method: MethodSection = MethodSection()
    evaluate: EvaluateSection = EvaluateSection()


PORTIONS = frozenset(
    {
        "train.device",
        "train.checkpoint_every",
        "train.tokens_per_micro_batch",
        "train.row_tokens",
        "evaluate.tokens_per_batch",
    }
)
"""Keys that say where and in what portions a run computes: they change its results by rounding only."""


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file, apply `section.key=value` overrides and check the whole.

    Models and tasks that the file names by a relative path are looked for beside it first. Raises
    ConfigError listing every problem, UsageError for an override that is no assignment.
    """
    table = read_table(path)
    find_beside(path.parent, table)
    return build(table, overrides, where=str(path))


def load_resolved(path: Path) -> RunConfig:
    """The configuration that `dump` wrote, exactly as it was."""
    return build(read_table(path), where=str(path))


def build(table: Mapping[str, Any], overrides: Sequence[str] = (), where: str = "config") -> RunConfig:
    """The configuration of a plain table; ConfigError with every problem, one per line."""
    merged = _merged(dict(table), overrides)
    try:
        config = RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_listed(where, [_explain(problem) for problem in error.errors()])) from None
    problems = _contradictions(config)
    if problems:
        raise ConfigError(_listed(where, problems))
    return config


def dump(config: RunConfig) -> str:
    """The resolved configuration as TOML, every key written out."""
    return tomli_w.dumps(config.model_dump(mode="json"))


def differing_keys(one: RunConfig, other: RunConfig) -> list[str]:
    """Dotted names of the keys in which two configurations differ."""
    first, second = flat(one.model_dump(mode="json")), flat(other.model_dump(mode="json"))
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def is_idle(method: str, key: str) -> bool:
    """Whether another value of the dotted `key` would change the results of a run of `method` by rounding at most.

    So it is with the portions in which a run computes, and with the tables of methods that do not run. A
    method of the user's own may read any table.
    """
    if key.startswith("method.") and ":" not in method:
        return not key.startswith(("method.name", "method.options", f"method.{method}."))
    return key in PORTIONS


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested table with dotted keys."""
    items: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            items |= flat(value, f"{prefix}{key}.")
        else:
            items[f"{prefix}{key}"] = value
    return items


def read_table(path: Path) -> dict[str, Any]:
    """A TOML file as it stands, unchecked; ConfigError where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give a TOML config (examples/ has some)") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; give the TOML config itself") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def find_beside(folder: Path, table: dict[str, Any]) -> None:
    """Turn relative paths of models and tasks that are found in `folder` into whole ones, in place."""
    for section, key in (
        ("model", "path"),
        ("stream", "path"),
        ("stream", "held_out"),
        ("stream", "variants"),
    ):
        inner = table.get(section)
        value = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(value, str) and value not in ("", TINY, SUITE):
            beside = folder / value
            if value.startswith(".") or beside.exists():
                inner[key] = str(beside.resolve())


def _merged(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        name, separator, text = override.partition("=")
        if not separator or not name.strip():
            raise UsageError(f"--set {override!r} is no assignment; write --set section.key=value")
        *parents, key = name.strip().split(".")
        inner = table
        for parent in parents:
            held = inner.get(parent) or {}
            if not isinstance(held, Mapping):
                raise UsageError(
                    f"--set {override!r}: {parent!r} is no table but {held!r}; write --set {parent}=value"
                )
            inner[parent] = dict(held)
            inner = inner[parent]
        inner[key] = _value(text.strip())
    return table


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _contradictions(config: RunConfig) -> list[str]:
    problems = []
    name = config.method.name
    if ":" not in name and name not in METHODS:
        problems.append(f"[method] {name!r} is not a method{_did_you_mean(name, METHODS)} (kpig methods)")
    if config.method.options and ":" not in name:
        problems.append(
            f"[method.options] is for a module:Class of your own; settings of {name!r} go to [method.{name}]"
        )
    if config.stream.path != SUITE and _changed(config.suite):
        problems.append(
            f"[suite] has no effect with stream.path = {config.stream.path!r}; remove one of the two"
        )
    if config.stream.path == SUITE:
        files_only = _changed(config.stream) - {"order", "order_seed"}
        problems += [
            f"[stream] {key!r} has no effect on the built-in suite; see [suite]" for key in sorted(files_only)
        ]
    if config.model.adapter == "none":
        unused = {key for key in _changed(config.model) if key.startswith("lora_")}
        problems += [f'[model] {key!r} has no effect without adapter = "lora"' for key in sorted(unused)]
    return problems


def _changed(section: Section) -> set[str]:
    """Names of the settings that differ from their defaults."""
    return {
        name for name, field in type(section).model_fields.items() if getattr(section, name) != field.default
    }


def _explain(problem: Mapping[str, Any]) -> str:
    *parents, key = (str(part) for part in problem["loc"])
    table = f"[{'.'.join(parents)}] " if parents else ""
    if problem["type"] == "extra_forbidden":
        return f"{table}has no key {key!r}{_did_you_mean(key, _keys_of(parents))}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{table}{key} = {problem['input']!r}: {message}"


def _keys_of(parents: Sequence[str]) -> list[str]:
    section: type[BaseModel] = RunConfig
    for parent in parents:
        field = section.model_fields.get(parent)
        if (
            field is None
            or not isinstance(field.annotation, type)
            or not issubclass(field.annotation, BaseModel)
        ):
            return []
        section = field.annotation
    return list(section.model_fields)


def _did_you_mean(word: str, known) -> str:
    close = nearest(word, known, cutoff=0.5)
    return f"; did you mean {close!r}?" if close else f"; known: {', '.join(known)}"


def _listed(where: str, problems: Sequence[str]) -> str:
    indent = "\n" + " " * (len("error: ") + len(where) + 2)
    return f"{where}: " + indent.join(problems)
