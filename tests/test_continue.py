"""A run that goes on with further steps equals, to the bit, the run that knew them from the start."""

import json
import os
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import forked
from kpig import config
from kpig.errors import ConfigError, DataError, RunError, UsageError
from kpig.records import Example, Message, Task
from kpig.report import read_run, write
from kpig.runs import course, further, gate, job, kept, starts
from kpig.runs.folder import RunDir
from kpig.scoring import predictions
from kpig.tasks import constraints, digests
from test_job import kill_after, weights

ROOT = Path(__file__).parents[1]
WORDS = ("ant", "box", "cup", "dog", "egg", "fox", "gum", "hat", "ink", "jar")
KINDS = ("first", "last", "count", "echo", "held")


def task_rows(kind, step, num=9):
    """Examples of a task of our own, with a step of its own; a third of them test examples."""
    rows = []
    for n in range(num):
        words = random.Random(f"{kind}{n}").sample(WORDS, 3)
        output = {"first": words[0], "last": words[-1], "count": str(len(words))}.get(kind, " ".join(words))
        row = {"task": kind, "instruction": f"Do {kind} of the words.", "input": " ".join(words)}
        key_part = {"start": 3, "end": 3 + len(kind), "text": kind, "kind": "operation"}
        row |= {"output": output, "split": "test" if n % 3 == 0 else "train", "key_parts": [key_part]}
        rows.append(row if step is None else row | {"step": step})
    return rows


def write_rows(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def write_months(folder):
    """Files of the first three months, of the fourth, of all four, and of the held-out task."""
    rows = [task_rows(kind, step) for step, kind in enumerate(KINDS[:4], start=1)]
    return {
        "old": write_rows(folder / "old.jsonl", [row for month in rows[:3] for row in month]),
        "new": write_rows(folder / "new.jsonl", rows[3]),
        "whole": write_rows(folder / "whole.jsonl", [row for month in rows for row in month]),
        "held": write_rows(folder / "held.jsonl", task_rows("held", None)),
    }


@pytest.fixture
def months(tmp_path):
    return write_months(tmp_path)


MEASURED = {"max_new_tokens": 3, "half_listening": False, "num_gain_examples": 2}


def configured(months, which, method="kpig", adapter="none", **settings):
    model = {"adapter": adapter} | ({"lora_rank": 4} if adapter == "lora" else {})
    table = {
        "seed": 3,
        "model": model,
        "stream": {"path": str(months[which]), "held_out": str(months["held"])},
        "train": {"updates_per_step": 3, "batch_size": 2, "checkpoint_every": 2},
        "replay": {"memory_per_task": 3},
        "method": {"name": method} | ({method: settings} if settings else {}),
        "evaluate": MEASURED,
    }
    return config.build(table)


METHODS = [
    ("kpig", "none", {"gain_from": "probe", "refresh": 2, "num_probes": 2, "num_tasks": 1}),
    ("o_lora", "lora", {"step_rank": 1}),
    ("ewc", "none", {"num_examples": 2}),
]


def scored(run, step):
    """The predictions of a step by task, for tasks that were learned or held out."""
    folder = run / f"steps/{step:02d}/predictions"
    found = {path.stem: list(predictions.read(path)) for path in folder.glob("*.jsonl")}
    return {name: rows for name, rows in found.items() if rows[0].group != "later"}


def state(run, step):
    return [(run / f"steps/{step:02d}/state" / name).read_bytes() for name in ("method.safetensors",)]


def without_cost(run, step):
    found = json.loads((run / f"steps/{step:02d}/state/state.json").read_text())["method"]
    return found


def updates(run):
    return [{k: v for k, v in one.items() if k != "t"} for one in RunDir(run).updates()]


def assert_same(run, straight, num_steps):
    for step in range(1, num_steps + 1):
        assert weights(run, step) == weights(straight, step)
        assert state(run, step) == state(straight, step)
        assert without_cost(run, step) == without_cost(straight, step)
        assert scored(run, step) == scored(straight, step)
    assert updates(run) == updates(straight)


@pytest.mark.parametrize(("method", "adapter", "settings"), METHODS)
def test_three_steps_and_then_one_equal_four_at_once_when_the_first_files_are_gone(
    method, adapter, settings, months, tmp_path
):
    straight, run = tmp_path / "straight", tmp_path / "run"
    four = job.run(configured(months, "whole", method, adapter, **settings), straight)
    three = job.run(configured(months, "old", method, adapter, **settings), run)
    before = {path: path.read_bytes() for path in sorted(run.glob("steps/**/*")) if path.is_file()}
    for gone in ("old", "held", "whole"):
        months[gone].unlink()
    grown = job.extend(run, str(months["new"]))
    assert_same(run, straight, 4)
    assert {path: path.read_bytes() for path in before} == before, "old steps are never rewritten"
    assert grown.final.seen == four.final.seen and grown.final.held_out == four.final.held_out
    assert grown.matrix[4] == four.matrix[4]
    assert [row[:3] for row in grown.matrix] == [row[:3] for row in four.matrix]
    assert [row[3] for row in grown.matrix[:4]] == [None] * 4
    assert (grown.cost.updates, grown.cost.train_tokens) == (four.cost.updates, four.cost.train_tokens)
    assert grown.shortened_examples == four.shortened_examples
    one, other = (RunDir(path).read("stream.json") for path in (run, straight))
    assert (one["digest"], one["steps"], one["held_out"]) == (
        other["digest"],
        other["steps"],
        other["held_out"],
    )
    assert json.loads((run / "starts/scores.01.json").read_text())["matrix"] == [
        list(r) for r in three.matrix
    ]


def test_a_run_goes_on_month_after_month_and_says_so(months, tmp_path):
    straight, run = tmp_path / "straight", tmp_path / "run"
    rows = [json.loads(line) for line in months["whole"].read_text().splitlines()]
    job.run(configured(months, "whole", "replay"), straight)
    files = [
        write_rows(tmp_path / f"m{n}.jsonl", [row for row in rows if row["step"] == n]) for n in (1, 2, 3, 4)
    ]
    start = {**months, "one": files[0]}
    job.run(configured(start, "one", "replay"), run)
    for number, file in enumerate(files[1:], start=2):
        scores = job.extend(run, str(file), ["train.checkpoint_every=1"] if number == 3 else ())
        assert len(scores.steps) == number + 1
        assert sum("kpig continue" in note for note in scores.notes) == number - 1
        assert any(f"from step {number} on" in note for note in scores.notes)
    assert_same(run, straight, 4)
    names = {path.name for path in (run / "starts").iterdir()}
    assert names == {
        f"{name}.0{n}.{kind}"
        for n in (1, 2, 3)
        for name, kind in (
            ("config", "toml"),
            ("environment", "json"),
            ("stream", "json"),
            ("scores", "json"),
        )
    }
    assert config.load_resolved(run / "starts/config.01.toml").stream.path == str(files[0])
    assert config.load_resolved(run / "config.toml").stream.path == str(files[3])
    record = read_run(run)
    write([record], tmp_path / "report")
    assert (tmp_path / "report/report.html").is_file()


def test_killed_in_the_new_step_it_resumes_to_the_same_bits(months, tmp_path):
    """By either command, each from another folder than the first."""
    straight, finished = tmp_path / "straight", tmp_path / "finished"
    job.run(configured(months, "whole", "replay"), straight)
    job.run(configured(months, "old", "replay"), finished)
    for count, command in (
        (1, ["continue", "RUN", "--resume"]),
        (3, ["run", "RUN/config.toml", "--out", "RUN", "--resume"]),
    ):
        run = tmp_path / f"killed{count}"
        shutil.copytree(finished, run)
        process = kpig("continue", run, "--tasks", months["new"], cwd=tmp_path)
        kill_after(process, run / "events.jsonl", 9 + 1 + count)
        again = [part.replace("RUN", str(run)) for part in command]
        assert kpig(*again, cwd=tmp_path.parent).ended().returncode == 0
        assert_same(run, straight, 4)


def kpig(*arguments, cwd):
    return forked.start(*arguments, first=lambda: os.chdir(cwd))


@pytest.fixture
def finished(months, tmp_path):
    """A run of three months that has learned nothing to speak of."""
    job.run(configured(months, "old", "sequential"), tmp_path / "run")
    return tmp_path / "run"


def contents(run):
    return {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


FIXED = (
    "evaluate.max_new_tokens=4",
    "evaluate.gain=false",
    "model.max_length=300",
    "seed=4",
    "method.name=replay",
    "stream.held_out=held.jsonl",
    "stream.max_held_out=1",
)


def test_what_would_make_old_scores_another_thing_is_refused_by_its_key(months, finished):
    before = contents(finished)
    for override in FIXED:
        with pytest.raises(ConfigError, match=re.escape(override.split("=")[0])):
            job.extend(finished, str(months["new"]), [override])
    with pytest.raises(ConfigError, match="first"):
        job.extend(finished, str(months["new"]), metrics={"first": "exact"})
    assert contents(finished) == before


def test_what_decides_the_new_step_alone_may_differ_and_is_told(months, finished):
    more = [
        "train.updates_per_step=2",
        "replay.ratio=0.25",
        "stream.test_per_task=2",
        "train.learning_rate=1e-4",
    ]
    scores = job.extend(finished, str(months["new"]), more, {"echo": "exact"})
    assert scores.cost.updates == 3 * 3 + 2
    assert (scores.steps[4].tasks["echo"].n, scores.steps[4].tasks["echo"].metric) == (2, "exact")
    (note,) = [note for note in scores.notes if "kpig continue" in note]
    assert "train.updates_per_step = 2 (before: 3)" in note and "replay.ratio = 0.25" in note


def test_the_rows_of_a_block_cannot_change_and_a_block_needs_room(months, tmp_path):
    job.run(configured(months, "old", "o_lora", "lora", step_rank=1), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"method\.o_lora\.step_rank"):
        job.extend(tmp_path / "run", str(months["new"]), ["method.o_lora.step_rank=2"])
    months["two"] = write_rows(tmp_path / "two.jsonl", task_rows("first", 1) + task_rows("last", 2))
    job.run(configured(months, "two", "o_lora", "lora"), tmp_path / "full")
    before = contents(tmp_path / "full")
    with pytest.raises(ConfigError, match=r"no rows left: 3 steps of 2 rows.*step_rank"):
        job.extend(tmp_path / "full", str(months["new"]))
    assert contents(tmp_path / "full") == before


@pytest.mark.parametrize("method", ["mtl", "init"])
def test_what_needs_the_whole_stream_at_once_refuses_by_name(method, months, tmp_path):
    job.run(configured(months, "old", method), tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(ConfigError, match=f"{method} learns a stream as a whole"):
        job.extend(tmp_path / "run", str(months["new"]))
    assert contents(tmp_path / "run") == before


def test_a_task_that_the_run_has_already_is_refused_by_name(months, finished):
    for which, name in (("old", "first"), ("held", "held")):
        with pytest.raises(DataError, match=name):
            job.extend(finished, str(months[which]))


def test_what_cannot_go_on_says_why(months, finished, tmp_path):
    with pytest.raises(UsageError, match=r"--tasks.*--resume"):
        further.learn(finished, None)
    with pytest.raises(RunError, match="holds no run"):
        further.learn(tmp_path / "nowhere", str(months["new"]))
    with pytest.raises(RunError, match=r"nothing was begun.*--tasks"):
        further.learn(finished, None, resume=True)
    (finished / "scores.json").unlink()
    with pytest.raises(RunError, match=r"not finished.*kpig run"):
        further.learn(finished, str(months["new"]))


def test_tasks_that_are_kept_and_changed_or_lost_are_refused_by_file(months, finished):
    kept = finished / "steps/02/tasks/last.json"
    text = kept.read_text()
    kept.write_text(text.replace('"input": "', '"input": "the ', 1))
    with pytest.raises(RunError, match=r"last\.json.*not what the run wrote"):
        job.extend(finished, str(months["new"]))
    kept.write_text(text[:-40])
    with pytest.raises(RunError, match=r"last\.json.*cannot be read"):
        job.extend(finished, str(months["new"]))
    kept.unlink()
    months["old"].unlink()
    with pytest.raises((RunError, DataError), match=r"old\.jsonl|steps/NN/tasks"):
        job.extend(finished, str(months["new"]))


def test_a_task_comes_back_as_it_was_kept_but_for_what_it_is_learned_from(tmp_path, make_instruction):
    """With all that an example may have: an instruction of its own, turns before it, demands of its own."""
    seed, own = make_instruction("Please {sort}."), make_instruction("Say {it} «again»\u2028.", origin="own")
    new = make_instruction("{Order} them.", origin="new")
    demands = tuple(
        constraints.parse({"type": "starts_with", "values": [word], "kind": "wrong_format"}, "here")
        for word in "ab"
    )
    said = (Message("system", "Be brief."), Message("user", "Hm?"), Message("assistant", ""))
    examples = (
        Example("t-0", "a task", seed, "b a", ("a b", "a, b")),
        Example("t-1", "a task", own, "", ("x",), said, True, demands[:1]),
    )
    task = Task(
        "a task", (seed, new), examples[:1], examples, "chrf", ("one", "two"), demands, (new,), examples[1:]
    )
    kept.write(tmp_path, [task])
    again = kept.read(tmp_path, "a task")
    assert again == replace(task, train=(), validation=())
    assert [one.constraints for one in again.test] == [one.constraints for one in examples]
    assert digests.of_task(again) == digests.of_task(kept.untaught(task))


def test_a_run_of_an_earlier_version_which_kept_no_tasks_goes_on_from_its_task_files(months, finished):
    for folder in finished.glob("steps/*/tasks"):
        shutil.rmtree(folder)
    scores = job.extend(finished, str(months["new"]))
    assert scores.final.seen.num_tasks == 4
    assert {path.stem for path in finished.glob("steps/*/tasks/*.json")} == set(KINDS)


def test_new_tasks_that_change_while_they_are_learned_are_refused(months, finished, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(job.loop, "fit_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            job.extend(finished, str(months["new"]))
    with pytest.raises(RunError, match=r"not finished.*--resume"):
        further.learn(finished, str(months["held"]))
    text = months["new"].read_text()
    months["new"].write_text(text.replace('"input": "', '"input": "the ', 1))
    with pytest.raises(UsageError, match="--forget-data"):
        further.learn(finished, None, resume=True, forget=True)
    with pytest.raises(RunError, match=r"stream\.metrics\.echo"):
        further.learn(finished, None, metrics={"echo": "chrf"}, resume=True)
    with pytest.raises(RunError, match="task data have changed"):
        further.learn(finished, None, resume=True)
    months["new"].write_text(text)
    with pytest.raises(RunError, match=r"evaluate\.max_new_tokens"):
        further.learn(finished, None, ["evaluate.max_new_tokens=4"], resume=True)
    scores = further.learn(finished, str(months["new"]), ["train.learning_rate=1e-4"], resume=True)
    assert len(scores.steps) == 5 and any("begun anew" in note for note in scores.notes)
    assert further.learn(finished, str(months["new"]), resume=True) == scores


def interrupted(*arguments, **options):
    raise KeyboardInterrupt


def test_another_model_under_the_path_is_refused_before_anything_changes(months, model_folder, tmp_path):
    folder = model_folder("llama")
    chosen = configured(months, "old", "sequential")
    chosen = chosen.model_copy(update={"model": chosen.model.model_copy(update={"path": str(folder)})})
    job.run(chosen, tmp_path / "run")
    before = contents(tmp_path / "run")
    settings = folder / "tokenizer_config.json"
    told = json.loads(settings.read_text())
    settings.write_text(json.dumps({**told, "chat_template": "{{ messages[0].content }}?"}))
    with pytest.raises(RunError, match=r"another model.*chat template"):
        job.extend(tmp_path / "run", str(months["new"]))
    model_folder("llama", seed=1)
    settings.write_text(json.dumps(told))
    with pytest.raises(RunError, match=r"another model.*weights"):
        job.extend(tmp_path / "run", str(months["new"]))
    assert contents(tmp_path / "run") == before


def test_a_kill_among_the_first_files_of_a_new_start_leaves_the_old_one_or_the_new(
    months, finished, monkeypatch, tmp_path
):
    publish = starts.publish
    for count in range(9):
        run, calls = tmp_path / f"killed{count}", []
        shutil.copytree(finished, run)

        def killed(path, text, calls=calls, count=count):
            if len(calls) == count:
                raise KeyboardInterrupt
            calls.append(path)
            publish(path, text)

        with monkeypatch.context() as patched:
            patched.setattr(starts, "publish", killed)
            patched.setattr(job.loop, "fit_step", interrupted)
            with pytest.raises(KeyboardInterrupt):
                job.extend(run, str(months["new"]))
        assert len(further.learn(run, str(months["new"]), resume=True).steps) == 5
        assert not (run / starts.NEXT).exists() and len(list(run.glob("starts/*"))) == 4
        assert course.growth_of(run)


@pytest.mark.parametrize("method", ["kpig", "derpp"])
def test_forgotten_data_leave_instructions_and_the_scores_say_so(method, months, tmp_path):
    run = tmp_path / "run"
    three = job.run(configured(months, "old", method), run)
    inputs = {row["input"] for kind in KINDS[:3] for row in task_rows(kind, 1)} - {
        row["input"] for kind in KINDS[3:] for row in task_rows(kind, 1)
    }
    assert any(text.encode() in found for text in inputs for found in contents(run).values())
    scores = job.extend(run, str(months["new"]), forget=True)
    write([read_run(run)], run)
    assert not [path for path, found in contents(run).items() if any(one.encode() in found for one in inputs)]
    assert kept.read(run / "steps/02", "last").instruction.text == "Do last of the words."
    assert scores.final.seen.num_tasks == 1 and scores.final.held_out.num_tasks == 1
    assert [row[:3] for row in scores.matrix[:4]] == [tuple(row) for row in three.matrix]
    assert scores.matrix[4][:3] == (None,) * 3 and scores.matrix[4][3] is not None
    assert scores.final.average is None and scores.final.forgetting is None
    (note,) = [note for note in scores.notes if "--forget-data" in note]
    assert "3 tasks" in note and "first, last, count" in note
    assert scores.cost.replayed_examples == three.cost.replayed_examples
    verdict = gate.judge(run)
    assert verdict.unscored == ("count", "first", "last")
    assert {(one.task, one.since) for one in verdict.changes} == {("held", 0), ("held", 3)}
    five = write_rows(tmp_path / "five.jsonl", task_rows("fifth", None))
    again = job.extend(run, str(five))
    assert again.final.seen.num_tasks == 2 and again.cost.replayed_examples > three.cost.replayed_examples
    assert note in again.notes


def test_data_are_forgotten_however_often_that_is_killed(months, finished, monkeypatch, tmp_path):
    write([read_run(finished)], finished)
    inputs = {row["input"] for kind in KINDS[:3] for row in task_rows(kind, 1)} - {
        row["input"] for kind in KINDS[3:] for row in task_rows(kind, 1)
    }
    rename = Path.rename
    for count in range(7):  # two renames for each of three states, and one that is not reached
        run, calls = tmp_path / f"killed{count}", []
        shutil.copytree(finished, run)

        def killed(path, target, calls=calls, count=count):
            if Path(path).parent.parent.name == "steps" and len(calls) == count:
                raise KeyboardInterrupt
            calls.append(path)
            return rename(path, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", killed)
            patched.setattr(job.loop, "fit_step", interrupted)
            with pytest.raises(KeyboardInterrupt):
                job.extend(run, str(months["new"]), forget=True)
        assert not (run / "report.html").exists()
        going_on = (run / "scores.json").is_file()
        further.learn(run, str(months["new"]), forget=going_on, resume=not going_on)
        assert not [*run.glob("steps/*/state.*")]
        left = [path for path, found in contents(run).items() if any(one.encode() in found for one in inputs)]
        assert not left


def test_a_run_that_went_on_meanwhile_is_left_as_it_is(months, finished, monkeypatch, tmp_path):
    other = write_rows(tmp_path / "five.jsonl", task_rows("fifth", None))
    loaded = job._loaded

    def slowly(*given):
        monkeypatch.setattr(job, "_loaded", loaded)
        job.extend(finished, str(other))
        return loaded(*given)

    monkeypatch.setattr(job, "_loaded", slowly)
    with pytest.raises(RunError, match="went on in another process meanwhile"):
        job.extend(finished, str(months["new"]))
    assert read_run(finished).scores.final.seen.num_tasks == 4
    assert [path.stem for path in (finished / "steps/04/tasks").iterdir()] == ["fifth"]


@pytest.mark.parametrize("part", ["model", "state"])
def test_without_the_last_model_nothing_is_changed_and_no_folder_is_to_be_deleted(months, finished, part):
    shutil.rmtree(finished / "steps/03" / part)
    before = contents(finished)
    for forget in (False, True):
        with pytest.raises(RunError, match=r"cannot be gone on from.*Restore it") as told:
            job.extend(finished, str(months["new"]), forget=forget)
        assert "delete" not in str(told.value) and contents(finished) == before


def test_a_damaged_model_of_an_earlier_start_is_to_be_restored_not_deleted(months, finished):
    (weights_file,) = (finished / "steps/03/model").glob("*.safetensors")
    weights_file.write_bytes(b"damaged")
    with pytest.raises(RunError, match="keeps no training data of it") as told:
        job.extend(finished, str(months["new"]))
    assert "delete the folder" not in str(told.value)


def test_what_run_and_check_refuse_is_refused_before_anything_changes(months, finished, tmp_path):
    before = contents(finished)
    with pytest.raises(ConfigError, match="patience = 2 needs validation examples"):
        job.extend(finished, str(months["new"]), ["train.patience=2"])
    demands = [{"type": "min_words", "n": 5}, {"type": "max_words", "n": 2}]
    rows = [row | {"constraints": demands} for row in task_rows("fifth", None)]
    with pytest.raises(ConfigError, match="task 'fifth'"):
        job.extend(finished, str(write_rows(tmp_path / "five.jsonl", rows)))
    assert contents(finished) == before


PAGE = (ROOT / "docs/continue.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_run_while_the_files_of_earlier_months_are_deleted(months, tmp_path):
    (table,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "team.toml").write_text(table)
    names = {"old": "months-1-3.jsonl", "held": "held-out.jsonl", "new": "month-4.jsonl"}
    for which, name in names.items():
        months[which].rename(tmp_path / name)
    write_rows(tmp_path / "month-5.jsonl", task_rows("fifth", None))
    (commands,) = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    learned = (("months-1-3.jsonl", "held-out.jsonl"), ("month-4.jsonl",), ("month-5.jsonl",), ())
    for command, gone in zip(commands.splitlines(), learned, strict=True):
        done = kpig(*command.split()[1:], cwd=tmp_path).ended()
        assert done.returncode == 0, done.stderr
        for name in gone:
            (tmp_path / name).unlink()
    assert "fifth" in done.stdout and "held" in done.stdout
    assert len(read_run(tmp_path / "runs/team").scores.steps) == 6
