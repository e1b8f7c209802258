"""Examples with instructions of their own: key parts that annotate finds for each, constraints in rows."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kpig.annotate import keyparts
from kpig.cli.commands import app
from kpig.errors import DataError
from kpig.records import Instruction, KeySpan
from kpig.scoring.judge import judge
from kpig.tasks import digests, stream

ASKED = (
    "Name the capital of Norway. Use one word.",
    "List the months that begin with J.",
    "Translate 'good day' into German.",
    "What is 3 plus 4? Answer with a number.",
)


def write(path, **more):
    """A chat file: every row asks something else."""
    turns = [(("user", text), ("assistant", f"answer {n}")) for n, text in enumerate(ASKED)]
    rows = [{"messages": [{"role": role, "content": text} for role, text in both], **more} for both in turns]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def annotate(path, *more):
    found = CliRunner().invoke(app, ["annotate", str(path), "--by", "rules", *more])
    assert found.exit_code == 0, found.output
    return found.output


def key_texts(path):
    (task,) = stream.load_tasks(path)
    asked = [example.instruction for example in task.test]
    return {one.text: [one.text[span.start : span.end] for span in one.key_parts] for one in asked}


def test_every_instruction_of_a_chat_file_gets_key_parts_of_its_own(tmp_path):
    path = write(tmp_path / "chat.jsonl")
    assert not any(key_texts(path).values())
    assert "key parts of 3 more were found by rules" in annotate(path)
    found = key_texts(path)
    assert set(found) == set(ASKED) and all(found.values())
    assert "Translate 'good day' into German" in found[ASKED[2]]


def test_what_a_hand_corrected_stays_and_the_rest_is_renewed(tmp_path):
    path = write(tmp_path / "chat.jsonl")
    annotate(path)
    file = tmp_path / "keyparts.json"
    entries = json.loads(file.read_text())
    (name,) = entries
    own = {one["definition"]: one for one in entries[name]["own"]}
    own[ASKED[1]]["key_parts"] = [{"text": "months", "kind": "content"}]
    entries[name]["own"] = list(own.values())
    file.write_text(json.dumps(entries))
    assert key_texts(path)[ASKED[1]] == ["months"]
    before = key_texts(path)
    annotate(path)
    assert key_texts(path) == before
    annotate(path, "--overwrite")
    assert key_texts(path)[ASKED[1]] != ["months"]


def test_own_entries_outlive_a_seed_entry_made_by_hand(tmp_path):
    path = write(tmp_path / "chat.jsonl")
    file = tmp_path / "keyparts.json"
    file.write_text(json.dumps({"chat": {"definition": ASKED[0], "key_parts": ["Norway"]}}))
    annotate(path)
    entries = json.loads(file.read_text())["chat"]
    assert entries["key_parts"] == ["Norway"] and len(entries["own"]) == 3
    assert key_texts(path)[ASKED[0]] == ["Norway"] and all(key_texts(path).values())


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({}, "'own': expected|'own'"),
        ([3], "objects with 'definition'"),
        ([{"key_parts": []}], "'definition'"),
        ([{"definition": ASKED[1], "key_parts": ["weeks"]}], "'weeks' is not a span"),
        ([{"definition": ASKED[1], "keyparts": ["months"]}], "did you mean 'key_parts'"),
    ],
)
def test_own_entries_that_are_none_are_refused_by_task(own, words, tmp_path):
    path = write(tmp_path / "chat.jsonl")
    (tmp_path / "keyparts.json").write_text(json.dumps({"chat": {"own": own}}))
    with pytest.raises(DataError, match=f"(?s)keyparts.json: task 'chat'.*({words})"):
        stream.load_tasks(path)


def test_keyparts_keep_own_entries_when_only_seeds_are_written(tmp_path):
    file = tmp_path / "keyparts.json"
    own = Instruction("Say it.", (KeySpan(0, 6, "operation"),))
    keyparts.write(file, {"t": Instruction("Do it.")}, "rules", own={"t": [own]})
    keyparts.write(file, {"t": Instruction("Do it!")}, "rules")
    entry = json.loads(file.read_text())["t"]
    assert entry["definition"] == "Do it!" and [one["definition"] for one in entry["own"]] == ["Say it."]


def test_constraints_that_differ_from_row_to_row_hold_for_their_own_row(tmp_path):
    limits = (1, 2, None, 3)
    rows = [
        {"task": "t", "instruction": ASKED[n], "output": "a", "id": f"r{n}"}
        | ({"constraints": [{"type": "max_words", "n": limit}]} if limit else {})
        for n, limit in enumerate(limits)
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (task,) = stream.load_tasks(path)
    assert task.constraints == ()
    told = {"group": "seen", "wording": "seed", "prompt": "p"}
    judged = [judge(task, example, "two words", **told) for example in task.test]
    assert [bool(one.violations) for one in judged] == [True, False, False, False]
    assert [one.num_constraints for one in judged] == [1, 1, 0, 1]
    same = [row | {"constraints": [{"type": "max_words", "n": 1}]} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in same))
    (shared,) = stream.load_tasks(path)
    assert len(shared.constraints) == 1 and not any(one.constraints for one in shared.test)
    assert digests.of_task(task) != digests.of_task(shared)
    bare = replace(task, test=tuple(replace(one, constraints=()) for one in task.test))
    assert digests.of_task(task) != digests.of_task(bare)


def test_a_row_without_constraints_has_those_beside_the_tasks(tmp_path):
    limits = [{}, *({"constraints": [{"type": "max_words", "n": n}]} for n in (1, 2))]
    rows = [
        {"task": "t", "instruction": text, "output": "a"} | limit
        for text, limit in zip(ASKED, limits, strict=False)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "constraints.json").write_text(json.dumps({"t": [{"type": "min_words", "n": 1}]}))
    (task,) = stream.load_tasks(tmp_path / "t.jsonl")
    assert [one.type for one in task.constraints] == ["min_words"]
    assert [len(one.constraints) for one in task.test] == [0, 1, 1]


def test_the_documented_file_is_read(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    (shown,) = [one.split("```")[0] for one in page.split("```json\n")[1:] if '"own"' in one.split("```")[0]]
    (tmp_path / "keyparts.json").write_text(shown)
    entry = json.loads(shown)["chat"]
    asked = [entry["definition"], *(one["definition"] for one in entry["own"])]
    rows = [{"task": "chat", "instruction": text, "output": "a"} for text in asked]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (task,) = stream.load_tasks(tmp_path / "t.jsonl")
    assert [len(one.instruction.key_parts) for one in task.test] == [2, 1]


def test_own_entries_of_no_instruction_are_told(tmp_path, caplog):
    path = write(tmp_path / "chat.jsonl")
    own = [{"definition": "List the months that begin with X.", "key_parts": []}]
    (tmp_path / "keyparts.json").write_text(json.dumps({"chat": {"own": own}}))
    stream.load_tasks(path)
    assert "1 entries under 'own' are of no instruction in the data ('List the months" in caplog.text
