"""Which model a local folder holds, as digests that tell it from any other wherever it lies. No torch."""

import hashlib
import json
from pathlib import Path
from typing import Any

from kpig.model.folder import base_of_adapter, digest, is_adapter

NAMES = {
    "model_digest": "weights",
    "model_config_digest": "model config",
    "tokenizer_digest": "tokenizer",
    "chat_template_digest": "chat template",
}
"""What each digest is of, in words; the keys are those of environment.json."""

CONFIGS = ("config.json", "generation_config.json", "adapter_config.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer*.model",
    "*.tiktoken",
    "spiece.model",
    "sentencepiece*.model",
    "vocab*",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
)
TOKENIZER_CONFIG, TEMPLATE_KEY = "tokenizer_config.json", "chat_template"
TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja")


def digests(path: str) -> dict[str, str | None]:
    """SHA-256, in hex, of what decides a model's answers, by the keys of NAMES.

    Those of an adapter are of its base too. All None for a name that is no local folder.
    It costs a second or so for each GB of weights.
    """
    if not is_adapter(path):
        return _own_digests(Path(path))
    own, below = _own_digests(Path(path)), _own_digests(Path(base_of_adapter(path)))
    return {key: _sha256(str(own[key]).encode(), str(below[key]).encode()) for key in NAMES}


def _own_digests(folder: Path) -> dict[str, str | None]:
    if not folder.is_dir():
        return dict.fromkeys(NAMES)
    settings = _tokenizer_settings(folder)
    template = settings.pop(TEMPLATE_KEY, None)
    return {
        "model_digest": digest(str(folder)),
        "model_config_digest": _sha256(*_contents(folder, CONFIGS)),
        "tokenizer_digest": _sha256(*_contents(folder, TOKENIZER_FILES), _canonical(settings)),
        "chat_template_digest": _sha256(*_contents(folder, TEMPLATE_FILES), _canonical(template)),
    }


def _tokenizer_settings(folder: Path) -> dict[str, Any]:
    """What tokenizer_config.json says, {} where it is missing; damaged, it is what its bytes are."""
    file = folder / TOKENIZER_CONFIG
    if not file.is_file():
        return {}
    content = file.read_bytes()
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    return dict(found) if isinstance(found, dict) else {"damaged": content.hex()}


def _contents(folder: Path, patterns: tuple[str, ...]) -> list[bytes]:
    """Name and content of the files that there are, in the order of their names."""
    files = sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})
    return [part for file in files for part in (file.name.encode(), file.read_bytes())]


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False).encode()


def _sha256(*parts: bytes) -> str:
    """Over the digests of the parts, so that no two lists of parts run together."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()
