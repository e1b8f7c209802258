"""scores.json is version 1 to the letter, and what does not fit is refused by file and place, whatever it is.

`golden/` was made by the code of commit 89facc1, the last before scores were records. Tasks, with 6 training
and 3 test examples each: in step 1 `side` ("Answer yes.", closed labels), in step 2 `echo` ("Say it again.",
the references are the inputs, one wording for evaluation); held out is `first` ("Give the first word.", 3
test examples, one wording for evaluation). Method replay, seed 3, 6 updates a step of 8 examples at a
learning rate of 2e-3, 12 new tokens:

    kpig run my.toml --out old_run
    kpig eval old_run/steps/02/model --tasks old_run --max-new-tokens 12 --out evaluated
    cat old_run/steps/02/predictions/*.jsonl | head -14 > answers.jsonl
    kpig score answers.jsonl --tasks old_run --partial --out scored

Since then models, method states and the report were removed, paths of folders and the platform cut short, and
both files of the evaluations moved up beside the run.
"""

import ast
import base64
import gzip
import json
import math
import re
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpig import report
from kpig.compare.comparison import compare
from kpig.errors import DataError, RunError
from kpig.model.ledger import Ledger
from kpig.records import Prediction, Task
from kpig.scoring import predictions, records, scores

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
OLD_RUN = GOLDEN / "old_run"
TASKS = [Task(name, (), (), (), kind) for name, kind in (("side", "accuracy"), ("echo", "rougeL"))]
TASKS.append(Task("first", (), (), (), "rougeL"))
LEARNED = (("side",), ("echo",))
STEPS = [OLD_RUN / "steps" / f"{number:02d}" for number in range(3)]
READERS = (scores.read_run, scores.read_step, scores.read_evaluation)
ANY_FILE = settings(max_examples=150, deadline=None)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def old_predictions(folder: Path) -> list[Prediction]:
    """In the order of the job, which is that of the golden scores."""
    ordered = scores.read_step(folder / "scores.json")[0].tasks
    return [one for name in ordered for one in predictions.read(folder / "predictions" / f"{name}.jsonl")]


# As the old code wrote it.


@pytest.mark.parametrize("folder", STEPS, ids=["0", "1", "2"])
def test_the_scores_of_a_step_are_written_as_the_old_code_wrote_them(folder, tmp_path):
    read, cost = scores.read_step(folder / "scores.json")
    made = scores.step_scores(read.step, old_predictions(folder), TASKS)
    assert made == read
    scores.write_step(tmp_path / "scores.json", made, cost)
    assert text_of(tmp_path / "scores.json") == text_of(folder / "scores.json")


def test_the_scores_of_a_run_are_written_as_the_old_code_wrote_them(tmp_path):
    found = [scores.read_step(folder / "scores.json") for folder in STEPS]
    made = scores.run_scores("replay", 3, [step for step, _ in found], LEARNED, found[-1][1], 0, [])
    assert made == scores.read_run(OLD_RUN / "scores.json")
    scores.write_run(tmp_path / "scores.json", made)
    assert text_of(tmp_path / "scores.json") == text_of(OLD_RUN / "scores.json")


@pytest.mark.parametrize("name", ["evaluated", "scored"])
def test_an_evaluation_is_written_as_the_old_code_wrote_it(name, tmp_path):
    read = scores.read_evaluation(GOLDEN / f"{name}.json")
    answered = list(predictions.read(GOLDEN / f"{name}.jsonl"))
    made = scores.evaluation(read.model, answered, TASKS, read.coverage)
    assert made == read and (read.coverage is None) == (name == "evaluated")
    scores.write_evaluation(tmp_path / "scores.json", made)
    predictions.write(tmp_path / "predictions.jsonl", answered)
    assert text_of(tmp_path / "scores.json") == text_of(GOLDEN / f"{name}.json")
    assert text_of(tmp_path / "predictions.jsonl") == text_of(GOLDEN / f"{name}.jsonl")


def test_the_predictions_of_a_step_are_written_as_the_old_code_wrote_them(tmp_path):
    predictions.write_by_task(tmp_path, old_predictions(STEPS[2]))
    written = {path.name: text_of(path) for path in tmp_path.iterdir()}
    assert written == {path.name: text_of(path) for path in (STEPS[2] / "predictions").iterdir()}


def test_a_run_of_the_old_code_is_reported(tmp_path):
    run = report.read_run(OLD_RUN)
    page = text_of(report.write([run], tmp_path))
    packed = re.findall(r'<script type="application/gzip" id="data-[^"]*">(.*?)</script>', page)
    carried = "".join(gzip.decompress(base64.b64decode(one)).decode() for one in packed)
    assert f"{run.scores.final.held_out.new_wording.p_score:.1f}" in page and "ant fox" in carried


def test_a_run_of_the_old_code_is_compared():
    (line,) = compare([OLD_RUN]).lines
    raw = json.loads(text_of(OLD_RUN / "scores.json"))
    assert line.estimates["p_seen"].mean == raw["final"]["seen"]["p_score"]
    assert (
        line.estimates["wording_gap_held_out"].mean == raw["final"]["held_out"]["new_wording"]["wording_gap"]
    )
    assert line.estimates["train_tokens"].mean == raw["cost"]["train_tokens"]


def test_a_file_without_what_was_added_later_is_read_and_unknown_keys_are_passed_over(tmp_path):
    raw = json.loads(text_of(OLD_RUN / "scores.json"))
    for key in ("shortened_examples", "notes"):
        del raw[key]
    del raw["cost"]["llm_requests"]
    raw["steps"][0]["later"]["added"] = {"p": [1]}
    raw |= {"added": None}
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(raw))
    whole = scores.read_run(OLD_RUN / "scores.json")
    assert scores.read_run(path) == replace(whole, shortened_examples=None)


def test_groups_without_tasks_are_empty_tables_on_disk_and_none_in_records(tmp_path):
    raw = json.loads(text_of(STEPS[0] / "scores.json"))
    assert raw["seen"] == {}
    assert scores.read_step(STEPS[0] / "scores.json")[0].seen is None


def test_transfer_that_could_not_be_measured_has_no_keys_on_disk(tmp_path):
    (step, cost), path = scores.read_step(STEPS[0] / "scores.json"), tmp_path / "scores.json"
    made = scores.run_scores("replay", 3, [step], LEARNED, cost)
    scores.write_run(path, made)
    assert json.loads(text_of(path))["final"].keys() == {"seen", "held_out"}
    assert scores.read_run(path) == made and made.final.average is None


def test_the_cost_is_what_the_ledger_counts():
    assert [field.name for field in fields(records.Cost)] == [field.name for field in fields(Ledger)]
    assert asdict(records.Cost(**Ledger(updates=3).as_dict())) == Ledger(updates=3).as_dict()


def test_an_evaluation_of_nothing_is_refused():
    with pytest.raises(DataError, match="mine: there is nothing to score"):
        scores.evaluation("mine", [], TASKS)


# What does not fit.

MISFITS = [
    (("final", "seen", "p_score"), "high", "final.seen.p_score is 'high', expected a finite number"),
    (("final", "seen", "p_score"), math.nan, "final.seen.p_score is nan, expected a finite number"),
    (("cost", "train_seconds"), -math.inf, "cost.train_seconds is -inf, expected a finite number"),
    (("cost", "updates"), True, "cost.updates is True, expected a whole number"),
    (("cost", "updates"), 2.5, "cost.updates is 2.5, expected a whole number"),
    (("cost", "updates"), -1, "cost.updates is -1, expected a count, 0 or more"),
    (("cost", "updates"), 10**40, r"expected a count below 2\^63"),
    (("cost", "train_seconds"), 10**400, r"cost.train_seconds is 1000+\.\.\., expected a finite number"),
    (("cost",), [], r"cost is \[\], expected a table"),
    (("steps", 1, "tasks", "side", "n"), "3", "steps.1.tasks.side.n is '3', expected a whole number"),
    (("steps", 1, "tasks", "side", "coverage"), 1, "coverage is 1, expected true or false"),
    (("steps", 1, "tasks", "side", "new_wording"), {}, "new_wording.p_score is missing"),
    (("steps", 0, "later", "violations", "wrong_format"), None, "wrong_format is None, expected a finite"),
    (("steps", 0, "later"), 0, "steps.0.later is 0, expected a table"),
    (("steps",), [], r"steps is \[\], expected at least one entry"),
    (("steps",), {}, "steps is {}, expected a list"),
    (("matrix", 2, 1), "x", "matrix.2.1 is 'x', expected a finite number"),
    (("notes",), "one", "notes is 'one', expected a list"),
    (("notes",), [None], "notes.0 is None, expected a text"),
    (("method",), ..., "it is incomplete: method is missing"),
    (("final", "held_out", "num_tasks"), ..., "incomplete: final.held_out.num_tasks is missing"),
    (("final", "held_out"), ..., "incomplete: final.held_out is missing"),
    (("added",), math.nan, "no valid JSON: expected value at line"),
    (("version",), 1.5, "has version 1.5, this kpig reads version 1"),
    (("version",), True, "has version True"),
]


@pytest.mark.parametrize(("place", "value", "words"), MISFITS, ids=range(len(MISFITS)))
def test_what_does_not_fit_is_named_with_file_place_and_what_is_expected(place, value, words, tmp_path):
    raw = json.loads(text_of(OLD_RUN / "scores.json"))
    inner = raw
    for part in place[:-1]:
        inner = inner[part]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(RunError, match=words) as caught:
        scores.read_run(path)
    assert str(caught.value).startswith(str(path))


def test_all_that_does_not_fit_is_counted(tmp_path):
    (tmp_path / "scores.json").write_text('{"version": 1, "model": 3, "scorer": "s", "all": {}, "tasks": []}')
    with pytest.raises(RunError, match=r"model is 3, expected a text \(and 9 more\)"):
        scores.read_evaluation(tmp_path / "scores.json")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe{}", b"{", b"[" * 100_000, b'{"version": ' + b"9" * 5000])
@pytest.mark.parametrize("read", READERS)
def test_what_is_no_json_is_refused(read, content, tmp_path):
    (tmp_path / "scores.json").write_bytes(content)
    with pytest.raises(RunError, match=r"scores\.json: cannot be read.*no valid JSON"):
        read(tmp_path / "scores.json")


@pytest.mark.parametrize("read", [*READERS, lambda path: list(predictions.read(path))])
def test_a_file_that_is_not_there_is_refused(read, tmp_path):
    with pytest.raises(RunError, match=r"scores\.json: cannot be read.*No such file"):
        read(tmp_path / "scores.json")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: no valid JSON"),
        ("", "line 2: no valid JSON"),
        ("null", "line 2: it is None, expected a table"),
        ('{"task": "a"}', "line 2: it is incomplete: example is missing"),
        ({"rouge_l": "x"}, "line 2: rouge_l is 'x', expected a finite number"),
        ({"rouge_l": math.nan}, "line 2: rouge_l is nan, expected a finite number"),
        ({"references": ["a", 1]}, "line 2: references.1 is 1, expected a text"),
        ({"gain": {"prob": 0.0}}, "line 2: it is incomplete: gain.log is missing"),
    ],
)
def test_a_line_that_is_no_prediction_is_named(line, words, tmp_path):
    first = text_of(GOLDEN / "scored.jsonl").splitlines()[0]
    line = line if isinstance(line, str) else json.dumps(json.loads(first) | line)
    path = tmp_path / "p.jsonl"
    path.write_text(f"{first}\n{line}\n")
    found = predictions.read(path)
    assert next(found) == next(predictions.read(GOLDEN / "scored.jsonl")), "the lines before it are read"
    with pytest.raises(RunError, match=words) as caught:
        next(found)
    assert str(caught.value).startswith(str(path))


# Whatever is in a file.

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just({}) | st.just([])
KEYS = sorted(
    {field.name for kind in vars(records).values() if is_dataclass(kind) for field in fields(kind)}
    | {"version"}
)
JSON = st.recursive(
    PLAIN | st.just(1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner),
    max_leaves=30,
)


def places(value, place=()):
    """Every place in a JSON value, the whole included."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*place, key))


def changed(value, place, new):
    """The value with another one at the place; `...` takes the place away."""
    if not place:
        return None if new is ... else new
    copy = value.copy()
    if len(place) == 1 and new is ...:
        del copy[place[0]]
    else:
        copy[place[0]] = changed(value[place[0]], place[1:], new)
    return copy


def fits(value, kind):
    """Whether a value is of a record's annotated type, all the way down, and finite."""
    if is_dataclass(value):
        return all(fits(getattr(value, name), hint) for name, hint in get_type_hints(type(value)).items())
    if isinstance(value, dict):
        return all(isinstance(key, str) and fits(one, None) for key, one in value.items())
    if isinstance(value, tuple):
        return all(fits(one, None) for one in value)
    if kind in (str, float, int, bool):
        return type(value) is kind and (kind is not float or math.isfinite(value))
    return value is None or isinstance(value, str | int) or math.isfinite(value)


def records_or_refusal(read, path):
    """What the reader makes of a file: records that hold what they say, or nothing but a RunError."""
    try:
        found = read(path)
    except RunError as error:
        assert str(path) in str(error)
        return None
    assert all(fits(one, None) for one in (found if isinstance(found, tuple) else (found,)))
    return found


@pytest.mark.parametrize("read", READERS)
def test_any_json_gives_records_or_a_refusal(read, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "scores.json"

    @ANY_FILE
    @given(JSON, st.booleans())
    def check(value, marked):
        value = value | {"version": 1} if marked and isinstance(value, dict) else value
        path.write_text(json.dumps(value))
        records_or_refusal(read, path)

    check()


@pytest.mark.parametrize("read", READERS)
def test_any_bytes_give_records_or_a_refusal(read, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "scores.json"

    @ANY_FILE
    @given(st.binary() | st.text().map(str.encode))
    def check(content):
        path.write_bytes(content)
        records_or_refusal(read, path)

    check()


GOOD = [
    (scores.read_run, OLD_RUN / "scores.json"),
    (scores.read_step, STEPS[1] / "scores.json"),
    (scores.read_evaluation, GOLDEN / "scored.json"),
]


@pytest.mark.parametrize(("read", "good"), GOOD)
def test_any_change_of_a_good_file_gives_records_or_a_refusal(read, good, tmp_path_factory):
    raw = json.loads(text_of(good))
    path = tmp_path_factory.mktemp("any") / "scores.json"

    @ANY_FILE
    @given(st.sampled_from(list(places(raw))), JSON | st.just(...))
    def check(place, new):
        path.write_text(json.dumps(changed(raw, place, new)))
        records_or_refusal(read, path)

    check()


def test_any_line_gives_a_prediction_or_a_refusal(tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "p.jsonl"
    good = json.loads(text_of(GOLDEN / "evaluated.jsonl").splitlines()[0])

    @ANY_FILE
    @given(JSON | st.tuples(st.sampled_from(list(places(good))), JSON).map(lambda two: changed(good, *two)))
    def check(value):
        path.write_text(json.dumps(value) + "\n")
        found = records_or_refusal(lambda path: tuple(predictions.read(path)), path)
        assert found is None or all(isinstance(one, Prediction) for one in found)

    check()


# Any scores come back from disk as they went.

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | NUMBERS
COUNTS = st.integers(0, 2**63 - 1)
MEASURED = {"p_score": NUMBERS, "v_score": NUMBERS, "violations": st.dictionaries(st.text(), NUMBERS)}
MEASURED |= {"half_listening": MAYBE, "gain": MAYBE, "log_gain": MAYBE}
NEW = st.builds(records.NewWording, NUMBERS, NUMBERS)
GROUP_NEW = st.builds(records.GroupNewWording, NUMBERS, NUMBERS, NUMBERS, COUNTS)
TASK_SCORES = st.builds(records.TaskScore, **MEASURED, n=COUNTS, new_wording=st.none() | NEW)
TABLES = st.dictionaries(st.text(), TASK_SCORES, max_size=2)
GROUP_SCORES = st.builds(
    records.GroupScore, **MEASURED, constrained=NUMBERS, num_tasks=COUNTS, new_wording=st.none() | GROUP_NEW
)
GROUPS = st.none() | GROUP_SCORES
STEP_SCORES = st.builds(records.StepScores, COUNTS, GROUPS, GROUPS, GROUPS, TABLES)
COSTS = st.builds(
    records.Cost,
    **{field.name: NUMBERS if field.type is float else COUNTS for field in fields(records.Cost)},
)
FINALS = st.builds(records.Final, GROUPS, GROUPS)
FINALS |= st.builds(records.Final, GROUPS, GROUPS, NUMBERS, MAYBE, MAYBE, MAYBE)
RUNS = st.builds(
    records.RunScores,
    final=FINALS,
    cost=COSTS,
    steps=st.lists(STEP_SCORES, min_size=1, max_size=2).map(tuple),
    matrix=st.lists(st.lists(MAYBE, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple),
    shortened_examples=st.none() | COUNTS,
    notes=st.lists(st.text(), max_size=2).map(tuple),
)
COVERAGES = st.builds(records.Coverage, COUNTS, COUNTS, st.dictionaries(st.text(), COUNTS, max_size=2))
EVALUATIONS = st.builds(records.Evaluation, all=GROUP_SCORES, tasks=TABLES, coverage=st.none() | COVERAGES)


def test_scores_are_read_back_as_they_were_written(tmp_path_factory):
    path = tmp_path_factory.mktemp("back") / "scores.json"

    @settings(max_examples=60, deadline=None)
    @given(RUNS, STEP_SCORES, COSTS, EVALUATIONS)
    def check(run, step, cost, evaluation):
        scores.write_run(path, run)
        assert scores.read_run(path) == run
        scores.write_step(path, step, cost)
        assert scores.read_step(path) == (step, cost)
        scores.write_evaluation(path, evaluation)
        assert scores.read_evaluation(path) == evaluation

    check()


# The only place.

SHAPE = {field.name for kind in vars(records).values() if is_dataclass(kind) for field in fields(kind)}
SHAPE |= {field.name for field in fields(Prediction)}
OF_OTHER_FILES = {
    "step", "tasks", "steps", "held_out", "metric", "task",  # stream.json, events.jsonl, the sweep's spec
    "seed", "method", "model",  # config.toml
    "input", "references", "example", "prompt", "response", "gain",  # task files, answers of LLMs
    "num_examples",  # gain.json
    "n",  # constraints
    "train_tokens",  # events.jsonl
}  # fmt: skip
CARDS = {"pretrain/card.py", "cli/pretrain.py", "scripts/build_tiny.py"}
"""What is known of a shipped or pre-trained model: tables of their own, with some of the same names."""


def string_keys(path):
    """Keys that a module indexes by string or gets from a table, with their lines."""
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            yield node.slice.value, node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            yield from ((one.value, node.lineno) for one in node.args[:1] if isinstance(one, ast.Constant))


def test_nobody_else_reads_scores_or_predictions_by_string():
    files = [
        path for folder in ("src/kpig", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py")
    ]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {key!r}"
        for path in files
        if path.parent.name != "scoring" and "/".join(path.parts[-2:]) not in CARDS
        for key, line in string_keys(path)
        if key in SHAPE - OF_OTHER_FILES
    ]
    assert len(files) > 150 and found == []
