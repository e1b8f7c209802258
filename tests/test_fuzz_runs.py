"""Whatever lies in a run folder, a sweep or a file of predictions: a result, or a KpigError.

Few examples in the gate; `pytest tests/test_fuzz_runs.py --hypothesis-profile=torture` tries many.
"""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from kpig import config, processes, report, sweep
from kpig.cli.app import read_tasks
from kpig.compare import FORMATS, compare
from kpig.errors import KpigError
from kpig.methods import chosen
from kpig.report import read_run
from kpig.runs import lock, restart
from kpig.runs.folder import RunDir, begun_at, check_free, check_same_model, is_run, open_run
from kpig.scoring import predictions_file
from kpig.tasks import stream, suite
from kpig.training import checkpoint
from test_compare import write_run as compared_run
from test_report import write_run
from test_sweep import SPEC

FEW = 25
MANY = settings.default.max_examples
FUZZ = settings(
    max_examples=FEW if MANY <= 100 else MANY // 4,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
DRAWN = settings(FUZZ, max_examples=FEW if MANY <= 100 else MANY // 20)
"""Where each example draws a page: about 0.3 s."""

ODD = (
    *("", "\x00", "\x1b[31m", "\u202e", "=1+1", "a" * 5000, "../x", "NaN", "-1"),
    *(0, -1, 10**30, -(10**400), 1e308, -0.0, 2**53, 2**63, True, None),
    *([], {}, [[]], {"": {}}, [None], {"a": {"b": [1, "x", None]}}),
)
VALUES = st.recursive(
    st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
BROKEN = ("[" * 9000, "9" * 5000, '{"a":' * 3000, "\\ud800", '"\\ud800"', "null", "[]", "3", "{", "")
BYTES = st.sampled_from([one.encode() for one in BROKEN]) | st.binary(max_size=30)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, from the whole to the leaves."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def changed(value: Any, draw: Callable[..., Any]) -> Any:
    """A JSON value with one to three of its places replaced or removed."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(places(value))))
        if not place:
            return copy.deepcopy(draw(VALUES))
        holder = value
        for key in place[:-1]:
            holder = holder[key]
        if draw(st.booleans()):
            holder[place[-1]] = copy.deepcopy(draw(VALUES))  # one that was drawn is changed next
        else:
            del holder[place[-1]]
    return value


def damaged(path: Path, draw: Callable[..., Any]) -> None:
    """A JSON or JSONL file with a change in its values or in its bytes."""
    whole = path.read_bytes()
    kind = draw(st.sampled_from(["value", "value", "value", "bytes", "cut", "line"]))
    if kind == "bytes":
        path.write_bytes(draw(BYTES))
    elif kind == "cut":
        path.write_bytes(whole[: draw(st.integers(0, len(whole)))])
    elif kind == "line":
        path.write_bytes(whole + draw(BYTES) + b"\n" + whole)
    elif path.suffix == ".jsonl":
        lines = [json.loads(line) for line in whole.splitlines() if line.endswith(b"}")]
        path.write_text("".join(json.dumps(one) + "\n" for one in changed(lines, draw) or ()), "utf-8")
    else:
        path.write_text(json.dumps(changed(json.loads(whole), draw)), encoding="utf-8")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """kept(name, make): a fresh copy of a folder that is made once."""
    made: dict[str, Path] = {}

    def copy_of(name: str, make: Callable[[Path], object]) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "whole"
            make(made[name])
        place = made[name].parent / "copy"
        shutil.rmtree(place, ignore_errors=True)
        return Path(shutil.copytree(made[name], place))

    return copy_of


FILES = ("scores.json", "stream.json", "environment.json", "events.jsonl", "steps/02/predictions/0.jsonl")


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@DRAWN
def test_a_report_of_a_damaged_run(name, data, kept):
    run = kept("reported", write_run)
    try:
        damaged(run / name, data.draw)
    except TypeError:  # what was drawn for the lines is no list
        return
    with suppress(KpigError):
        record = read_run(run)
        report.write([record, record], run.parent / "page")
        report.terminal_table([record])


@pytest.mark.parametrize("name", ["scores.json", "stream.json", "environment.json"])
@given(data=st.data())
@DRAWN
def test_a_comparison_with_a_damaged_run(name, data, kept):
    def make(folder: Path) -> None:
        for method in ("kpig", "replay"):
            for seed in range(2):
                compared_run(folder / f"{method}{seed}", method, seed)

    runs = kept("compared", make)
    damaged(runs / "kpig1" / name, data.draw)
    with suppress(KpigError):
        found = compare([runs], "", True)
        assert all(isinstance(form(found), str) for form in FORMATS.values())


@given(data=st.data())
@FUZZ
def test_scores_of_damaged_predictions(data, kept):
    tasks = (suite.task(("sort", "commas"), 4, 3, seed=0), suite.task(("reverse", "upper"), 4, 3, seed=0))

    def make(folder: Path) -> None:
        folder.mkdir()
        rows = [
            {"task": task.name, "example": one.id, "input": one.input, "response": "a", "finished": True}
            for task in tasks
            for one in task.test
        ]
        (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    path = kept("predicted", make) / "p.jsonl"
    try:
        damaged(path, data.draw)
    except TypeError:
        return
    with suppress(KpigError):
        predictions_file.score(path, tasks, partial=data.draw(st.booleans()))


def begun(folder: Path) -> None:
    """A run that has written its first files and an event."""
    run = open_run(folder, PLAN, SUMMARY, {"clock": "2024-01-01T00:00:00", "model_digest": "x"})
    run.log({"step": 1, "update": 1, "loss": 2.0})
    restart.begin(run, LOWER, {"clock": "2024-01-01T00:00:00", "model_digest": "x"}, lambda _: None)


PLAN = chosen.complete(config.build({"method": {"name": "replay"}, "suite": {"num_steps": 1}}))
LOWER = PLAN.model_copy(update={"train": PLAN.train.model_copy(update={"learning_rate": 1e-5})})
SUMMARY = {"name": "s", "digest": "d", "steps": [], "held_out": []}


@pytest.mark.parametrize(
    "name", ["stream.json", "environment.json", "events.jsonl", "starts/environment.01.json"]
)
@given(data=st.data())
@FUZZ
def test_resuming_a_damaged_run(name, data, kept):
    run = kept("resumed", begun)
    try:
        damaged(run / name, data.draw)
    except TypeError:
        return
    wanted = data.draw(st.sampled_from([PLAN, LOWER]))
    with suppress(KpigError):
        check_free(run, restart.going_on(run, wanted), SUMMARY, True)
        check_same_model(run, "tiny", {"model_digest": "x"})
        assert begun_at(run) is None or isinstance(begun_at(run), str)
        opened = open_run(run, wanted, SUMMARY, {})
        opened.updates()
        restart.begin(opened, wanted, {}, lambda _: None)
        assert all(isinstance(note, str) for note in restart.notes(opened))
    with suppress(KpigError):
        report.read_run(run)


@pytest.mark.parametrize("name", ["config.toml", "starts/config.01.toml"])
@given(data=st.data())
@FUZZ
def test_resuming_a_run_with_a_damaged_config(name, data, kept):
    run = kept("configured", begun)
    table = changed(config.read_table(run / name), data.draw)
    try:
        (run / name).write_text(tomli_w.dumps(table))
    except (TypeError, AttributeError, ValueError):
        (run / name).write_bytes(data.draw(BYTES))
    assert is_run(run)
    with suppress(KpigError):
        check_free(run, restart.going_on(run, PLAN), SUMMARY, True)
        restart.begin(RunDir(run), PLAN, {}, lambda _: None)
    with suppress(KpigError):
        restart.notes(RunDir(run))


@given(data=st.data())
@FUZZ
def test_a_damaged_checkpoint(data, kept):
    def make(folder: Path) -> None:
        (folder / "checkpoint").mkdir(parents=True)
        state = {"memory": {"a": [1, "x"]}, "anchor": torch.ones(2)}
        checkpoint.write_state(state, folder / "checkpoint", update=3, ledger={"updates": 3})
        save_file({"w": torch.ones(3)}, folder / "checkpoint/weights.safetensors")
        save_file({"0/step": torch.ones(1)}, folder / "checkpoint/optimizer.safetensors")
        (folder / "checkpoint/READY").touch()

    step = kept("checkpointed", make)
    name = data.draw(st.sampled_from(["state.json", "weights.safetensors", "optimizer.safetensors"]))
    path = step / "checkpoint" / name
    if name == "state.json":
        damaged(path, data.draw)
    else:
        path.write_bytes(data.draw(BYTES) + path.read_bytes()[data.draw(st.integers(0, 50)) :])
    with suppress(KpigError):
        found = checkpoint.newest(step, lambda _: None)
        assert found is not None and type(found.update) is int
    with suppress(KpigError):
        checkpoint.read_state(step / "checkpoint")


LOCK = {"token": "t", "host": "h", "pid": 10**30, "machine": "m", "born": 1.0}


@given(data=st.data())
@FUZZ
def test_a_damaged_lock(data, kept):
    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "run.lock").write_text(json.dumps(LOCK | processes.here() | {"pid": 10**30}))

    folder = kept("locked", make)
    damaged(folder / "run.lock", data.draw)
    with suppress(KpigError):
        lock.check_idle(folder / "run")
    with suppress(KpigError), lock.held(folder / "run") as claim:
        assert claim.beat()


@given(data=st.data())
@FUZZ
def test_a_damaged_spec(data, kept):
    folder = kept("specified", lambda path: path.mkdir())
    table = changed(SPEC | {"settings": [{"name": "a", "set": {"seed": 1}}]}, data.draw)
    try:
        text = tomli_w.dumps(table).encode()
    except (TypeError, AttributeError, ValueError):
        text = data.draw(BYTES)
    (folder / "spec.toml").write_bytes(text)
    with suppress(KpigError):
        sweep.load(folder / "spec.toml")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    path = tmp_path_factory.mktemp("spec") / "spec.toml"
    path.write_text(tomli_w.dumps(SPEC | {"methods": ["init"]}))
    return sweep.load(path)


@pytest.mark.parametrize("name", ["scores.json", "config.toml", "stream.json", "../sweep.toml", ".failed"])
@given(data=st.data())
@FUZZ
def test_a_damaged_folder_of_a_sweep(name, data, kept, planned):
    run = planned.runs[0]

    def make(folder: Path) -> None:
        sweep.keep_spec(planned, folder)
        write_run(folder / run.name)
        (folder / run.name / "config.toml").write_text(config.dump(run.config))
        (folder / f"{run.name}.failed").write_text('{"error": "once", "t": 1.0}')
        (folder / f"{run.name}.lock").write_text(json.dumps(LOCK))

    out = kept("swept", make)
    path = out / f"{run.name}.failed" if name == ".failed" else out / run.name / name
    if path.suffix in (".json", ".failed"):
        damaged(path, data.draw)
    else:
        path.write_bytes(data.draw(BYTES))
    if name == ".failed":
        (out / run.name / "scores.json").unlink()
        (out / f"{run.name}.lock").unlink()
    assert sweep.look(run, out).word in ("done", "failed", "running", "begun")
    with suppress(KpigError):
        sweep.check_folder(planned, out)
        sweep.keep_spec(planned, out)


@given(data=st.data())
@FUZZ
def test_a_stream_of_a_run_that_is_asked_for(data, kept):
    """`kpig score --tasks RUN` reads a run's own tasks by its config."""
    found = stream.configured(PLAN)

    def make(folder: Path) -> None:
        open_run(folder, PLAN, stream.summary(found), {})

    run = kept("asked", make)
    damaged(run / "stream.json", data.draw)
    with suppress(KpigError):
        read_tasks(str(run))
