"""Examples keep the instruction they came with; rewordings are what the data declare."""

import dataclasses
import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpig.annotate.job import _examples
from kpig.config import EvaluateSection, RunConfig
from kpig.errors import ConfigError, DataError
from kpig.methods.base import Clock, Step
from kpig.methods.inscl import _shares
from kpig.methods.parts.memory import Memory, reworded
from kpig.methods.ssr import Ssr
from kpig.records import KeySpan, Task
from kpig.runs.check import cautions, own_instruction_cautions
from kpig.scoring.probing import probes
from kpig.tasks import stream
from kpig.tasks.show import html
from kpig.training.loop import current_examples

CAPITALS = ["Norway", "Peru", "Chad", "Fiji", "Iran", "Cuba", "Laos", "Mali", "Oman", "Togo"]


def row(text: str, number: int, **changes: object) -> dict[str, object]:
    return {"task": "qa", "instruction": text, "output": f"answer {number}", **changes}


def written(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def questions(path: Path, **changes: object) -> Path:
    return written(
        path, *(row(f"What is the capital of {c}?", n, id=c, **changes) for n, c in enumerate(CAPITALS))
    )


def trained(task: Task, updates: int = 8) -> list[tuple[str, str]]:
    """Id and instruction of what a step of the task trains on, and of what memory then draws."""
    step = Step(1, (task,), updates)
    clocks = [Clock(0, 1, update, updates, 8) for update in range(updates)]
    memory = Memory(7, 0)
    memory.add(task)
    restored = Memory(7, 0)
    restored.restore(json.loads(json.dumps(memory.state())))
    drawn = [one for seed in range(5) for one in restored.draw(5, random.Random(seed))]
    shown = [one for clock in clocks for one in current_examples(step, clock)] + drawn
    return [(one.id, one.instruction.text) for one in shown]


def test_every_example_of_questions_of_one_task_keeps_its_question(tmp_path):
    task = stream.load(questions(tmp_path / "qa.jsonl")).tasks[0]
    assert all(text == f"What is the capital of {one}?" for one, text in trained(task))
    assert all(one.instruction.text == f"What is the capital of {one.id}?" for one in task.test)
    assert {one for one, _ in trained(task)} == {one.id for one in task.train}
    assert len(task.train) + len(task.test) == 10


@st.composite
def tables(draw):
    """Rows of two tasks whose instructions, inputs and declarations are drawn."""
    texts = [f"Do {number}." for number in range(4)]
    seed = draw(st.sampled_from(texts))
    rows = [row(seed, 0, id="0", input="first")]
    for number in range(1, draw(st.integers(5, 12))):
        text = draw(st.sampled_from(texts))
        declared = {"wording_of": seed} if draw(st.booleans()) else {}
        rows.append(row(text, number, id=str(number), input=f"text {number}", **declared))
    return rows, seed


@settings(max_examples=60, deadline=None)
@given(tables())
def test_every_pair_and_prompt_has_its_rows_instruction_or_a_declared_rewording(table):
    rows, seed = table
    own = {one["id"]: one["instruction"] for one in rows}
    declared = {seed, *(one["instruction"] for one in rows if "wording_of" in one)}
    with TemporaryDirectory() as folder:
        task = stream.load(written(Path(folder) / "mine.jsonl", *rows)).tasks[0]
    for example_id, text in trained(task):
        assert text == own[example_id] or {text, own[example_id]} <= declared
    for example in (*task.train, *task.test):
        assert example.instruction.text == own[example.id]
    assert {one.text for one in task.instructions} == declared


def test_key_parts_stay_with_the_row_that_states_them(tmp_path):
    rows = [row(f"Name the {c} flag.", n, id=c, key_parts=[c]) for n, c in enumerate(CAPITALS)]
    task = stream.load(written(tmp_path / "qa.jsonl", *rows)).tasks[0]
    for example in (*task.train, *task.test):
        assert example.instruction.key_parts == (KeySpan(9, 9 + len(example.id)),)


def test_questions_with_the_same_answer_and_no_input_are_different_examples(tmp_path):
    rows = [
        row(f"Is {c} a state?", n, output="yes", split="train" if n < 6 else "test")
        for n, c in enumerate(CAPITALS)
    ]
    task = stream.load(written(tmp_path / "qa.jsonl", *rows)).tasks[0]
    assert (len(task.train), len(task.test)) == (6, 4)
    unsplit = [row(f"Is {c} a state?", 0, output="yes") for c in CAPITALS]
    assert len(stream.load(written(tmp_path / "qb.jsonl", *unsplit)).tasks[0].train) == 8


def test_the_same_question_in_train_and_test_is_refused(tmp_path):
    rows = [row(f"Is {c} a state?", 0, output="yes", split="train") for c in CAPITALS]
    path = written(tmp_path / "qa.jsonl", *rows, row("is  Peru a state?", 0, output="yes", split="test"))
    with pytest.raises(DataError, match="in train and in test"):
        stream.load(path)


@pytest.mark.parametrize(
    "stated, hint", [("Do thiss.", "did you mean 'Do this.'"), ("Never", "copy it exactly")]
)
def test_wording_of_an_instruction_that_is_not_there_is_refused(tmp_path, stated, hint):
    rows = [row("Do this.", n, input=str(n)) for n in range(4)]
    path = written(tmp_path / "a.jsonl", *rows, row("Please do this.", 5, input="5", wording_of=stated))
    with pytest.raises(DataError, match=hint):
        stream.load(path)


def test_wordings_of_two_instructions_of_one_task_are_refused(tmp_path):
    rows = [row(text, n, input=str(n)) for n, text in enumerate(["Do this.", "Do that."])]
    more = [row(f"Please: {one['instruction']}", 7, wording_of=one["instruction"]) for one in rows]
    with pytest.raises(DataError, match="'wording_of' differs"):
        stream.load(written(tmp_path / "a.jsonl", *rows, *more))


def test_declared_wordings_of_a_file_without_task_names_are_one_task(tmp_path):
    rows = [{"instruction": "Sort.", "input": str(n), "output": "x"} for n in range(5)]
    more = [
        {"instruction": "Order.", "wording_of": "Sort.", "input": f"m{n}", "output": "x"} for n in range(5)
    ]
    tasks = stream.load(written(tmp_path / "mine.jsonl", *rows, *more)).tasks
    assert [(task.name, len(task.instructions)) for task in tasks] == [("mine", 2)]


def test_variants_beside_the_file_reword_only_the_instruction_they_were_made_from(tmp_path):
    path = questions(tmp_path / "qa.jsonl", input="now")
    variant = {"instruction": "Norway's capital?"}
    kept = {"instruction": "Capital, Norway?", "evaluation": True}
    (tmp_path / "variants.json").write_text(json.dumps({"qa": [variant, kept]}), encoding="utf-8")
    task = stream.load_tasks(path)[0]
    found = {
        reworded(one, task.instructions, random.Random(n)).instruction.text
        for one in task.test[1:]
        for n in range(9)
    }
    assert not found & {"Norway's capital?", task.instruction.text}
    new = [one for one in probes({"seen": [task]}, EvaluateSection()) if one.wording == "new"]
    assert [(one.example.id, one.example.instruction.text) for one in new] == [("Norway", "Capital, Norway?")]


def test_an_old_state_of_memory_is_read(tmp_path):
    task = stream.load(questions(tmp_path / "qa.jsonl")).tasks[0]
    seed = dataclasses.replace(
        task, train=tuple(dataclasses.replace(one, instruction=task.instruction) for one in task.train)
    )
    memory = Memory(3, 0)
    memory.add(seed)
    restored = Memory(3, 0)
    restored.restore(json.loads(json.dumps(memory.state())))
    assert restored.tasks == memory.tasks and restored.tasks["qa"].stood_under == task.instructions


def test_check_counts_the_tasks_and_show_says_so(tmp_path):
    task = stream.load(questions(tmp_path / "qa.jsonl")).tasks[0]
    (sentence,) = own_instruction_cautions([task, dataclasses.replace(task, train=(), test=())])
    assert sentence.startswith("1 of 2 tasks have examples with instructions of their own (qa)")
    assert "single examples&#39; own" in html(task) and task.train[0].instruction.text in html(task)


def test_inscl_weighs_own_instructions_by_their_examples(tmp_path):
    task = stream.load(questions(tmp_path / "qa.jsonl")).tasks[0]
    assert [(one.text, share) for one, share in _shares(task)] == [
        (example.instruction.text, 1)
        for example in sorted(task.train, key=lambda one: one.instruction != task.instruction)
    ]


def test_ssr_refuses_tasks_without_one_instruction(tmp_path):
    task = stream.load(questions(tmp_path / "qa.jsonl")).tasks[0]
    with pytest.raises(ConfigError, match="instructions of their own"):
        Ssr(RunConfig.model_validate({"method": {"name": "ssr"}})).arrange([(task,)])


def test_kpig_is_told_of_examples_without_key_parts_of_their_own(tmp_path):
    rows = [row(f"Name the {c} flag.", n, key_parts=[c] if n % 2 else None) for n, c in enumerate(CAPITALS)]
    found = stream.load(written(tmp_path / "qa.jsonl", *rows))
    bare = sum(not one.instruction.key_parts for one in found.tasks[0].train)
    told = [one for one in cautions(RunConfig(), found) if one.startswith(f"{bare} of 8 training examples")]
    assert len(told) == 1 and "'key_parts' in their rows" in told[0]


def test_gain_annotates_the_seed_with_its_own_examples_only(tmp_path):
    task = stream.load(questions(tmp_path / "qa.jsonl")).tasks[0]
    assert [one.instruction for one in _examples(task, 5)] == [task.instruction]
