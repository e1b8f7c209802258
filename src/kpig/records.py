"""The plain frozen data that pass between stages: tasks, instructions, examples, predictions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

KEY_PART_KINDS = ("operation", "label_set", "format", "length", "content", "reference")
"""What a key part can ask for (docs/method.md, section 2)."""

MASK_TEXT = "_"
"""What stands in place of a key part in a masked twin. [D] Chosen; no other text was compared in training."""

SEEN, LATER, HELD_OUT = "seen", "later", "held_out"
SEED_WORDING, NEW_WORDING = "seed", "new"


@dataclass(frozen=True, order=True)
class KeySpan:
    """One key part: characters `start` (included) to `end` (excluded) of an instruction."""

    start: int
    end: int
    kind: str = "operation"


@dataclass(frozen=True)
class Instruction:
    """What a task asks for, with its key parts in order and without overlap.

    `origin` tells where the wording comes from: "seed" is the task's own instruction.
    """

    text: str
    key_parts: tuple[KeySpan, ...] = ()
    origin: str = "seed"

    def masked(self, mask_text: str = MASK_TEXT) -> str:
        """The text with every key part replaced by `mask_text` (docs/method.md, section 2)."""
        pieces, position = [], 0
        for span in self.key_parts:
            pieces += [self.text[position : span.start], mask_text]
            position = span.end
        return "".join(pieces) + self.text[position:]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is "system", "user" or "assistant"."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """One input with its reference responses, under the instruction it came with or a rewording of that.

    `context` is what the conversation held before: a system prompt, earlier turns. `as_system` tells that
    the instruction is itself the system prompt, and the input all that the user says. `constraints` are
    demands on its response beside the task's.
    """

    id: str
    task: str
    instruction: Instruction
    input: str
    references: tuple[str, ...]
    context: tuple[Message, ...] = ()
    as_system: bool = False
    constraints: "tuple[Constraint, ...]" = field(default=(), compare=False)

    @property
    def response(self) -> str:
        """The response that training and gain use: the first reference."""
        return self.references[0]


@dataclass(frozen=True)
class Constraint:
    """A demand on the response that a program can check; `type` names the check in kpig.tasks.constraints.

    `kind` overrides the kind of violation that the type stands for (docs/method.md, section 7).
    """

    type: str
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    kind: str | None = None


@dataclass(frozen=True)
class Task:
    """One task: wordings for training (the first is the seed), wordings kept for evaluation, examples.

    `instructions` are wordings of each other, as the data declare. Examples carry the seed instruction or
    another of them, and then `reworded` may give them any of these; or an instruction of their own, which
    they keep. Where every example has its own, the seed is that of the first.

    `metric` is "accuracy" where the label set is closed, or "exact" where that cannot tell the labels apart,
    else "rougeL" (docs/method.md, section 7).

    `validation` are examples that the loss is measured on while the task is learned; no others have them.
    """

    name: str
    instructions: tuple[Instruction, ...]
    train: tuple[Example, ...]
    test: tuple[Example, ...]
    metric: str
    categories: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    evaluation_instructions: tuple[Instruction, ...] = ()
    validation: tuple[Example, ...] = ()

    @property
    def instruction(self) -> Instruction:
        """The seed instruction."""
        return self.instructions[0]

    @property
    def own_instructions(self) -> tuple[Instruction, ...]:
        """Those that single examples came with and that are no wordings of the seed, in their order."""
        return tuple(one for one in self._carried if one not in self._shared)

    def wordings(self, example: Example) -> tuple[Instruction, ...]:
        """The wordings that an example of the task may be trained under: the one it has is among them."""
        return self.instructions if example.instruction in self._shared else (example.instruction,)

    def longest_wording(self, example: Example) -> Instruction:
        """The longest of the `wordings` of an example, in bytes of UTF-8; of equal ones the first."""
        return self._longest if example.instruction in self._shared else example.instruction

    def new_wordings(self, example: Example) -> tuple[Instruction, ...]:
        """The wordings kept for evaluation that say the same as the example's instruction."""
        return self.evaluation_instructions if example.instruction in self._shared else ()

    @cached_property
    def _carried(self) -> tuple[Instruction, ...]:
        """The instructions of the examples, each once, in their order."""
        examples = (*self.train, *self.test, *self.validation)
        return tuple(dict.fromkeys(example.instruction for example in examples))

    @cached_property
    def _shared(self) -> frozenset[Instruction]:
        """Kept as a set: as many examples may ask for their wording as there are wordings."""
        return frozenset(self.instructions)

    @cached_property
    def _longest(self) -> Instruction:
        return max(self.instructions, key=lambda one: len(one.text.encode()))


def wordings(example: Example, instructions: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
    """`instructions`, wordings of each other, where the example's is one of them; else only its own."""
    return instructions if example.instruction in instructions else (example.instruction,)


@dataclass(frozen=True)
class Stream:
    """The tasks of every step in learning order, and the held-out tasks that no step trains on."""

    name: str
    steps: tuple[tuple[Task, ...], ...]
    held_out: tuple[Task, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks of all steps, in order."""
        return tuple(task for step in self.steps for task in step)


@dataclass(frozen=True)
class Gain:
    """Key-part information gain of an example, or the mean over a task's probes (docs/method.md, section 4).

    `prob` is in [-1, 1], `log` in nats per response token; `instructed` and `masked` are the mean
    token probabilities p(y given I) and p(y given M(I)). `prob_error` and `log_error` are standard
    errors over the `num_examples` probes (0 for one probe); `num_annotated` of them have key parts.
    """

    prob: float
    log: float
    instructed: float
    masked: float
    prob_error: float = 0.0
    log_error: float = 0.0
    num_examples: int = 1
    num_annotated: int = 1


@dataclass(frozen=True, slots=True)
class OwnScore:
    """What a metric of the user's own, a `module:function`, gave for an answer; within [0, 1]."""

    metric: str
    value: float


@dataclass(frozen=True)
class Prediction:
    """One test example as the model answered it, with everything the metrics need.

    `group` says whether its task was SEEN, comes LATER in the stream, or is HELD_OUT; `wording` whether
    the instruction was the task's SEED_WORDING or a NEW_WORDING that is never trained on.
    `finished` is False where generation was cut off at the token limit. `masked_response` is the
    greedy response to the masked twin, None where the example has no key parts.
    `violations` are the kinds of the constraints the response breaks; "undecided" among them is none, it
    stands for a constraint that got no verdict in its time.
    `own_score` is there where the task's metric is a function of the user's: who reads it need not import it.
    """

    task: str
    example: str
    group: str
    wording: str
    prompt: str
    response: str
    references: tuple[str, ...]
    finished: bool
    exact_match: float
    rouge_l: float
    violations: tuple[str, ...]
    num_constraints: int
    masked_response: str | None = None
    gain: Gain | None = None
    own_score: OwnScore | None = None
