"""The card of an exported model: what it is, what it learned, its scores, how to ask it. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpig.model.encoding import plain_prompt
from kpig.model.folder import is_local
from kpig.rendering import markdown_cell, render, visible
from kpig.runs.asked import learned_by
from kpig.runs.served import Tuned
from kpig.scoring import metrics, scores
from kpig.scoring.records import TaskScore

UNKNOWN = "unknown"
"""The licence where neither the command nor the base's card states one: the Hub's own word for it."""


INEXACT = (
    "the tokenizer's chat template alone does not make the run's prompts (it may tell the date): config.toml "
    "of the run says under [model] what it was given"
)


BY_USER = (
    "the instruction and, where there is an input, a blank line and `Input: ` with the input behind it: one "
    "user's turn. A system prompt and earlier turns stand before it, as in the run's data"
)
BY_SYSTEM = (
    "the instruction as the system prompt, and the bare input as the user's turn. Earlier turns stand "
    "between the two, as in the run's data"
)
MERGED = (
    "the instruction and a blank line in front of the first user's turn, for the chat template takes no "
    "system prompt. The last user's turn is the bare input, and earlier turns stand before it, as in the "
    "run's data"
)
"""What the model is asked with, by where the instruction stood in the run."""


@dataclass(frozen=True)
class Shown:
    """An example of a form, as the messages that it is asked with, in the words of the form and its tasks."""

    tasks: Sequence[str]
    words: str
    messages: Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Asking:
    """How the model is asked: an example of each form as messages, in a chat template or plainly.

    `exact`: the exported template makes the very prompts of the run. `is_known`: the forms are the run's.
    """

    forms: Sequence[Shown]
    chat: bool
    exact: bool
    is_known: bool = True

    @property
    def code(self) -> str:
        """The conversations as Python, plain texts where there is no template; no fence can end in them."""
        made = [list(one.messages) if self.chat else plain_prompt(one.messages) for one in self.forms]
        return "[\n" + "".join(f"    {one!a},\n".replace("`", "\\x60") for one in made) + "]"


def facts(
    tuned: Tuned, base: str, stays_adapter: bool, asking: Asking, dtype: str, licence: str
) -> dict[str, Any]:
    """What the template says, read from the run's folder.

    `base` is a whole path or a hub name. `stays_adapter`: it is needed beside the folder. `licence` goes
    before that of the base's card. RunError where files of the run are damaged.
    """
    found, _ = scores.read_step(tuned.run.step(tuned.number) / "scores.json")
    untuned, _ = scores.read_step(tuned.run.step(0) / "scores.json")
    licence = licence or _licence_of(base)
    return {
        "front": _front(base, stays_adapter, licence),
        "base": base,
        "is_local": is_local(base),
        "stays_adapter": stays_adapter,
        "asking": asking,
        "inexact": INEXACT,
        "dtype": dtype,
        "licence": licence,
        "method": tuned.config.method.name,
        "seed": tuned.config.seed,
        "step": tuned.number,
        "learned": [", ".join(names) for names in learned_by(tuned)],
        "scorer": metrics.SCORER,
        "max_new_tokens": tuned.config.evaluate.max_new_tokens,
        "max_length": tuned.section.max_length,
        "tasks": [
            (name, one.group.replace("_", "-"), one.metric, _p_score(untuned.tasks.get(name)), *_scores(one))
            for name, one in found.tasks.items()
        ],
    }


def text(found: dict[str, Any]) -> str:
    """The card as Markdown, in which no text of others steers anything."""
    return visible(render("model_card.md.j2", found, False, {"cell": markdown_cell}))


def _front(base: str, stays_adapter: bool, licence: str) -> str:
    """The card's YAML, as the Hub has it; a base in a folder has no name there."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        license=licence,
        library_name="peft" if stays_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["kpig", "continual-learning", *(["lora"] if stays_adapter else [])],
        base_model=None if is_local(base) else base,
        ignore_metadata_errors=True,
    )
    return str(data.to_yaml())


def _licence_of(base: str) -> str:
    """What the card in the base's folder states; UNKNOWN where it states nothing that can be read."""
    from huggingface_hub import metadata_load

    card = Path(base) / "README.md"
    try:
        stated = metadata_load(card) if is_local(base) and card.is_file() else None
    except Exception:  # whatever a broken card of another's makes of YAML: it states nothing then
        return UNKNOWN
    found = stated.get("license") if isinstance(stated, dict) else None
    return found if isinstance(found, str) and found.strip() else UNKNOWN


def _scores(score: TaskScore) -> tuple[str, str, str]:
    return f"{score.p_score:.1f}", f"{score.v_score:.1f}", str(score.n)


def _p_score(score: TaskScore | None) -> str:
    return "–" if score is None else f"{score.p_score:.1f}"
