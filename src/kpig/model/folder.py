"""Where a model lies, and whether its folder can be loaded at all. No torch, so `kpig check` is quick."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from safetensors import SafetensorError

from kpig.config import TINY
from kpig.errors import ModelError, nearest

ADAPTER_CONFIG = "adapter_config.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def resolve(path: str) -> str:
    """The folder or hub name behind a config's `model.path`; "tiny" is the shipped model."""
    return (
        str(files("kpig") / "tiny")
        if path == TINY
        else str(Path(path).expanduser())
        if path.startswith("~")
        else path
    )


def is_adapter(path: str) -> bool:
    """Whether a local folder holds a PEFT adapter rather than a whole model."""
    return (Path(path) / ADAPTER_CONFIG).is_file()


def digest(path: str) -> str | None:
    """SHA-256, in hex, of the safetensors files of a local folder, by name; None where there are none.

    It tells starting weights apart wherever they lie. It costs a second or so for each GB.
    """
    weights = sorted(Path(path).glob("*.safetensors"))
    total = hashlib.sha256()
    for file in weights:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest() if weights else None


def check_folder(path: str) -> None:
    """Refuse a local model folder that cannot be loaded; a name without such a folder may be on a hub.

    Raises ModelError for a missing folder, one without config.json, without weights, or with pickle
    weights only.
    """
    folder = Path(path)
    if not folder.exists():
        beside = _models_in(folder.parent)
        if path.startswith((".", "/")) or path.count("/") > 1 or ("/" in path and beside):
            near = nearest(folder.name, beside)
            raise ModelError(
                f"model folder {path} does not exist{f'; did you mean {folder.parent / near}?' if near else ''}; give a folder "
                "with config.json and *.safetensors (in a config: model.path), or tiny"
            )
        return
    if is_adapter(path):
        return
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"model folder {path} has no config.json; give the folder that save_pretrained wrote"
        )
    if any(folder.glob("*.safetensors")):
        return
    if any(next(folder.glob(pattern), None) for pattern in PICKLES):
        raise ModelError(
            f"model folder {path} has pickle weights only, which can run code when loaded; convert them to "
            "safetensors (load them where you trust them, then model.save_pretrained(folder)) and try again"
        )
    raise ModelError(f"model folder {path} has no weights; expected *.safetensors beside config.json")


def _models_in(folder: Path) -> list[str]:
    """The names of the model folders in a folder."""
    return sorted(file.parent.name for file in folder.glob("*/config.json"))


@contextmanager
def explained(path: str) -> Iterator[None]:
    """ModelError with the first line of what went wrong, where files of a model cannot be read."""
    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hub = (
            "" if Path(path).exists() else f"; there is no folder {path} here, so it was taken for a hub name"
        )
        raise ModelError(f"model {path} cannot be loaded: {first.rstrip('.')}{hub}") from error
