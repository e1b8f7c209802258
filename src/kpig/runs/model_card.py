"""The card of an exported model: what it is, what it learned, its scores, how to ask it. No torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpig.errors import RunError
from kpig.model.folder import is_local
from kpig.rendering import markdown_cell, render, visible
from kpig.runs.served import Tuned
from kpig.scoring import metrics, scores
from kpig.scoring.records import TaskScore

UNKNOWN = "unknown"
"""The licence where neither the command nor the base's card states one: the Hub's own word for it."""


INEXACT = (
    "the tokenizer's chat template alone does not make the run's prompts (it may tell the date): config.toml "
    "of the run says under [model] what it was given"
)


@dataclass(frozen=True)
class Asking:
    """How the model is asked: an example as messages, in a chat template or plainly.

    `exact`: the exported template makes the very prompts of the run.
    """

    messages: Sequence[Mapping[str, str]]
    chat: bool
    exact: bool

    @property
    def code(self) -> str:
        """The messages as Python, in which no fence can end."""
        return json.dumps(list(self.messages)).replace("`", "\\u0060")


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
        "learned": _learned(tuned),
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


def _learned(tuned: Tuned) -> list[str]:
    """The names of the tasks of each step that was learned, in one text each."""
    path = tuned.run.path / "stream.json"
    try:
        steps = tuned.run.read("stream.json")["steps"][: tuned.number]
        return [", ".join(task["task"] for task in step["tasks"]) for step in steps]
    except (KeyError, TypeError) as error:
        raise RunError(f"{path}: is damaged (it names no tasks for its steps); restore it") from error


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
