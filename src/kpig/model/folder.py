"""Where a model lies, and whether its folder can be loaded at all. No torch, so `kpig check` is quick."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from kpig.config import TINY, ModelSection
from kpig.errors import KpigError, ModelError, nearest
from kpig.files import true_path
from kpig.model import kind

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTERS_OWN = ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets")
"""Keys of [model] that an adapter that is trained on has settled for itself."""

TOKENIZERS = ("*tokenizer*", "*vocab*", "*.model", "merges.txt", "*.tiktoken", "tekken.json")
"""Names of the files of which transformers makes a tokenizer; code in the folder may bring others."""

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

ANEW = "copy it anew from where the model came from"

MOST_CHARACTERS = 400
"""Of another library's message. Chosen: about four lines of a terminal."""

VIRTUAL_TOKENS = (
    "PROMPT_TUNING",
    "MULTITASK_PROMPT_TUNING",
    "P_TUNING",
    "PREFIX_TUNING",
    "CPT",
    "CARTRIDGE",
)
"""PEFT's names of adapters that put tokens of their own before a prompt instead of changing the model."""


def resolve(path: str) -> str:
    """The folder or hub name behind a config's `model.path`.

    "tiny" is the shipped model; the folder of a run's step stands for the model or adapter in it.
    """
    if path == TINY:
        return str(files("kpig") / "tiny")
    found = os.path.expanduser(path) if path.startswith("~") else path
    of_step = {"model": "config.json", "adapter": ADAPTER_CONFIG}
    if any(_holds(found, name) for name in of_step.values()):
        return found
    return next(
        (os.path.join(found, kind) for kind, name in of_step.items() if _holds(found, kind, name)), found
    )


def _holds(*parts: str) -> bool:
    return os.path.isfile(os.path.join(*parts))


def is_local(path: str) -> bool:
    """Whether a model lies in a folder here, rather than on a hub."""
    return os.path.isdir(path)


def is_adapter(path: str) -> bool:
    """Whether a local folder holds a PEFT adapter rather than a whole model."""
    return os.path.isfile(os.path.join(path, ADAPTER_CONFIG))  # Path.is_file raises where a path is too long


def adapter_problem(section: ModelSection) -> str:
    """Why a config cannot train the adapter at its `model.path`; "" for nothing, and for whole models.

    It is trained as it is: with the rank, the targets and the dropout of its own.
    """
    path = resolve(section.path)
    if not is_adapter(path):
        return ""
    if section.adapter == "none":
        return (
            f'{path} is an adapter; train from a whole model, or set model.adapter = "lora" to train this '
            "adapter on"
        )
    unused = [key for key in ADAPTERS_OWN if getattr(section, key) != getattr(ModelSection(), key)]
    if unused:
        named = ", ".join(f"model.{key}" for key in unused)
        return f"{path} is an adapter with a shape of its own, so {named} would have no effect; leave it out"
    made_by = read_json(Path(path) / ADAPTER_CONFIG).get("peft_type")
    if made_by != "LORA":
        return f"{path} is an adapter of the kind {made_by}; kpig trains on those of the kind LORA"
    return ""


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

    Raises ModelError for a missing folder, one without config.json or with that of a model that kpig
    cannot learn with, without a tokenizer, without weights, or with pickle weights only; for an adapter as
    `base_of_adapter`.
    """
    with explained(path):
        if is_adapter(path):
            _check_base(path, base_of_adapter(path))
        else:
            _check_whole(path)
            _require_tokenizer(Path(path))


def base_of_adapter(path: str) -> str:
    """The folder or hub name of the model below an adapter.

    A relative folder is sought from the working folder, then from the adapter's own folder and those above
    it. Raises ModelError for an adapter that does not name its base, one of virtual tokens, and one without
    safetensors.
    """
    settings = read_json(Path(path) / ADAPTER_CONFIG)
    if (made_by := settings.get("peft_type")) in VIRTUAL_TOKENS:
        raise ModelError(
            f"adapter {path} is made by {made_by}, which puts tokens of its own in front of each prompt; "
            "kpig reads adapters that change the model, such as LoRA: it would answer as the bare model "
            "does. Give one of those"
        )
    if not (Path(path) / ADAPTER_WEIGHTS).is_file():
        _refuse_weights(f"adapter {path}", Path(path), ADAPTER_WEIGHTS)
    base = settings.get("base_model_name_or_path")
    if not isinstance(base, str) or not base.strip():
        raise ModelError(
            f"adapter {path} does not name the model that it belongs to (base_model_name_or_path in "
            f"{ADAPTER_CONFIG} is {base!r}); write the folder or hub name of that model there"
        )
    found = _sought(resolve(base), Path(path))
    if is_adapter(found):
        raise ModelError(
            f"adapter {path} belongs to {found}, which is an adapter too; merge that one into its base model "
            f"(merge_and_unload) and name the merged folder in {ADAPTER_CONFIG}"
        )
    return found


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file of a model folder; ModelError where it is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"model {file.parent} cannot be loaded: {file.name} is no JSON that can be read "
            f"({_first_words(error)}); {ANEW}"
        ) from error
    if not isinstance(found, dict):
        raise ModelError(
            f"model {file.parent} cannot be loaded: {file.name} holds a {type(found).__name__} where a JSON "
            f"object is expected; {ANEW}"
        )
    return found


def num_weights(folder: Path) -> tuple[int, int]:
    """How many tensors lie in the safetensors files of a folder, and how many numbers they hold together."""
    tensors = numbers = 0
    with explained(str(folder)):
        for file in folder.glob("*.safetensors"):
            with _whole(file), safe_open(file, framework="numpy") as opened:
                names = list(opened.keys())
                shapes = [opened.get_slice(name).get_shape() for name in names]
            tensors += len(shapes)
            numbers += sum(math.prod(shape) for shape in shapes)
    return tensors, numbers


@contextmanager
def _whole(file: Path) -> Iterator[None]:
    """ModelError that names the file, where it is no whole safetensors file."""
    try:
        yield
    except SafetensorError as error:
        raise ModelError(
            f"model {file.parent} cannot be loaded: {file.name} ({file.stat().st_size} bytes) is cut short "
            f"or damaged ({_first_words(error)}); {ANEW}"
        ) from error


@contextmanager
def explained(path: str) -> Iterator[None]:
    """ModelError with the first words of what went wrong, where files of a model cannot be read.

    Whatever it is: by what a broken file holds, transformers, tokenizers and torch fail in any place and way.
    """
    try:
        yield
    except KpigError:
        raise
    except Exception as error:
        advice = ""
        if isinstance(error, SafetensorError):
            advice = f"; its weights are cut short or damaged: {ANEW}"
        elif not os.path.exists(path):
            advice = f"; there is no folder {path} here, so it was taken for a hub name"
        raise ModelError(f"model {path} cannot be loaded: {_first_words(error)}{advice}") from error


def _first_words(error: BaseException) -> str:
    """The first sentence of an error's message; and its kind, where the message would say little.

    A sentence may run over several lines; of one that does not end, MOST_CHARACTERS are shown.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    num = next((n for n, line in enumerate(lines, 1) if line.endswith((".", "!", "?"))), 1)
    words = " ".join(lines[: max(num, 1 + lines[0].endswith(":") if lines else 0)]).rstrip(".")
    if len(words) > MOST_CHARACTERS:
        words = f"{words[:MOST_CHARACTERS].rsplit(' ', 1)[0]} ..."
    plain = isinstance(error, OSError | SafetensorError) or (isinstance(error, ValueError) and " " in words)
    return words if words and plain else f"{type(error).__name__}: {words}".rstrip(": ")


def _check_base(path: str, base: str) -> None:
    try:
        _check_whole(base)
    except ModelError as error:
        raise ModelError(
            f"adapter {path} belongs to {base} (base_model_name_or_path in {ADAPTER_CONFIG}), which "
            f"cannot be used: {error}"
        ) from error


def _check_whole(path: str) -> None:
    """Refuse the folder of a whole model, but for its tokenizer, which an adapter on top may bring."""
    if os.path.exists(path):
        check_model(Path(path))
    else:
        _require_hub_name(Path(path), path)


def check_model(folder: Path) -> None:
    """Refuse a folder that does not hold the config and the weights of one model, by ModelError."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"model folder {folder} has no config.json; give the folder that save_pretrained wrote"
        )
    config = read_json(folder / "config.json")
    if problem := kind.problem(config):
        raise ModelError(f"model {folder} {problem}")
    if not any(folder.glob("*.safetensors")):
        _refuse_weights(f"model folder {folder}", folder, "*.safetensors")
    _require_layers(folder, config)


def _require_layers(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse more layers than there are tensors, before so many are built."""
    tensors, _ = num_weights(folder)
    if kind.num_layers(config) > tensors:
        raise ModelError(
            f"model {folder}: config.json asks for {kind.num_layers(config)} layers, but the weights are "
            f"only {tensors} tensors; they do not belong together. Copy config.json and *.safetensors anew "
            "from one source"
        )


def _require_tokenizer(folder: Path) -> None:
    if os.path.isdir(folder) and not any(any(folder.glob(pattern)) for pattern in TOKENIZERS):
        raise ModelError(
            f"model folder {folder} has no tokenizer; expected tokenizer.json (or tokenizer.model, or "
            "vocab.json and merges.txt) beside config.json. Copy it from where the model came from, or write "
            "it there: tokenizer.save_pretrained(folder)"
        )


def _require_hub_name(folder: Path, path: str) -> None:
    beside = _models_in(folder.parent)
    if not (path.startswith((".", "/")) or path.count("/") > 1 or ("/" in path and beside)):
        return
    near = nearest(folder.name, beside)
    meant = f"; did you mean {folder.parent / near}?" if near else ""
    raise ModelError(
        f"model folder {path} does not exist{meant}; give a folder with config.json and *.safetensors (in a "
        "config: model.path), or tiny"
    )


def _refuse_weights(what: str, folder: Path, expected: str) -> None:
    if any(next(folder.glob(pattern), None) for pattern in PICKLES):
        raise ModelError(
            f"{what} has pickle weights only, which can run code when loaded; convert them to "
            "safetensors (load them where you trust them, then model.save_pretrained(folder)) and try again"
        )
    raise ModelError(f"{what} has no weights; expected {expected} beside its configuration")


def _sought(base: str, adapter: Path) -> str:
    """A base model's folder as it is, or where it lies beside the adapter; a hub name as it is."""
    if os.path.exists(base):
        return base
    here = true_path(adapter)
    places: Sequence[Path] = (here, *here.parents)
    return next((str(place / base) for place in places if (place / base / "config.json").is_file()), base)


def _models_in(folder: Path) -> list[str]:
    """The names of the model folders in a folder."""
    return sorted(file.parent.name for file in folder.glob("*/config.json"))
