"""The tables of a run's configuration, each field with its type, default and meaning.

Those that say which tasks are learned are in `kpig.config.data`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from kpig.config.section import Count, CountOrAll, Listed, Section, Share, cost
from kpig.records import MASK_TEXT

OPTIONS = "options"
"""The table below [method] that is for a module:Class of the user's own."""

OFFLOAD = "offload"
"""What is kept of a pass goes to the host's memory; see `train.gradient_checkpointing`."""

TINY = "tiny"
"""The name of the shipped model, as a path."""

TrackerName = Literal["tensorboard", "trackio", "wandb", "mlflow"]


class RunSection(Section):
    """What surrounds a run and changes none of its numbers."""

    track: Listed[TrackerName] = Field(
        (),
        description="trackers that are told of the run as well: 'tensorboard', 'trackio', 'wandb', 'mlflow'; "
        "see docs/trackers.md",
    )
    share_untuned: bool = Field(
        False,
        description="take the untuned model's answers from a run in the same folder that asked the same of "
        "the same model on the same machine; kpig sweep and kpig quickstart do",
    )


class ModelSection(Section):
    """Which model learns, and which of its weights."""

    path: str = Field(
        TINY,
        min_length=1,
        description="a folder of a model, an adapter or a run's step, a hub name, or 'tiny'",
    )
    adapter: Literal["none", "lora"] = Field(
        "none",
        description="'none' tunes all weights; 'lora' a LoRA adapter: a fresh one, or that at `path`",
        json_schema_extra=cost("Adam keeps two numbers for every trained weight: 'lora' trains few"),
    )
    lora_rank: Count = Field(
        8,
        description="rank of the LoRA matrices",
        json_schema_extra=cost("trained weights, and so memory and disk, grow with it"),
    )
    lora_alpha: Count = Field(16, description="LoRA scale; the update is multiplied by alpha / rank")
    lora_dropout: Share = Field(0.0, description="dropout in front of the LoRA matrices")
    lora_targets: Listed[str] = Field((), description="names of the adapted layers; empty: all linear layers")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="how weights are held in memory",
        json_schema_extra=cost("memory: 4 bytes a weight in float32, 2 in the others"),
    )
    quantization: Literal["none", "nf4"] = Field(
        "none",
        description="'nf4' holds a LoRA's base in 4 bits (QLoRA): on a GPU, with the extra 'quantization'",
        json_schema_extra=cost("memory: about half a byte a weight, and some time to unpack them"),
    )
    max_length: Annotated[int, Field(ge=16)] = Field(
        1024,
        description="tokens of prompt and response at most",
        json_schema_extra=cost("longer rows take more memory and time"),
    )
    chat_template: bool | str = Field(
        True,
        description="use the tokenizer's chat template where it has one; the name of one of several",
    )
    chat_template_arguments: Mapping[str, bool | int | float | str] = Field(
        {}, description="values for the chat template, such as enable_thinking = false"
    )
    system: str = Field("", description="the system prompt of examples that bring none")
    mask_text: str = Field(MASK_TEXT, description="what stands in place of a key part in the masked twin")
    trust_remote_code: bool = Field(
        False, description="run Python code that comes with the model: only if you trust it"
    )


class TrainSection(Section):
    """The training loop: AdamW, one fresh optimizer for each step of the stream."""

    epochs: Annotated[float, Field(gt=0)] = Field(
        1.0,
        description="passes over the step's training examples, each once in a pass: the last update takes "
        "what is left. A fraction of a pass is rounded up to whole examples",
        json_schema_extra=cost("training time grows with it"),
    )
    updates_per_step: CountOrAll = Field(
        0,
        description="optimizer updates per step instead of epochs; 0: epochs",
        json_schema_extra=cost("training time grows with it"),
    )
    batch_size: Count = Field(
        16,
        description="examples of the current step in each update",
        json_schema_extra=cost("the time of an update grows with it, the memory does not"),
    )
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
        description="padded tokens in one forward and backward pass; where memory runs out in one, "
        "they are halved for the rest of the step. 0: 1024 on a CPU, 8192 on a GPU",
        json_schema_extra=cost("memory grows with it"),
    )
    gradient_checkpointing: bool | Literal["offload"] = Field(
        False,
        description="keep only what enters each layer, and compute the rest once more on the way back; "
        "'offload' keeps that in the host's memory, for GPUs. Results are the same up to rounding",
        json_schema_extra=cost("a forward pass more in each update, and far less memory for activations"),
    )
    shard: bool = Field(
        False,
        description="the processes of a job divide weights, gradients and the optimizer's state among them "
        "(FSDP2), instead of each having all. For some methods only, see docs/several-gpus.md. Results are "
        "the same up to rounding; nothing changes in one process",
        json_schema_extra=cost("memory: divided by the number of processes. Every pass sends all weights"),
    )
    row_tokens: Literal["auto"] | CountOrAll = Field(
        "auto",
        description="examples and masked twins share rows of up to this many tokens: what their prompts "
        "begin with is computed once. 0: a row for each; 'auto': where counting tells that it costs less, "
        "the model can, and no dropout is shared. Results are the same up to rounding; a number is refused "
        "where a model cannot",
        json_schema_extra=cost("saves time where prompts begin alike, takes memory where rows are long"),
    )
    group_size: Count = Field(
        1, description="examples of one task drawn together; more of them make shared rows pay"
    )
    held_out_loss_every: CountOrAll = Field(
        0,
        description="updates between measurements of the loss on the step's test examples; 0: none",
        json_schema_extra=cost("a forward pass over test examples of the step each time, fewer than 512"),
    )
    validation_every: CountOrAll = Field(
        0,
        description="updates between measurements of the loss on the step's validation examples, if it has "
        "some; 0: after each pass over its training examples. It is measured after the last update anyhow",
        json_schema_extra=cost("a forward pass over the validation examples each time"),
    )
    patience: CountOrAll = Field(
        0,
        description="a step ends after so many measurements in a row without a lower validation loss; 0: "
        "never early. The learning rate falls as if it did not end early",
    )
    keep_best: bool = Field(
        False,
        description="a step ends with the weights of its lowest validation loss",
        json_schema_extra=cost("memory and disk: one more copy of the trainable weights"),
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="arithmetic of the passes that learn, and of gain measured between them; 'auto': "
        "bfloat16 on GPUs that have it, and on CPUs with AMX or AVX512-BF16 for models of 20 million weights "
        "or more; else float32",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="'auto': a GPU where there is one"
    )
    checkpoint_every: CountOrAll = Field(
        50,
        description="updates between checkpoints inside a step; 0: none",
        json_schema_extra=cost("time and disk: trained weights, optimizer and method are written each time"),
    )
    progress_seconds: Annotated[float, Field(ge=0)] = Field(
        30.0, description="seconds between two lines about a step where nobody watches on a terminal"
    )
    keep_models: Literal["all", "last"] | Count = Field(
        "all",
        description="models or adapters that stay in the run folder: 'all', the 'last', or of so many last "
        "steps; going on needs the last",
        json_schema_extra=cost("disk: a model or an adapter for each step that is kept"),
    )


class ReplaySection(Section):
    """What every method that replays may keep and use: the budget that a comparison holds equal."""

    memory_per_task: Count = Field(
        50,
        description="examples kept of each learned task (K)",
        json_schema_extra=cost("disk: the texts. Some methods read all of memory at times"),
    )
    ratio: Annotated[float, Field(ge=0)] = Field(
        0.5,
        description="replayed examples per current example",
        json_schema_extra=cost(
            "a replayed example is trained on as a new one is: 0.5 makes updates half as long again"
        ),
    )


class MethodSection(Section):
    """Which method learns the stream. Below it stands the table of the method's own settings.

    That table is [method.NAME], or [method.options] for a module:Class of your own. Its keys are the
    method's (`kpig.methods.chosen` checks them), so here it is kept as it is given. Tables of other methods
    may stand beside it, so that one file serves several; they are not part of a run.
    """

    model_config = ConfigDict(extra="allow")

    name: str = Field("kpig", description="a name from `kpig methods`, or module:Class of your own")

    @property
    def table(self) -> str:
        """The name of the table that holds the settings of the method."""
        return OPTIONS if ":" in self.name else self.name

    @property
    def given(self) -> Mapping[str, Any]:
        """The settings of the method, as they are given."""
        return self.tables.get(self.table, {})

    @property
    def tables(self) -> Mapping[str, Mapping[str, Any]]:
        """Every table below [method], by name."""
        return {key: value for key, value in self._more.items() if isinstance(value, Mapping)}

    @property
    def strangers(self) -> list[str]:
        """Keys of [method] that are neither the name nor a table."""
        return [key for key in self._more if key not in self.tables]

    def holding(self, settings: Mapping[str, Any]) -> "MethodSection":
        """The same method with these settings, and no table of another one."""
        table = {self.table: dict(settings)} if settings else {}
        return MethodSection.model_validate({"name": self.name, **table})

    @property
    def _more(self) -> Mapping[str, Any]:
        return self.model_extra or {}


class EvaluateSection(Section):
    """What is measured after a step, and after which."""

    every: Literal["step", "last"] | Count = Field(
        "step",
        description="the steps after which tasks are scored: each 'step', the 'last' one, or each of so many "
        "and the last; the untuned model is scored in any case. What needs a score that is not there, such "
        "as forgetting, is not reported",
        json_schema_extra=cost("where all steps are scored, that can take as long as training"),
    )
    max_new_tokens: Count = Field(
        64,
        description="tokens of a response at most; longer ones count as degenerate",
        json_schema_extra=cost("the time of answering grows with it where answers are long"),
    )
    tokens_per_batch: CountOrAll = Field(
        0,
        description="padded tokens in one evaluation batch; 0: 4096 on a CPU, or 8192 where prompts begin "
        "alike, 32768 on a GPU",
        json_schema_extra=cost("memory grows with it"),
    )
    answers: Literal["generate", "choose"] = Field(
        "generate",
        description="answers are written token by token; with 'choose', where a one_of constraint states the "
        "labels, the likeliest label is the answer, so that no answer can be outside of them",
        json_schema_extra=cost("'choose' reads each prompt once with all labels behind it"),
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="arithmetic of answers and gains; in bfloat16 some answers are other ones than in "
        "float32, so that all runs of a comparison must have the same",
        json_schema_extra=cost("bfloat16 about halves the time where the device is faster in it"),
    )
    row_tokens: Literal["auto", 0] = Field(
        "auto",
        description="what prompts begin with is read once for all of them, where that saves enough and the "
        "model can; 0: each prompt by itself. Results are the same up to rounding",
        json_schema_extra=cost("0 reads a task's instruction anew for each test example"),
    )
    half_listening: bool = Field(
        True,
        description="answer the masked twins too",
        json_schema_extra=cost("doubles the generation time where prompts do not begin alike"),
    )
    num_half_listening: CountOrAll = Field(
        0,
        description="test examples per task of which the masked twin is answered; 0: all",
        json_schema_extra=cost("one more answer for each"),
    )
    gain: bool = Field(
        True,
        description="measure the key-part gain on the test examples",
        json_schema_extra=cost("two forward passes over `num_gain_examples` of each scored task"),
    )
    num_gain_examples: Count = Field(
        20,
        description="test examples per task for the gain",
        json_schema_extra=cost("two forward passes over each"),
    )
    new_wordings: bool = Field(
        True,
        description="score wordings never used in training where a task has some",
        json_schema_extra=cost("one more answer for each test example of such a task"),
    )

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether tasks are scored after a step of so many; step 0 is the untuned model."""
        if step in (0, num_steps) or self.every == "step":
            return True
        return self.every != "last" and step % self.every == 0
