"""What a run holds to: the model and clock it began with, finite numbers, whole passes over its examples."""

import ast
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kpig import config
from kpig.config import EvaluateSection, ModelSection
from kpig.errors import KpigError, ModelError, RunError, TrainingError
from kpig.files import as_json, as_line
from kpig.methods.base import Step
from kpig.methods.chosen import create
from kpig.model import gain, identity, loading
from kpig.progress import Watcher
from kpig.records import SEEN
from kpig.runs import diagnose, job, schedule
from kpig.runs.folder import RunDir
from kpig.scoring import answers, probing
from kpig.tasks import suite
from kpig.training import loop

TEMPLATE = "{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}<assistant> "
DATED = "Today is {{ strftime_now('%d %b %Y') }}, {{ strftime_now('%H:%M:%S.%f') }}. " + TEMPLATE
TASK = suite.task(("reverse", "upper"), 9, 3, seed=0)


def small(method: str, model: Path, **train: Any) -> config.RunConfig:
    """A run of two steps of two updates each."""
    return config.build(
        {
            "model": {"path": str(model)},
            "method": {"name": method},
            "suite": {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 1, "num_train": 8, "num_test": 2},
            "train": {"updates_per_step": 2, "batch_size": 2, "device": "cpu", **train},
            "evaluate": {"max_new_tokens": 3},
        }
    )


class Interrupted(Exception):
    """Raised by `Stopping`."""


class Stopping(Watcher):
    """Interrupts a run in its second step."""

    def phase(self, name: str, *more: Any) -> Any:
        if name.startswith("step 2/"):
            raise Interrupted
        return super().phase(name, *more)


def begun(tmp_path: Path, chosen: config.RunConfig) -> Path:
    """A run that was interrupted in its second step."""
    with pytest.raises(Interrupted):
        job.run(chosen, tmp_path / "run", watch=Stopping())
    return tmp_path / "run"


def chat_model(folder: Path, template: str) -> Path:
    """Give a model's folder a chat template in tokenizer_config.json."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
    return folder


# Resume with another model


def other_weights(folder: Path) -> None:
    path = next(folder.glob("*.safetensors"))
    weights = load_file(path)
    next(iter(weights.values()))[0] += 0.01
    save_file(weights, path, {"format": "pt"})


def edited(name: str, key: str, value: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return edit


def without_a_merge(folder: Path) -> None:
    path = folder / "tokenizer.json"
    found = json.loads(path.read_text())
    found["model"]["merges"].pop()
    path.write_text(json.dumps(found))


def template_in_a_file(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(TEMPLATE + "!")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_weights, "weights"),
        (without_a_merge, "tokenizer"),
        (edited("tokenizer_config.json", "eos_token", "<|pad|>"), "tokenizer"),
        (edited("tokenizer_config.json", "chat_template", TEMPLATE.upper()), "chat template"),
        (template_in_a_file, "chat template"),
        (edited("generation_config.json", "eos_token_id", [0, 9]), "model config"),
    ],
    ids=["weights", "merges", "eos", "template", "template file", "ends"],
)
def test_a_run_does_not_go_on_with_another_model_under_the_same_path(
    change: Callable[[Path], None], named: str, model_folder: Callable[[], Path], tmp_path: Path
) -> None:
    folder = chat_model(model_folder(), TEMPLATE)
    chosen = small("sequential", folder)
    run = begun(tmp_path, chosen)
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    change(folder)
    with pytest.raises(
        RunError, match=rf"another model at .*different: {named} \(.*Restore them, or give --out"
    ):
        job.run(chosen, run, resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    job.run(chosen, run, resume=True)


def test_every_difference_is_named(model_folder: Callable[[], Path], tmp_path: Path) -> None:
    folder = model_folder()
    run = begun(tmp_path, small("sequential", folder))
    other_weights(folder)
    template_in_a_file(folder)
    with pytest.raises(RunError, match="different: weights, chat template "):
        job.run(small("sequential", folder), run, resume=True)


def test_a_run_that_kept_no_digests_goes_on_as_before(
    model_folder: Callable[[], Path], tmp_path: Path
) -> None:
    folder = chat_model(model_folder(), TEMPLATE)
    run = begun(tmp_path, small("sequential", folder))
    path = run / "environment.json"
    old = json.loads(path.read_text())
    for key in (*identity.NAMES, "clock"):
        del old[key]
    path.write_text(json.dumps(old))
    chat_model(folder, TEMPLATE + " ")
    assert job.run(small("sequential", folder), run, resume=True)
    now = json.loads(path.read_text())
    assert len(now.pop("starts")) == len(old.pop("starts")) + 1 and now == old


def test_digests_depend_on_content_alone(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = chat_model(model_folder(), TEMPLATE)
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    (moved / "README.md").write_text("Other words.")
    assert identity.digests(str(moved)) == identity.digests(str(folder))
    assert None not in identity.digests(str(folder)).values()
    assert identity.digests("some/name-on-a-hub") == dict.fromkeys(identity.NAMES)


# The clock


def prompts(run: Path) -> set[str]:
    rows = (
        line for path in run.glob("steps/*/predictions/*.jsonl") for line in path.read_text().splitlines()
    )
    return {json.loads(row)["prompt"].partition("<user>")[0] for row in rows}


def test_a_resumed_run_has_the_prompt_of_the_day_on_which_it_began(
    model_folder: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = chat_model(model_folder(), DATED)
    chosen = small("sequential", folder)
    monkeypatch.setattr(job, "present_moment", lambda: "2024-02-29T23:59:58")
    straight = job.run(chosen, tmp_path / "straight")
    run = begun(tmp_path, chosen)
    monkeypatch.setattr(job, "present_moment", lambda: "2031-12-31T01:02:03")
    resumed = job.run(chosen, run, resume=True)
    assert prompts(run) == {"Today is 29 Feb 2024, 23:59:58.000000. "} == prompts(tmp_path / "straight")
    assert resumed.steps == straight.steps
    assert RunDir(run).read("environment.json")["clock"] == "2024-02-29T23:59:58"


def test_the_logged_prompt_is_the_one_that_was_answered_also_where_the_input_was_cut(
    model_folder: Callable[[], Path],
) -> None:
    section = ModelSection(path=str(chat_model(model_folder(), DATED)), max_length=96)
    learner = loading.load(section)
    seen: list[tuple[int, ...]] = []
    generate = learner.generate
    learner.generate = lambda given, *more: seen.extend(given) or generate(given, *more)  # type: ignore
    chosen = EvaluateSection(max_new_tokens=3, half_listening=False, gain=False)
    long = replace(TASK, test=tuple(replace(one, input=one.input * 20) for one in TASK.test))
    found = answers.score(learner, probing.probes({SEEN: [long]}, chosen), chosen)
    assert all(one.num_cut for one in (learner.encoder.encode(one, 3) for one in long.test))
    logged = [tuple(learner.tokenizer.encode(one.prompt, add_special_tokens=False)) for one in found[:3]]
    assert set(logged) <= set(seen)


# Numbers that are none


def spoiled(folder: Path, value: float, name: str = "norm") -> Path:
    """Put a value that is no number into a weight."""
    path = next(folder.glob("*.safetensors"))
    weights = load_file(path)
    key = next(key for key in sorted(weights) if name in key)
    weights[key].view(-1)[0] = value
    save_file(weights, path, {"format": "pt"})
    return folder


@pytest.mark.parametrize("method", ["init", "sequential", "kpig"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_of_no_numbers_is_refused_in_words_and_leaves_no_scores(
    method: str, value: float, model_folder: Callable[[], Path], tmp_path: Path
) -> None:
    folder = spoiled(model_folder(), value)
    with pytest.raises(ModelError, match=r"not numbers.*NaN.*model\.dtype"):
        job.run(small(method, folder), tmp_path / "run")
    assert not list((tmp_path / "run").rglob("scores.json"))


def test_answers_and_gains_of_no_numbers_are_refused_each(model_folder: Callable[[], Path]) -> None:
    """Weights that go wrong in training; those of a folder are refused when they are read."""
    section = ModelSection(path=str(model_folder()))
    learner = loading.load(section)
    with torch.no_grad():
        learner.model.get_output_embeddings().weight[0] = float("nan")
    with pytest.raises(ModelError, match="no finite number"):
        learner.generate([[5, 6]], 2)
    with pytest.raises(ModelError, match=rf"gain of task '{TASK.name}', example .* is not finite"):
        gain.measure(learner, {TASK.name: TASK.test})
    spoiled(Path(section.path), float("nan"), "lm_head")
    with pytest.raises(ModelError, match="not numbers"):
        diagnose.measure_tasks(section, [TASK], 3, "cpu", Watcher())
    with pytest.raises(TrainingError, match="loss on the test examples is not finite"):
        loop.held_out_loss(learner, [TASK], config.TrainSection())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nothing_that_json_cannot_hold_is_written(value: float, tmp_path: Path) -> None:
    nested = {"steps": [{"p_score": 1.0}, {"gain": (0.5, value)}]}
    for write in (as_json, as_line, RunDir(tmp_path).log):
        with pytest.raises(KpigError, match=r"steps\.1\.gain\.1 = (nan|-?inf) is not finite"):
            write(nested)
    assert list(tmp_path.iterdir()) == []


IN_MEMORY = {
    "kpig.compare.equality",
    "kpig.compare.labels",
    "kpig.compare.runs",
    "kpig.diversify.by_llm",
    "kpig.llm.local",
    "kpig.report.content",
    "kpig.report.table",
    "kpig.runs.diagnose",
    "kpig.runs.export",
    "kpig.runs.model_card",
    "kpig.sweep.plan",
    "kpig.tasks.entries",
    "kpig.tasks.digests",
    "kpig.tasks.documents",
    "kpig.tasks.readers.files",
    "kpig.testing.contract",
}
"""Modules whose JSON is shown, hashed or held against other JSON, and never read back."""


def test_every_writer_of_json_refuses_what_is_no_number() -> None:
    package = Path(job.__file__).parents[1]
    calls = [
        (".".join(path.relative_to(package.parent).with_suffix("").parts), node)
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dump", "json.dumps")
    ]
    open_to_anything = {
        name for name, call in calls if "allow_nan" not in {keyword.arg for keyword in call.keywords}
    }
    assert open_to_anything <= IN_MEMORY and len(calls) > 12


# One epoch is one pass


def trained_on(chosen: config.RunConfig, tasks: tuple[Any, ...]) -> list[list[str]]:
    """The ids of the current examples of each update of a step."""
    bounds = loop.bounds(tasks, chosen.train)
    step = Step(1, tasks, loop.num_updates(tasks, chosen.train), bounds)
    clocks = [loop.clock_at(chosen, step, update) for update in range(step.num_updates)]
    return [[one.id for one in loop.current_examples(step, clock)] for clock in clocks]


@pytest.mark.parametrize(
    ("epochs", "batch_size", "num_train", "sizes"),
    [
        (1, 8, 10, [8, 2]),
        (2, 8, 10, [8, 8, 4]),
        (3, 4, 5, [4, 4, 4, 3]),
        (1, 16, 10, [10]),
        (1, 5, 10, [5, 5]),
        (0.5, 8, 10, [5]),
        (0.25, 2, 10, [2, 1]),
        (1.1, 11, 10, [11]),
        (0.001, 4, 10, [1]),
    ],
)
def test_one_epoch_is_one_pass(epochs: float, batch_size: int, num_train: int, sizes: list[int]) -> None:
    chosen = config.build({"train": {"epochs": epochs, "batch_size": batch_size}})
    task = suite.task(("reverse", "upper"), num_train, 2, seed=0)
    drawn = trained_on(chosen, (task,))
    assert [len(one) for one in drawn] == sizes
    every = [one for update in drawn for one in update]
    for number in range(int(epochs)):
        assert sorted(every[number * num_train : (number + 1) * num_train]) == sorted(
            one.id for one in task.train
        )


def test_updates_per_step_trains_on_full_batches_as_before() -> None:
    chosen = config.build({"train": {"updates_per_step": 3, "batch_size": 8}})
    task = suite.task(("reverse", "upper"), 10, 2, seed=0)
    assert [len(one) for one in trained_on(chosen, (task,))] == [8, 8, 8]


@pytest.mark.parametrize("method", ["sequential", "replay", "mtl", "kpig", "periodic_replay"])
def test_a_run_of_epochs_sees_each_example_as_often_and_replays_by_what_it_saw(
    method: str, tmp_path: Path
) -> None:
    chosen = config.build(
        {
            "method": {"name": method},
            "suite": {"num_steps": 3, "tasks_per_step": 1, "num_held_out": 0, "num_train": 10, "num_test": 1},
            "train": {"epochs": 2, "batch_size": 8, "device": "cpu"},
            "replay": {"ratio": 0.25, "memory_per_task": 5},
            "evaluate": {"max_new_tokens": 2, "gain": False, "half_listening": False},
        }
    )
    scores = job.run(chosen, tmp_path / "run")
    assert scores.cost.updates == 9
    replays = 0 if method in ("sequential", "mtl") else 2 * 5
    assert scores.cost.replayed_examples == replays


def test_a_method_with_updates_of_its_own_takes_full_batches() -> None:
    chosen = config.build({"method": {"name": "sequential"}, "train": {"epochs": 1, "batch_size": 8}})
    method = create(chosen)
    method.num_updates = lambda default: default + 1  # type: ignore[method-assign]
    stream = type("Tasks", (), {"steps": [(suite.task(("reverse", "upper"), 10, 2, seed=0),)]})()
    (step,) = schedule.steps(chosen, method, stream)
    assert (step.num_updates, step.bounds) == (3, ())


def test_steps_that_are_learned_as_one_keep_their_updates() -> None:
    assert loop.joined([(0, 8, 10), (0, 8, 16, 20), (0, 3)]) == (0, 8, 10, 18, 26, 30, 33)
    assert loop.joined([(), ()]) == ()


def test_a_killed_run_of_epochs_resumes_to_the_same_weights(tmp_path: Path) -> None:
    chosen = config.build(
        {
            "method": {"name": "replay"},
            "suite": {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 0, "num_train": 10, "num_test": 1},
            "train": {"epochs": 1, "batch_size": 4, "device": "cpu", "checkpoint_every": 1},
            "evaluate": {"max_new_tokens": 2, "gain": False, "half_listening": False},
        }
    )

    class InTheLastUpdate(Watcher):
        def advance(self, *more: Any, **others: Any) -> None:
            events = list(RunDir(tmp_path / "run").events())
            if len(events) == 5:
                raise Interrupted

    job.run(chosen, tmp_path / "straight")
    with pytest.raises(Interrupted):
        job.run(chosen, tmp_path / "run", watch=InTheLastUpdate())
    job.run(chosen, tmp_path / "run", resume=True)
    one, other = (next((tmp_path / name / "steps/02").rglob("*.safetensors")) for name in ("straight", "run"))
    assert all(torch.equal(value, load_file(other)[key]) for key, value in load_file(one).items())
