"""The configuration of a run: one frozen tree, loaded from TOML, overridden, checked all at once, saved.

Every field says what it means. The settings of a method are the method's own; `kpig.methods.chosen` checks
them, and `kpig check` reports every problem of a file before any model loads.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field, ValidationError

from kpig.config.data import SUITE, StreamSection, SuiteSection
from kpig.config.section import Section, Seed
from kpig.config.sections import (
    OFFLOAD,
    OPTIONS,
    EvaluateSection,
    MethodSection,
    ModelSection,
    ReplaySection,
    RunSection,
    TrainSection,
)
from kpig.config.table import find_beside, flat, merged, read_table
from kpig.config.words import all_explained, did_you_mean, listed
from kpig.errors import ConfigError


class RunConfig(Section):
    """Everything that decides a run's numbers, and under [run] what does not."""

    seed: Seed = Field(0, description="seed of training order, replay and fresh adapters")
    model: ModelSection = ModelSection()
    stream: StreamSection = StreamSection()
    suite: SuiteSection = SuiteSection()
    train: TrainSection = TrainSection()
    replay: ReplaySection = ReplaySection()
    method: MethodSection = MethodSection()
    evaluate: EvaluateSection = EvaluateSection()
    run: RunSection = RunSection()


PORTIONS = frozenset(
    {
        "train.device",
        "train.checkpoint_every",
        "train.keep_models",
        "train.progress_seconds",
        "train.tokens_per_micro_batch",
        "train.gradient_checkpointing",
        "train.shard",
        "train.row_tokens",
        "evaluate.tokens_per_batch",
        "evaluate.row_tokens",
    }
)
"""Keys that say where and in what portions a run computes, what it keeps and how often it says something:
they change its results by rounding only."""


def load(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file, apply `section.key=value` overrides and check the whole.

    Models and tasks that the file names by a relative path are looked for beside it first. Raises
    ConfigError listing every problem, UsageError for an override that is no assignment.
    """
    return build(load_table(Path(path)), overrides, where=str(path))


def load_table(path: Path) -> dict[str, Any]:
    """A TOML file as a plain table, with what lies beside it found; ConfigError where it cannot be read."""
    table = read_table(path)
    find_beside(path.parent, table)
    return table


def load_resolved(path: Path) -> RunConfig:
    """The configuration that `dump` wrote, exactly as it was; tables of other methods are left out."""
    config = build(read_table(path), where=str(path))
    return config.model_copy(update={"method": config.method.holding(config.method.given)})


def build(table: Mapping[str, Any], overrides: Sequence[str] = (), where: str = "config") -> RunConfig:
    """The configuration of a plain table; ConfigError with every problem, one per line.

    What the method's own table holds is not looked at here.
    """
    config, problems = examined(merged(dict(table), overrides))
    if config is None or problems:
        raise ConfigError(listed(where, problems))
    return config


def examined(table: Mapping[str, Any]) -> tuple[RunConfig | None, list[str]]:
    """The configuration of a table, None where it cannot be one, and every problem that it has."""
    try:
        config = RunConfig.model_validate(table)
    except ValidationError as error:
        return None, all_explained(error.errors(), RunConfig)
    return config, _contradictions(config)


def dump(config: RunConfig) -> str:
    """The configuration as TOML, every key written out."""
    return tomli_w.dumps(config.model_dump(mode="json"))


def settings_of(config: RunConfig) -> dict[str, Any]:
    """What decides a run's numbers, with dotted keys, as JSON values."""
    return flat(config.model_dump(mode="json", exclude={"run"}))


def differing_keys(one: RunConfig, other: RunConfig) -> list[str]:
    """Dotted names of the keys that decide a run's numbers and in which two configurations differ."""
    first, second = settings_of(one), settings_of(other)
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def _contradictions(config: RunConfig) -> list[str]:
    problems = [
        f"[method] has no key {key!r}{did_you_mean(key, ['name'])}" for key in config.method.strangers
    ]
    name = config.method.name
    if config.method.tables.get(OPTIONS) and ":" not in name:
        given = ", ".join(config.method.tables[OPTIONS])
        problems.append(
            f"[method.{OPTIONS}] is for a module:Class of your own; settings of {name!r} go to "
            f"[method.{name}]. If the table (given: {given}) belongs to a class of yours that this command "
            f"does not run (--set method.name={name}), remove it, or keep it in a file of its own: without "
            "the class it cannot be checked"
        )
    if config.stream.path != SUITE and _changed(config.suite):
        problems.append(
            f"[suite] has no effect with stream.path = {config.stream.path!r}; remove one of the two"
        )
    if config.stream.path == SUITE:
        files_only = _changed(config.stream) - {"order", "order_seed", "held_out"}
        problems += [
            f"[stream] {key!r} has no effect on the built-in suite; see [suite]" for key in sorted(files_only)
        ]
    if not config.model.chat_template and config.model.chat_template_arguments:
        problems.append(
            "[model] chat_template_arguments has no effect with chat_template = false; remove one"
        )
    if config.model.adapter == "none":
        unused = {key for key in _changed(config.model) if key.startswith("lora_")}
        problems += [f'[model] {key!r} has no effect without adapter = "lora"' for key in sorted(unused)]
    if config.model.adapter == "none" and config.model.dtype == "float16":
        problems.append(
            '[model] dtype = "float16" with adapter = "none" destroys the weights: the squares that Adam '
            "keeps of small gradients are 0 in float16, so that it divides by almost nothing; set "
            "model.dtype = "
            '"float32" (or "bfloat16"), or model.adapter = "lora", whose own weights stay in float32'
        )
    if config.train.gradient_checkpointing == OFFLOAD and config.train.device == "cpu":
        problems.append(
            f'[train] gradient_checkpointing = "{OFFLOAD}" moves what a GPU keeps to the host, and device is '
            '"cpu"; set it to true'
        )
    return problems + _quantization_problems(config) + _shard_problems(config)


def _quantization_problems(config: RunConfig) -> list[str]:
    """Why a base in 4 bits cannot be as the other settings say; what the machine lacks is seen elsewhere."""
    if config.model.quantization == "none":
        return []
    given = f'[model] quantization = "{config.model.quantization}"'
    found = []
    if config.model.adapter == "none":
        found.append(
            f'{given} with adapter = "none" cannot learn: weights of 4 bits take no small steps; set '
            'model.adapter = "lora", or model.quantization = "none"'
        )
    if config.train.device in ("cpu", "mps"):
        found.append(
            f'{given} computes on a GPU that torch calls "cuda", and train.device is '
            f'{config.train.device!r}; set train.device = "cuda", or model.quantization = "none"'
        )
    return found


def _shard_problems(config: RunConfig) -> list[str]:
    """Why weights cannot be divided as the other settings say; what a method cannot do, it says itself."""
    if not config.train.shard:
        return []
    found = []
    if config.model.quantization != "none":
        found.append(
            "[train] shard divides weights that are numbers, and [model] quantization = "
            f'"{config.model.quantization}" packs them; set train.shard = false, or the latter to "none"'
        )
    if config.train.device == "mps":
        found.append(
            '[train] shard divides weights between GPUs that torch calls "cuda", or processes on a CPU, and '
            'device is "mps"; set train.shard = false'
        )
    if config.train.gradient_checkpointing == OFFLOAD:
        found.append(
            f'[train] shard was never tried with gradient_checkpointing = "{OFFLOAD}"; set it to true, or '
            "train.shard = false"
        )
    return found


def _changed(section: Section) -> set[str]:
    """Names of the settings that differ from their defaults."""
    return {
        name for name, field in type(section).model_fields.items() if getattr(section, name) != field.default
    }
