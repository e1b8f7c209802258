"""The main job end to end: every architecture, every method, killed and resumed, refused where it must be."""

import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

import forked
from kpig import config
from kpig.errors import ConfigError, DataError, ModelError, RunError, UsageError
from kpig.methods import METHODS, chosen
from kpig.runs import job
from kpig.runs.folder import RunDir, check_free, open_run
from kpig.scoring import predictions
from kpig.scoring.records import RunScores
from kpig.scoring.scores import read_run

SMALL = {
    "suite": {"num_steps": 2, "tasks_per_step": 2, "num_held_out": 2, "num_train": 24, "num_test": 3},
    "train": {"updates_per_step": 5, "batch_size": 4, "checkpoint_every": 2, "tokens_per_micro_batch": 512},
    "replay": {"memory_per_task": 6},
    "method": {
        "kpig": {"gain_from": "probe", "refresh": 2, "num_probes": 3, "num_tasks": 1},
        "ssr": {"num_prompts": 6, "max_new_tokens": 12},
        "radis": {"num_examples": 4, "max_new_tokens": 12},
    },
    "evaluate": {"max_new_tokens": 6},
}


def small(method: str = "kpig", **sections) -> config.RunConfig:
    table = json.loads(json.dumps(SMALL)) | {"seed": 3}
    table["method"]["name"] = method
    if method == "pretrain":
        table["train"]["row_tokens"] = 128
    for name, values in sections.items():
        table[name] = table.get(name, {}) | values
    return config.build(table)


SHORT = {
    "suite": {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 1, "num_train": 12, "num_test": 2},
    "train": {"updates_per_step": 3},
}
"""What every method can learn in a second."""


def without_seconds(scores: RunScores) -> RunScores:
    timeless = replace(scores.cost, gain_seconds=0.0, train_seconds=0.0, eval_seconds=0.0)
    return replace(scores, cost=timeless)


def weights(run: Path, step: int) -> bytes:
    folder = run / "steps" / f"{step:02d}"
    found = [*folder.glob("model/*.safetensors"), *folder.glob("adapter/*.safetensors")]
    assert len(found) == 1
    return found[0].read_bytes()


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2", "gemma2"])
def test_the_whole_job_runs_on_every_architecture(architecture, model_folder, tmp_path):
    folder = model_folder(architecture)
    scores = job.run(small(model={"path": str(folder)}), tmp_path / "run")
    assert [step.step for step in scores.steps] == [0, 1, 2]
    assert scores.cost.updates == 10
    assert scores.cost.replayed_examples == 5 * 2
    assert set(scores.steps[2].seen.violations) >= {"out_of_scope", "wrong_format", "degenerate"}
    assert len(list((tmp_path / "run/steps/02/predictions").glob("*.jsonl"))) == 6


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_learns_the_stream_with_full_tuning_and_with_lora_or_says_early_that_it_cannot(
    method, tmp_path
):
    refused = {"lm_cocktail": ["lora"], "osf": ["lora"], "o_lora": ["none"]}.get(method, [])
    for adapter in refused:
        with pytest.raises(ConfigError, match=f"{method}.*model.adapter"):
            job.run(small(method, model={"adapter": adapter}, **SHORT), tmp_path / adapter)
        assert not (tmp_path / adapter).exists()
    for adapter in (one for one in ("none", "lora") if one not in refused):
        chosen = small(method, model={"adapter": adapter}, **SHORT)
        scores = job.run(chosen, tmp_path / adapter)
        assert scores.method == method
        assert scores.final.seen.num_tasks == 2
        assert scores.cost.updates == (0 if method == "init" else 6)
        if method == "init":
            untuned = scores.steps[0].tasks
            learned = scores.steps[-1].tasks
            assert {name: learned[name].p_score for name in untuned} == {
                name: one.p_score for name, one in untuned.items()
            }


def test_what_a_method_cannot_do_with_a_stream_is_refused_before_the_run_begins(tmp_path):
    chosen = small("o_lora", model={"adapter": "lora", "lora_rank": 1})
    with pytest.raises(ConfigError, match="lora_rank = 1 over 2 steps"):
        job.run(chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_holds_what_the_architecture_promises(tmp_path):
    job.run(small(), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.toml", "environment.json", "stream.json", "events.jsonl", "scores.json", "steps"} <= names
    step = {path.name for path in (tmp_path / "run/steps/02").iterdir()}
    assert step == {"model", "state", "tasks", "predictions", "scores.json", "DONE"}
    path = next((tmp_path / "run/steps/02/predictions").glob("*.jsonl"))
    rows = list(predictions.read(path))
    assert {row.task for row in rows} == {path.stem} and all(row.prompt and row.references for row in rows)
    events = list(RunDir(tmp_path / "run").events())
    assert [event["update"] for event in events] == [1, 2, 3, 4, 5] * 2
    assert all("divergence" in event and event["tokens"] > 0 for event in events)


def test_the_same_run_twice_gives_the_same_numbers(tmp_path):
    first, second = (job.run(small(), tmp_path / name) for name in ("a", "b"))
    assert without_seconds(first) == without_seconds(second)
    assert weights(tmp_path / "a", 2) == weights(tmp_path / "b", 2)


def test_a_method_of_a_third_party_runs_by_its_module_and_class(tmp_path):
    scores = job.run(small("kpig.methods.sequential:Sequential"), tmp_path / "run")
    assert scores.method == "kpig.methods.sequential:Sequential"


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_a_run_killed_at_any_moment_resumes_to_the_same_bits(adapter, tmp_path):
    (tmp_path / "my.toml").write_text(config.dump(small(model={"adapter": adapter})))
    straight = tmp_path / "straight"
    assert start(tmp_path, straight).ended().returncode == 0
    moments = random.Random(f"kills {adapter}")
    for number in range(3):
        killed = tmp_path / f"killed{number}"
        process = start(tmp_path, killed)
        kill_after(process, killed / "events.jsonl", moments.randint(1, 9), moments.random() * 0.3)
        if number == 0:
            resume_anew(tmp_path, killed)
        else:
            assert start(tmp_path, killed, "--resume").ended().returncode == 0
        for step in (1, 2):
            assert weights(killed, step) == weights(straight, step)
        assert read_scores(killed) == read_scores(straight)


def start(folder: Path, out: Path, *more: str) -> forked.Child:
    return forked.start("run", folder / "my.toml", "--out", out, *more)


def resume_anew(folder: Path, out: Path) -> None:
    """In a process that shares nothing with the one that began the run, no order of a set either."""
    command = ("run", folder / "my.toml", "--out", out, "--resume")
    done = forked.anew(*command, PYTHONHASHSEED="7")
    assert done.returncode == 0, done.stderr


def kill_after(
    process: forked.Child,
    events: Path,
    count: int,
    more_seconds: float = 0.0,
    number: signal.Signals = signal.SIGKILL,
) -> int:
    """A signal once `count` updates are logged and a little time has gone by; returns the exit code."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if events.exists() and events.read_text().count("\n") >= count:
            break
        time.sleep(0.01)
    time.sleep(more_seconds)
    assert process.is_running, "the run ended before it could be killed"
    os.kill(process.pid, number)
    return process.ended().returncode


def read_scores(run: Path) -> RunScores:
    return without_seconds(read_run(run / "scores.json"))


def test_held_out_tasks_may_have_training_examples_which_nothing_reads(tmp_path):
    """Whatever they hold: one that would be shortened does not count."""
    rows = [{"instruction": "Say it.", "input": f"word {n}", "output": f"w{n}"} for n in range(6)]
    kept = [{"task": "kept", "split": ("train", "test")[n % 2], **row} for n, row in enumerate(rows)]
    kept[0]["input"] = "word " * 2000
    for name, held in (("learned", [{"task": "learned", **row} for row in rows]), ("held", kept)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, held)))
    where = {"path": str(tmp_path / "learned.jsonl"), "held_out": str(tmp_path / "held.jsonl")}
    table = {"stream": where, "train": {"updates_per_step": 1}, "evaluate": {"max_new_tokens": 2}}
    found = job.run(config.build(table | {"method": {"name": "replay"}}), tmp_path / "run")
    assert found.final.held_out.num_tasks == 1 and found.shortened_examples == 0


def test_a_folder_that_holds_another_run_is_refused(tmp_path):
    job.run(small("init"), tmp_path / "run")
    with pytest.raises(RunError, match=r"already holds a run.*--resume.*--out"):
        job.run(small("init"), tmp_path / "run")


def test_a_folder_that_holds_anything_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/mine.txt").write_text("dear")
    with pytest.raises(RunError, match="not empty"):
        job.run(small("init"), tmp_path / "letters", resume=True)
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["mine.txt"]


def test_resuming_with_another_config_names_the_differing_keys(tmp_path):
    job.run(small("init"), tmp_path / "run")
    with pytest.raises(RunError, match=r"another config; different: seed, train\.learning_rate"):
        job.run(
            small("init", train={"learning_rate": 0.5}).model_copy(update={"seed": 9}),
            tmp_path / "run",
            resume=True,
        )


def test_resuming_with_changed_data_is_refused(tmp_path):
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    rows = [{"instruction": "Say the word.", "input": f"word {n}", "output": f"w{n}"} for n in range(12)]
    (tasks / "say.jsonl").write_text("\n".join(map(json.dumps, rows)))
    chosen = config.build(
        {"stream": {"path": str(tasks)}, "method": {"name": "init"}, "evaluate": {"max_new_tokens": 2}}
    )
    job.run(chosen, tmp_path / "run")
    (tmp_path / "run/scores.json").unlink()
    rows[0]["output"] = "another"
    (tasks / "say.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(RunError, match="task data have changed"):
        job.run(chosen, tmp_path / "run", resume=True)


def test_a_full_disk_leaves_the_previous_checkpoint_usable(tmp_path, monkeypatch):
    from kpig.training import checkpoint

    straight = job.run(small(), tmp_path / "straight")
    real, calls = checkpoint.save_file, []

    def full_after_a_while(tensors, path):
        calls.append(path)
        if len(calls) == 5:
            Path(path).write_bytes(b"half a file")
            raise OSError(28, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full_after_a_while)
    with pytest.raises(RunError, match=r"could not be written.*No space left.*--resume"):
        job.run(small(), tmp_path / "full")
    assert checkpoint.read(checkpoint.find(tmp_path / "full/steps/01")).update == 2
    monkeypatch.setattr(checkpoint, "save_file", real)
    assert without_seconds(job.run(small(), tmp_path / "full", resume=True)) == without_seconds(straight)


def test_an_example_that_cannot_fit_is_refused_before_training(tmp_path):
    with pytest.raises(DataError, match=r"the limit is 16: model\.max_length"):
        job.run(small(model={"max_length": 16}), tmp_path / "run")
    assert not (tmp_path / "run/events.jsonl").exists()


def test_a_missing_model_folder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        job.run(small(model={"path": str(tmp_path / "nowhere")}), tmp_path / "run")


def test_evaluation_covers_seen_later_and_held_out_tasks_in_both_wordings(tmp_path):
    scores = job.run(small("sequential"), tmp_path / "run")
    first = scores.steps[1]
    assert (first.seen.num_tasks, first.later.num_tasks, first.held_out.num_tasks) == (2, 2, 2)
    assert first.held_out.new_wording.num_tasks == 2
    assert scores.matrix[1][1] is not None and len(scores.matrix) == 3
    assert scores.steps[0].later.num_tasks == 4 and scores.steps[0].seen is None


def test_a_run_killed_among_its_very_first_files_can_begin_again_but_foreign_files_are_kept(tmp_path):
    stream = {"digest": "x"}
    (tmp_path / "config.toml").write_text("half")
    (tmp_path / ".stream.json.tmp").write_text("{")
    begun = chosen.complete(small())
    check_free(tmp_path, begun, stream, resume=True)
    open_run(tmp_path, begun, stream, {})
    assert config.load_resolved(tmp_path / "config.toml") == begun
    (tmp_path / "stream.json").unlink()
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="--out another folder"):
        check_free(tmp_path, begun, stream, resume=True)


def test_an_override_below_a_value_that_is_no_table_is_misuse():
    with pytest.raises(UsageError, match=r"model.path.x=1.*no table"):
        config.build({"model": {"path": "tiny"}}, ["model.path.x=1"])
