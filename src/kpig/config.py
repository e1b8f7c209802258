"""The configuration of a run: one frozen tree, loaded from TOML, overridden, checked all at once, saved.

Every field says what it means; `kpig check` reports every problem of a file before any model loads.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, Field, ValidationError

from kpig.errors import ConfigError, UsageError, nearest
from kpig.methods import METHODS, settings
from kpig.model_folder import TINY
from kpig.records import MASK_TEXT
from kpig.section import Count, CountOrAll, Listed, Section, Share

SUITE = "suite"


class ModelSection(Section):
    """Which model learns, and which of its weights."""

    path: str = Field(TINY, min_length=1, description="a folder, a hub name, or 'tiny', the shipped model")
    adapter: Literal["none", "lora"] = Field(
        "none", description="'none' tunes all weights; 'lora' a LoRA adapter"
    )
    lora_rank: Count = Field(8, description="rank of the LoRA matrices")
    lora_alpha: Count = Field(16, description="LoRA scale; the update is multiplied by alpha / rank")
    lora_dropout: Share = Field(0.0, description="dropout in front of the LoRA matrices")
    lora_targets: Listed[str] = Field((), description="names of the adapted layers; empty: all linear layers")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="how weights are held in memory"
    )
    max_length: Annotated[int, Field(ge=16)] = Field(
        1024, description="tokens of prompt and response at most"
    )
    chat_template: bool = Field(True, description="use the tokenizer's chat template where it has one")
    mask_text: str = Field(MASK_TEXT, description="what stands in place of a key part in the masked twin")
    trust_remote_code: bool = Field(
        False, description="run Python code that comes with the model: only if you trust it"
    )


class StreamSection(Section):
    """Which tasks, in which order; see `kpig.stream.load`. The keys from `kind` on need task files."""

    path: str = Field(
        SUITE, min_length=1, description="'suite', the built-in tasks, or a file or folder of tasks"
    )
    order: Literal["given", "shuffled"] | Listed[int] = Field(
        "given",
        description="'given', 'shuffled' (by `order_seed`), or the step numbers from 1 in learning order",
    )
    order_seed: int = Field(0, description="seed of the shuffled order")
    held_out: str = Field("", description="file or folder of tasks that are never trained on")
    variants: str = Field(
        "", description="further wordings (kpig diversify); empty: variants.json beside the tasks"
    )
    kind: Literal["auto", "superni", "jsonl", "hf"] = Field("auto", description="format of the task files")
    train_per_task: CountOrAll = Field(0, description="training examples per task at most; 0: all")
    test_per_task: CountOrAll = Field(
        0,
        description="test examples per task at most; where examples state no split, exactly so many are split off, if one "
        "is left to train on; 0: all, or a fifth",
    )
    tasks_per_step: CountOrAll = Field(0, description="tasks per step; 0: as the data say, else one")
    max_steps: CountOrAll = Field(0, description="steps at most; 0: all")
    max_tasks_per_step: CountOrAll = Field(0, description="tasks per step at most; 0: all")
    max_held_out: CountOrAll = Field(0, description="held-out tasks at most; 0: all")


class SuiteSection(Section):
    """Size of the built-in suite's stream; only with stream.path = 'suite'."""

    num_steps: Count = Field(6, description="steps of the stream")
    tasks_per_step: Count = Field(2, description="tasks in a step")
    num_held_out: CountOrAll = Field(8, description="held-out tasks")
    num_train: Count = Field(800, description="training examples per task")
    num_test: Count = Field(20, description="test examples per task")
    seed: int = Field(
        0, description="picks the compositions and inputs; part of the data, not of the training"
    )


class TrainSection(Section):
    """The training loop: AdamW, one fresh optimizer for each step of the stream."""

    epochs: Annotated[float, Field(gt=0)] = Field(1.0, description="passes over the step's training examples")
    updates_per_step: CountOrAll = Field(
        0, description="optimizer updates per step instead of epochs; 0: epochs"
    )
    batch_size: Count = Field(16, description="examples of the current step in each update")
    learning_rate: Annotated[float, Field(gt=0)] = Field(2e-4, description="peak learning rate")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="after the warm-up: decay to 0, or hold"
    )
    warmup: Share = Field(0.03, description="share of the updates with rising learning rate")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="decoupled weight decay")
    beta2: Annotated[float, Field(gt=0, lt=1)] = Field(0.999, description="AdamW's second decay rate")
    clip: Annotated[float, Field(gt=0)] = Field(1.0, description="largest gradient norm")
    tokens_per_micro_batch: CountOrAll = Field(
        0,
        description="padded tokens in one forward and backward pass; lower it when memory runs out. "
        "0: 2048 on a CPU, 8192 on a GPU",
    )
    row_tokens: CountOrAll = Field(
        0,
        description="examples under one instruction share rows of up to this many tokens, its tokens computed once; "
        "0: a row for each example. Results are the same up to rounding; refused where a model cannot",
    )
    group_size: Count = Field(
        1, description="examples of one task drawn together; more of them make shared rows pay"
    )
    held_out_loss_every: CountOrAll = Field(
        0, description="updates between measurements of the loss on the step's test examples; 0: none"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic of the passes; 'auto': bfloat16 on GPUs that have it, else float32"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="'auto': a GPU where there is one"
    )
    checkpoint_every: CountOrAll = Field(50, description="updates between checkpoints inside a step; 0: none")


class ReplaySection(Section):
    """What every method that replays may keep and use: the budget that a comparison holds equal."""

    memory_per_task: Count = Field(50, description="examples kept of each learned task (K)")
    ratio: Annotated[float, Field(ge=0)] = Field(0.5, description="replayed examples per current example")


class MethodSection(Section):
    """Which method learns the stream; the tables below it hold each method's own settings."""

    name: str = Field("kpig", description="a name from `kpig methods`, or module:Class of your own")
    kpig: settings.KpigSection = settings.KpigSection()
    pretrain: settings.PretrainSection = settings.PretrainSection()
    l2: settings.L2Section = settings.L2Section()
    ewc: settings.EwcSection = settings.EwcSection()
    lwf: settings.LwfSection = settings.LwfSection()
    periodic_replay: settings.PeriodicReplaySection = settings.PeriodicReplaySection()
    kmeans_replay: settings.KmeansReplaySection = settings.KmeansReplaySection()
    dynainst: settings.DynainstSection = settings.DynainstSection()
    dynosaur: settings.DynosaurSection = settings.DynosaurSection()
    inscl: settings.InsclSection = settings.InsclSection()
    dare: settings.DareSection = settings.DareSection()
    lm_cocktail: settings.LmCocktailSection = settings.LmCocktailSection()
    o_lora: settings.OLoraSection = settings.OLoraSection()
    migu: settings.MiguSection = settings.MiguSection()
    a_gem: settings.AGemSection = settings.AGemSection()
    ssr: settings.SsrSection = settings.SsrSection()
    radis: settings.RadisSection = settings.RadisSection()
    options: dict[str, Any] = Field({}, description="settings handed to a module:Class of your own")


class EvaluateSection(Section):
    """What is measured after every step."""

    max_new_tokens: Count = Field(
        64, description="tokens of a response at most; longer ones count as degenerate"
    )
    tokens_per_batch: CountOrAll = Field(
        0, description="padded tokens in one evaluation batch; 0: 4096 on a CPU, 32768 on a GPU"
    )
    half_listening: bool = Field(True, description="answer the masked twins too; doubles the generation time")
    gain: bool = Field(True, description="measure the key-part gain on the test examples")
    num_gain_examples: Count = Field(20, description="test examples per task for the gain")
    new_wordings: bool = Field(
        True, description="score wordings never used in training where a task has some"
    )


class RunConfig(Section):
    """Everything that decides a run's numbers."""

    seed: int = Field(0, description="seed of training order, replay and fresh adapters")
    model: ModelSection = ModelSection()
    stream: StreamSection = StreamSection()
    suite: SuiteSection = SuiteSection()
    train: TrainSection = TrainSection()
    replay: ReplaySection = ReplaySection()
    method: MethodSection = MethodSection()
    evaluate: EvaluateSection = EvaluateSection()


PORTIONS = frozenset(
    {
        "train.device",
        "train.checkpoint_every",
        "train.tokens_per_micro_batch",
        "train.row_tokens",
        "evaluate.tokens_per_batch",
    }
)
"""Keys that say where and in what portions a run computes: they change its results by rounding only."""


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file, apply `section.key=value` overrides and check the whole.

    Models and tasks that the file names by a relative path are looked for beside it first. Raises
    ConfigError listing every problem, UsageError for an override that is no assignment.
    """
    table = read_table(path)
    find_beside(path.parent, table)
    return build(table, overrides, where=str(path))


def load_resolved(path: Path) -> RunConfig:
    """The configuration that `dump` wrote, exactly as it was."""
    return build(read_table(path), where=str(path))


def build(table: Mapping[str, Any], overrides: Sequence[str] = (), where: str = "config") -> RunConfig:
    """The configuration of a plain table; ConfigError with every problem, one per line."""
    merged = _merged(dict(table), overrides)
    try:
        config = RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_listed(where, [_explain(problem) for problem in error.errors()])) from None
    problems = _contradictions(config)
    if problems:
        raise ConfigError(_listed(where, problems))
    return config


def dump(config: RunConfig) -> str:
    """The resolved configuration as TOML, every key written out."""
    return tomli_w.dumps(config.model_dump(mode="json"))


def differing_keys(one: RunConfig, other: RunConfig) -> list[str]:
    """Dotted names of the keys in which two configurations differ."""
    first, second = flat(one.model_dump(mode="json")), flat(other.model_dump(mode="json"))
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def is_idle(method: str, key: str) -> bool:
    """Whether another value of the dotted `key` would change the results of a run of `method` by rounding at most.

    So it is with the portions in which a run computes, and with the tables of methods that do not run. A
    method of the user's own may read any table.
    """
    if key.startswith("method.") and ":" not in method:
        return not key.startswith(("method.name", "method.options", f"method.{method}."))
    return key in PORTIONS


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested table with dotted keys."""
    items: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            items |= flat(value, f"{prefix}{key}.")
        else:
            items[f"{prefix}{key}"] = value
    return items


def read_table(path: Path) -> dict[str, Any]:
    """A TOML file as it stands, unchecked; ConfigError where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give a TOML config (examples/ has some)") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; give the TOML config itself") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def find_beside(folder: Path, table: dict[str, Any]) -> None:
    """Turn relative paths of models and tasks that are found in `folder` into whole ones, in place."""
    for section, key in (
        ("model", "path"),
        ("stream", "path"),
        ("stream", "held_out"),
        ("stream", "variants"),
    ):
        inner = table.get(section)
        value = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(value, str) and value not in ("", TINY, SUITE):
            beside = folder / value
            if value.startswith(".") or beside.exists():
                inner[key] = str(beside.resolve())


def _merged(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
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
        inner[key] = _value(text.strip())
    return table


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _contradictions(config: RunConfig) -> list[str]:
    problems = []
    name = config.method.name
    if ":" not in name and name not in METHODS:
        problems.append(f"[method] {name!r} is not a method{_did_you_mean(name, METHODS)} (kpig methods)")
    if config.method.options and ":" not in name:
        problems.append(
            f"[method.options] is for a module:Class of your own; settings of {name!r} go to [method.{name}]"
        )
    if config.stream.path != SUITE and _changed(config.suite):
        problems.append(
            f"[suite] has no effect with stream.path = {config.stream.path!r}; remove one of the two"
        )
    if config.stream.path == SUITE:
        files_only = _changed(config.stream) - {"order", "order_seed"}
        problems += [
            f"[stream] {key!r} has no effect on the built-in suite; see [suite]" for key in sorted(files_only)
        ]
    if config.model.adapter == "none":
        unused = {key for key in _changed(config.model) if key.startswith("lora_")}
        problems += [f'[model] {key!r} has no effect without adapter = "lora"' for key in sorted(unused)]
    return problems


def _changed(section: Section) -> set[str]:
    """Names of the settings that differ from their defaults."""
    return {
        name for name, field in type(section).model_fields.items() if getattr(section, name) != field.default
    }


def _explain(problem: Mapping[str, Any]) -> str:
    *parents, key = (str(part) for part in problem["loc"])
    table = f"[{'.'.join(parents)}] " if parents else ""
    if problem["type"] == "extra_forbidden":
        return f"{table}has no key {key!r}{_did_you_mean(key, _keys_of(parents))}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{table}{key} = {problem['input']!r}: {message}"


def _keys_of(parents: Sequence[str]) -> list[str]:
    section: type[BaseModel] = RunConfig
    for parent in parents:
        field = section.model_fields.get(parent)
        if (
            field is None
            or not isinstance(field.annotation, type)
            or not issubclass(field.annotation, BaseModel)
        ):
            return []
        section = field.annotation
    return list(section.model_fields)


def _did_you_mean(word: str, known) -> str:
    close = nearest(word, known, cutoff=0.5)
    return f"; did you mean {close!r}?" if close else f"; known: {', '.join(known)}"


def _listed(where: str, problems: Sequence[str]) -> str:
    indent = "\n" + " " * (len("error: ") + len(where) + 2)
    return f"{where}: " + indent.join(problems)
