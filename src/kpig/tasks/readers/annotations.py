"""Key parts and constraints in files of their own beside the tasks."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpig.errors import DataError, nearest
from kpig.records import Constraint, KeySpan
from kpig.tasks import constraints
from kpig.tasks.entries import is_intact
from kpig.tasks.key_parts import locate
from kpig.tasks.problems import Problems
from kpig.tasks.readers.files import (
    CONSTRAINTS_FILE,
    KEY_PARTS_FILE,
    parse_object,
    read_text,
    refuse_unknown,
    typed,
)
from kpig.tasks.readers.renewal import Renewal

KEY_PARTS_KEYS, KEY_PART_KEYS = (
    ("key_parts", "definition", "made_by", "check", "own"),
    ("text", "kind", "start", "end"),
)

MOST_SHOWN, SHOWN_BEFORE = 40, 15
"""Characters of two texts from where they part, and of what stands before. Chosen: half a line each."""


@dataclass(frozen=True)
class Annotations:
    """Key parts and constraints that stand in files of their own beside the tasks, by task name.

    With a `renewal` the key parts are to be found anew, and what it passes over is noted in it.
    """

    key_parts_path: Path = Path(KEY_PARTS_FILE)
    constraints_path: Path = Path(CONSTRAINTS_FILE)
    key_parts: Mapping[str, Any] = field(default_factory=dict)
    constraints: Mapping[str, Any] = field(default_factory=dict)
    renewal: Renewal | None = None

    def spans(self, name: str, text: str) -> tuple[KeySpan, ...]:
        """The key parts of the task's seed instruction `text`; raises DataError where they do not fit it."""
        if name not in self.key_parts or (self.renewal is not None and self.renewal.replaces):
            return ()
        where = f"{self.key_parts_path}: task '{name}'"
        entry = typed(self.key_parts[name], dict, where, "an object with 'key_parts'")
        _check_entry(entry, where)
        if "key_parts" not in entry and "own" in entry:
            return ()
        if (definition := entry.get("definition", text)) != text:
            if self.renewal is None or not is_intact(entry):
                raise DataError(f"{where}: {_differs(definition, text, is_intact(entry))}")
            self.renewal.stale[name] = _parting(definition, text)
            return ()
        return locate(text, entry.get("key_parts"), where)

    def own_key_parts(self, name: str) -> dict[str, Mapping[str, Any]]:
        """The entries for instructions that single examples of the task came with, by their text."""
        entry = self.key_parts.get(name)
        stated = entry.get("own", []) if isinstance(entry, Mapping) else []
        where = f"{self.key_parts_path}: task '{name}': 'own'"
        found: dict[str, Mapping[str, Any]] = {}
        for one in typed(stated, list, where, "a list of objects with 'definition' and 'key_parts'"):
            one = typed(one, dict, where, "objects with 'definition' and 'key_parts'")
            text = typed(one.get("definition"), str, f"{where}: 'definition'", "a text")
            found[text] = one
        return found

    def own_spans(self, name: str, text: str, own: Mapping[str, Mapping[str, Any]]) -> tuple[KeySpan, ...]:
        """The key parts of such an instruction, from what `own_key_parts` found; DataError as for `spans`."""
        if text not in own or (self.renewal is not None and self.renewal.replaces):
            return ()
        where = f"{self.key_parts_path}: task '{name}': own {text[:40]!r}"
        _check_entry(own[text], where)
        return locate(text, own[text].get("key_parts"), where)

    def demands(self, name: str) -> tuple[Constraint, ...]:
        """The task's constraints; raises DataError for one that cannot be understood."""
        return parse_constraints(self.constraints.get(name, []), f"{self.constraints_path}: task '{name}'")

    def refuse_strangers(self, known: Iterable[str], problems: Problems) -> None:
        """Collect a problem for each annotated task that is not among the `known` names."""
        known = set(known)
        refuse_strangers(self.key_parts_path, self.key_parts, known, problems)
        refuse_strangers(self.constraints_path, self.constraints, known, problems)


def _differs(definition: object, text: str, is_made: bool) -> str:
    """What to tell of an entry whose definition is not the instruction, and what to do about it."""
    remedy = (
        "give kpig annotate again"
        if is_made
        else "correct the entry by hand or delete it, or give kpig annotate with --overwrite, which replaces "
        "all entries"
    )
    return (
        f"'definition' differs from the task's instruction: {_parting(definition, text)}. Where the data are "
        "read otherwise than they were, name the config whose [stream.columns] read them so, or --like its "
        f"run; else {remedy}"
    )


def _parting(definition: object, text: str) -> str:
    """Where the definition of an entry and the instruction of the data part, with what stands there."""
    if not isinstance(definition, str):
        return f"it is {definition!r:.60} and no text"
    pairs = zip(definition, text, strict=False)
    place = next((at for at, pair in enumerate(pairs) if pair[0] != pair[1]), min(len(definition), len(text)))
    start = max(0, place - SHOWN_BEFORE)
    return f"from character {place + 1} on it has {_piece(definition, start)}, the data {_piece(text, start)}"


def _piece(text: str, start: int) -> str:
    end = start + MOST_SHOWN
    return f"{'…' * (start > 0)}{text[start:end]!r}{'…' * (end < len(text))}"


def _check_entry(entry: Mapping[str, Any], where: str) -> None:
    """Refuse keys that an entry of key parts does not have."""
    refuse_unknown(entry, KEY_PARTS_KEYS, where)
    for part in entry.get("key_parts") or ():
        if isinstance(part, Mapping):
            refuse_unknown(part, KEY_PART_KEYS, f"{where}: key part {part.get('text')!r}"[:300])


def refuse_strangers(path: Path, names: Iterable[str], known: Set[str], problems: Problems) -> None:
    """Collect a problem for each of the `names` in a file that is not a `known` task; "_..." is a note.

    A name that is like it is sought for those only that will be shown: there may be thousands.
    """
    for name in names:
        if name not in known and not name.startswith("_"):
            hint = "" if problems.is_full else did_you_mean(name, known)
            problems.add(f"{path}: there is no task '{name}'{hint}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f"; did you mean '{near}'?" if near else "; correct the name or remove the entry"


def read_annotations(folder: Path, problems: Problems, renewal: Renewal | None = None) -> Annotations:
    """The annotation files of `folder`, or of its parent where the folder is one called `tasks`."""
    found: dict[str, Path] = {}
    contents: dict[str, dict[str, Any]] = {KEY_PARTS_FILE: {}, CONSTRAINTS_FILE: {}}
    for file_name in contents:
        found[file_name] = annotation_path(folder, file_name)
        if found[file_name].exists():
            with problems.collected():
                contents[file_name] = parse_object(read_text(found[file_name]), str(found[file_name]))
    return Annotations(
        found[KEY_PARTS_FILE],
        found[CONSTRAINTS_FILE],
        contents[KEY_PARTS_FILE],
        contents[CONSTRAINTS_FILE],
        renewal,
    )


def annotation_path(folder: Path, file_name: str) -> Path:
    """Where the annotation file is: in `folder`, else in its parent where the folder is called `tasks`."""
    folders = [folder, folder.parent] if folder.name == "tasks" else [folder]
    return next((one / file_name for one in folders if (one / file_name).exists()), folder / file_name)


def parse_constraints(entries: object, where: str) -> tuple[Constraint, ...]:
    entries = typed(entries, list, f"{where}: the entry", "a list of objects, each with a 'type'")
    return tuple(constraints.parse(entry, where) for entry in entries)
