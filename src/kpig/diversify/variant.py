"""One further wording of a task's instruction, and a candidate that was turned down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from kpig.records import Instruction

OFFLINE = "grammar"


@dataclass(frozen=True)
class Variant:
    """A wording with its key parts and where it comes from (docs/method.md, section 3).

    `way` is one of readers.variants.WAYS, `parent` names the wording it was made from
    (readers.variants.digest_of), `backend` the model's name, or OFFLINE. `constraint` is the entry of a
    constraints.json that states the added rule, None where no program can check it or none was added.
    An `evaluation` variant is never trained on.
    """

    instruction: Instruction
    way: str
    parent: str
    backend: str = OFFLINE
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    constraint: Mapping[str, Any] | None = None
    evaluation: bool = False

    @property
    def text(self) -> str:
        """The wording itself."""
        return self.instruction.text

    def as_entry(self) -> dict[str, Any]:
        """The variant as variants.json holds it; kpig.tasks.readers.variants reads it back."""
        parts = [
            {
                "text": self.text[span.start : span.end],
                "kind": span.kind,
                "start": span.start,
                "end": span.end,
            }
            for span in self.instruction.key_parts
        ]
        added = {} if self.constraint is None else {"constraint": dict(self.constraint)}
        return {
            "instruction": self.text,
            "key_parts": parts,
            "way": self.way,
            "parent": self.parent,
            "backend": self.backend,
            "settings": dict(self.settings),
            **added,
            "evaluation": self.evaluation,
        }


@dataclass(frozen=True)
class Fault:
    """Why a candidate is turned down: a word to count by, and a sentence that tells what is wrong."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Rejection:
    """A candidate, or a whole answer, that was turned down; `reason` is a word to count by.

    `text` is what was written, cut to a few thousand characters; `detail` tells the model its mistake.
    """

    way: str
    reason: str
    text: str
    detail: str = ""
