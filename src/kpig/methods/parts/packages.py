"""Packages that only some methods need: imported when such a method is built, or refused in words."""

import importlib
from types import ModuleType

from kpig.errors import ConfigError

INSTALL = "pip install scikit-learn POT"


def required(module: str, package: str, method: str) -> ModuleType:
    """An optional module; ConfigError naming what to install where it cannot be imported."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"[method] {method!r} needs {package}, which cannot be imported ({error}); run: {INSTALL}"
        ) from error
