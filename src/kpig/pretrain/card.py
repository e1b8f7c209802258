"""The card of a base model: what it was made of, what it cost, what it can do and what it cannot."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from kpig.config import RunConfig, load_resolved
from kpig.files import publish, publish_json
from kpig.pretrain import predictors, speed
from kpig.pretrain.shapes import Shape
from kpig.records import Task
from kpig.runs import fitting
from kpig.runs.folder import RunDir
from kpig.scoring import scores
from kpig.scoring.records import Cost, TaskScore


def facts(prepared: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """All numbers of the card, read from a finished run; the matrix rate is measured now."""
    folder = RunDir(run)
    settings = load_resolved(run / "config.toml")
    tasks = fitting.stream_of(settings)
    found = scores.read_run(run / "scores.json")
    events = folder.updates()
    curve = {
        event["update"]: event["held_out_loss"] for event in events if event.get("held_out_loss") is not None
    }
    text, constant = predictors.constant(tasks.tasks)
    last, untuned = found.steps[-1].tasks, found.steps[0].tasks
    return {
        **{key: value for key, value in prepared.items() if key != "recipe"},
        "recipe": _without_folders(prepared["recipe"]) | _as_trained(settings),
        "scorer": found.scorer,
        "updates": found.cost.updates,
        "train_tokens": found.cost.train_tokens,
        "computed_tokens": _computed(found.cost),
        "train_seconds": round(found.cost.train_seconds),
        "device": folder.read("environment.json")["device"],
        "threads": folder.read("environment.json")["threads"],
        "speed": _speed(prepared, found.cost, events),
        "held_out_loss": sorted(curve.items()),
        "own": _group(last, tasks.tasks)
        | {
            "untuned_p_score": _mean(untuned, tasks.tasks, lambda score: score.p_score),
            "constant": constant,
            "constant_response": text,
            "copy": predictors.copy(tasks.tasks),
            "commonest_of_task": predictors.commonest_of_task(tasks.tasks),
        },
        "held_out": _group(last, tasks.held_out) if tasks.held_out else None,
    }


def _as_trained(settings: RunConfig) -> dict[str, Any]:
    """What of the recipe may have changed since, where a step that diverged was begun anew."""
    train = settings.train
    return {
        "epochs": train.epochs,
        "batch_size": train.batch_size,
        "learning_rate": train.learning_rate,
        "precision": train.precision,
    }


def markdown(found: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    own, shape, rate = found["own"], found["shape"], found["speed"]
    recipe = found["recipe"]
    lines = [
        f"# A base model of {found['parameters'] / 1e6:.1f} M parameters, trained from {_start(recipe)}",
        "",
        f"Llama architecture: width {shape['width']}, {shape['layers']} layers, {shape['heads']} heads, "
        f"inner width {shape['inner']}, tied embeddings; byte-level BPE tokenizer of {shape['vocabulary']} "
        "tokens trained on the same text. It has read nothing but the mixture below: expect it to follow the "
        "kinds of instruction that are in there, badly where knowledge is needed, and no others.",
        "",
        "| | |",
        "|---|---|",
        f"| data | `{recipe['tasks']}`: {found['tasks']} tasks, {found['train_examples']:,} training "
        "examples |",
        f"| left out | {found['left_out_too_long']:,} examples that exceed {recipe['max_length']} tokens, "
        f"{found['left_out_input_is_tested']:,} whose input is a test input of some task |",
        f"| training | {recipe['epochs']:g} epochs, {found['updates']:,} updates of {recipe['batch_size']} "
        f"examples, peak learning rate {recipe['learning_rate']:g}, {recipe['precision']}, "
        f"seed {recipe['seed']} |",
        f"| cost | {found['computed_tokens'] / 1e6:.1f} M tokens forward and backward (shared instructions "
        f"once, padding too), {found['train_seconds']:,} s on {found['device']}, "
        f"{found['threads']} threads |",
        f"| speed | {rate['tokens_per_second']:,.0f} tokens/s; {rate['flops_per_second'] / 1e9:.0f} "
        f"GFLOP/s, {100 * rate['share_of_float32']:.0f} % of the machine's float32 matrix rate "
        f"({rate['float32_rate'] / 1e9:.0f} GFLOP/s; bfloat16 {rate['bfloat16_rate'] / 1e9:.0f}) |",
        f"| command | `{_command(recipe)}` |",
        "",
        "## What it can do",
        "",
        f"P-score and V-score are those of kpig ({found['scorer']}), greedy, mean over tasks. On "
        f"{own['examples']:,} unseen examples of its own {own['num_tasks']} training tasks (no task trains "
        "on an equal input):",
        "",
        "| answers | P-score | V-score |",
        "|---|---|---|",
        f"| **this model** | **{own['p_score']:.1f}** | **{own['v_score']:.1f}** |",
        f"| the same model before training | {own['untuned_p_score']:.1f} | |",
        f"| the best single response, {own['constant_response']!r} | {own['constant']:.1f} | |",
        f"| a copy of the input | {own['copy']:.1f} | |",
        f"| the commonest response of the task (knows each label set) | {own['commonest_of_task']:.1f} | |",
        "",
        "V-score: a closed label set counts as a demand; a response that is empty, cut off or a copy counts "
        "everywhere.",
        "",
        *_category_table("its own training tasks, unseen examples", own["categories"]),
    ]
    if found["held_out"]:
        group = found["held_out"]
        lines += [
            f"On the {group['num_tasks']} tasks of `{recipe['held_out']}`, of kinds it never saw: P-score "
            f"{group['p_score']:.1f}, V-score {group['v_score']:.1f}.",
            "",
            *_category_table(recipe["held_out"], group["categories"]),
        ]
    lines += ["## Loss on unseen examples", "", "| update | nats per response token |", "|---|---|"]
    lines += [f"| {update} | {loss:.3f} |" for update, loss in _thinned(found["held_out_loss"])]
    return "\n".join(lines) + "\n"


def _speed(prepared: Mapping[str, Any], cost: Cost, events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Matrix operations per second: 6 per weight and token of the layers, of the output layer per response's.

    Attention products and the output layer on input tokens are work too, and are not counted; padding is.
    """
    shape = Shape(**prepared["shape"])
    seconds = cost.train_seconds
    targets = sum(event.get("tokens", 0) for event in events)
    tokens = _computed(cost)
    operations = 6 * shape.body * tokens + 6 * shape.width * shape.vocabulary * targets
    rates = speed.matmul_rates()
    return {
        "tokens_per_second": tokens / seconds,
        "flops_per_second": operations / seconds,
        **rates,
        "share_of_float32": operations / seconds / rates["float32_rate"],
    }


def _computed(cost: Cost) -> int:
    """The tokens that were computed; those shown where the run began before they were counted."""
    return cost.train_tokens if cost.computed_tokens is None else cost.computed_tokens


def _group(scored: Mapping[str, TaskScore], tasks: Sequence[Task]) -> dict[str, Any]:
    """P-score and V-score over the tasks, and by their first category."""
    members: dict[str, list[Task]] = {}
    for task in tasks:
        members.setdefault(task.categories[0] if task.categories else "none", []).append(task)
    return {
        **_scores(scored, tasks),
        "categories": {name: _scores(scored, members[name]) for name in sorted(members)},
    }


def _scores(scored: Mapping[str, TaskScore], tasks: Sequence[Task]) -> dict[str, float]:
    return {
        "p_score": _mean(scored, tasks, lambda score: score.p_score),
        "v_score": _mean(scored, tasks, lambda score: score.v_score),
        "num_tasks": len(tasks),
        "examples": sum(scored[task.name].n for task in tasks),
    }


def _mean(
    scored: Mapping[str, TaskScore], tasks: Sequence[Task], read: Callable[[TaskScore], float]
) -> float:
    return fmean(read(scored[task.name]) for task in tasks)


def _category_table(title: str, categories: Mapping[str, Mapping[str, float]]) -> list[str]:
    rows = [
        f"| {name} | {one['num_tasks']} | {one['examples']} | {one['p_score']:.1f} | {one['v_score']:.1f} |"
        for name, one in categories.items()
    ]
    return [f"| {title} | tasks | examples | P-score | V-score |", "|---|---|---|---|---|", *rows, ""]


def _thinned(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """About a dozen points of the curve, the first and the last among them."""
    stride = max(1, len(curve) // 12)
    return [point for place, point in enumerate(curve) if place % stride == 0 or place == len(curve) - 1]


def _start(recipe: Mapping[str, Any]) -> str:
    return f"the weights of `{recipe['start']}`" if recipe.get("start") else "random weights"


def _command(recipe: Mapping[str, Any]) -> str:
    options = {
        "tasks": "--tasks",
        "held_out": "--held-out",
        "start": "--from",
        "size": "--size",
        "epochs": "--epochs",
        "batch_size": "--batch-size",
        "learning_rate": "--learning-rate",
        "max_length": "--max-length",
        "precision": "--precision",
        "seed": "--seed",
    }
    unsaid = {"size"} if recipe.get("start") else set()
    given = " ".join(
        f"{flag} {recipe[key]}"
        for key, flag in options.items()
        if key not in unsaid and recipe.get(key) not in ("", None)
    )
    return f"kpig pretrain {given} --out DIR"


def write(out: Path, prepared: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """card.json and README.md in folder `out`; the facts."""
    found = facts(prepared, run)
    publish_json(out / "card.json", found)
    publish(out / "README.md", markdown(found))
    return found


def _without_folders(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Where the files lay is nobody's business; what they are called is."""
    return {
        key: Path(value).name if key in ("tasks", "held_out", "start") and value else value
        for key, value in recipe.items()
    }
