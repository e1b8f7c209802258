"""The method that a config names: found, its settings checked, made. Torch loads for a third party only."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from kpig.config import OPTIONS, MethodSection, RunConfig, load_resolved
from kpig.config.words import all_explained, did_you_mean
from kpig.errors import ConfigError, clause
from kpig.methods.registry import METHODS

if TYPE_CHECKING:
    from kpig.methods.base import Method


def problems(section: MethodSection) -> list[str]:
    """Everything that is wrong with a [method] table: its name, and the settings in every table below it.

    Tables of methods that do not run are checked too: a slip in one would show when it is switched to.
    """
    if why := why_missing(section.name):
        return [why]
    found = []
    for name, given in section.tables.items():
        if name == section.table:
            found += _setting_problems(section.name, name, given)
        elif name in METHODS:
            found += _setting_problems(name, name, given)
        elif name != OPTIONS:
            found.append(f"[method] has no key {name!r}{did_you_mean(name, METHODS)}")
    return found


def complete(config: RunConfig) -> RunConfig:
    """The config with every setting of its method written out, and no table of another one.

    Raises ConfigError with every problem of the method's name and its own settings.
    """
    section = config.method
    own = section.holding(section.given)
    if found := problems(own):
        raise ConfigError("\n".join(found))
    settings = load(section.name).Settings.model_validate(dict(section.given))
    values = settings.model_dump(mode="json", exclude_none=True)
    return config.model_copy(update={"method": section.holding(values)})


def begun_with(path: Path) -> RunConfig:
    """The config that a run keeps, and settings that its method has got since as they would have been then.

    So a run that an earlier version began goes on. Raises ConfigError as `load_resolved` and `complete` do.
    """
    return complete(as_then(load_resolved(path)))


def as_then(config: RunConfig) -> RunConfig:
    """A config that a run keeps, with what held before its method got a setting (`Settings.former`)."""
    section = config.method
    former = {} if why_missing(section.name) else load(section.name).Settings.former
    return config.model_copy(update={"method": section.holding({**former, **section.given})})


def create(config: RunConfig) -> Method:
    """The method that a config names, with its settings. Raises ConfigError as `complete` does."""
    config = complete(config)
    return load(config.method.name)(config)


def load(name: str) -> type[Method]:
    """The class of a built-in method, or of a third party's `module:Class`; ConfigError if there is none."""
    from kpig.methods.base import Method

    module, _, attribute = (METHODS[name].target if name in METHODS else name).partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"[method] {name!r} cannot be imported: {clause(error)}; "
            "expected module:Class on the Python path (PYTHONPATH=...)"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ConfigError(
            f"[method] {name!r} is no method; expected a class that inherits from kpig.Method "
            "(docs/add-a-method.md)"
        )
    return found


def defaults(name: str) -> dict[str, Any]:
    """The settings of a method with their defaults, as JSON values."""
    return load(name).Settings().model_dump(mode="json")


def why_missing(name: str) -> str:
    """Why a method cannot be loaded, as far as can be said without loading it; "" where nothing is wrong."""
    module, separator, attribute = name.partition(":")
    if name in METHODS:
        return ""
    if not separator:
        return f"[method] {name!r} is not a method{did_you_mean(name, METHODS)} (kpig methods)"
    try:
        found = bool(module) and importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if found and attribute.isidentifier():
        return ""
    reason = f"there is no module {module!r} on the Python path" if not found else "it names no class"
    return (
        f"[method] {name!r} cannot be loaded: {reason}; "
        "expected module:Class, its folder on the path (PYTHONPATH=...)"
    )


def _setting_problems(method: str, table: str, given: Mapping[str, Any]) -> list[str]:
    try:
        settings = load(method).Settings
    except ConfigError as error:
        return [str(error)]
    if given and not settings.model_fields:
        return [f"[method.{table}] {method!r} has no settings; remove the table (given: {', '.join(given)})"]
    try:
        settings.model_validate(dict(given))
    except ValidationError as error:
        return all_explained(error.errors(), settings, ("method", table))
    return []
