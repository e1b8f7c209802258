"""From instruction data to a base model: tokenizer, random weights, a run of the method beside this file."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from kpig.config import ModelSection, RunConfig, build
from kpig.errors import DivergedError, RunError
from kpig.files import publish_json, refuse_links, replace_folder, sync_folder, true_path, writing
from kpig.methods import chosen
from kpig.model.encoding import Encoder
from kpig.model.learner import Learner
from kpig.model.loading import load
from kpig.pretrain import card, mixture, shapes, speed
from kpig.pretrain.recipe import Precision, Recipe
from kpig.pretrain.shapes import SHAPES
from kpig.pretrain.tokenizer import train_tokenizer
from kpig.progress import Watcher
from kpig.records import Task
from kpig.runs import job, lock, restart
from kpig.runs.places import told_new

MIXTURE, START, RUN, MODEL, PREPARED = "mixture.jsonl.gz", "start", "run", "model", "prepared.json"
METHOD = "kpig.pretrain.method:Pretrain"
"""No method of a stream, so it is not in the registry."""

MAX_NEW_TOKENS = 64
"""Tokens of an answer at most, kept free when test examples are chosen: the default of
`evaluate.max_new_tokens`."""

CHECKPOINT_EVERY = 100
"""Updates: a killed run loses about two minutes at the speed of docs/LOG.md (2,940 updates in 3,961 s)."""

EARLIER_DEFAULTS = {"precision": Precision.FLOAT32}
"""Of keys that older recipes lack and that have another default by now."""


def prepare(recipe: Recipe, out: Path, watch: Watcher) -> dict[str, Any]:
    """Write mixture, tokenizer and random weights into `out`, or take over those of the same recipe.

    Returns what prepared.json records. RunError where `out` was prepared for another recipe.
    """
    wanted = asdict(recipe)
    found = _prepared(out)
    if found is not None:
        defaults = {field.name: field.default for field in fields(Recipe)} | EARLIER_DEFAULTS
        keys = sorted(key for key in wanted if found["recipe"].get(key, defaults[key]) != wanted[key])
        if keys:
            raise RunError(
                f"{out} was begun with another recipe; different: {', '.join(keys)}. "
                "Give the same options, or --out another folder."
            )
        return found
    watch.say("reading the tasks")
    tasks, dropped = mixture.read_mixture(recipe.tasks, recipe.test_per_task)
    learner = starting_model(recipe, tasks, watch)
    kept = mixture.fitting(tasks, learner.encoder, MAX_NEW_TOKENS, dropped)
    with writing(out):
        mixture.write_mixture(kept, out / MIXTURE)
        shutil.rmtree(out / START, ignore_errors=True)
        learner.save(out / START)
        sync_folder(out / START)
    facts = {
        "recipe": wanted,
        "shape": asdict(shapes.shape_of(learner.model)),
        "parameters": sum(weight.numel() for weight in learner.model.parameters()),
        "tasks": len(kept.tasks),
        "train_examples": kept.num_train,
        "test_examples": sum(len(task.test) for task in kept.tasks),
        "left_out_too_long": kept.too_long,
        "left_out_input_is_tested": kept.repeats_a_test,
    }
    publish_json(out / PREPARED, facts)
    return facts


def _prepared(out: Path) -> dict[str, Any] | None:
    """What prepared.json records, None where nothing is prepared; RunError where it is damaged."""
    path = out / PREPARED
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found["recipe"], dict) and type(found["tasks"]) is int:
            return dict(found)
        why = "it names no recipe"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
    raise RunError(
        f"{path}: is damaged ({why}); delete it to prepare {out} again, or give --out another folder"
    )


def starting_model(recipe: Recipe, tasks: Sequence[Task], watch: Watcher) -> Learner:
    """The model to go on from, or one of random weights with a tokenizer trained on the tasks."""
    if recipe.start:
        return load(ModelSection(path=recipe.start, max_length=recipe.max_length))
    shape = SHAPES[recipe.size]
    watch.say(f"training the tokenizer, {shape.vocabulary} tokens")
    tokenizer = train_tokenizer(tasks, shape.vocabulary)
    return Learner(
        shapes.build(shape, tokenizer, recipe.seed), tokenizer, Encoder(tokenizer, recipe.max_length)
    )


def run_config(recipe: Recipe, out: Path, num_tasks: int) -> RunConfig:
    """The run of the method over the mixture, all tasks in one step."""
    return build(
        {
            "seed": recipe.seed,
            "model": {"path": str(out / START), "max_length": recipe.max_length},
            "stream": {
                "path": str(out / MIXTURE),
                "held_out": recipe.held_out,
                "tasks_per_step": num_tasks,
            },
            "method": {"name": METHOD},
            "train": {
                "epochs": recipe.epochs,
                "batch_size": recipe.batch_size,
                "group_size": recipe.group_size,
                "row_tokens": recipe.max_length,
                "tokens_per_micro_batch": 8192,
                "learning_rate": recipe.learning_rate,
                "warmup": 0.02,
                "weight_decay": 0.1,
                "beta2": 0.98,
                "precision": str(recipe.precision),
                "checkpoint_every": CHECKPOINT_EVERY,
                "held_out_loss_every": 100,
            },
            "evaluate": {"max_new_tokens": MAX_NEW_TOKENS},
        }
    )


def run(recipe: Recipe, out: Path, resume: bool = False, watch: Watcher | None = None) -> dict[str, Any]:
    """A base model with its card in `out`/model, trained by a run in `out`/run; the facts of the card.

    An interrupted one goes on with `resume=True`. Raises a KpigError for anything the user can mend,
    BusyError where another process is at work in the folder.
    """
    watch = watch or Watcher()
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; give a folder")
    if not resume and out.exists() and {path.name for path in out.iterdir()} - {lock.INSIDE}:
        raise RunError(
            f"{out} is not empty; continue what is there with --resume, or give --out another folder"
        )
    refuse_links(out)
    if resume and not (out / PREPARED).is_file():
        watch.say(told_new(out, RUN))
    with lock.held(out):
        return _made(settled(recipe, out), out, watch)


def _made(recipe: Recipe, out: Path, watch: Watcher) -> dict[str, Any]:
    """What `run` makes, in a folder that is this process's alone."""
    prepared = prepare(recipe, out, watch)
    planned = chosen.complete(run_config(recipe, true_path(out), prepared["tasks"]))
    config = restart.going_on(out / RUN, planned)
    try:
        job.run(config, out / RUN, resume=(out / RUN).exists(), watch=watch)
    except DivergedError as error:
        raise DivergedError(
            f"{error}\nThen give the command of kpig pretrain again, with --resume."
        ) from error
    watch.say("writing the card")
    return publish(prepared, out)


def settled(recipe: Recipe, out: Path) -> Recipe:
    """The recipe with what "auto" stands for: what `out` was begun with, else what is faster here."""
    if recipe.precision != Precision.AUTO:
        return recipe
    found = _prepared(out)
    if found is not None:
        return replace(recipe, precision=Precision((EARLIER_DEFAULTS | found["recipe"])["precision"]))
    return replace(recipe, precision=Precision(speed.faster_precision()))


def publish(prepared: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """The trained weights, the tokenizer and the card as `out`/model; the facts of the card."""
    new = out / f".{MODEL}"
    with writing(out / MODEL):
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(out / RUN / "steps" / "01" / "model", new)
        found = card.write(new, prepared, out / RUN)
        replace_folder(new, out / MODEL, out / f".{MODEL}.old")
    return found
