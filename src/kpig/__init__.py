"""Continual instruction tuning with key-part information gain.

    import kpig
    config = kpig.load_config("my.toml")
    scores = kpig.run(config, out="runs/mine")

Names are loaded when they are first used, so `import kpig` is quick.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "run": "kpig.runs.job:run",
    "load_config": "kpig.config:load",
    "build_config": "kpig.config:build",
    "load_stream": "kpig.tasks.stream:load",
    "load_tasks": "kpig.tasks.stream:load_tasks",
    "load_model": "kpig.model.loading:load",
    "measure_gain": "kpig.model.gain:measure",
    "read_run": "kpig.report:read_run",
    "write_report": "kpig.report:write",
    "KpigError": "kpig.errors:KpigError",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kpig' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
