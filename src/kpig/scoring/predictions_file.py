"""Score a file of predictions, from any tool, as `kpig eval` scores a model's answers. No torch.

One JSON object per line. The response is under `response`, `prediction` or, where neither is there, `output`.
The test example is named by `example` or `id`, with `task` where several tasks have that id, or by `task` and
`input`. Optional: `finished` (false: cut off at the token limit), `prompt` (as the model saw it),
`masked_response` (to the prompt without its key parts) and `wording` ("seed", or "new" for one that was never
trained on). Where `input` stands beside the example's id, it must be the example's, or a prompt with it
inside; of `references` (or `reference`, `label`, `target`: a text or a list) one must be the example's: ids
alone may name another example in other data. Other fields are passed over.

So the files of `kpig eval` and `kpig run` can be scored, and {"id": ..., "prediction": ...},
the format of the Super-NaturalInstructions evaluation. `kpig.scoring.foreign` knows lines of further tools.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpig.errors import DataError, nearest, some
from kpig.records import HELD_OUT, NEW_WORDING, SEED_WORDING, SEEN, Example, Prediction, Task
from kpig.scoring import scores
from kpig.scoring.foreign import Asked, ByPrompt, ours, plain
from kpig.scoring.judge import judge
from kpig.scoring.records import Coverage, Evaluation
from kpig.tasks.problems import MOST_PROBLEMS_SHOWN
from kpig.tasks.readers.files import parse_object, read_lines, typed

RESPONSE_KEYS, ID_KEYS = ("response", "prediction"), ("example", "id")
REFERENCE_KEYS = ("references", "reference", "label", "target")
"""Where a line may say what the right answer is."""

OUTPUT = "output"
"""Read as the response where there is no other: beside one, many tools keep the reference there."""

OPTIONS = {"finished": bool, "prompt": str, "masked_response": str, "wording": str}
KNOWN = (*RESPONSE_KEYS, *ID_KEYS, OUTPUT, "task", "input", *REFERENCE_KEYS, *OPTIONS)
MOST_MISSING_SHOWN = 5
"""Tasks that are named where predictions are missing. Chosen, so that a message stays on a line or two."""

Key = tuple[str, str, str]
"""Task, example and wording: what there is one prediction for."""

Fields = Mapping[str, Any]
"""A line of the file as JSON has it."""


def score(
    path: Path, tasks: Sequence[Task], partial: bool = False, held_out: Collection[str] = ()
) -> tuple[Evaluation, list[Prediction], Coverage]:
    """The scores of a file of predictions, each prediction judged, and what is covered.

    `held_out` names those of the tasks that are, for means of their own.

    Raises DataError naming the lines that cannot be used or matched, and, unless `partial`, the tasks with
    test examples that have no prediction. Under a new wording, only tasks that have some are expected.
    """
    found = _read(path, tasks)
    coverage = _coverage(found, tasks)
    if coverage.missing and not partial:
        raise DataError(f"{path}: {describe(coverage)}; add them, or score what is there with --partial")
    predictions = _judged(found, tasks, held_out)
    return scores.evaluation(str(path), predictions, tasks, coverage), predictions, coverage


def describe(coverage: Coverage) -> str:
    """The coverage in one line."""
    text = f"predictions for {coverage.num_scored} of {coverage.num_examples} test examples"
    if not coverage.missing:
        return text
    named = [f"{name} {count}" for name, count in coverage.missing.items()]
    more = f" and {len(named) - MOST_MISSING_SHOWN} more tasks" if len(named) > MOST_MISSING_SHOWN else ""
    return f"{text}; missing: {', '.join(named[:MOST_MISSING_SHOWN])}{more}"


def describe_masked(predictions: Sequence[Prediction]) -> str:
    """How many predictions the half-listening rates are of, in one line; "" where of none or of all.

    Those under new wordings never count: they have no masked twin.
    """
    totals = Counter(one.task for one in predictions if one.wording == SEED_WORDING)
    masked = Counter(
        one.task for one in predictions if one.wording == SEED_WORDING and one.masked_response is not None
    )
    partly = [f"{task} {masked[task]} of {total}" for task, total in totals.items() if masked[task] < total]
    if not masked or not partly:
        return ""
    return (
        f"the half-listening rate is of {masked.total()} of {totals.total()} predictions, those with a "
        f"'masked_response' ({some(partly)})"
    )


# --- reading and matching --------------------------------------------------------------------


class _Index:
    """The test examples by task and id, by id alone, and by task and input."""

    def __init__(self, tasks: Sequence[Task]):
        self.by_task = {task.name: {example.id: example for example in task.test} for task in tasks}
        self.by_id: dict[str, list[Example]] = {}
        self.by_input: dict[tuple[str, str], list[Example]] = {}
        self.by_prompt = ByPrompt([example for task in tasks for example in task.test])
        for task in tasks:
            for example in task.test:
                self.by_id.setdefault(example.id, []).append(example)
                self.by_input.setdefault((task.name, plain(example.input)), []).append(example)

    def find(self, fields: Fields) -> Example:
        """The example that a line is about; DataError where there is none, or more than one."""
        name = fields.get("task")
        if name is not None and typed(name, str, "'task'", "a text") not in self.by_task:
            raise DataError(f"there is no task {_short(name)}{_hint(name, self.by_task)}")
        key = _id_key(fields)
        if asked := _asked(fields):
            return self.by_prompt.find(*asked)
        if key is None:
            return self._with_input(name, fields.get("input"))
        example_id = fields[key]
        if type(example_id) not in (str, int):
            raise DataError(f"{key!r} is of type {type(example_id).__name__}; expected a text or a number")
        found = self._with_id(name, str(example_id))
        _check_same(found, fields)
        return found

    def _with_id(self, name: str | None, example_id: str) -> Example:
        if name is not None:
            if example_id not in self.by_task[name]:
                hint = _hint(example_id, self.by_task[name])
                raise DataError(f"task {name!r} has no test example {_short(example_id)}{hint}")
            return self.by_task[name][example_id]
        found = self.by_id.get(example_id, [])
        if not found:
            raise DataError(f"no task has a test example {_short(example_id)}{_hint(example_id, self.by_id)}")
        if len(found) > 1:
            names = ", ".join(repr(example.task) for example in found[:3])
            raise DataError(f"several tasks have a test example {_short(example_id)} ({names}); state 'task'")
        return found[0]

    def _with_input(self, name: str | None, text: object) -> Example:
        if name is None or not isinstance(text, str):
            raise DataError(
                "names no test example; expected 'example' (or 'id'), or 'task' and 'input' as texts"
            )
        found = self.by_input.get((name, plain(text)), [])
        if not found:
            raise DataError(f"task {name!r} has no test example with the input {_short(text)}")
        if len(found) > 1:
            ids = ", ".join(repr(example.id) for example in found[:3])
            raise DataError(
                f"task {name!r} has several test examples with this input ({ids}); state 'example'"
            )
        return found[0]


def _id_key(fields: Fields) -> str | None:
    """Under which key a line names its example; None where it does not."""
    return next((key for key in ID_KEYS if fields.get(key) is not None), None)


def _asked(fields: Fields) -> Asked | None:
    """The prompt and the label that tell what a line answers, where it names no example."""
    if _id_key(fields) is None and "label" in fields and isinstance(fields.get("prompt"), str):
        return fields["prompt"], fields["label"]
    return None


def _all_asked(path: Path) -> Iterator[Asked | None]:
    """`_asked` of every line of a file, None of one that cannot be read."""
    for number, text in _lines(path):
        try:
            yield _asked(ours(parse_object(text, str(path), first_line=number)))
        except DataError:
            yield None


def _check_same(example: Example, fields: Fields) -> None:
    """Refuse a line that states another input than the example it names, or none of its references.

    Tools that keep the whole prompt as the input are right as long as the example's is in it.
    """
    text = fields.get("input")
    where = f"task {example.task!r}, example {example.id!r}"
    if isinstance(text, str) and plain(example.input) not in plain(text):
        raise DataError(
            f"states the input {_short(text)}, but that of {where} is {_short(example.input)}; --tasks must "
            "be the tasks that were answered (a run's folder stands for its own)"
        )
    known = set(map(plain, example.references))
    for key in REFERENCE_KEYS:
        stated = _stated(fields.get(key))
        if stated and not known & set(map(plain, stated)):
            raise DataError(
                f"states the {key} {_short(str(stated))}, but those of {where} are "
                f"{_short(str(list(example.references)))}; --tasks must be the tasks that were answered (a "
                "run's folder stands for its own)"
            )


def _stated(value: object) -> list[str]:
    """The references that a field states: a text, or lists of them; none where it is something else."""
    if isinstance(value, list):
        return [text for one in value for text in (_stated(one) if isinstance(one, list) else [str(one)])]
    return [value] if isinstance(value, str) else []


@dataclass(frozen=True)
class _Line:
    """One prediction as stated, and the number of its line."""

    number: int
    response: str
    fields: Fields
    filter: object = None
    """Names how lm-evaluation-harness took the answer from what the model wrote."""


def _doubled(earlier: _Line, fields: Fields, example: Example) -> str:
    """Why a second prediction for an example cannot be used; the same words for all lines of one filter."""
    used, other = earlier.filter, fields.get("filter")
    if used != other and isinstance(used, str) and isinstance(other, str):
        return (
            f"is after the filter {_short(other)}, and the file has an answer after {_short(used)} to the "
            "same example; keep the lines of one 'filter' in the file that is scored"
        )
    return (
        f"task {example.task!r}, example {example.id!r} has a prediction in line {earlier.number} already; "
        "keep one"
    )


def _read(path: Path, tasks: Sequence[Task]) -> dict[Key, _Line]:
    """The predictions by what they are for; DataError naming lines that cannot be used, up to a number."""
    index, wrong = _Index(tasks), _Wrong(path)
    found: dict[Key, _Line] = {}
    index.by_prompt.in_order = index.by_prompt.are_in_order(_all_asked(path))
    for number, text in _lines(path):
        try:
            given = parse_object(text, str(path), first_line=number)
        except DataError as error:
            wrong.add(str(error))
            continue
        try:
            fields = ours(given)
            line = _Line(number, _response(fields), _options(fields), fields.get("filter"))
            example = index.find(fields)
            key = (example.task, example.id, line.fields.get("wording", SEED_WORDING))
            if key in found:
                raise DataError(_doubled(found[key], fields, example))
            found[key] = line
        except DataError as error:
            wrong.add(str(error), number)
        if wrong.is_full:
            break
    wrong.check()
    if not found:
        raise DataError(f"{path}: holds no predictions; expected one JSON object per line")
    return found


@dataclass
class _Wrong:
    """What is wrong with lines, each fault once however many have it: its first line and their number."""

    path: Path
    faults: dict[str, list[int]] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether more would not be shown."""
        return len(self.faults) >= MOST_PROBLEMS_SHOWN

    def add(self, words: str, number: int | None = None) -> None:
        """One more line; without its number where the words name it."""
        self.faults.setdefault(words, []).extend([] if number is None else [number])

    def check(self) -> None:
        """Raise DataError with all of them, if there are any."""
        told = [self._told(words, lines) for words, lines in self.faults.items()]
        if self.is_full:
            told[MOST_PROBLEMS_SHOWN - 1 :] = ["... further lines were not looked at"]
        if told:
            raise DataError("\n".join(told))

    def _told(self, words: str, lines: Sequence[int]) -> str:
        if not lines:
            return words
        more = len(lines) - 1
        also = f" (and so {more} further line{'s' * (more > 1)})" if more else ""
        return f"{self.path}: line {lines[0]}: {words}{also}"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the file of predictions itself")
    yield from read_lines(path)


def _response(fields: Fields) -> str:
    given = [key for key in RESPONSE_KEYS if key in fields] or [key for key in (OUTPUT,) if key in fields]
    if not given:
        raise DataError(
            f"has no response; expected a text under {', '.join(map(repr, RESPONSE_KEYS))} or 'output'"
        )
    if len(given) > 1:
        raise DataError(f"has {' and '.join(map(repr, given))}; keep the one that is the response")
    return typed(fields[given[0]], str, f"{given[0]!r}", "a text")


def _options(fields: Fields) -> dict[str, Any]:
    """The optional fields that a line states; null counts as not stated."""
    for key in fields.keys() - set(KNOWN):
        near = nearest(key, (name for name in OPTIONS if name not in fields), cutoff=0.85)
        if near:
            raise DataError(f"there is no field {key!r}; did you mean {near!r}?")
    stated = {key: fields[key] for key in OPTIONS if fields.get(key) is not None}
    for key, value in stated.items():
        typed(value, OPTIONS[key], f"{key!r}", "true or false" if OPTIONS[key] is bool else "a text")
    if stated.get("wording", SEED_WORDING) not in (SEED_WORDING, NEW_WORDING):
        raise DataError(
            f"'wording' is {_short(stated['wording'])}; expected {SEED_WORDING!r} or {NEW_WORDING!r}"
        )
    return stated


def _short(text: str) -> str:
    return repr(text) if len(text) <= 80 else repr(text[:77] + "...")


def _hint(word: str, known: Mapping[str, object]) -> str:
    near = nearest(word[:200], known)
    return f"; did you mean {near!r}?" if near else "; it must be the tasks that were answered"


# --- judging ---------------------------------------------------------------------------------


def _coverage(found: Mapping[Key, _Line], tasks: Sequence[Task]) -> Coverage:
    reworded = {task for task, _, wording in found if wording == NEW_WORDING}
    missing: dict[str, int] = {}
    num_examples = num_scored = 0
    for task in tasks:
        wordings = (SEED_WORDING, NEW_WORDING) if task.name in reworded else (SEED_WORDING,)
        expected = [
            (task.name, example.id, wording)
            for wording in wordings
            for example in task.test
            if wording == SEED_WORDING or example.instruction in task.instructions
        ]
        num_examples += len(expected)
        absent = sum(key not in found for key in expected)
        num_scored += len(expected) - absent
        if absent:
            missing[task.name] = absent
    return Coverage(num_scored, num_examples, missing)


def _judged(found: Mapping[Key, _Line], tasks: Sequence[Task], held_out: Collection[str]) -> list[Prediction]:
    """In the order of the tasks and their examples, as `kpig eval` has them.

    A line without `prompt` is taken to have answered instruction and input, so that a copy is seen.
    """
    predictions = []
    for task in tasks:
        group = HELD_OUT if task.name in held_out else SEEN
        for wording in (SEED_WORDING, NEW_WORDING):
            for example in task.test:
                line = found.get((task.name, example.id, wording))
                if line is not None:
                    options = {key: value for key, value in line.fields.items() if key != "wording"}
                    options.setdefault("prompt", f"{example.instruction.text}\n\n{example.input}")
                    predictions.append(
                        judge(task, example, line.response, group=group, wording=wording, **options)
                    )
    return predictions
