"""Whether a stream has the validation examples that a config wants, and what is done with them. No torch."""

from kpig.config import SUITE, RunConfig
from kpig.errors import ConfigError, some
from kpig.records import Stream


def require(config: RunConfig, tasks: Stream) -> None:
    """Refuse settings that nothing could be decided by: ConfigError."""
    if found := problems(config, tasks):
        raise ConfigError("\n".join(found))


def problems(config: RunConfig, tasks: Stream) -> list[str]:
    """A problem where [train] asks for what needs validation examples and a step has none."""
    settings = {name: getattr(config.train, name) for name in ("validation_every", "patience", "keep_best")}
    given = " and ".join(f"{name} = {str(value).lower()}" for name, value in settings.items() if value)
    without = [
        number for number, step in enumerate(tasks.steps, 1) if not any(one.validation for one in step)
    ]
    if not given or not without:
        return []
    need = "need" if " and " in given else "needs"
    if config.stream.path == SUITE:
        return [f"[train] {given} {need} validation examples, which the built-in suite has not; remove it"]
    first = [task.name for task in tasks.steps[without[0] - 1]]
    return [
        f"[train] {given} {need} validation examples, and {len(without)} of {len(tasks.steps)} steps have "
        f"none (the first is step {without[0]}: {some(first)}); set stream.validation_per_task to split some "
        "off the training examples, or mark some with the split 'validation' beside a test split"
    ]


def cautions(config: RunConfig, tasks: Stream) -> list[str]:
    """A sentence where examples are kept from training to judge it."""
    judged = [task for task in tasks.tasks if task.validation]
    if not judged:
        return []
    every = config.train.validation_every
    when = f"every {every} updates" if every else "after each pass over a step's training examples"
    return [
        f"{sum(len(task.validation) for task in judged)} validation examples of {len(judged)} of "
        f"{len(tasks.tasks)} tasks ({some([task.name for task in judged])}) are not trained on: their loss "
        f"is measured {when} and at a step's end"
    ]
