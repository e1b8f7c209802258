"""The tables of a run's configuration that say what is learned: which tasks, and in which order."""

from typing import Literal

from pydantic import Field

from kpig.config.section import Count, CountOrAll, Listed, Places, Section, cost

SUITE = "suite"
"""The name of the built-in tasks, as a path."""

GENERAL = "general"
"""The name of the shipped general questions, as a path: tasks that are asked and never trained on."""


READING = ("columns", "train_on", "bad_rows")
"""What of [stream] says how rows are read: further tasks of a run are read so too."""


class ColumnsSection(Section):
    """What the files of rows call each field, where they call it otherwise; see docs/data.md."""

    instruction: str = Field(
        "",
        description='the instruction; "system" for conversations: their system prompt is it, and the user\'s '
        "turn the input",
    )
    input: str = Field("", description="the input")
    output: str = Field("", description="the response, or a list of references")
    context: str = Field("", description="a text that stands in front of the input")
    system: str = Field("", description="the system prompt")
    history: str = Field("", description="earlier turns, a list of [question, answer]")
    messages: str = Field("", description="a conversation")
    conversations: str = Field("", description="a conversation of ShareGPT")
    prompt: str = Field("", description="the prompt of a completion")
    completion: str = Field("", description="the completion")
    task: str = Field("", description="the name of the task")
    id: str = Field("", description="the name of the example")
    split: str = Field("", description="'train', 'test' or 'validation'")
    step: str = Field("", description="the step of the stream")
    categories: str = Field("", description="what the task is about")
    metric: str = Field("", description="the task's metric")
    key_parts: str = Field("", description="spans of the instruction")
    constraints: str = Field("", description="demands on the response")
    wording_of: str = Field("", description="the instruction that this one rewords")

    @property
    def given(self) -> dict[str, str]:
        """The fields that the config names a column for."""
        return {name: column for name, column in self if column}


class StreamSection(Section):
    """Which tasks, in which order; see `kpig.tasks.stream.load`. The keys from `kind` on need task files."""

    path: str = Field(
        SUITE, min_length=1, description="'suite', the built-in tasks, or a file or folder of tasks"
    )
    order: Literal["given", "shuffled"] | Listed[int] = Field(
        "given",
        description="'given', 'shuffled' (by `order_seed`), or the step numbers from 1 in learning order",
    )
    order_seed: int = Field(0, description="seed of the shuffled order")
    held_out: Places = Field(
        "",
        description="tasks that are never trained on: a file or folder, 'general' for the shipped general "
        "questions, or a list of such",
    )
    tasks: Listed[str] = Field(
        (),
        description="names of the tasks to take from `path`, which keep their order and steps; empty: all",
    )
    held_out_tasks: Listed[str] = Field(
        (), description="names of the tasks to take from `held_out`, which keep their order; empty: all"
    )
    variants: str = Field(
        "", description="further wordings (kpig diversify); empty: variants.json beside the tasks"
    )
    kind: Literal["auto", "superni", "jsonl", "json", "csv", "tsv", "parquet", "hf"] = Field(
        "auto", description="format of the task files"
    )
    columns: ColumnsSection = Field(ColumnsSection(), description="names of columns that are not kpig's")
    train_on: Literal["last", "all"] = Field(
        "last", description="of a conversation the 'last' assistant turn is an example, or 'all' are"
    )
    bad_rows: Literal["refuse", "skip"] = Field(
        "refuse", description="rows that cannot be used: 'refuse' the data, or 'skip' and count them"
    )
    train_per_task: CountOrAll = Field(
        0,
        description="training examples per task at most; 0: all",
        json_schema_extra=cost("training time grows with it where epochs count"),
    )
    test_per_task: CountOrAll = Field(
        0,
        description="test examples per task at most; where examples state no split, exactly so many are "
        "split off, if one is left to train on; 0: all, or a fifth",
        json_schema_extra=cost("each is answered after every step that scores its task"),
    )
    validation_per_task: CountOrAll = Field(
        0,
        description="validation examples per task at most; where a task states none, exactly so many are "
        "split off those to be trained on, if one is left; 0: all that are stated",
        json_schema_extra=cost("a forward pass over them at every measurement"),
    )
    metrics: dict[str, str] = Field(
        {},
        description="metrics by task name, '*' for every other task, over what the data state: a name, or a "
        "module:function of your own, which the data may not name",
    )
    tasks_per_step: CountOrAll = Field(0, description="tasks per step; 0: as the data say, else one")
    max_steps: CountOrAll = Field(0, description="steps at most; 0: all")
    max_tasks_per_step: CountOrAll = Field(0, description="tasks per step at most; 0: all")
    max_held_out: CountOrAll = Field(0, description="held-out tasks at most; 0: all")


class SuiteSection(Section):
    """Size of the built-in suite's stream; only with stream.path = 'suite'."""

    num_steps: Count = Field(
        6, description="steps of the stream", json_schema_extra=cost("training time grows with it")
    )
    tasks_per_step: Count = Field(
        2,
        description="tasks in a step",
        json_schema_extra=cost("training time grows with it where epochs count"),
    )
    num_held_out: CountOrAll = Field(
        8, description="held-out tasks", json_schema_extra=cost("each is scored after every step")
    )
    num_train: Count = Field(
        800,
        description="training examples per task",
        json_schema_extra=cost("training time grows with it where epochs count"),
    )
    num_test: Count = Field(
        20,
        description="test examples per task",
        json_schema_extra=cost("each is answered after every step that scores its task"),
    )
    seed: int = Field(
        0, description="picks the compositions and inputs; part of the data, not of the training"
    )
