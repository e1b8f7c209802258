"""Further wordings of tasks that stand in a file of their own beside them: variants.json."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kpig.errors import DataError, nearest
from kpig.records import Instruction
from kpig.tasks.drafts import Draft
from kpig.tasks.key_parts import locate
from kpig.tasks.problems import Problems
from kpig.tasks.readers.annotations import annotation_path, refuse_strangers
from kpig.tasks.readers.files import VARIANTS_FILE, parse_object, read_text, typed

WAYS = ("concretizing", "reasoning", "constraint", "breadth")
WRITTEN = "written"
FIELDS = (
    "instruction",
    "key_parts",
    "way",
    "parent",
    "backend",
    "settings",
    "constraint",
    "evaluation",
)


@dataclass(frozen=True)
class Wordings:
    """The variants that the file at `path` states, by task name, as its JSON has them."""

    path: Path
    entries: Mapping[str, Any] = field(default_factory=dict)

    def add(self, draft: Draft) -> Draft:
        """The draft with its variants: after its own wordings, or kept for evaluation.

        Raises DataError for a variant that cannot be used, made from another seed, or stated twice.
        """
        where = f"{self.path}: task '{draft.name}'"
        entries = typed(self.entries.get(draft.name, []), list, f"{where}: the variants", "a list of objects")
        taken = {one.text for one in draft.instructions}
        for_training, for_evaluation = list(draft.instructions), list(draft.evaluation_instructions)
        for number, raw in enumerate(entries, start=1):
            raw = _checked_fields(raw, f"{where}: variant {number}")
            variant = _instruction(raw, number, draft.instructions[0], f"{where}: variant {number}")
            if variant.text in taken:
                raise DataError(f"{where}: variant {number} is worded like another one; remove it")
            taken.add(variant.text)
            (for_evaluation if raw.get("evaluation", False) else for_training).append(variant)
        return replace(draft, instructions=tuple(for_training), evaluation_instructions=tuple(for_evaluation))

    def refuse_strangers(self, known: Iterable[str], problems: Problems) -> None:
        """Collect a problem for each task of the file that is not among the `known` names."""
        refuse_strangers(self.path, self.entries, set(known), problems)


def read_wordings(path: Path, problems: Problems) -> Wordings:
    """The variants in the file at `path`, or in `path`/variants.json where it is a folder."""
    path = path / VARIANTS_FILE if path.is_dir() else path
    with problems.collected():
        return Wordings(path, parse_object(read_text(path), str(path)))
    return Wordings(path)


def wordings_beside(folder: Path, problems: Problems) -> Wordings:
    """The variants file of a folder of tasks, found where its annotations are; empty without one."""
    path = annotation_path(folder, VARIANTS_FILE)
    return read_wordings(path, problems) if path.exists() else Wordings(path)


def reworded(drafts: Sequence[Draft], wordings: Wordings, problems: Problems) -> list[Draft]:
    """The drafts with their variants; one whose variants cannot be used keeps its own wordings."""
    results = []
    for draft in drafts:
        results.append(draft)
        with problems.collected():
            results[-1] = wordings.add(draft)
    return results


def digest_of(text: str) -> str:
    """The name of a wording as `parent`: 12 hexadecimal digits of the SHA-256 of its text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _checked_fields(raw: object, where: str) -> dict[str, Any]:
    """The variant as stated. Raises DataError for unknown fields and values of the wrong type."""
    raw = typed(raw, dict, where, "an object with 'instruction' and 'key_parts'")
    for key in raw.keys() - set(FIELDS):
        near = nearest(key, FIELDS)
        hint = f"did you mean '{near}'?" if near else f"known: {', '.join(FIELDS)}"
        raise DataError(f"{where}: there is no field '{key}'; {hint}")
    typed(raw.get("evaluation", False), bool, f"{where}: 'evaluation'", "true or false")
    way = raw.get("way", WRITTEN)
    if way not in (*WAYS, WRITTEN):
        raise DataError(f"{where}: way is {way!r}; expected one of {', '.join((*WAYS, WRITTEN))}")
    if not typed(raw.get("instruction", ""), str, f"{where}: 'instruction'", "a text").strip():
        raise DataError(f"{where}: has no instruction; expected a text under 'instruction'")
    return raw


def _instruction(raw: Mapping[str, Any], number: int, seed: Instruction, where: str) -> Instruction:
    if raw.get("parent", digest_of(seed.text)) != digest_of(seed.text):
        raise DataError(
            f"{where}: was made from another wording than the task's instruction {seed.text[:60]!r} "
            f"(parent is {raw['parent']!r}, expected {digest_of(seed.text)!r}); make the variants again"
        )
    spans = locate(raw["instruction"], raw.get("key_parts", []), where)
    if seed.key_parts and not spans:
        raise DataError(f"{where}: has no key parts, the task's instruction has; name them under 'key_parts'")
    return Instruction(raw["instruction"], spans, f"{raw.get('way', WRITTEN)} {number}")
