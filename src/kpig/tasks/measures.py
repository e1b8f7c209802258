"""The metrics of a task by name: each takes a response and its references, and is within [0, 1]."""

import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

from kpig.errors import ConfigError, nearest
from kpig.tasks.composition import Measure
from kpig.tasks.matching import exact, exact_match, rouge_l
from kpig.tasks.overlap import chrf, token_f1
from kpig.tasks.structured import json_f1, last_number

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "exact": exact,
        "accuracy": exact_match,
        "rougeL": rouge_l,
        "json": json_f1,
        "number": last_number,
        "token_f1": token_f1,
        "chrf": chrf,
    }
)
"""Those that the data may name."""

METRICS = tuple(MEASURES)


def is_own(name: str) -> bool:
    """Whether a metric is a `module:function` of the user's."""
    return ":" in name


def measure(name: str) -> Measure:
    """The metric of that name. Raises ConfigError where there is none, or its function cannot be imported."""
    if is_own(name):
        return _own(name)
    require_known(name)
    return MEASURES[name]


def require_known(name: str) -> None:
    """ConfigError for a name that is none of METRICS and no `module:function`; imports nothing."""
    if not is_own(name) and name not in MEASURES:
        near = nearest(name, METRICS)
        raise ConfigError(
            f"there is no metric {name!r:.80}{f'; did you mean {near!r}?' if near else '.'} Expected one of "
            f"{', '.join(METRICS)}, or a module:function of your own"
        )


@cache
def _own(name: str) -> Measure:
    """A user's function, with its values checked. Only a config or a command names one, never the data."""
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"metric {name!r} cannot be imported: {error}; expected module:function on the Python path "
            "(PYTHONPATH=...)"
        ) from error
    if not callable(function):
        raise ConfigError(f"metric {name!r} is of type {type(function).__name__}; expected a function")

    def checked(response: str, references: Sequence[str]) -> float:
        try:
            value = function(response, references)
        except Exception as error:
            raise ConfigError(
                f"metric {name!r} failed with {type(error).__name__}: {error!s:.200}; mend the function, "
                "or name another metric"
            ) from error
        if isinstance(value, bool | int | float) and 0 <= value <= 1:
            return float(value)
        raise ConfigError(f"metric {name!r} gave {value!r:.80}; expected a number from 0 to 1")

    return checked
