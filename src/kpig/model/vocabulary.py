"""The encoder of a model that is not loaded. No torch, and no transformers where tokenizer.json says all."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from kpig.config import ModelSection
from kpig.errors import KpigError
from kpig.model import kind
from kpig.model.encoding import Encoder, configured
from kpig.model.folder import check_folder, is_adapter, read_json, resolve

CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""Names in tokenizer_config.json of what takes tokenizer.json as it is; others change something of it."""

KNOWN = frozenset(
    {
        "backend",
        "clean_up_tokenization_spaces",
        "is_local",
        "local_files_only",
        "model_max_length",
        "tokenizer_class",
    }
)
"""What tokenizer_config.json may say beside the names of special tokens without any change to the ids."""

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

OTHERS = ("special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json")
"""Files that would add something to tokenizer.json."""


def encoder_of(section: ModelSection, clock: str | None = None) -> Encoder:
    """The encoder of the model that a config's [model] section describes, without its weights.

    Texts get the ids that transformers gives them: it loads wherever that is not certain, so that it takes
    a few seconds more. Raises ModelError for a folder without a usable config or tokenizer.
    """
    path = resolve(section.path)
    check_folder(path)
    try:
        tokenizer = None if section.trust_remote_code else _plain(Path(path))
    except Exception:
        # Whatever is wrong with a stranger's file is told by the library that reads all of them.
        tokenizer = None
    if tokenizer is None:
        from kpig.model import loading

        return loading.load_encoder(section, clock)
    longest = min(section.max_length, shape(section).max_position_embeddings)
    return configured(tokenizer, section, longest, clock)


def shape(section: ModelSection) -> Any:
    """What is known of the language model in a config's [model] section, its base's for an adapter.

    The names of what it holds are those of transformers, which loads where config.json leaves something to
    a default. Raises ModelError for a folder without a usable config.
    """
    path = resolve(section.path)
    if not section.trust_remote_code and not is_adapter(path):
        try:
            stated = kind.stated(read_json(Path(path) / "config.json"))
        except KpigError:
            stated = None
        if stated is not None:
            return stated
    from kpig.model import loading

    return loading.text_config(section)


def _plain(folder: Path) -> "Plain | None":
    """The tokenizer of a folder whose tokenizer.json says all; None where it may not."""
    if is_adapter(str(folder)) or any((folder / name).exists() for name in OTHERS):
        return None
    if kind.stated(read_json(folder / "config.json")) is None:
        return None
    settings = read_json(folder / "tokenizer_config.json")
    named = {name: token for name in SPECIAL if (token := settings.get(name)) is not None}
    if settings.get("tokenizer_class") not in CLASSES or set(settings) - KNOWN - set(SPECIAL):
        return None
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = {token.content: number for number, token in _special_tokens(tokenizer)}
    if "eos_token" not in named or not all(isinstance(one, str) and one in special for one in named.values()):
        return None
    return Plain(tokenizer, {name: special[token] for name, token in named.items()})


def _special_tokens(tokenizer: Tokenizer) -> list[tuple[int, Any]]:
    return [one for one in tokenizer.get_added_tokens_decoder().items() if one[1].special]


class Plain:
    """A tokenizer, as far as an encoder asks one, with the names and the ids that transformers gives."""

    chat_template = None

    def __init__(self, tokenizer: Tokenizer, named: dict[str, int]):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.backend_tokenizer = tokenizer
        self.eos_token_id = named["eos_token"]
        self.all_special_ids = list(dict.fromkeys(named.values()))

    def __len__(self) -> int:
        return int(self.backend_tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(
        self, text: str, add_special_tokens: bool = True, split_special_tokens: bool = False
    ) -> list[int]:
        """Ids of a text; a special token that is spelled out in it is text, where those are split."""
        self.backend_tokenizer.encode_special_tokens = split_special_tokens
        return list(self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def convert_ids_to_tokens(self, number: int) -> str | None:
        """The token with an id."""
        found: str | None = self.backend_tokenizer.id_to_token(number)
        return found
