"""Task names are text of the data: no file is made of one outside its folder, none overwrites another's."""

import json

import pytest

from kpig import config
from kpig.files import name_for
from kpig.records import Prediction
from kpig.runs import job
from kpig.scoring import predictions

NAMES = (
    "../../../up",
    "./x",
    "x",
    "x/",
    "y/z",
    "y//z",
    "..",
    ".",
    "A",
    "a",
    "con",
    "a\\b",
    "~",
    "é",
    "X" * 190,
)


def prediction(task):
    return Prediction(task, "1", "seen", "seed", "", "r", ("r",), True, 1.0, 1.0, (), 0)


def test_every_name_has_a_file_of_its_own_in_the_folder(tmp_path):
    folder = tmp_path / "deep" / "predictions"
    every = [prediction(name) for name in (*NAMES, str(tmp_path / "victim"))]
    predictions.write_by_task(folder, every)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder] == []
    found = [one for path in folder.glob("*.jsonl") for one in predictions.read(path)]
    assert sorted(one.task for one in found) == sorted(one.task for one in every)
    assert len({path.name.lower() for path in folder.iterdir()}) == len(every)


def test_a_run_writes_nothing_where_a_name_points(tmp_path):
    victim = tmp_path / "victim.jsonl"
    victim.write_text("precious")
    names = (str(tmp_path / "victim"), "../../../../escape", "plain")
    rows = [
        {"task": name, "instruction": f"Say {number}.", "input": str(n), "output": str(n)}
        for number, name in enumerate(names)
        for n in range(4)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = {
        "stream": {"path": str(tmp_path / "t.jsonl")},
        "train": {"updates_per_step": 1, "batch_size": 2},
        "evaluate": {"max_new_tokens": 2},
        "method": {"name": "sequential"},
    }
    before = {path for path in tmp_path.rglob("*")}
    job.run(config.build(table), tmp_path / "a" / "b" / "run")
    outside = {path for path in tmp_path.rglob("*") if tmp_path / "a" not in (path, *path.parents)} - before
    assert outside == set() and victim.read_text() == "precious"
    assert (tmp_path / "a/b/run/steps/00/predictions" / f"{name_for(names[1])}.jsonl").is_file()
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"b"}
    assert {path.name for path in (tmp_path / "a/b").iterdir()} == {"run"}


@pytest.mark.parametrize("name", ["sort-reverse", "task1_x", "a.b"])
def test_plain_names_stay_as_they_are(name):
    assert name_for(name) == name
