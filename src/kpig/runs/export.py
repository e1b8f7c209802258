"""From a run to a model in use: a folder that transformers, PEFT and vLLM load, without kpig."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from kpig.errors import RunError
from kpig.files import publish, publish_json, replace_folder, writing
from kpig.model import identity, loading
from kpig.model.encoding import PLAIN_TEMPLATE, PLAIN_TURN, Encoder
from kpig.model.folder import ADAPTER_CONFIG, base_of_adapter, is_local, read_json, resolve
from kpig.model.learner import Learner
from kpig.records import Example, Instruction
from kpig.runs import model_card
from kpig.runs.folder import begun_at, check_same_model
from kpig.runs.served import Tuned

PLAIN_CHAT = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    + f"{PLAIN_TURN.lead}{{{{ message['content'] }}}}{{{{ eos_token }}}}\n"
    + "{% else %}"
    + PLAIN_TEMPLATE.format(body="{{ message['content'] }}")
    + "{% endif %}{% endfor %}"
)
"""The plain prompt as a chat template: so a model that was trained with it is asked as any other is."""

PROBES = ("Say the word.", "Sort.\n\nInput: b a\n\n 3 é ")
"""What a chat template is tried on before it is trusted to make the prompts of the run."""


@dataclass(frozen=True)
class Exported:
    """What was written: whether it is an adapter, and the base it needs then; warnings in words."""

    folder: Path
    is_adapter: bool
    base: str
    notes: tuple[str, ...]


def check_free(out: Path, run: Path) -> None:
    """Refuse a folder that holds anything or lies in the run's own; writes nothing. RunError."""
    if out.resolve().is_relative_to(run.resolve()):
        raise RunError(f"{out} lies inside the run {run}; give --out a folder elsewhere")
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; give --out a folder that is new or empty")
    if out.is_symlink() or (out.is_dir() and any(out.iterdir())):
        raise RunError(
            f"{out} {'is a symbolic link' if out.is_symlink() else 'is not empty'}; an export replaces "
            "nothing. Give --out a folder that is new or empty"
        )


def export(tuned: Tuned, out: Path, merge: bool = False, dtype: str = "", licence: str = "") -> Exported:
    """Write a step of a run into the folder `out`, which is there whole or not at all.

    An adapter stays one unless `merge`, and names its base by a whole path or hub name. `dtype` is how the
    weights are kept, "" for as they were trained; merging is done in the dtype of training. The generation
    settings are those by which the run was scored: greedy, with every token that ends a turn.
    Raises RunError where the step holds no model, `out` is not empty, or the base is another one by now, and
    ModelError where the model cannot be loaded.
    """
    out = Path(os.path.abspath(out))
    check_free(out, tuned.run.path)
    if not tuned.number:
        raise RunError(
            f"{tuned.run.path}: step 0 is the untuned model {tuned.config.model.path}; use that itself"
        )
    base = _base(tuned)
    learner = loading.load(tuned.section, clock=begun_at(tuned.run.path))
    model = learner.model.merge_and_unload() if merge and learner.is_adapter else learner.model
    stays = learner.is_adapter and not merge
    if dtype:
        model = model.to(getattr(torch, dtype))
    chat = _prompted(learner)
    notes = () if chat else ("no chat template makes the run's prompts; the card says how they are made",)
    facts = model_card.facts(tuned, base, stays, chat, dtype or tuned.section.dtype, licence)
    temporary, old = (out.parent / f".{out.name}.{os.getpid()}.{kind}" for kind in ("tmp", "old"))
    with writing(out):
        try:
            temporary.mkdir(parents=True)
            _write(temporary, model, learner, tuned, base if stays else "")
            publish(temporary / "README.md", model_card.text(facts))
            replace_folder(temporary, out, old)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Exported(out, stays, base, notes)


def _base(tuned: Tuned) -> str:
    """The whole path or hub name of the untuned model; RunError where an adapter's is not the run's."""
    path = resolve(tuned.config.model.path)
    if tuned.is_adapter:
        path = base_of_adapter(str(tuned.folder))
        check_same_model(tuned.run.path, path, identity.digests(path))
    return os.path.abspath(path) if is_local(path) else path


def _write(folder: Path, model: Any, learner: Learner, tuned: Tuned, base: str) -> None:
    """Weights, tokenizer and generation settings; `base` where an adapter names it."""
    settings = _generation(learner, tuned)
    if not base:
        model.generation_config = settings
    model.save_pretrained(folder)
    learner.tokenizer.save_pretrained(folder)
    if base:
        settings.save_pretrained(folder)
        config = read_json(folder / ADAPTER_CONFIG) | {"base_model_name_or_path": base}
        publish_json(folder / ADAPTER_CONFIG, config)


def _generation(learner: Learner, tuned: Tuned) -> GenerationConfig:
    """Greedy, as the run was scored: what the base says of sampling and penalties is left out."""
    return GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        eos_token_id=list(learner.ends),
        pad_token_id=learner.pad_id,
        bos_token_id=learner.tokenizer.bos_token_id,
        max_new_tokens=tuned.config.evaluate.max_new_tokens,
    )


def _prompted(learner: Learner) -> bool:
    """Whether the tokenizer's chat template makes the run's prompts; the plain prompt becomes one.

    The tokenizer is left without a template where none does.
    """
    tokenizer, encoder = learner.tokenizer, learner.encoder
    if encoder.chat:
        return True
    starts = [f"{{{{ {name} }}}}" for name in ("bos_token",) if tokenizer.bos_token]
    for start in ("", *starts):
        tokenizer.chat_template = start + PLAIN_CHAT
        if all(_same_prompt(tokenizer, encoder, text) for text in PROBES):
            return True
    tokenizer.chat_template = None
    return False


def _same_prompt(tokenizer: Any, encoder: Encoder, text: str) -> bool:
    example = Example("", "", Instruction(text), "", ("",))
    messages = [{"role": "user", "content": text}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    return tuple(ids) == encoder.encode(example).prompt
