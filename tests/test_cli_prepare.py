"""The commands that make tasks ready: what they write is read with the tasks, and hand-made work is kept."""

import json

import pytest

from forked import anew
from misbehaving_server import MisbehavingServer, fails, says
from test_cli import TASK, kpig, refused, write_tasks

INSTRUCTION = "You are given a word. Your task is to say the word twice. Answer in capital letters."


@pytest.fixture
def tasks(tmp_path):
    rows = [TASK | {"instruction": INSTRUCTION, "input": f"w{n}", "output": f"W{n} W{n}"} for n in range(8)]
    return write_tasks(tmp_path / "tasks", *rows)


def test_annotated_key_parts_are_read_with_the_tasks_and_kept_when_corrected_by_hand(tasks):
    out = tasks / "keyparts.json"
    assert kpig("annotate", tasks, "--by", "rules", "--out", out).returncode == 0
    found = json.loads(out.read_text())
    assert [part["text"] for part in found["say"]["key_parts"]] == [
        "say the word twice",
        "Answer in capital letters",
    ]
    shown = kpig("show", tasks).stdout.replace("\n", " ")
    assert "[say the word twice](operation)" in shown and "Your task is to _. _." in shown
    found["say"]["key_parts"].pop()
    out.write_text(json.dumps(found))
    again = kpig("annotate", tasks, "--by", "rules", "--out", out)
    assert "1 made by hand were kept" in again.stdout
    assert len(json.loads(out.read_text())["say"]["key_parts"]) == 1


def test_key_parts_that_leave_little_of_an_instruction_are_told_with_task_and_share(tmp_path):
    text = "Name the shortest river, one word."
    rows = [TASK | {"instruction": text, "input": f"w{n}", "output": f"W{n}"} for n in range(8)]
    tasks = write_tasks(tmp_path / "tasks", *rows)
    told = "key parts are more than 80 % of the instruction (say 93 %): masking leaves little of it"
    annotated = kpig("annotate", tasks, "--by", "rules", "--out", tasks / "keyparts.json")
    assert f"note: {told}" in annotated.stdout and "93 %" in annotated.stdout.split("note:")[0]
    assert told in " ".join(kpig("show", tasks).stdout.split())


def test_variants_written_beside_the_tasks_are_trained_on_and_never_replaced_unasked(tasks, tmp_path):
    kpig("annotate", tasks, "--by", "rules", "--out", tasks / "keyparts.json")
    done = anew("diversify", tasks, "--n", 5, "--out", tasks)
    assert done.returncode == 0 and "breadth 5" in done.stdout, done.stderr
    config = tmp_path / "my.toml"
    config.write_text(f'[stream]\npath = "{tasks}"\n')
    line = next(line for line in kpig("check", config).stdout.splitlines() if " say " in line)
    assert line.split("│")[6].strip() == "5", "the seed and four variants; one is kept for evaluation"
    assert "--overwrite" in refused("diversify", tasks, "--out", tasks, code=2)
    assert kpig("diversify", tasks, "--n", 3, "--out", tasks, "--overwrite").returncode == 0


def test_a_page_per_task_can_be_written(tasks, tmp_path):
    assert kpig("show", tasks, "--html", tmp_path / "pages").returncode == 0
    assert "say the word twice" in (tmp_path / "pages/say.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["annotate", "--by", "llm"], "name a chat model with --llm"),
        (["annotate", "--by", "magic"], "'magic' is not one of"),
        (["annotate", "--by", "gain"], "need a model"),
        (["diversify", "--ways", "constraint", "--out", "nowhere"], "need a language model"),
        (["show", "--task", "sya"], "did you mean 'say'"),
    ],
    ids=["llm", "way", "gain", "ways", "task"],
)
def test_what_cannot_be_done_is_refused_with_the_next_step(arguments, words, tasks):
    command, *options = arguments
    assert words in refused(command, tasks, *options, code=2)


def test_a_missing_key_names_its_variable_and_a_dead_server_its_address(tasks, monkeypatch, tmp_path):
    options = (
        "--by",
        "llm",
        "--llm",
        "some-model",
        "--base-url",
        "http://127.0.0.1:9/v1",
        "--cache",
        tmp_path / "cache",
    )
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "OPENAI_API_KEY is not set" in refused("annotate", tasks, *options)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-this-is-secret")
    message = refused("annotate", tasks, *options)
    assert "http://127.0.0.1:9/v1" in message and "sk-this-is-secret" not in message


@pytest.fixture
def server(monkeypatch):
    """A chat model that names one key part, where variants are asked for, too: nobody can read that."""
    part = {"key_parts": [{"text": "say the word", "kind": "operation"}]}
    with MisbehavingServer(then=says(json.dumps(part))) as running:
        monkeypatch.setenv("SOME_KEY", "secret")
        yield ["--llm", "m", "--base-url", running.url, "--key-variable", "SOME_KEY"]


@pytest.mark.parametrize("limit", [("--max-requests", 2), ("--max-tokens", 1)])
@pytest.mark.parametrize("command", ["annotate", "diversify"])
def test_a_spent_budget_is_told_and_no_success_and_what_was_paid_for_is_kept(
    command, limit, server, tmp_path
):
    rows = [
        TASK | {"task": f"t{n}", "instruction": INSTRUCTION.replace("twice", f"{n} times"), "input": f"w{m}"}
        for n in range(5)
        for m in range(4)
    ]
    tasks, out = write_tasks(tmp_path / "tasks", *rows), tmp_path / "o"
    way = ["--by", "llm", "--out", out / "keyparts.json"]
    if command == "diversify":
        kpig("annotate", tasks, "--by", "rules", "--out", tasks / "keyparts.json")
        way = ["--ways", "concretizing", "--n", 1, "--out", out]
    common = [command, tasks, *way, *server, "--cache", tmp_path / "cache"]
    found = kpig(*common, *limit)
    assert found.returncode == 1, found.stdout
    assert f"the budget of {limit[1]} " in found.stderr and "unanswered" in found.stderr
    assert "run again to go on" in found.stderr and "Traceback" not in found.stderr
    written = out / ("keyparts.json" if command == "annotate" else "variants.json")
    assert written.is_file()
    if command == "diversify":
        assert "--overwrite" in found.stderr and str(written) in found.stderr
        again = refused(*common, code=2)
        assert "--overwrite" in again and "not paid again" in again
        assert "no answer could be read" in refused(*common, "--overwrite")
    if command == "annotate":
        assert len(json.loads(written.read_text())) == (2 if limit[0] == "--max-requests" else 0)
        assert kpig(*common).returncode == 0
        assert len(json.loads(written.read_text())) == 5


LIMITED = INSTRUCTION + " Use at most two words. Start with 'W'. Stay under 3 characters."


@pytest.fixture
def limited(tmp_path):
    rows = [TASK | {"instruction": LIMITED, "input": f"w{n}", "output": f"W{n} W{n}"} for n in range(8)]
    return write_tasks(tmp_path / "limited", *rows)


def test_key_parts_and_constraints_go_beside_the_tasks_and_say_so(limited, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = kpig("annotate", limited, "--by", "rules")
    assert done.returncode == 0, done.stderr
    assert f"key parts of 1 tasks: {limited / 'keyparts.json'}" in done.stdout
    assert f"constraints of 1 tasks: {limited / 'constraints.json'} (3 proposed" in done.stdout
    assert (
        "1 more were dropped" in done.stdout
        and "say: max_characters from 'under 3 characters' (0 %)" in done.stdout
    )
    assert not (tmp_path / "keyparts.json").exists()
    found = json.loads((limited / "constraints.json").read_text())["say"]
    assert [one["type"] for one in found] == ["max_words", "casing", "starts_with"]
    assert (
        kpig("annotate", limited, "--by", "rules").stdout.splitlines()[-2:] == done.stdout.splitlines()[-2:]
    )


def test_hand_made_constraints_are_kept_unless_asked_otherwise(limited):
    path = limited / "constraints.json"
    path.write_text('{"say": [{"type": "min_words", "n": 1}]}')
    assert "those of 1 tasks made by hand were kept" in kpig("annotate", limited, "--by", "rules").stdout
    assert json.loads(path.read_text()) == {"say": [{"type": "min_words", "n": 1}]}
    assert kpig("annotate", limited, "--by", "rules", "--no-constraints", "--overwrite").returncode == 0
    assert json.loads(path.read_text()) == {"say": [{"type": "min_words", "n": 1}]}
    assert kpig("annotate", limited, "--by", "rules", "--overwrite").returncode == 0
    assert json.loads(path.read_text())["say"][0]["type"] == "max_words"


def test_constraints_go_beside_the_key_parts_where_a_place_is_named(limited, tmp_path):
    out = tmp_path / "elsewhere" / "parts.json"
    assert kpig("annotate", limited, "--by", "rules", "--out", out).returncode == 0
    assert out.is_file() and (out.parent / "constraints.json").is_file()
    assert not (limited / "constraints.json").exists() and not (limited / "keyparts.json").exists()


@pytest.mark.parametrize("command", ["annotate", "diversify"])
def test_a_server_that_always_refuses_ends_the_command_soon(command, tmp_path, monkeypatch):
    rows = [
        TASK | {"task": f"t{n}", "instruction": INSTRUCTION.replace("twice", f"{n} times")} for n in range(9)
    ]
    tasks = write_tasks(tmp_path / "tasks", *rows)
    kpig("annotate", tasks, "--by", "rules", "--out", tasks / "keyparts.json")
    way = ["--by", "llm"] if command == "annotate" else ["--ways", "concretizing"]
    monkeypatch.setenv("SOME_KEY", "secret")
    with MisbehavingServer(then=fails(429)) as running:
        message = refused(
            command, tasks, *way, "--out", tmp_path / "o", "--llm", "m", "--base-url", running.url,
            "--key-variable", "SOME_KEY", "--cache", tmp_path / "cache",
            "--timeout", 5, "--retries", 0, "--max-failures", 3,
        )  # fmt: skip
        assert len(running.received) <= 12
    assert "3 requests in a row" in message and "--max-failures" in message


def test_variants_may_go_into_a_file_of_any_name_which_is_not_replaced_unasked(tasks, tmp_path):
    kpig("annotate", tasks, "--by", "rules", "--out", tasks / "keyparts.json")
    out = tmp_path / "mine.json"
    assert str(out) in kpig("diversify", tasks, "--n", 3, "--out", out).stdout.replace("\n", "")
    assert "--overwrite" in refused("diversify", tasks, "--n", 3, "--out", out, code=2)
