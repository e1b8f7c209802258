"""keyparts.json: the key parts of tasks in a file made to be corrected by hand.

One entry per task: `definition` (the instruction), `key_parts` (text, kind, start, end, in order), and
where a program wrote it `made_by` and `check`. Where the data give further wordings, or single examples came
with instructions of their own, a list `own` has such an entry for each of these. A hand that corrects an
entry makes it differ from its `check`, and an entry written by hand has none: both are the user's and are not
overwritten.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpig.files import publish_json
from kpig.records import Instruction
from kpig.tasks import key_parts
from kpig.tasks.entries import check, is_by_hand
from kpig.tasks.readers.files import parse_object, read_text


@dataclass(frozen=True)
class Written:
    """The names of the tasks that were written, and of those whose entry by hand was kept instead."""

    tasks: tuple[str, ...]
    kept: tuple[str, ...]


def write(
    path: Path,
    instructions: Mapping[str, Instruction],
    made_by: str,
    overwrite: bool = False,
    own: Mapping[str, Sequence[Instruction]] | None = None,
    current: Mapping[str, Collection[str]] | None = None,
) -> Written:
    """Write each task's instruction and key parts into the file, beside the entries that it has.

    `own` are further instructions by task. `current` are the texts of all that a task has: what a program
    wrote for others under 'own' is left out. Entries made by hand are kept unless `overwrite`; other
    tasks' entries stay in any case. Raises DataError where the file is there and no JSON object, RunError
    where it cannot be written.
    """
    entries = entries_of(path)
    kept = () if overwrite else tuple(name for name in instructions if is_by_hand(entries.get(name)))
    new = {name: entry(one, made_by) for name, one in instructions.items() if name not in kept}
    beside = {
        name: own_entries(entries.get(name), every, made_by, overwrite) for name, every in (own or {}).items()
    }
    kept_own = {
        name: one["own"] for name, one in entries.items() if isinstance(one, Mapping) and "own" in one
    }
    written = entries | new
    for name, listed in (kept_own | beside).items():
        written[name] = {**written.get(name, {}), "own": listed}
    for name, texts in (current or {}).items():
        if "own" in written.get(name, {}):
            listed = [one for one in written[name]["own"] if is_by_hand(one) or one["definition"] in texts]
            written[name] = {key: value for key, value in written[name].items() if key != "own"}
            written[name] |= {"own": listed} if listed else {}
    publish_json(path, written)
    return Written(tuple(new), kept)


def own_entries(
    before: object, instructions: Sequence[Instruction], made_by: str, overwrite: bool
) -> list[dict[str, Any]]:
    """The entries of further instructions, with those that a hand has made where they stand."""
    stated = before.get("own", []) if isinstance(before, Mapping) else []
    by_text = {one["definition"]: one for one in stated if isinstance(one, Mapping) and "definition" in one}
    kept = {} if overwrite else {text: dict(one) for text, one in by_text.items() if is_by_hand(one)}
    new = {one.text: entry(one, made_by) for one in instructions}
    return list(({text: dict(one) for text, one in by_text.items()} | new | kept).values())


def by_hand(path: Path) -> frozenset[str]:
    """The tasks whose entry in the file was made or corrected by hand; raises DataError as `write` does."""
    return frozenset(name for name, one in entries_of(path).items() if is_by_hand(one))


def entry(instruction: Instruction, made_by: str) -> dict[str, Any]:
    """The entry of one task, as JSON values."""
    content = {
        "definition": instruction.text,
        "key_parts": key_parts.stated(instruction.text, instruction.key_parts),
    }
    return {**content, "made_by": made_by, "check": check(content)}


def entries_of(path: Path) -> dict[str, Any]:
    """What the file holds, nothing where it is not there; raises DataError unless it is a JSON object."""
    return parse_object(read_text(path), str(path)) if path.exists() else {}
