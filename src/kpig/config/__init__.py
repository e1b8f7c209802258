"""What a run is told: one frozen tree of tables, read from TOML. No torch."""

from kpig.config.data import GENERAL, SUITE, StreamSection, SuiteSection
from kpig.config.section import Section
from kpig.config.sections import (
    OFFLOAD,
    OPTIONS,
    TINY,
    EvaluateSection,
    MethodSection,
    ModelSection,
    ReplaySection,
    RunSection,
    TrainSection,
)
from kpig.config.table import find_beside, flat, read_table
from kpig.config.tree import (
    PORTIONS,
    RunConfig,
    build,
    differing_keys,
    dump,
    load,
    load_resolved,
    settings_of,
)

__all__ = [
    "GENERAL",
    "OFFLOAD",
    "OPTIONS",
    "PORTIONS",
    "SUITE",
    "TINY",
    "EvaluateSection",
    "MethodSection",
    "ModelSection",
    "ReplaySection",
    "RunConfig",
    "RunSection",
    "Section",
    "StreamSection",
    "SuiteSection",
    "TrainSection",
    "build",
    "differing_keys",
    "dump",
    "find_beside",
    "flat",
    "load",
    "load_resolved",
    "read_table",
    "settings_of",
]
