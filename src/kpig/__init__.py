"""Continual instruction tuning with key-part information gain.

    import kpig
    config = kpig.load_config("my.toml")
    scores = kpig.run(config, out="runs/mine")
    print(scores.final.seen.p_score)

A run says how far it is on standard error, or in the cell of a notebook, and leaves report.html in its
folder; `watch=kpig.Watcher()` keeps it quiet.
A method of your own takes Method, Settings, Loss, Step, Clock, Memory, Batch, Logits, Learner, Example,
Task, RunConfig and ConfigError from here (docs/add-a-method.md), and its tests from kpig.testing. Names are
loaded when they are first used, so `import kpig` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kpig.config import RunConfig
    from kpig.config import build as build_config
    from kpig.config import load as load_config
    from kpig.errors import ConfigError, KpigError
    from kpig.methods.base import Clock, Loss, Method, Settings, Step
    from kpig.methods.parts.memory import Memory
    from kpig.model.batch import Batch, Logits
    from kpig.model.gain import measure as measure_gain
    from kpig.model.learner import Learner
    from kpig.model.loading import load as load_model
    from kpig.progress import Watcher
    from kpig.records import Example, Task
    from kpig.report import read_run
    from kpig.report import write as write_report
    from kpig.session import extend, run
    from kpig.tasks.stream import load as load_stream
    from kpig.tasks.stream import load_tasks

__version__ = "0.1.0"

_HOME = {
    "run": "kpig.session:run",
    "extend": "kpig.session:extend",
    "load_config": "kpig.config:load",
    "build_config": "kpig.config:build",
    "load_stream": "kpig.tasks.stream:load",
    "load_tasks": "kpig.tasks.stream:load_tasks",
    "load_model": "kpig.model.loading:load",
    "measure_gain": "kpig.model.gain:measure",
    "read_run": "kpig.report:read_run",
    "write_report": "kpig.report:write",
    "Method": "kpig.methods.base:Method",
    "Settings": "kpig.methods.base:Settings",
    "Loss": "kpig.methods.base:Loss",
    "Step": "kpig.methods.base:Step",
    "Clock": "kpig.methods.base:Clock",
    "Memory": "kpig.methods.parts.memory:Memory",
    "Batch": "kpig.model.batch:Batch",
    "Logits": "kpig.model.batch:Logits",
    "Learner": "kpig.model.learner:Learner",
    "Example": "kpig.records:Example",
    "Task": "kpig.records:Task",
    "Watcher": "kpig.progress:Watcher",
    "RunConfig": "kpig.config:RunConfig",
    "ConfigError": "kpig.errors:ConfigError",
    "KpigError": "kpig.errors:KpigError",
}

__all__ = [
    "Batch",
    "Clock",
    "ConfigError",
    "Example",
    "KpigError",
    "Learner",
    "Logits",
    "Loss",
    "Memory",
    "Method",
    "RunConfig",
    "Settings",
    "Step",
    "Task",
    "Watcher",
    "__version__",
    "build_config",
    "extend",
    "load_config",
    "load_model",
    "load_stream",
    "load_tasks",
    "measure_gain",
    "read_run",
    "run",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kpig' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
