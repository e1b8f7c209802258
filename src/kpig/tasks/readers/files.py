"""Task files as text and JSON, and what every format shares: rows, annotations, checked values."""

import gzip
import itertools
import json
import logging
import math
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, TypeVar

from kpig.errors import ConfigError, DataError, nearest, shown, some
from kpig.records import Constraint, KeySpan
from kpig.tasks import constraints
from kpig.tasks.drafts import Row
from kpig.tasks.key_parts import locate
from kpig.tasks.measures import METRICS, is_own
from kpig.tasks.problems import Problems

STREAM_FILE, KEY_PARTS_FILE, CONSTRAINTS_FILE = "stream.json", "keyparts.json", "constraints.json"
VARIANTS_FILE, REJECTED_FILE = "variants.json", "variants_rejected.json"
KEY_PARTS_KEYS, KEY_PART_KEYS = (
    ("key_parts", "definition", "made_by", "check", "own"),
    ("text", "kind", "start", "end"),
)
BYTE_ORDER_MARK = "\ufeff"
"""How Windows begins a text in UTF-8."""

UNPACKED_LIMIT = "KPIG_MAX_UNPACKED_GIB"
"""The environment variable that allows a .gz to hold more."""

MOST_UNPACKED_BYTES, MOST_UNPACKED_RATIO, ANY_UNPACKED_BYTES = 4 << 30, 50, 64 << 20
"""What a .gz may hold: so much, and no more than so many times its size, but so much at any rate. 3 MB can
hold 3 GB of nothing. Chosen: text is packed to a third or a tenth; a million examples have about 1 GiB."""

MAX_LINE_BYTES = 64 << 20
"""Of a line, which is one example. Chosen: no model reads a hundredth of that."""

REPEATED = frozenset({"instruction", "definition", "wording_of", "task", "category", "split", "metric"})
"""Keys whose value many lines share."""

DATASET_FILES = ("dataset_info.json", "dataset_infos.json")
"""What Hugging Face puts beside the files of a dataset."""

NO_TASK_FILES = (
    *(STREAM_FILE, KEY_PARTS_FILE, CONSTRAINTS_FILE, VARIANTS_FILE, REJECTED_FILE),
    *DATASET_FILES,
)

NOT_TEXT = {
    b"PAR1": ("Parquet", ".parquet"),
    b"\x1f\x8b": ("gzip", ".gz"),
    b"PK\x03\x04": ("a zip archive, as Excel writes", ".csv, saved as CSV"),
    b"ARROW1": ("Arrow", ".parquet, saved as Parquet"),
}
"""How files begin that are no text, what they are, and what they are to be named."""

MOST_SIGNATURE_BYTES = 6

log = logging.getLogger(__name__)
Kind = TypeVar("Kind")


def place(path: str | Path) -> Path:
    """The path with its home folder filled in. Raises DataError where no file can be called so."""
    try:
        found = Path(os.path.expanduser(path))
        found.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{shown(Path(path))}: cannot be a path ({reason}); correct it") from None
    return found


def missing(path: Path) -> DataError:
    """The error for a path where nothing is, naming the sibling whose name is nearest."""
    near: str | None = None
    if path.parent.is_dir():
        near = nearest(path.name, (other.name for other in path.parent.iterdir()))
    hint = f"did you mean '{near}'?" if near else "check the path"
    return DataError(f"{path}: no such file or folder; {hint}")


def read_text(path: Path) -> str:
    """The file as text, unpacked where its name ends in .gz.

    Raises DataError where it is missing, unreadable, damaged, not UTF-8, or holds more than `_most_bytes`.
    """
    with _opened(path) as file:
        limit = _most_bytes(path)
        content = file.read() if limit is None else file.read(limit + 1)
        _refuse_beyond(limit, len(content), path)
        return _decoded(content, path, 0).removeprefix(BYTE_ORDER_MARK)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text that are not blank, with their numbers; one line at a time is in memory.

    Raises DataError as `read_text` does, and for a line of more than MAX_LINE_BYTES.
    """
    position = 0
    with _opened(path) as file:
        limit = _most_bytes(path)
        for number in itertools.count(1):
            line = file.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
            if len(line) > MAX_LINE_BYTES:
                raise DataError(
                    f"{path}: line {number} is longer than {MAX_LINE_BYTES >> 20} MiB; expected one JSON "
                    "object per line: put each example on a line of its own, or shorten it"
                )
            if line != b"\n":
                text = _decoded(line, path, position).removeprefix(BYTE_ORDER_MARK if number == 1 else "")
                if text.strip():
                    yield number, text.removesuffix("\n")
            position += len(line)
            _refuse_beyond(limit, position, path)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where its name ends in .gz; DataError where it cannot be read."""
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else Path.open
    try:
        _refuse_other_kinds(path)
        with opened(path, "rb") as file:
            yield file
    except FileNotFoundError:
        raise missing(path) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: cannot be unpacked ({error}); expected a whole gzip file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{shown(path)}: cannot be read ({reason}); expected a readable file") from error


def _refuse_other_kinds(path: Path) -> None:
    """Raises DataError for a file that is no text, whatever its name says."""
    with path.open("rb") as file:
        content = file.read(MOST_SIGNATURE_BYTES)
    for beginning, (what, ending) in NOT_TEXT.items():
        if content.startswith(beginning) and path.suffix != ending:
            raise DataError(f"{path}: holds {what}, not text as its name says; name it *{ending}")


def _decoded(content: bytes, path: Path, position: int) -> str:
    """The bytes as text; `position` is where in the file they begin."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        place = position + error.start + 1
        raise DataError(f"{path}: byte {place} is not UTF-8; save the file as UTF-8") from error


def _most_bytes(path: Path) -> int | None:
    """The bytes that a .gz may hold: what UNPACKED_LIMIT says, else by its size. None for other files."""
    if path.suffix != ".gz":
        return None
    stated = os.environ.get(UNPACKED_LIMIT, "")
    if not stated:
        return max(ANY_UNPACKED_BYTES, min(MOST_UNPACKED_BYTES, MOST_UNPACKED_RATIO * path.stat().st_size))
    if not re.fullmatch(r"[0-9]{1,6}", stated):
        raise ConfigError(f"{UNPACKED_LIMIT} is {stated[:80]!r}; expected a whole number of GiB, such as 16")
    return int(stated) << 30


def _refuse_beyond(limit: int | None, num_bytes: int, path: Path) -> None:
    if limit is not None and num_bytes > limit:
        raise DataError(
            f"{path}: holds more than {limit >> 20} MiB when unpacked, and {path.stat().st_size} bytes as it "
            f"is. If that is meant, set the environment variable {UNPACKED_LIMIT} to the GiB that it may hold"
        )


def parse_object(text: str, where: str, first_line: int = 1) -> dict[str, Any]:
    """The JSON object in `text`. Raises DataError naming line and column where it is malformed."""
    value = parse_json(text, where, first_line)
    return typed(value, dict, f"{where}: line {first_line}: the JSON value", "an object")


def parse_json(text: str, where: str, first_line: int = 1) -> object:
    """The JSON value in `text`. Raises DataError naming line and column where it is malformed."""
    try:
        value = loaded(text)
    except _TwiceError as error:
        place = where if "\n" in text else f"{where}: line {first_line}"
        raise DataError(f"{place}: {error}; leave one out") from error
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(
            f"{where}: line {line}, column {error.colno}: not valid JSON ({error.msg}); mend the file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: line {first_line}: not valid JSON ({error}); mend the file") from error
    if "\\ud" in text.lower():
        _refuse_half_characters(value, f"{where}: line {first_line}")
    return value


def loaded(text: str) -> object:
    """The JSON value in `text`. Raises ValueError where it is none, or an object has a key twice."""
    value: object = json.loads(text, object_pairs_hook=_object)
    return value


class _TwiceError(ValueError):
    """An object has a key twice, so that one value would be lost."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        values = " and ".join(f"{value!r:.40}" for other, value in pairs if other == key)
        raise _TwiceError(f"the key '{shown(key)}' stands several times in one object, with {values:.200}")
    return found


def parse_line(text: str, path: Path, number: int) -> dict[str, Any]:
    """`parse_object` for a line of many: keys, and values that most lines repeat, are kept once for all."""
    return {
        sys.intern(key): sys.intern(value) if key in REPEATED and isinstance(value, str) else value
        for key, value in parse_object(text, str(path), first_line=number).items()
    }


def _refuse_half_characters(value: object, where: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: holds half of a surrogate pair, {error.object[error.start]!r}; no tokenizer reads that"
        ) from error


def typed(value: object, kind: type[Kind], what: str, expected: str) -> Kind:
    """`value` itself; raises DataError, beginning with `what`, unless it is of the kind `expected`."""
    if not isinstance(value, kind):
        raise DataError(f"{what} is of type {type(value).__name__}; expected {expected}")
    return value


def refuse_unknown(raw: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raises DataError, a line for each, for keys that are neither `known` nor documentation."""
    lines = []
    for key in raw:
        if key not in (*known, *constraints.NOTE_KEYS) and not key.startswith("_"):
            near = nearest(key, (one for one in known if one not in raw))
            hint = (
                f"did you mean '{near}'?"
                if near
                else f"known: {', '.join(known)}; a note may be called 'note'"
            )
            lines.append(f"{where}: there is no key '{key}'; {hint}")
    if lines:
        raise DataError("\n".join(lines))


# --- rows --------------------------------------------------------------------------------


def read_row(
    raw: Mapping[str, Any], example_id: str, split: str | None, where: str, file: str, problems: Problems
) -> Row | None:
    """One example, or None where its output is NaN or null, or its input NaN. A null input is no input.

    Numbers and booleans become text, and empty responses beside others are left out; both are noted.
    Raises DataError for a missing output, an empty response, or a value of the wrong type.
    """
    where = f"{where}: example '{example_id}'"
    if "output" not in raw:
        near = nearest("output", raw)
        hint = f"did you mean '{near}'?" if near else "expected a text, or a list of texts, under 'output'"
        raise DataError(f"{where}: has no 'output'; {hint}")
    outputs = raw["output"] if isinstance(raw["output"], list) else [raw["output"]]
    text = "" if raw.get("input") is None else raw["input"]
    if _is_void(text) or (outputs and all(map(_is_void, outputs))):
        return None
    references = tuple(
        noted_text(value, f"{where}: 'output'", file, "output", problems)
        for value in outputs
        if not _is_void(value)
    )
    full = tuple(reference for reference in references if reference.strip())
    if not full:
        raise DataError(f"{where}: has an empty response; write it out or remove the example")
    if len(full) < len(outputs):
        problems.notes[f"{file}: an empty reference beside others is left out"] += 1
    return Row(example_id, noted_text(text, f"{where}: 'input'", file, "input", problems), full, split)


def text_of(value: object, what: str) -> str:
    """The value as text: numbers as JSON writes them, true and false, dates in ISO 8601.

    Raises DataError, beginning with `what`, for lists, objects, bytes, and numbers that are none of JSON's.
    """
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise DataError(
            f"{what} is {value}, which is no number of JSON (one above 1.8e308 is read as infinite); "
            "write it as a text, or remove the example"
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, int | float | Decimal) else typed(value, str, what, "a text")


def noted_text(value: object, what: str, file: str, field_name: str, problems: Problems) -> str:
    """`text_of`, noted where the value is no text yet."""
    text = text_of(value, what)
    if not isinstance(value, str):
        problems.note(
            f"{file}: '{field_name}' holds values that are no text; they are read as JSON writes them "
            "(3, 0.5, true)",
            what,
        )
    return text


def _is_void(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def kept_rows(kept: Sequence[Row], where: str, skipped: Sequence[str] = ()) -> tuple[Row, ...]:
    """The rows of a task; those that `read_row` gave none for are told, at the places `skipped`.

    Raises DataError where no row is left or two have the same id.
    """
    if skipped:
        count = "1 example has" if len(skipped) == 1 else f"{len(skipped)} examples have"
        log.warning("%s: %s NaN or null for output, or NaN for input; skipped", some(skipped), count)
    if not kept:
        raise DataError(f"{where}: has no examples; expected at least one")
    ids = [row.id for row in kept]
    if len(set(ids)) < len(ids):
        counts = Counter(ids)
        repeated = next(example_id for example_id in ids if counts[example_id] > 1)
        raise DataError(f"{where}: the id '{repeated}' stands for several examples; ids must differ")
    return tuple(kept)


def texts_of(value: object, what: str) -> tuple[str, ...]:
    """The text or list of texts as a tuple; raises DataError for anything else."""
    values = value if isinstance(value, list) else [value]
    return tuple(typed(text, str, what, "a text or a list of texts") for text in values)


def checked_metric(value: object, where: str) -> str | None:
    """The metric as stated, or None; raises DataError for an unknown one.

    Data are not trusted to name code that is run: a `module:function` is refused here.
    """
    if value is not None and (not isinstance(value, str) or value not in METRICS):
        own = isinstance(value, str) and is_own(value)
        advice = "; a function of your own is named in the config, [stream.metrics]" if own else ""
        raise DataError(f"{where}: metric is {value!r:.80}; expected one of {', '.join(METRICS)}{advice}")
    return value


# --- annotations beside the tasks ------------------------------------------------------------


@dataclass(frozen=True)
class Annotations:
    """Key parts and constraints that stand in files of their own beside the tasks, by task name."""

    key_parts_path: Path = Path(KEY_PARTS_FILE)
    constraints_path: Path = Path(CONSTRAINTS_FILE)
    key_parts: Mapping[str, Any] = field(default_factory=dict)
    constraints: Mapping[str, Any] = field(default_factory=dict)

    def spans(self, name: str, text: str) -> tuple[KeySpan, ...]:
        """The key parts of the task's seed instruction `text`; raises DataError where they do not fit it."""
        if name not in self.key_parts:
            return ()
        where = f"{self.key_parts_path}: task '{name}'"
        entry = typed(self.key_parts[name], dict, where, "an object with 'key_parts'")
        _check_entry(entry, where)
        if "key_parts" not in entry and "own" in entry:
            return ()
        if entry.get("definition", text) != text:
            raise DataError(
                f"{where}: 'definition' differs from the task's instruction {text[:60]!r}; "
                "annotate that wording"
            )
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
        if text not in own:
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


def read_annotations(folder: Path, problems: Problems) -> Annotations:
    """The annotation files of `folder`, or of its parent where the folder is one called `tasks`."""
    found: dict[str, Path] = {}
    contents: dict[str, dict[str, Any]] = {KEY_PARTS_FILE: {}, CONSTRAINTS_FILE: {}}
    for file_name in contents:
        found[file_name] = annotation_path(folder, file_name)
        if found[file_name].exists():
            with problems.collected():
                contents[file_name] = parse_object(read_text(found[file_name]), str(found[file_name]))
    return Annotations(
        found[KEY_PARTS_FILE], found[CONSTRAINTS_FILE], contents[KEY_PARTS_FILE], contents[CONSTRAINTS_FILE]
    )


def annotation_path(folder: Path, file_name: str) -> Path:
    """Where the annotation file is: in `folder`, else in its parent where the folder is called `tasks`."""
    folders = [folder, folder.parent] if folder.name == "tasks" else [folder]
    return next((one / file_name for one in folders if (one / file_name).exists()), folder / file_name)


def parse_constraints(entries: object, where: str) -> tuple[Constraint, ...]:
    entries = typed(entries, list, f"{where}: the entry", "a list of objects, each with a 'type'")
    return tuple(constraints.parse(entry, where) for entry in entries)
