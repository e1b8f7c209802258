"""Read Super-NaturalInstructions task files, and stream files that put them in steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kpig.errors import DataError, some
from kpig.records import Constraint, Instruction, KeySpan
from kpig.tasks.drafts import GIVEN, SPLITS, Draft, Row
from kpig.tasks.names import check_name
from kpig.tasks.problems import Problems
from kpig.tasks.readers.annotations import Annotations, read_annotations
from kpig.tasks.readers.files import (
    NO_TASK_FILES,
    STREAM_FILE,
    name_of,
    parse_object,
    read_text,
    refuse_unknown,
    typed,
    within,
)
from kpig.tasks.readers.renewal import Renewal
from kpig.tasks.readers.values import checked_metric, kept_rows, read_row, texts_of

ENDINGS = (".json", ".json.gz")
"""How task files are named, in any case."""

STREAM_KEYS = (
    *("steps", "tasks", "stream", "heldout", "name", "seed", "format", "licence", "license"),
    *("instances_per_task", "split_rule", "published_orders", "absent_tasks"),
)
STEP_KEYS = ("tasks", "step", "name")
TASK_KEYS = (
    "task",
    "file",
    *(f"{split}_ids" for split in SPLITS),
    "category",
    "licence",
    "license",
    "upstream_split",
)
"""What a stream file, its steps and their tasks may say. Most of it is for readers of the file."""


@dataclass(frozen=True)
class _Entry:
    """A task file to read; `splits` maps the ids to use to one of SPLITS, None means all ids."""

    name: str
    path: Path
    splits: Mapping[str, str] | None = None
    step: int | None = None


def read_superni(path: Path, problems: Problems, renewal: Renewal | None = None) -> list[Draft]:
    """A stream folder, a stream file, a folder of task files or one task file; raises DataError if empty."""
    folder = path if path.is_dir() else path.parent
    annotations = read_annotations(folder, problems, renewal)
    stream_path = path / STREAM_FILE if path.is_dir() else path
    if stream_path.exists() and _is_stream_file(stream_path):
        entries = _stream_entries(
            parse_object(read_text(stream_path), str(stream_path)), stream_path, problems
        )
    else:
        entries = _file_entries([path] if path.is_file() else task_files(path), problems)
    if path.is_dir():
        known = {entry.name for entry in entries} | {name_of(file) for file in task_files(path)}
        annotations.refuse_strangers(known, problems)
    if not entries and not problems.found:
        raise DataError(f"{path}: no task files; expected {STREAM_FILE}, tasks/*.json or *.json")
    drafts = []
    for entry in entries:
        with problems.collected():
            drafts.append(_superni_draft(entry, annotations, problems))
    return drafts


def _is_stream_file(path: Path) -> bool:
    return (
        path.name == STREAM_FILE
        or not {"Instances", "Definition"} & parse_object(read_text(path), str(path)).keys()
    )


def task_files(folder: Path) -> list[Path]:
    """The task files of `folder/tasks`, else of the folder itself, by name."""
    inner = folder / "tasks"
    files = within(inner if inner.is_dir() else folder)
    return [one for one in files if one.name.casefold().endswith(ENDINGS) and one.name not in NO_TASK_FILES]


def _file_entries(paths: Sequence[Path], problems: Problems) -> list[_Entry]:
    entries = []
    for path in paths:
        with problems.collected():
            entries.append(_Entry(check_name(name_of(path), str(path)), path))
    return entries


def _stream_entries(raw: Mapping[str, Any], path: Path, problems: Problems) -> list[_Entry]:
    """The entries of a stream file: `steps` of tasks, or `tasks` alone."""
    if "steps" not in raw and "tasks" not in raw:
        raise DataError(
            f"{path}: has neither 'steps', 'tasks' nor 'Instances', "
            f"but {some(list(map(repr, raw))) or 'nothing'}; expected a stream or a task file, or a list of "
            "examples"
        )
    with problems.collected():
        refuse_unknown(raw, STREAM_KEYS, str(path))
        if "steps" in raw and "tasks" in raw:
            raise DataError(
                f"{path}: has both 'steps' and 'tasks'; put every task into a step, or remove 'steps'"
            )
    steps = raw.get("steps", [{"tasks": raw.get("tasks")}])
    entries = []
    for number, step in enumerate(typed(steps, list, f"{path}: 'steps'", "a list"), start=1):
        where = f"{path}: step {number}" if "steps" in raw else str(path)
        with problems.collected():
            step = typed(step, dict, where, "an object with 'tasks'")
            if "steps" in raw:
                refuse_unknown(step, STEP_KEYS, where)
                with problems.collected():
                    _check_number(step, number, where)
            for task in typed(step.get("tasks"), list, f"{where}: 'tasks'", "a list"):
                with problems.collected():
                    entries.append(_stream_entry(task, path, where, number if "steps" in raw else None))
    return entries


def _check_number(step: Mapping[str, Any], number: int, where: str) -> None:
    """Refuse a step that states another number than its place: the places are what is learned."""
    stated = step.get("step", number)
    if type(stated) is not int or stated != number:
        raise DataError(
            f"{where}: states 'step' {stated!r}, but steps are learned in the order of the file; bring them "
            "into order, or remove 'step' (stream.order in a config changes the order)"
        )


def _stream_entry(raw: object, path: Path, where: str, step: int | None) -> _Entry:
    raw = typed(raw, dict, f"{where}: a task", "an object with 'task' and 'file'")
    name = check_name(raw.get("task"), where)
    refuse_unknown(raw, TASK_KEYS, f"{where}: task '{name}'")
    file = typed(
        raw.get("file", _usual_place(path.parent, name)), str, f"{where}: task '{name}': 'file'", "a path"
    )
    if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts or "\\" in file or ":" in file:
        raise DataError(f"{where}: task '{name}': file {file!r} is not a path inside the stream's folder")
    splits: dict[str, str] = {}
    for split in SPLITS:
        ids = typed(raw.get(f"{split}_ids", []), list, f"{where}: task '{name}': '{split}_ids'", "a list")
        for example_id in map(str, ids):
            if splits.get(example_id, split) != split:
                both = f"{splits[example_id]}_ids and in {split}_ids"
                raise DataError(f"{where}: task '{name}': id '{example_id}' is in {both}")
            splits[example_id] = split
    return _Entry(name, path.parent / file, splits or None, step)


def _usual_place(folder: Path, name: str) -> str:
    """Where a task's file lies that no 'file' names: as `task_files` looks for it."""
    return f"tasks/{name}.json" if (folder / "tasks").is_dir() else f"{name}.json"


def _superni_draft(entry: _Entry, annotations: Annotations, problems: Problems) -> Draft:
    raw = parse_object(read_text(entry.path), str(entry.path))
    where = f"{entry.path}: task '{entry.name}'"
    texts = _definitions(raw.get("Definition"), where)
    spans: tuple[KeySpan, ...] = ()
    wordings: tuple[Instruction, ...] = ()
    demands: tuple[Constraint, ...] = ()
    with problems.collected():
        spans = annotations.spans(entry.name, texts[0])
    with problems.collected():
        wordings = _wordings(entry.name, texts[1:], annotations)
    with problems.collected():
        demands = annotations.demands(entry.name)
    return Draft(
        name=entry.name,
        where=str(entry.path),
        instructions=(Instruction(texts[0], spans), *wordings),
        rows=_superni_rows(raw.get("Instances"), entry, where, problems),
        categories=texts_of(raw.get("Categories", []), f"{where}: 'Categories'"),
        constraints=demands,
        metric=checked_metric(raw.get("metric"), where),
        step=entry.step,
        published=True,
    )


def _wordings(name: str, texts: Sequence[str], annotations: Annotations) -> tuple[Instruction, ...]:
    """The further definitions of a task, with the key parts that the file beside it has under 'own'."""
    own = annotations.own_key_parts(name)
    return tuple(Instruction(text, annotations.own_spans(name, text, own), GIVEN) for text in texts)


def _definitions(value: object, where: str) -> tuple[str, ...]:
    texts = texts_of(value if value is not None else [], f"{where}: 'Definition'")
    if not texts or not all(text.strip() for text in texts):
        raise DataError(
            f"{where}: has no instruction; expected a text, or a list of texts, under 'Definition'"
        )
    return tuple(dict.fromkeys(texts))


def _superni_rows(instances: object, entry: _Entry, where: str, problems: Problems) -> tuple[Row, ...]:
    instances = typed(instances, list, f"{where}: 'Instances'", "a list of objects with id, input and output")
    rows: list[Row] = []
    skipped: list[str] = []
    for number, instance in enumerate(instances, start=1):
        with problems.rows.collected():
            instance = typed(instance, dict, f"{where}: instance {number}", "an object")
            example_id = id_of(instance, f"{entry.name}-{number}")
            if entry.splits is None or example_id in entry.splits:
                split = entry.splits[example_id] if entry.splits else None
                row = read_row(instance, example_id, split, where, str(entry.path), problems)
                if row is None:
                    skipped.append(f"{where}: instance {number}")
                else:
                    rows.append(row)
    with problems.collected():
        ids = {
            id_of(instance, f"{entry.name}-{number}")
            for number, instance in enumerate(instances, start=1)
            if isinstance(instance, Mapping)
        }
        absent = [example_id for example_id in entry.splits or () if example_id not in ids]
        if absent:
            raise DataError(
                f"{where}: {len(absent)} ids of the stream file are absent from the task file "
                f"({', '.join(map(repr, absent[:3]))}); both must be of the same version"
            )
    return kept_rows(rows, where, skipped, problems)


def id_of(instance: Mapping[str, Any], otherwise: str) -> str:
    """The id that an instance states; one of null is none."""
    return otherwise if instance.get("id") is None else str(instance["id"])
