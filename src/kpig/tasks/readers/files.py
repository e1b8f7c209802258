"""Task files as text and JSON, read whole or by lines, within bounds."""

import gzip
import io
import itertools
import json
import logging
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from kpig.errors import ConfigError, DataError, nearest, shown
from kpig.tasks import constraints

STREAM_FILE, KEY_PARTS_FILE, CONSTRAINTS_FILE = "stream.json", "keyparts.json", "constraints.json"
VARIANTS_FILE, REJECTED_FILE = "variants.json", "variants_rejected.json"
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


def name_of(file: Path) -> str:
    """The file's name without what tells its kind."""
    name = file.name[: -len(".gz")] if file.suffix.casefold() == ".gz" else file.name
    return name.removesuffix(Path(name).suffix)


def within(folder: Path) -> list[Path]:
    """What lies in a folder, but for hidden files, by name; nothing where it cannot be looked into."""
    try:
        return sorted(one for one in folder.iterdir() if not one.name.startswith("."))
    except OSError:
        return []


def require_at_rest(path: Path) -> None:
    """Raise DataError for a pipe or a device: it would be waited for, and what is read from it is gone."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(
            f"{path}: is neither a file nor a folder, but a pipe or a device; save it to a file first: it "
            "is read more than once"
        )


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


def read_records(path: Path) -> Iterator[str]:
    """The lines of a text with what ends each (\\n, \\r or both), blank ones too; one at a time is in memory.

    Raises DataError as `read_text` does.
    """
    position = 0
    with _opened(path) as file:
        limit = _most_bytes(path)
        while line := file.readline(-1 if limit is None else limit + 1):
            text = _decoded(line, path, position).removeprefix("" if position else BYTE_ORDER_MARK)
            position += len(line)
            _refuse_beyond(limit, position, path)
            yield from io.StringIO(text, newline="") if "\r" in text or not text else [text]


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where its name ends in .gz; DataError where it cannot be read."""
    opened: Callable[..., Any] = gzip.open if path.suffix.casefold() == ".gz" else Path.open
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
        if content.startswith(beginning) and path.suffix.casefold() != ending:
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
    if path.suffix.casefold() != ".gz":
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
