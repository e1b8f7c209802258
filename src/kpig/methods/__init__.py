"""The table of methods. Importing it loads no torch; `create` loads the one method that is asked for."""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kpig.errors import ConfigError

if TYPE_CHECKING:
    from kpig.config import RunConfig
    from kpig.methods.base import Method


@dataclass(frozen=True)
class Entry:
    """Where a method lives, and one line about it."""

    target: str
    help: str


METHODS = {
    "kpig": Entry(
        "kpig.methods.kpig:Kpig",
        "replay the tasks of lowest key-part gain, hold masked twins to a frozen model",
    ),
    "replay": Entry("kpig.methods.rehearsal:Replay", "mix in examples drawn uniformly from all past tasks"),
    "sequential": Entry(
        "kpig.methods.plain:Sequential", "cross-entropy on the current step only; the lower bound"
    ),
    "mtl": Entry("kpig.methods.plain:Mtl", "all steps' training data at once; the upper bound"),
    "init": Entry("kpig.methods.plain:Init", "the starting model, untouched"),
}


def create(config: "RunConfig") -> "Method":
    """The method that a config names, or the `module:Class` of a third party."""
    name = config.method.name
    module, _, attribute = (METHODS[name].target if name in METHODS else name).partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)(config)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"[method] {name!r} cannot be imported: {error}; expected module:Class on the Python path"
        ) from error
