"""What a user may set of KPIG (docs/method.md, sections 4 to 6)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kpig.config.section import Count, CountOrAll, Share, cost
from kpig.methods.base import Settings

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "none": {},
        "paper": {
            "selection": "lowest",
            "signal": "gain",
            "gain_unit": "prob",
            "twin_weight": 1.0,
            "weighting": "gain",
            "twin_schedule": "constant",
            "twins_of": "all",
            "twin_share": 1.0,
            "reference": "initial",
            "gain_from": "probe",
        },
    }
)
"""Settings that a name stands for. "paper" is the form that the paper's summaries tell, with what is decided
here where they are silent (docs/method.md, section 5): it stays what it is when defaults change."""


class KpigSettings(Settings):
    """KPIG (docs/method.md, sections 4 to 6)."""

    former = MappingProxyType({"twin_share": 1.0, "gain_from": "probe"})

    preset: Literal["none", "paper"] = Field(
        "none",
        description="'paper' sets selection, signal, gain_unit, twin_weight, weighting, reference and which "
        "examples have twins as the paper has them, as far as that is known; 'none': each is as given, or "
        "its default",
    )
    base: str = Field(
        "",
        description="name of a method that learns beside the masked twins, such as 'derpp': what it replays, "
        "its penalties and what it does to gradients and weights are its own. Where it has no memory, KPIG "
        "replays. Empty: KPIG alone",
        json_schema_extra=cost("that of the other method on top"),
    )
    base_settings: dict[str, Any] = Field(
        {}, description="settings of the method `base`, as in the table of its own"
    )
    selection: Literal["uniform", "lowest", "proportional"] = Field(
        "uniform",
        description="the M tasks to replay from: in every update others, all equally likely; those of lowest "
        "signal; in every update others, the lower their signal the likelier",
    )
    signal: Literal["gain", "gain_drop", "likelihood_drop", "unheard_drop"] = Field(
        "gain",
        description="the gain itself, or how far it has fallen since the task was learned; how far the "
        "instructed likelihood of its responses has fallen, or that times 1 - gain",
    )
    gain_unit: Literal["prob", "log"] = Field("prob", description="probability gain, or log gain in nats")
    num_tasks: Count = Field(8, description="tasks replayed at a time (M)")
    examples_per_task: Count = Field(50, description="examples of each in the replay pool (N)")
    refresh: CountOrAll = Field(
        50,
        description="updates between gain measurements; 0: only when a step begins",
        json_schema_extra=cost(
            "a measurement is two forward passes over the probes of every seen and current task"
        ),
    )
    num_probes: Count = Field(
        16,
        description="probe examples per task for its gain",
        json_schema_extra=cost("two forward passes over each, at every measurement"),
    )
    gain_precision: Literal["train", "float32", "bfloat16"] = Field(
        "train",
        description="arithmetic in which gain is measured; 'train': that of train.precision",
        json_schema_extra=cost("bfloat16 about halves the time where the device is faster in it"),
    )
    floor: Share = Field(
        0.3, description="proportional: share of the chance spread evenly over all seen tasks"
    )
    temperature: Annotated[float, Field(gt=0)] = Field(
        0.1, description="proportional: sharpness of the preference"
    )
    twin_weight: Annotated[float, Field(ge=0)] = Field(
        1.0,
        description="λ, weight of the masked-twin term; 0 leaves it out",
        json_schema_extra=cost("0 saves about a fifth of an update's computing at the default twin_share"),
    )
    weighting: Literal["gain", "example", "none"] = Field(
        "gain", description="scale the twin term by 1 - gain, of the task or of the example itself, or not"
    )
    twin_schedule: Literal["constant", "rising", "falling"] = Field(
        "constant", description="λ over the updates of a step: the same, or from 0 to twice itself, or back"
    )
    twins_of: Literal["all", "current", "replayed"] = Field(
        "all", description="the examples that may come with their masked twins"
    )
    twin_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.25,
        description="the share of those examples that do so in an update. Where they are drawn by chance the "
        "term is divided by it, and so stays the same on average",
        json_schema_extra=cost("an example with its twin costs two to three times one without"),
    )
    twin_choice: Literal["random", "lowest"] = Field(
        "random", description="which of them: by chance, or of the tasks of lowest gain"
    )
    reference: Literal["initial", "previous"] = Field(
        "initial",
        description="the masked twin is held to the starting model, or to that of the step's start",
        json_schema_extra=cost("a copy of the trained weights in memory, but for 'initial' with LoRA"),
    )
    kept_mib: CountOrAll = Field(
        256,
        description="MiB for what the reference answered to masked twins: each is asked once in a step as "
        "long as there is room. 0: anew in every update. Results are the same up to rounding",
        json_schema_extra=cost("saves a forward pass over every twin that comes again, takes that memory"),
    )
    gain_from: Literal["auto", "probe", "training"] = Field(
        "auto",
        description="gains are measured on probes, or read off the passes that train: for each task the mean "
        "over the last `num_probes` of its twins or more. A task that was not read yet has gain 0. 'auto': "
        "read where they are for `weighting` alone and `base` has no loss of its own",
        json_schema_extra=cost("'training' makes no pass for gains"),
    )

    def reads_gains(self, along: bool) -> bool:
        """Whether gains are read off the passes that train; `along` says whether these can be read."""
        if self.gain_from != "auto":
            return self.gain_from == "training"
        weighted = self.twin_weight > 0 and self.weighting == "gain"
        return along and weighted and self.selection == "uniform" and self.twin_choice == "random"

    def num_twins(self, ratio: float) -> float:
        """How many of the examples with key parts have twins where `ratio` is replayed for each new one."""
        replayed = ratio / (1 + ratio)
        return self.twin_share * {"all": 1.0, "current": 1 - replayed, "replayed": replayed}[self.twins_of]

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, given: Any) -> Any:
        """What is given with what its preset stands for; ValueError where the two differ."""
        name = given.get("preset") if isinstance(given, Mapping) else None
        fixed = PRESETS.get(name, {}) if isinstance(name, str) else {}
        differing = [key for key, value in fixed.items() if key in given and given[key] != value]
        if differing:
            stated = " and ".join(f"{key} = {fixed[key]!r}, not {given[key]!r}" for key in differing)
            raise ValueError(f"preset = {name!r} means {stated}; remove the one or the other")
        return {**given, **fixed} if fixed else given
