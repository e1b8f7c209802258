"""What a run is told: one frozen tree of tables, read from TOML. No torch."""

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
from kpig.config.tree import (
    PORTIONS,
    RunConfig,
    build,
    differing_keys,
    dump,
    find_beside,
    flat,
    is_idle,
    load,
    load_resolved,
    read_table,
)

__all__ = [
    "EvaluateSection",
    "MethodSection",
    "ModelSection",
    "PORTIONS",
    "ReplaySection",
    "RunConfig",
    "SUITE",
    "Section",
    "StreamSection",
    "SuiteSection",
    "TINY",
    "TrainSection",
    "build",
    "differing_keys",
    "dump",
    "find_beside",
    "flat",
    "is_idle",
    "load",
    "load_resolved",
    "read_table",
]
