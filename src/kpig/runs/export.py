"""From a run to a model in use: a folder that transformers and PEFT load, without kpig."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import torch
from transformers import GenerationConfig

from kpig.errors import DataError, RunError
from kpig.files import publish, publish_json, replace_folder, true_path, writing
from kpig.model import identity, loading
from kpig.model.chat import Messages
from kpig.model.encoding import PLAIN_ANSWER, PLAIN_SYSTEM, PLAIN_TEMPLATE, PLAIN_TURN
from kpig.model.folder import ADAPTER_CONFIG, base_of_adapter, is_local, read_json, resolve
from kpig.model.learner import Learner
from kpig.records import Instruction
from kpig.runs import asked, model_card
from kpig.runs.asked import Form
from kpig.runs.folder import begun_at, check_same_model
from kpig.runs.served import Tuned

_CONTENT = "{{ message['content'] }}"
PLAIN_CHAT = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    + PLAIN_SYSTEM.format(text=_CONTENT).replace("\n", "{{ '\\n' }}")
    + "{% elif message['role'] == 'user' %}"
    + PLAIN_TEMPLATE.format(body=_CONTENT)
    + "{% elif loop.last %}"
    + f"{PLAIN_TURN.lead}{_CONTENT}{{{{ eos_token }}}}"
    + "{% else %}"
    + PLAIN_ANSWER.format(text=_CONTENT).replace("\n", "{{ '\\n' }}")
    + "{% endif %}{% endfor %}"
)
"""The plain prompt as a chat template: so a model that was trained with it is asked as any other is. Line
breaks in front of a block are written out, for Jinja drops the one behind a block."""

PROBES = ("Say the word.", "Sort.\n\nInput: b a\n\n 3 é ")
"""Instructions that a chat template is tried on, as system prompt too where the run has them there, before it
is trusted to make the prompts of the run."""


FROM_4_BITS = (
    "it was trained on a base in 4 bits, and its base here has all of its bits: some answers may be other "
    "ones than in the run"
)


NO_TASKS = (
    "the run keeps no examples, as an earlier version wrote it or --forget-data left it: the card shows an "
    "instruction in the user's turn; compare the prompts in its steps/*/predictions"
)

Wanted = tuple[Messages, tuple[int, ...]]
"""A conversation, and the ids of the prompt that the run makes of it."""


@dataclass(frozen=True)
class Exported:
    """What was written: whether it is an adapter, and the base it needs then; warnings in words."""

    folder: Path
    is_adapter: bool
    base: str
    notes: tuple[str, ...]


def check_free(out: Path, run: Path) -> None:
    """Refuse a folder that holds anything or lies in the run's own; writes nothing. RunError."""
    if true_path(out).is_relative_to(true_path(run)):
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
    weights are kept, "" for as they were trained; merging is done in the dtype of training, and never in 4
    bits, which a note tells. The generation
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
    plain = tuned.section.model_copy(update={"quantization": "none"})
    learner = loading.load(plain, clock=begun_at(tuned.run.path))
    model = learner.model.merge_and_unload() if merge and learner.is_adapter else learner.model
    stays = learner.is_adapter and not merge
    if dtype:
        model = model.to(getattr(torch, dtype))
    known = asked.forms(tuned)
    forms = known or [asked.Form(False, (), asked.STAND_IN)]
    wanted = _wanted(learner, forms, tuned.config.evaluate.max_new_tokens)
    exact = _prompted(learner, tuned.config.model.chat_template_arguments, wanted)
    notes: tuple[str, ...] = () if exact else (f"{model_card.INEXACT}; the card says so",)
    notes += () if known else (NO_TASKS,)
    notes += () if plain == tuned.section else (FROM_4_BITS,)
    shown = [
        model_card.Shown(form.tasks, _words(learner, form), learner.encoder.messages(form.stand_in))
        for form in forms
    ]
    asking = model_card.Asking(shown, learner.encoder.chat or exact, exact, bool(known))
    facts = model_card.facts(tuned, base, stays, asking, dtype or tuned.section.dtype, licence)
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


def _words(learner: Learner, form: Form) -> str:
    if not form.as_system:
        return model_card.BY_USER
    return model_card.MERGED if learner.encoder.merges_system else model_card.BY_SYSTEM


def _wanted(learner: Learner, forms: Sequence[Form], max_new_tokens: int) -> list[Wanted]:
    """The prompts of the examples of all forms, as the run asked them, of what is shown, and of PROBES."""
    examples = [form.example for form in forms]
    probes = [
        replace(one, instruction=Instruction(text), input=asked.STAND_IN.input, references=("",))
        for one in examples
        for text in PROBES
    ]
    found: list[Wanted] = []
    for number, one in enumerate((*examples, *(form.stand_in for form in forms), *probes)):
        try:
            encoded = learner.encoder.encode(one, max_new_tokens)
        except DataError:  # turns before a short instruction may leave no room for a longer one
            if number < len(examples):
                raise
            continue
        found.append((learner.encoder.messages(one, num_cut=encoded.num_cut), encoded.prompt))
    return found


def _prompted(
    learner: Learner, arguments: Mapping[str, bool | int | float | str], wanted: Sequence[Wanted]
) -> bool:
    """Whether the tokenizer's chat template makes the run's prompts; it is made to where that can be.

    Arguments of the run become its first lines, of several templates the run's is kept, and the plain prompt
    becomes a template. The tokenizer is left with its own, or none, where none does.
    """
    tokenizer, encoder = learner.tokenizer, learner.encoder
    own: Any = tokenizer.chat_template if encoder.chat else None
    tried = [PLAIN_CHAT, *(["{{ bos_token }}" + PLAIN_CHAT] if tokenizer.bos_token else [])]
    if encoder.chat:
        source = own[encoder.template_name] if isinstance(own, Mapping) else own
        tried = ["".join(f"{{% set {key} = {json.dumps(arguments[key])} %}}" for key in arguments) + source]
    for template in tried:
        tokenizer.chat_template = template
        if all(_prompt(tokenizer, messages) == prompt for messages, prompt in wanted):
            return True
    tokenizer.chat_template = own
    return False


def _prompt(tokenizer: Any, messages: Messages) -> tuple[int, ...] | None:
    """What transformers makes of messages; None where the template refuses them."""
    try:
        return tuple(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))
    except jinja2.TemplateError:
        return None
