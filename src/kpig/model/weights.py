"""Read a model's weights from a folder or a hub, every tensor from there: none made up, none left over."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from kpig.errors import ModelError, some
from kpig.model import kind
from kpig.model.folder import check_model, explained, num_weights

CONSTANTS = re.compile(r"(\.inv_freq|\.masked_bias|\.(attn|attention)\.bias|(^|\.)position_ids|causal_mask)$")
"""Names of tables that earlier versions of transformers wrote beside the weights; models make them anew."""

MOST_NUMBERS = 4
"""How many times the numbers of its weights a model may have before it is not built at all. Tied weights may
count once on one side and twice on the other. Chosen, not measured."""

FEW_NUMBERS = 100_000_000
"""A model of no more is built in any case, so that what differs is told by name: 0.4 GB in float32."""


def read(path: str, dtype: torch.dtype, trust: bool, **more: Any) -> Any:
    """The causal language model in a folder or on a hub, in evaluation mode; `more` as transformers takes it.

    Raises ModelError where a tensor of the model is not in the files, a tensor of the files not in the model,
    or of another shape, weights that are tied to others excepted; and for a model that is no causal one.
    """
    with explained(path):
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust)
    if problem := kind.problem(config.to_dict()):
        raise ModelError(f"model {path} {problem}")
    if Path(path).is_dir():
        _require_size(path, lambda: AutoModelForCausalLM.from_config(config, trust_remote_code=trust))  # type: ignore[no-untyped-call]
    return read_as(AutoModelForCausalLM, path, dtype, trust_remote_code=trust, **more)


def read_saved(model_class: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A model of the class from the folder that its weights were saved to; ModelError as `read`.

    Without its config.json transformers would build the class at its default size, of any number of layers.
    """
    path = str(folder)
    with explained(path):
        check_model(folder)
        config = model_class.config_class.from_pretrained(path)
    _require_size(path, lambda: model_class(config))
    return read_as(model_class, path, dtype)


def read_as(model_class: Any, path: str, dtype: torch.dtype, **more: Any) -> Any:
    """A model of the class from a folder; ModelError as `read`."""
    with explained(path), _quiet():
        model, report = model_class.from_pretrained(
            path,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **more,
        )
    require_whole(f"model {path}", report)
    return model


def require_whole(what: str, report: Mapping[str, Any]) -> None:
    """Refuse weights that were read in part, by a loading report of transformers or of torch.

    `missing_keys` are names of tensors, `unexpected_keys` too; `mismatched_keys` names with the shape in the
    file and in the model. Raises ModelError.
    """
    unexpected = [name for name in report.get("unexpected_keys", ()) if not CONSTANTS.search(name)]
    shapes = [
        f"{name}, {_shape(found)} instead of {_shape(asked)}" for name, found, asked in _mismatched(report)
    ]
    problems = [
        _counted(sorted(report.get("missing_keys", ())), "missing from the files"),
        _counted(sorted(unexpected), "in the files but not in the model"),
        _counted(sorted(shapes), "of another shape in the files"),
    ]
    if any(problems):
        raise ModelError(
            f"{what}: the weights do not fit the configuration: {'; '.join(filter(None, problems))}. What is "
            "missing would be drawn at random. Copy all files anew from one source, or save the model again "
            "(save_pretrained)"
        )


def _mismatched(report: Mapping[str, Any]) -> Collection[tuple[str, Collection[int], Collection[int]]]:
    found: Collection[tuple[str, Collection[int], Collection[int]]] = report.get("mismatched_keys", ())
    return found


def _counted(names: list[str], how: str) -> str:
    return (
        f"{len(names)} {'tensor is' if len(names) == 1 else 'tensors are'} {how} ({some(names)})"
        if names
        else ""
    )


def _shape(sizes: Collection[int]) -> str:
    return " x ".join(map(str, sizes))


def _require_size(path: str, made: Callable[[], Any]) -> None:
    """Refuse a model far larger than its weights, before what is missing is made up and fills the memory."""
    with explained(path), torch.device("meta"):
        empty = made()
    wanted = sum(tensor.numel() for tensor in (*empty.parameters(), *empty.buffers()))
    _, held = num_weights(Path(path))
    if wanted > max(FEW_NUMBERS, MOST_NUMBERS * held):
        raise ModelError(
            f"model {path}: config.json describes a model of {wanted} numbers, but the weights hold {held}; "
            "they do not belong together. Copy config.json and *.safetensors anew from one source"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the loading report of transformers, which `require_whole` tells in words."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(before)
