"""A configuration as a plain nested table: read from TOML, changed by `--set`, its paths found."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kpig.config.data import GENERAL, SUITE
from kpig.config.sections import TINY
from kpig.errors import ConfigError, UsageError, shown


def read_table(path: Path) -> dict[str, Any]:
    """A TOML file as it stands, unchecked; ConfigError where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give a TOML config (examples/ has some)") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; give the TOML config itself") from None
    except OSError as error:
        raise ConfigError(f"{shown(path)}: cannot be read ({error.strerror}); give a TOML config") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{shown(path)}: not valid TOML: {error}") from None


def find_beside(folder: Path, table: dict[str, Any]) -> None:
    """Turn relative paths of models and tasks that are found in `folder` into whole ones, in place."""
    for section, key in (
        ("model", "path"),
        ("stream", "path"),
        ("stream", "held_out"),
        ("stream", "variants"),
    ):
        inner = table.get(section)
        if not isinstance(inner, dict):
            continue
        value = inner.get(key)
        if isinstance(value, list):
            inner[key] = [_beside(folder, one) for one in value]
        elif value is not None:
            inner[key] = _beside(folder, value)


def _beside(folder: Path, value: Any) -> Any:
    """The whole path of what is found in the folder; anything else, and names of what is shipped, as is."""
    if not isinstance(value, str) or value in ("", TINY, SUITE, GENERAL) or "\0" in value:
        return value
    beside = folder / value
    is_there = value.startswith(".") or os.path.exists(beside)  # Path.exists raises for names too long
    return os.path.realpath(beside) if is_there else value


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested table with dotted keys."""
    items: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            items |= flat(value, f"{prefix}{key}.")
        else:
            items[f"{prefix}{key}"] = value
    return items


def merged(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The table after `section.key=value` overrides; UsageError for one that is no assignment."""
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
        inner[key] = read_value(text.strip())
    return table


def read_value(text: str) -> Any:
    """What TOML makes of a text; the text itself where that is nothing, or too long or deep to be read."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
