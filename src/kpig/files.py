"""Whole files or none: the only way in which the package writes a file that others read."""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kpig.errors import DiskError, KpigError, RunError

OF_RUST = re.compile(r"\(os error (\d{1,9})\)")
"""How libraries written in Rust name an error of the system."""

UNPUBLISHED = re.compile(r"\..+\.\d+\.tmp")
"""Names of files that are being written: the name to be, and the number of the process."""
HALVES = re.compile("[\\ud800-\\udfff]")
"""Lone surrogates, which a JSON text can hold as escapes and UTF-8 cannot hold at all."""

PLAIN_NAME = re.compile(
    r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))[a-z0-9](?:[a-z0-9._-]{0,78}[a-z0-9_-])?"
)
"""What every file system takes as it is and tells from every other such name: no capitals, which some do not
tell from small letters, and none of the names of Windows' devices."""

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
MOST_NAME_CHARACTERS = 60


def name_for(text: str) -> str:
    """A file's name for any text, safe on every file system, without an ending; other texts get others.

    A text that is safe as it is stays so. Of others the safe characters are kept, and "~" and 16 hexadecimal
    digits of their SHA-256 added: no safe text holds a "~".
    """
    if PLAIN_NAME.fullmatch(text):
        return text
    kept = UNSAFE.sub("-", text)[:MOST_NAME_CHARACTERS].strip("-.")
    return f"{kept}~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def true_path(path: str | Path) -> Path:
    """Absolute, with links followed and `~` the home folder; a link in a circle stays as it is.

    `Path.resolve` and `Path.expanduser` raise RuntimeError for some paths that users can give.
    """
    return Path(os.path.realpath(os.path.expanduser(path)))


def publish(path: Path, text: str) -> None:
    """Write `path` so that a reader sees the old file or the new one, never half.

    Raises RunError when the disk does not take it, or the text is none; the old file is unharmed then.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise no_text(str(path), error) from error
    publish_bytes(path, content)


def publish_bytes(path: Path, content: bytes) -> None:
    """`publish` for content that is no text."""
    publish_parts(path, (content,))


def publish_parts(path: Path, parts: Iterable[bytes]) -> None:
    """`publish` for content that is made part by part, and need not be held whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # several processes may write one file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        _forget(temporary)


def drop_unpublished(folder: Path) -> None:
    """Remove what kills left half written below a folder; only for the one process that writes there."""
    for path in folder.rglob(".*.tmp"):
        if UNPUBLISHED.fullmatch(path.name):
            _forget(path)


def _forget(temporary: Path) -> None:
    """Remove a file that became nothing; a disk that refuses this too has been told of already."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the disk hold every file under a folder, and their names, before this returns.

    What is renamed or marked as done afterwards is whole after a power loss too. Raises OSError.
    """
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def refuse_links(folder: Path, others: Path | None = None) -> None:
    """Raise RunError where a part of a folder is a symbolic link: what is written would land elsewhere.

    The folder itself may be one, for whoever names it knows where it leads. Folders in `others` are
    written by other programs and not looked into.
    """
    for parent, folders, names in os.walk(folder):
        link = next((path for name in (*folders, *names) if (path := Path(parent) / name).is_symlink()), None)
        if link is not None:
            raise RunError(
                f"{link} is a symbolic link to {os.readlink(link)}; nothing is written through one. Put what "
                "it leads to in its place, or give --out another folder"
            )
        if Path(parent) == others:
            folders.clear()


def replace_folder(new: Path, current: Path, old: Path) -> None:
    """Put the whole folder `new` in the place of `current`; a kill leaves one of the three names whole.

    `old` is where `current` waits meanwhile. Raises OSError.
    """
    sync_folder(new)
    shutil.rmtree(old, ignore_errors=True)
    if current.exists():
        current.rename(old)
    new.rename(current)
    _sync(current.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    """fsync a file or a folder; Windows syncs no folders, and some network folders refuse to."""
    folder = path.is_dir()
    if folder and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if folder or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk does not take inside the block into a RunError that names `path`."""
    try:
        yield
    except KpigError:
        raise
    except Exception as error:
        found = of_system(error)
        if found is None:
            raise
        raise disk_error(path, found) from error


def of_system(error: Exception) -> OSError | None:
    """The error of the system that an exception is or tells of; None where it is another one.

    Libraries written in Rust (tokenizers, safetensors) raise exceptions of their own for it.
    """
    if isinstance(error, OSError):
        return error
    told = OF_RUST.search(str(error))
    return OSError(int(told[1]), os.strerror(int(told[1]))) if told else None


def publish_json(path: Path, value: Any) -> None:
    """`publish` a value as indented JSON."""
    publish(path, as_json(value))


def disk_error(path: Path, error: OSError) -> DiskError:
    """What a user can do where the disk did not take a file."""
    return DiskError(
        f"{path}: cannot be written ({error.strerror or error}); look at the path, its permissions and the "
        "free space, then give the command again"
    )


def no_text(where: str, error: UnicodeEncodeError) -> RunError:
    """What a user can do where half a surrogate pair would be written: bytes of a path, or broken data."""
    around = ascii(error.object[max(0, error.start - 30) : error.end + 30])
    return RunError(
        f"{where}: cannot be written: {around} holds a character that no UTF-8 file can hold. It is from a "
        "path with bytes that are no UTF-8, or from broken data; rename the path, or mend the data"
    )


def as_json(value: Any) -> str:
    """Indented JSON with a line break at its end. Raises RunError as `as_line` does."""
    return _dumped(value, indent=2)


def as_line(value: Any) -> str:
    """JSON on one line, with its line break. Raises RunError for NaN and infinity, which JSON cannot hold.

    Halves of surrogate pairs, which no UTF-8 file can hold, are written as JSON's escapes.
    """
    return _dumped(value)


def _dumped(value: Any, indent: int | None = None) -> str:
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
        return HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
    except ValueError as error:
        place = next(_not_finite(value), None)
        if place is None:
            raise
        raise RunError(
            f"{place} is not finite, which JSON cannot hold and no score can be made of; "
            "nothing was written. Look at the weights and the learning rate of what was measured."
        ) from error


def _not_finite(value: Any, place: str = "") -> Iterator[str]:
    """Where NaN and infinity stand in a value, as dotted keys."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{place or 'the value'} = {value}"
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _not_finite(one, f"{place}.{key}".removeprefix("."))
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _not_finite(one, f"{place}.{number}".removeprefix("."))
