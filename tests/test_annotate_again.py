"""Annotating what was annotated before: edited instructions, other columns, other places, wordings."""

import json
from dataclasses import replace

import pytest

from kpig.annotate import job
from kpig.config import RunConfig
from kpig.errors import DataError
from kpig.runs.check import cautions
from kpig.tasks import stream
from test_cli import kpig, refused

ASKED = "Name the team: billing or shipping."
SYSTEM = "You help in a shop. Say which team must act, billing or shipping. Answer in one word."


def chats(folder, system=SYSTEM):
    """Six chats under one system prompt, and a config that reads it as the instruction."""
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "task": "team",
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": f"Parcel {n} is late."},
                {"role": "assistant", "content": "shipping"},
            ],
        }
        for n in range(6)
    ]
    (folder / "may.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = folder.parent / "desk.toml"
    config.write_text(
        f'model = {{path = "tiny"}}\nstream = {{path = "{folder}", columns = {{instruction = "system"}}}}\n'
    )
    return folder, config


def entry_of(folder):
    return json.loads((folder / "keyparts.json").read_text())["team"]


# Another wording


def test_key_parts_of_a_prompt_that_was_edited_are_made_anew_and_that_is_told(tmp_path):
    folder, config = chats(tmp_path / "data")
    assert kpig("annotate", config, "--by", "rules").returncode == 0
    chats(folder, SYSTEM.replace("one word", "two words"))
    told = refused("check", config)
    assert "'definition' differs" in told and "give kpig annotate again" in told
    assert "in one word" in told and "in two words" in told
    done = kpig("annotate", config, "--by", "rules")
    assert done.returncode == 0 and "key parts of 1 tasks (team) are of another wording" in done.stderr
    assert "two words" in entry_of(folder)["definition"]
    assert kpig("check", config).returncode == 0


def test_key_parts_that_were_found_in_other_columns_are_no_hindrance_and_none_of_them_stays(tmp_path):
    folder, config = chats(tmp_path / "data")
    assert kpig("annotate", folder, "--by", "rules").returncode == 0
    assert len(entry_of(folder)["own"]) == 5
    assert kpig("annotate", config, "--by", "rules").returncode == 0
    assert entry_of(folder)["definition"] == SYSTEM and "own" not in entry_of(folder)
    assert "passed over" not in kpig("show", config).stderr


def test_key_parts_of_a_hand_are_refused_under_another_wording_until_they_may_be_replaced(tmp_path):
    folder, config = chats(tmp_path / "data")
    by_hand = {"definition": SYSTEM.replace("shop", "lamp shop"), "key_parts": ["Answer in one word"]}
    (folder / "keyparts.json").write_text(json.dumps({"team": by_hand}))
    told = refused("annotate", config, "--by", "rules")
    assert "--overwrite" in told and "delete it" in told and "from character 15 on" in told
    assert entry_of(folder) == by_hand
    assert kpig("annotate", config, "--by", "rules", "--overwrite").returncode == 0
    assert entry_of(folder)["definition"] == SYSTEM


def test_outside_of_annotating_another_wording_is_refused(tmp_path):
    folder, _ = chats(tmp_path / "data")
    (folder / "keyparts.json").write_text(json.dumps({"team": {"definition": 3, "key_parts": []}}))
    with pytest.raises(DataError, match="it is 3 and no text"):
        stream.load_tasks(folder)


# Wordings


def worded(path, **more):
    """Nine rows in three wordings of one instruction."""
    texts = (ASKED, "Which team should act: billing or shipping?", "Pick billing or shipping as the team.")
    rows = [
        {"task": "team", "instruction": texts[n % 3], "input": f"t {n}", "output": "billing", **more}
        | ({"wording_of": ASKED} if n % 3 else {})
        for n in range(9)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_wordings_that_the_data_give_get_key_parts_and_say_so(tmp_path):
    path = worded(tmp_path / "team.jsonl")
    done = kpig("annotate", path, "--by", "rules")
    assert (
        "1 of them (team) have further wordings: key parts of 2 more were found, under 'own'" in done.stdout
    )
    (task,) = stream.load_tasks(path)
    assert len(task.instructions) == 3 and all(one.key_parts for one in task.instructions)
    assert "kpig annotate" not in kpig("show", path).stdout


def test_definitions_of_super_natural_instructions_get_key_parts_too(tmp_path):
    texts = [ASKED, "Say who must act: billing or shipping."]
    raw = {
        "Definition": texts,
        "Categories": ["c"],
        "Instances": [{"id": str(n), "input": f"t {n}", "output": ["billing"]} for n in range(6)],
    }
    (tmp_path / "task1_team.json").write_text(json.dumps(raw))
    assert kpig("annotate", tmp_path, "--by", "rules").returncode == 0
    (task,) = stream.load_tasks(tmp_path)
    assert [one.text for one in task.instructions] == texts
    assert all(one.key_parts for one in task.instructions)


def test_gain_reads_a_given_wording_with_the_examples_of_the_task(tmp_path):
    (task,) = stream.load_tasks(worded(tmp_path / "team.jsonl"), split_by_rule=True)
    under = job._under(task, task.instructions[2])
    assert under.instruction == task.instructions[2] and set(under.instructions) == set(task.instructions)
    assert len(job._examples(under, 99)) == len(task.train)


def test_bare_wordings_are_told_before_a_run(tmp_path):
    worded(tmp_path / "team.jsonl", key_parts=None)
    (tmp_path / "keyparts.json").write_text(json.dumps({"team": {"key_parts": ["Name the team"]}}))
    found = stream.load(tmp_path / "team.jsonl")
    (task,) = found.tasks
    bare = sum(one.instruction != task.instruction for one in task.train)
    told = [
        one for one in cautions(RunConfig(), found) if one.startswith(f"{bare} of {len(task.train)} training")
    ]
    assert len(told) == 1 and "a wording without any" in told[0]
    plain = replace(
        found, steps=((replace(task, train=tuple(one for one in task.train if one.instruction.key_parts)),),)
    )
    assert not any("a wording without any" in one for one in cautions(RunConfig(), plain))


# System prompts


def test_annotate_and_show_tell_that_system_prompts_are_no_instruction(tmp_path):
    folder, config = chats(tmp_path / "data")
    told = "6 examples have a system prompt, 6 of them 'You help in a shop. Say which "
    assert told in kpig("annotate", folder, "--by", "rules").stderr
    assert told in kpig("show", folder).stdout
    assert "have a system prompt" not in kpig("annotate", config, "--by", "rules").stderr
    assert "have a system prompt" not in kpig("show", config).stdout


def test_only_instructions_with_key_parts_are_counted_as_found(tmp_path):
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "x"}]}
        for text in (
            "Translate 'good day' into German.",
            "Name the capital of Norway.",
            "hello there",
            "good day",
        )
    ]
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = kpig("annotate", path, "--by", "rules")
    assert "key parts of 1 more were found by rules and none in 2, under 'own'" in done.stdout
    assert "constraints: none were read; all instructions are single examples' own" in done.stdout


# Another place


def test_constraints_beside_the_tasks_are_not_said_to_be_kept_in_another_place(tmp_path):
    path = worded(tmp_path / "team.jsonl")
    assert kpig("annotate", path, "--by", "rules").returncode == 0
    assert json.loads((tmp_path / "constraints.json").read_text())
    out = tmp_path / "new" / "keyparts.json"
    done = kpig("annotate", path, "--by", "rules", "--out", out)
    assert f"constraints of 1 tasks: {out.with_name('constraints.json')} (1 proposed" in done.stdout
    assert out.with_name("constraints.json").is_file()


def test_constraints_of_rows_are_said_to_be_kept_and_no_file_is_named(tmp_path):
    path = worded(tmp_path / "team.jsonl", constraints=[{"type": "max_words", "n": 3}])
    done = kpig("annotate", path, "--by", "rules")
    assert "constraints: none were read; those of 1 tasks made by hand were kept" in done.stdout
    assert not (tmp_path / "constraints.json").exists()
