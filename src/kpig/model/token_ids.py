"""Texts to ids by any tokenizer, many at once where its library can. No torch, no transformers."""

from collections.abc import Sequence
from typing import Any

OWN_WORK = "transformers.tokenization_utils_tokenizers"
"""The module whose tokenizers ask the tokenizers library and change nothing of what it says."""


def ids_of(
    tokenizer: Any, texts: Sequence[str], *, add_special_tokens: bool, split_special_tokens: bool
) -> list[tuple[int, ...]]:
    """The ids of each text, as the tokenizer's `encode` gives them with these arguments.

    Several texts go through the tokenizers library together, which then also leaves out the places of the
    tokens in the text; where a class of transformers does more than to ask it, each goes by itself.
    """
    backend = _backend(tokenizer) if len(texts) > 1 else None
    if backend is None:
        arguments = {"add_special_tokens": add_special_tokens, "split_special_tokens": split_special_tokens}
        return [tuple(tokenizer.encode(text, **arguments)) for text in texts]
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = split_special_tokens
    found = backend.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
    return [tuple(one.ids) for one in found]


def _backend(tokenizer: Any) -> Any:
    """What does the work of `encode`; None where the tokenizer's class has a part in it."""
    asks = getattr(type(tokenizer), "_encode_plus", None)
    is_own_work = asks is None or asks.__module__ == OWN_WORK
    return getattr(tokenizer, "backend_tokenizer", None) if is_own_work else None
