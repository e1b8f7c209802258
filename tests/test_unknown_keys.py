"""Unknown keys in the files beside tasks are refused, with the key that was meant."""

import json

import pytest

from kpig.errors import DataError
from kpig.tasks import stream

IDS = [f"x-{number}" for number in range(10)]
PART = {"text": "Sort", "kind": "operation"}


def folder_of(path, top=(), step=(), task=(), entry=(), part=(), constraint=()):
    """A sound folder of one task with further keys at each place."""
    instances = [{"id": one, "input": f"text {one}", "output": "left"} for one in IDS]
    files = {
        "tasks/alpha.json": {"Definition": ["Sort the words."], "Instances": instances},
        "keyparts.json": {
            "alpha": {"definition": "Sort the words.", "key_parts": [PART | dict(part)], **dict(entry)}
        },
        "constraints.json": {"alpha": [{"type": "one_of", "values": ["left"], **dict(constraint)}]},
        "stream.json": {
            "steps": [
                {
                    "step": 1,
                    "tasks": [{"task": "alpha", "test_ids": IDS[7:], "train_ids": IDS[:7], **dict(task)}],
                    **dict(step),
                }
            ],
            **dict(top),
        },
    }
    (path / "tasks").mkdir()
    for name, value in files.items():
        (path / name).write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"task": {"train": []}}, "stream.json: step 1: task 'alpha': there is no key 'train'; known"),
        ({"task": {"fil": "x"}}, "there is no key 'fil'; did you mean 'file'?"),
        ({"top": {"task": []}}, "stream.json: there is no key 'task'; did you mean 'tasks'?"),
        ({"step": {"nmae": "x"}}, "step 1: there is no key 'nmae'; did you mean 'name'?"),
        ({"entry": {"defintion": "x"}}, "keyparts.json: task 'alpha': there is no key 'defintion'"),
        ({"part": {"strat": 0}}, "key part 'Sort': there is no key 'strat'; did you mean 'start'?"),
        ({"constraint": {"case_sensetive": True}}, "did you mean 'case_sensitive'?"),
        (
            {"constraint": {"vlaues": ["left"]}},
            "constraints.json: task 'alpha': one_of: 'vlaues' is no parameter",
        ),
        (
            {"constraint": {"pattern": "left"}},
            "'pattern' is no parameter; known: values, case_sensitive, kind",
        ),
        ({"constraint": {"knid": "degenerate"}}, "did you mean 'kind'?"),
    ],
)
def test_unknown_keys_are_refused(tmp_path, changes, words):
    with pytest.raises(DataError) as caught:
        stream.load(folder_of(tmp_path, **changes))
    assert words in str(caught.value)


def test_train_instead_of_train_ids_is_refused(tmp_path):
    folder = folder_of(tmp_path)
    raw = json.loads((folder / "stream.json").read_text())
    entry = raw["steps"][0]["tasks"][0]
    for split in ("train", "test"):
        entry[split] = entry.pop(f"{split}_ids")
    (folder / "stream.json").write_text(json.dumps(raw))
    with pytest.raises(DataError) as caught:
        stream.load(folder)
    for split in ("train", "test"):
        assert f"there is no key '{split}'; did you mean '{split}_ids'?" in str(caught.value)


def test_notes_for_readers_may_stand_everywhere(tmp_path):
    note = {"note": "by hand", "source": "me", "_checked": True}
    places = ("top", "step", "task", "entry", "part", "constraint")
    folder = folder_of(tmp_path, **dict.fromkeys(places, note))
    for name in ("keyparts.json", "constraints.json"):
        raw = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({"_about": "made in May"} | raw))
    found = stream.load(folder)
    assert len(found.tasks[0].train) == 7


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"tpye": "json"}], "constraints.json: task 'alpha': there is no key 'tpye'; did you mean 'type'?"),
        ({"type": "json"}, "task 'alpha': the entry is of type dict; expected a list of objects, each with"),
        (["json"], "a constraint must be an object with a 'type', not 'json'"),
    ],
)
def test_constraints_that_are_none_are_refused_by_task(tmp_path, entries, words):
    folder = folder_of(tmp_path)
    (folder / "constraints.json").write_text(json.dumps({"alpha": entries}))
    with pytest.raises(DataError) as caught:
        stream.load(folder)
    assert words in str(caught.value)


@pytest.mark.parametrize("number", [2, 0, -1, "1", None, True, 1.0])
def test_a_step_that_states_another_number_than_its_place_is_refused(number, tmp_path):
    with pytest.raises(DataError, match=r"step 1: states 'step' .* in the order of the file"):
        stream.load(folder_of(tmp_path, step={"step": number}))


@pytest.mark.parametrize("tasks", [[], [{"task": "beta"}], None])
def test_a_stream_file_with_steps_and_tasks_is_refused(tasks, tmp_path):
    with pytest.raises(DataError, match="has both 'steps' and 'tasks'"):
        stream.load(folder_of(tmp_path, top={"tasks": tasks}))
