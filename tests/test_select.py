"""kpig select: what is chosen, and that the files written are read as the same tasks."""

import json
import random
from dataclasses import replace

import pytest

import launched
from forked import kpig
from kpig.errors import DataError
from kpig.records import Instruction
from kpig.runs import selection
from kpig.tasks import constraints, stream, suite, written

OWN = [
    {"task": "talk", "id": "a", "split": "train", "instruction": "Say hi [now].", "output": ["hi", "ho"]},
    {
        "task": "talk",
        "id": "b",
        "split": "test",
        "instruction": "Say it.",
        "input": "x",
        "output": "y",
        "constraints": [],
    },
    {
        "task": "talk",
        "id": "c",
        "split": "train",
        "instruction": "And then?",
        "output": "[1]",
        "system": "Be brief.",
        "history": [["[How many?", "two"], ["Sure?", "é\u2028"]],
        "key_parts": [{"text": "then", "kind": "content"}],
        "constraints": [{"type": "max_words", "n": 3}],
    },
]
WORDED = [
    {"task": "caps", "instruction": "Write A.", "input": str(n), "output": "A", "step": 4, "categories": "x"}
    for n in range(9)
] + [
    {
        "task": "caps",
        "instruction": "Write an A.",
        "wording_of": "Write A.",
        "input": "p",
        "output": "A",
        "step": 4,
    }
]
SUPERNI = {
    "Definition": ["Name the capital.", "Which is the capital?"],
    "Categories": ["Question Answering", "Places"],
    "Instances": [{"id": f"i{n}", "input": f"land {n}", "output": [f"town {n}"]} for n in range(7)],
}


def lines(rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def read_again(steps, folder):
    written.write(folder, steps)
    return stream.load(folder)


def as_read(task):
    """A task without what its files may order or call otherwise: the origin of further wordings."""

    def plain(one):
        return (one.text, one.key_parts)

    def demands(found):
        return json.dumps(list(map(constraints.stated, found)), sort_keys=True)

    def told(one):
        return (replace(one, instruction=Instruction(*plain(one.instruction))), demands(one.constraints))

    wordings = sorted(map(plain, task.instructions)), sorted(map(plain, task.evaluation_instructions))
    examples = [list(map(told, split)) for split in (task.train, task.test, task.validation)]
    seed, head = plain(task.instruction), (task.name, task.metric, task.categories, demands(task.constraints))
    return (head, seed, wordings, examples)


SOURCES = {
    "own.jsonl": lines(OWN),
    "worded.jsonl": lines(WORDED),
    "capital.json": json.dumps(SUPERNI),
    "chat.jsonl": lines(
        {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": f"u{n}"},
                {"role": "assistant", "content": "a"},
                {"role": "user", "content": f"v{n}"},
                {"role": "assistant", "content": f"b{n}"},
            ]
        }
        for n in range(6)
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_tasks_are_read_as_they_were_written_from_whatever_format(name, tmp_path):
    (tmp_path / name).write_text(SOURCES[name])
    found = stream.load(tmp_path / name, validation_per_task=1 if name != "own.jsonl" else 0)
    again = read_again(found.steps, tmp_path / "new")
    assert [list(map(as_read, step)) for step in again.steps] == [
        list(map(as_read, step)) for step in found.steps
    ]


def test_the_suite_is_read_as_it_was_written_with_its_wordings_and_constraints(tmp_path):
    found = suite.stream(num_steps=3, tasks_per_step=2, num_train=5, num_test=2)
    again = read_again(found.steps, tmp_path / "new")
    assert [list(map(as_read, step)) for step in again.steps] == [
        list(map(as_read, step)) for step in found.steps
    ]
    assert sum(len(task.constraints) for task in again.tasks) and again.tasks[0].evaluation_instructions


def test_constraints_of_rows_stay_theirs_when_all_that_are_left_have_the_same(tmp_path):
    path = tmp_path / "own.jsonl"
    more = [{**OWN[2], "id": f"c{n}", "input": f"x{n}", "split": "test" if n else "train"} for n in range(2)]
    path.write_text(lines(more + OWN))
    (tmp_path / "constraints.json").write_text('{"talk": [{"type": "min_words", "n": 1}]}')
    (task,) = stream.load(path).tasks
    only = replace(task, train=task.train[:1], test=task.test[:1])
    assert all(len(one.constraints) == 1 for one in (*only.train, *only.test))
    (again,) = read_again([[only]], tmp_path / "new").tasks
    demands = {one.type for one in (*again.constraints, *again.train[0].constraints)}
    assert demands == {"min_words", "max_words"}


def test_wordings_without_key_parts_beside_an_annotated_one_are_not_written_and_counted(tmp_path):
    (tmp_path / "capital.json").write_text(SOURCES["capital.json"])
    (tmp_path / "keyparts.json").write_text('{"capital": {"key_parts": ["capital"]}}')
    (task,) = stream.load(tmp_path / "capital.json").tasks
    assert [one.text for one in written.unwritten(task)] == ["Which is the capital?"]
    (again,) = read_again([[task]], tmp_path / "new").tasks
    assert again.instructions == task.instructions[:1] and again.instruction.key_parts


def test_an_instruction_that_is_the_system_prompt_is_refused_by_the_name_of_the_task(make_example, tmp_path):
    task = suite.task(("sort", "commas"), 3, 1, 0)
    odd = replace(task, train=tuple(replace(one, as_system=True) for one in task.train))
    with pytest.raises(DataError, match=f"{task.name}.*system prompt"):
        written.write(tmp_path / "new", [[odd]])
    assert not (tmp_path / "new").exists()


def test_tasks_and_steps_of_which_nothing_is_chosen_are_left_out():
    found = suite.stream(num_steps=3, tasks_per_step=2, num_train=5, num_test=2)
    tasks = found.tasks
    chosen = [tasks[0].train[3], *tasks[5].train[:2]]
    steps = selection.narrowed(found.steps, chosen)
    assert [[task.name for task in step] for step in steps] == [[tasks[0].name], [tasks[5].name]]
    assert [list(task.train) for step in steps for task in step] == [chosen[:1], chosen[1:]]
    assert steps[0][0].test == tasks[0].test


# The command


def told(*arguments, code=0):
    done = kpig("select", *arguments)
    assert done.returncode == code, done.stderr
    return " ".join((done.stderr if code else done.stdout).split())


@pytest.fixture
def rows(tmp_path):
    """24 examples of two tasks, the last six of them copies of the first under other ids."""
    rng = random.Random(0)
    path = tmp_path / "mine.jsonl"
    found = []
    for n in range(18):
        words = " ".join(rng.sample(suite.WORDS, 3))
        found.append({"task": f"t{n % 2}", "id": f"e{n}", "instruction": "Copy the words.", "split": "train"})
        found[-1] |= {"input": words, "output": words, "key_parts": ["Copy"]}
    found += [{**found[n], "id": f"copy{n}"} for n in range(6)]
    found += [{**found[n], "id": f"test{n}", "split": "test", "input": f"ant box {n}"} for n in range(2)]
    path.write_text(lines(found))
    return path


def test_the_command_writes_what_it_chose_and_tells_clusters_scores_and_what_was_pruned(rows, tmp_path):
    out, numbers = tmp_path / "new", tmp_path / "numbers.json"
    said = told(rows, "--model", "tiny", "--budget", 12, "--clusters", 3, "--out", out, "--json", numbers)
    assert "near-duplicates" in said and f"12 of 24 training examples: {out / 'tasks.jsonl'}" in said
    found = json.loads(numbers.read_text())
    assert (found["version"], found["budget"], found["chosen"], found["pruned"]) == (1, 12, 12, 6)
    pruned = {one["id"]: one["like"]["id"] for cluster in found["clusters"] for one in cluster["pruned"]}
    assert pruned == {f"copy{n}": f"e{n}" for n in range(6)}
    chosen = {one["id"] for cluster in found["clusters"] for one in cluster["examples"] if one["chosen"]}
    again = stream.load(out)
    assert {one.id for task in again.tasks for one in task.train} == chosen and len(chosen) == 12
    assert [len(task.test) for task in again.tasks] == [1, 1]
    assert all(task.instruction.key_parts for task in again.tasks)
    for cluster in found["clusters"]:
        assert cluster["score"] == max(cluster["entropy_bits"], key=cluster["entropy_bits"].get)
        assert all(set(one["scores"]) == set(cluster["entropy_bits"]) for one in cluster["examples"])


def test_a_budget_above_what_is_no_near_duplicate_takes_all_of_it_and_says_so(rows, tmp_path):
    said = told(rows, "--model", "tiny", "--budget", 24, "--out", tmp_path / "new")
    assert "18 of 24 training examples" in said and "6 fewer than --budget 24" in said
    whole = ("--budget", 24, "--near-duplicate", 1, "--out", tmp_path / "whole")
    assert "24 of 24 training examples" in told(rows, "--model", "tiny", *whole)


def test_one_example_can_be_chosen_and_a_task_without_any_is_named(rows, tmp_path):
    said = told(rows, "--model", "tiny", "--budget", 1, "--out", tmp_path / "new")
    assert "1 of 24" in said and "of 1 tasks (t" in said
    assert [len(task.train) for task in stream.load(tmp_path / "new").tasks] == [1]


def test_data_without_key_parts_are_chosen_from_and_it_is_said_that_grounding_tells_nothing(tmp_path):
    path = tmp_path / "plain.jsonl"
    path.write_text(
        lines({"instruction": "Copy.", "input": f"ant {n}", "output": f"ant {n}"} for n in range(9))
    )
    said = told(path, "--model", "tiny", "--budget", 3, "--out", tmp_path / "new")
    assert "no instruction has key parts" in said and "grounding |" not in said
    (task,) = stream.load(tmp_path / "new").tasks
    assert len(task.train) == 3


def test_what_cannot_be_chosen_is_refused_before_the_model_is_read(rows, tmp_path):
    common = (rows, "--model", "tiny", "--out", tmp_path / "new")
    assert "--budget" in told(*common, "--budget", 0, code=2)
    assert "--budget 25 is more than the 24 training examples" in told(*common, "--budget", 25, code=2)
    assert "near-duplicate" in told(*common, "--budget", 2, "--near-duplicate", 1.5, code=2)
    assert "--clusters" in told(*common, "--budget", 2, "--clusters", 0, code=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    full = (rows, "--model", "tiny", "--budget", 2, "--out", tmp_path / "full")
    assert "is there already" in told(*full, code=2)
    assert not (tmp_path / "new").exists()


def test_the_same_seed_writes_the_same_bytes_and_a_config_names_tasks_too(rows, tmp_path):
    (tmp_path / "my.toml").write_text(f'[stream]\npath = "{rows}"\n')
    contents = []
    for number, (source, seed) in enumerate([(rows, 0), (tmp_path / "my.toml", 0), (rows, 1)]):
        out = tmp_path / f"new{number}"
        told(source, "--model", "tiny", "--budget", 6, "--seed", seed, "--out", out)
        contents.append((out / "tasks.jsonl").read_bytes())
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.parametrize("size", [2, 3])
def test_processes_that_share_a_job_choose_the_same_and_the_main_one_writes(rows, tmp_path, size):
    def asked(name):
        folder = tmp_path / name
        return (rows, "--model", "tiny", "--budget", 7, "--out", folder / "new", "--json", folder / "n.json")

    said = told(*asked("one"))
    main, *others = launched.kpig("select", *asked("many"), size=size)
    assert main.returncode == 0, main.stderr
    assert [(one.returncode, one.stdout, one.stderr) for one in others] == [(0, "", "")] * (size - 1)
    assert " ".join(main.stdout.split()).replace("many", "one") == said
    one, many = tmp_path / "one", tmp_path / "many"
    for name in ("new/tasks.jsonl", "n.json"):
        assert (one / name).read_bytes() == (many / name).read_bytes()
    assert sorted(map(str, (path.relative_to(many) for path in many.rglob("*")))) == sorted(
        map(str, (path.relative_to(one) for path in one.rglob("*")))
    )
