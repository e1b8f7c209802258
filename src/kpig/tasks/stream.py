"""Load a stream of tasks: read, check, split, cap, put in order, and give it a digest."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from kpig.config import GENERAL, SUITE, RunConfig, SuiteSection
from kpig.errors import ConfigError, DataError, clause, nearest, some
from kpig.files import true_path
from kpig.records import Stream, Task
from kpig.tasks import digests, readers, suite
from kpig.tasks.drafts import Draft, build
from kpig.tasks.measures import measure
from kpig.tasks.order import in_steps, ordered
from kpig.tasks.problems import Problems
from kpig.tasks.readers.files import place
from kpig.tasks.readers.reading import Reading
from kpig.tasks.readers.renewal import Renewal
from kpig.tasks.readers.variants import Wordings

EVERY = "*"
"""What stands for every task that is not named."""

GENERAL_DIR = Path(__file__).parents[1] / "general"
"""Where the shipped general questions are, which GENERAL names."""


def load(
    path: str | Path,
    *,
    held_out: str | Path | Sequence[str | Path] | None = None,
    variants: str | Path | None = None,
    kind: str = "auto",
    metrics: Mapping[str, str] | None = None,
    order: str | Sequence[int] = "given",
    seed: int = 0,
    train_per_task: int | None = None,
    test_per_task: int | None = None,
    validation_per_task: int | None = None,
    tasks_per_step: int | None = None,
    max_steps: int | None = None,
    max_tasks_per_step: int | None = None,
    max_held_out: int | None = None,
    tasks: Sequence[str] = (),
    held_out_tasks: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    train_on: str = "last",
    bad_rows: str = "refuse",
    fits: Callable[[Draft], Draft] | None = None,
    renewal: Renewal | None = None,
) -> Stream:
    """The stream at `path` (kinds: readers.KINDS), and the held-out tasks at `held_out` (any kind).

    `held_out` is a path, "general" for the shipped general questions, or several of such.

    `columns` maps fields to the columns of the files, `train_on` is "last" or "all" assistant turns of a
    conversation; `bad_rows` "skip" leaves out and counts what "refuse" refuses (readers.Reading). `fits`
    gives each task as it was read without the rows that are to be left out. With a `renewal` key parts are
    read to be found anew (Renewal).

    `variants` is a file of further wordings (`kpig diversify`), or a folder with a variants.json, for
    both; without it, each uses the variants.json beside its tasks, if there is one.
    Examples that state no split are split by rule (drafts.split_by_rule), in held-out tasks all are test
    examples. `validation_per_task` examples are split off the training examples of tasks of the stream that
    state none (drafts.split_off_validation); None or 0: no task gets any.
    `tasks` and `held_out_tasks` name those to take of what is there, in its own order; none named: all.
    Every limit keeps the first; 0 or None keeps all. `tasks_per_step` cuts the tasks into steps
    of that many; without it the steps are the source's own, or one task each where it states none.
    `metrics` are by task name, "*" standing for every other task, over what the data state or is guessed.
    `order` is "given", "shuffled" (by `seed`) or a list of step numbers from 1; it arranges what
    `max_steps` leaves, so every order holds the same tasks.

    Raises ConfigError for a setting that cannot be, and DataError naming up to 20 problems of the data.
    """
    limits = {
        "train_per_task": train_per_task,
        "test_per_task": test_per_task,
        "validation_per_task": validation_per_task,
        "tasks_per_step": tasks_per_step,
        "max_steps": max_steps,
        "max_tasks_per_step": max_tasks_per_step,
        "max_held_out": max_held_out,
    }
    _check_limits(limits)
    problems, reading = Problems(bad_rows == "skip"), Reading(columns or {}, train_on, renewal=renewal)
    wordings = _wordings(variants, problems)
    drafts = _read(path, kind, problems, wordings, reading)
    asked = replace(reading, learned=False)
    held_out_drafts = _read_all(_sources(held_out), "auto", problems, wordings, asked)
    _check_wordings(wordings, [*drafts, *held_out_drafts], problems)
    drafts = _fitting(_taken(drafts, tasks, "tasks"), fits, problems)
    held_out_drafts = _fitting(_taken(held_out_drafts, held_out_tasks, "held_out_tasks"), fits, problems)
    _check_apart(drafts, held_out_drafts, problems)
    with problems.collected():
        steps = in_steps(drafts, tasks_per_step)
    built = _build_all(drafts, problems, "rule", train_per_task, test_per_task, validation_per_task)
    apart = _build_all(held_out_drafts, problems, "test", train_per_task, test_per_task)
    _check_trainable(built.values(), path, problems)
    problems.check()
    problems.tell()
    chosen = measured({**built, **apart}, metrics or {})
    kept = [step[: max_tasks_per_step or None] for step in steps[: max_steps or None]]
    return Stream(
        name=_name(path),
        steps=tuple(tuple(chosen[draft.name] for draft in step) for step in ordered(kept, order, seed)),
        held_out=tuple(chosen[name] for name in apart)[: max_held_out or None],
    )


def configured(
    config: RunConfig, fits: Callable[[Draft], Draft] | None = None, renewal: Renewal | None = None
) -> Stream:
    """The stream that a config describes: the built-in suite, or tasks from files.

    `fits` and `renewal` are as in `load`, and it raises as that does.
    """
    settings = config.stream
    if settings.path == SUITE:
        built = reordered(_suite(config.suite), settings.order, settings.order_seed)
        return replace(built, held_out=(*built.held_out, *_beside_suite(settings.held_out, built)))
    chosen = settings.model_dump(exclude={"order_seed", "held_out", "columns"})
    columns = settings.columns.given
    held_out = settings.held_out or None
    return load(
        **chosen, seed=settings.order_seed, held_out=held_out, columns=columns, fits=fits, renewal=renewal
    )


def _suite(settings: SuiteSection) -> Stream:
    try:
        return suite.stream(**settings.model_dump())
    except ValueError as error:
        raise ConfigError(
            f"[suite] {clause(error)}; lower num_steps, tasks_per_step or num_held_out"
        ) from error


def _beside_suite(held_out: str | Sequence[str], built: Stream) -> tuple[Task, ...]:
    """Held-out tasks from files or the general questions; DataError for a name that the suite has too."""
    found = [task for one in _sources(held_out) for task in load_tasks(one)]
    known = Counter(task.name for task in (*built.tasks, *built.held_out, *found))
    if twice := [name for name, count in known.items() if count > 1]:
        raise DataError(
            f"{len(twice)} held-out tasks have names that others of this stream have ({some(twice)}); names "
            "must differ"
        )
    return tuple(found)


def _sources(paths: str | Path | Sequence[str | Path] | None) -> list[str | Path]:
    """The places that are named, one or several; those of "" are none."""
    named = [paths] if isinstance(paths, str | Path) else paths or ()
    return [one for one in named if str(one)]


def reordered(stream: Stream, order: str | Sequence[int], seed: int) -> Stream:
    """The same stream with its steps in another order; see `load` for `order`, ConfigError as there."""
    return replace(stream, steps=tuple(ordered(list(stream.steps), order, seed)))


def load_tasks(
    path: str | Path,
    *,
    variants: str | Path | None = None,
    kind: str = "auto",
    metrics: Mapping[str, str] | None = None,
    train_per_task: int | None = None,
    test_per_task: int | None = None,
    max_tasks: int | None = None,
    split_by_rule: bool = False,
    columns: Mapping[str, str] | None = None,
    train_on: str = "last",
    bad_rows: str = "refuse",
    unanswered: bool = False,
    borrowed: bool = False,
    fits: Callable[[Draft], Draft] | None = None,
    renewal: Renewal | None = None,
) -> tuple[Task, ...]:
    """All tasks at `path`, those of all steps in order, to be evaluated; none needs training examples.

    Examples that state no split are all test examples; with `split_by_rule` they are split as `load` does.
    `variants`, `metrics`, `columns`, `train_on`, `bad_rows`, `fits` and `renewal` are as for `load`.
    `unanswered`: rows may lack the response, and have a stand-in then: such tasks are asked, not scored.
    `borrowed`: the columns are those of other data, so that these may lack them.
    Raises ConfigError and DataError as `load` does.
    """
    limits = {"train_per_task": train_per_task, "test_per_task": test_per_task, "max_tasks": max_tasks}
    _check_limits(limits)
    problems = Problems(bad_rows == "skip")
    reading = Reading(columns or {}, train_on, unanswered, borrowed, split_by_rule, renewal)
    wordings = _wordings(variants, problems)
    drafts = _read(path, kind, problems, wordings, reading)
    _check_wordings(wordings, drafts, problems)
    drafts = _fitting(drafts, fits, problems)
    unsplit: Literal["rule", "test"] = "rule" if split_by_rule else "test"
    tasks = _build_all(drafts, problems, unsplit, train_per_task, test_per_task)
    problems.check()
    problems.tell()
    return tuple(measured(tasks, metrics or {}).values())[: max_tasks or None]


def measured(tasks: Mapping[str, Task], metrics: Mapping[str, str]) -> dict[str, Task]:
    """The tasks by name with these metrics, by task name or "*" for every other.

    Raises ConfigError for a metric that there is not, or a task.
    """
    for name in metrics.keys() - tasks.keys() - {EVERY}:
        raise ConfigError(
            f"a metric is given for {name!r:.80}, and there is no such task{_hint(name, tasks)} '*' stands "
            "for every task"
        )
    for metric in metrics.values():
        measure(metric)
    given = {name: metrics.get(name, metrics.get(EVERY, task.metric)) for name, task in tasks.items()}
    return {name: replace(task, metric=given[name]) for name, task in tasks.items()}


def _hint(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known, with the nearest one that is."""
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else "."


def _wordings(path: str | Path | None, problems: Problems) -> Wordings | None:
    return readers.read_wordings(place(path), problems) if path else None


def _read(
    path: str | Path, kind: str, problems: Problems, wordings: Wordings | None, reading: Reading
) -> list[Draft]:
    """The drafts at `path`; tasks with a name that an earlier one has are a problem and left out."""
    return _read_all([path], kind, problems, wordings, reading)


def _read_all(
    paths: Sequence[str | Path], kind: str, problems: Problems, wordings: Wordings | None, reading: Reading
) -> list[Draft]:
    """The drafts at all the paths, as `_read`."""
    drafts: list[Draft] = []
    for path in paths:
        found = GENERAL_DIR if path == GENERAL else place(path)
        with problems.collected():
            drafts += readers.read(found, kind, problems, wordings, reading)
    where = " and ".join(map(str, paths))
    for name, count in Counter(draft.name for draft in drafts).items():
        if count > 1:
            problems.add(f"{where}: {count} tasks are named '{name}'; names must differ")
    return list({draft.name: draft for draft in drafts}.values())


def _fitting(drafts: list[Draft], fits: Callable[[Draft], Draft] | None, problems: Problems) -> list[Draft]:
    """The drafts as `fits` leaves them; one that it refuses is a problem and left out."""
    if fits is None:
        return drafts
    found = []
    for draft in drafts:
        with problems.collected():
            found.append(fits(draft))
    return found


def _taken(drafts: list[Draft], names: Sequence[str], key: str) -> list[Draft]:
    """The drafts of these names, all where none is named; ConfigError for a name that there is not."""
    known = {draft.name for draft in drafts}
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{key} has {name!r:.80}, and there is no such task among {len(known)}"
                f"{_hint(name, known)} Task names stand in the data, or are those of the files"
            )
    return [draft for draft in drafts if not names or draft.name in names]


def _build_all(
    drafts: Sequence[Draft],
    problems: Problems,
    unsplit: Literal["rule", "test"],
    train_per_task: int | None,
    test_per_task: int | None,
    validation_per_task: int | None = None,
) -> dict[str, Task]:
    tasks = {}
    for draft in drafts:
        with problems.collected():
            tasks[draft.name] = build(draft, unsplit, train_per_task, test_per_task, validation_per_task)
            if not tasks[draft.name].test:
                raise DataError(
                    f"{draft.where}: task '{draft.name}': has no test examples; mark some with split 'test' "
                    "or test_ids, or state no split at all to have kpig split them"
                )
    return tasks


def _name(path: str | Path) -> str:
    path = true_path(path)
    return path.name if path.is_dir() else path.parent.name if path.name == "stream.json" else path.stem


# --- checks ------------------------------------------------------------------------------------------


def _check_limits(limits: Mapping[str, int | None]) -> None:
    wrong = {name: value for name, value in limits.items() if value is not None and not _is_count(value)}
    if wrong:
        lines = [f"{name} is {value!r}; expected 0 (all) or more" for name, value in wrong.items()]
        raise ConfigError("\n".join(lines))


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _check_wordings(wordings: Wordings | None, drafts: Sequence[Draft], problems: Problems) -> None:
    """A file of variants may cover more tasks than were read, but not none of them."""
    names = {draft.name for draft in drafts}
    if wordings is not None and wordings.entries and not names & set(wordings.entries) and not problems.found:
        wordings.refuse_strangers(names, problems)


def _check_apart(drafts: Sequence[Draft], held_out: Sequence[Draft], problems: Problems) -> None:
    learned = {draft.name: draft for draft in drafts}
    for draft in held_out:
        if draft.name in learned:
            problems.add(
                f"{draft.where}: held-out task '{draft.name}' is also in the stream "
                f"({learned[draft.name].where}); leave it out of one"
            )


def _check_trainable(tasks: Iterable[Task], path: str | Path, problems: Problems) -> None:
    for task in tasks:
        if not task.train:
            problems.add(
                f"{path}: task '{task.name}': has no training examples ({len(task.test)} test examples); "
                "add some (other inputs than those of its test examples), or load these tasks as held_out"
            )


# --- digest ------------------------------------------------------------------------------------------


def digest(stream: Stream) -> str:
    """SHA-256, in hex, of everything a run depends on: tasks, their examples, the order, the held-out tasks.

    The stream's name is left out: it only tells where the files lie.
    """
    steps = [[digests.of_task(task) for task in step] for step in stream.steps]
    return digest_of(steps, [digests.of_task(task) for task in stream.held_out])


def digest_of(steps: Sequence[Sequence[str]], held_out: Sequence[str]) -> str:
    """The digest of a stream whose tasks have these digests, in its steps and held out."""
    return digests.of_value({"steps": steps, "held_out": held_out})


def summary(stream: Stream) -> dict[str, Any]:
    """What the run folder's stream.json records: names, sizes and digests, as plain JSON values."""
    return {
        "name": stream.name,
        "digest": digest(stream),
        "steps": [
            {"step": number, "tasks": [_task_summary(task) for task in step]}
            for number, step in enumerate(stream.steps, start=1)
        ],
        "held_out": [_task_summary(task) for task in stream.held_out],
    }


def _task_summary(task: Task) -> dict[str, str | int]:
    return {
        "task": task.name,
        "metric": task.metric,
        "train": len(task.train),
        "test": len(task.test),
        **({"validation": len(task.validation)} if task.validation else {}),
        "instructions": len(task.instructions) + len(task.own_instructions),
        "key_parts": len(task.instruction.key_parts),
        "constraints": len(task.constraints),
        "digest": digests.of_task(task),
    }
