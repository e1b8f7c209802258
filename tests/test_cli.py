"""The command line: what it prints, and one clear message for each kind of bad input."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import typer

from forked import anew, kpig
from kpig import config
from kpig.annotate.job import WAYS
from kpig.cli import annotate, compare
from kpig.cli.app import Device, app
from kpig.cli.commands import COMMANDS
from kpig.compare import FORMATS
from kpig.scoring.scores import read_evaluation, read_run

EXAMPLES = Path(__file__).parents[1] / "examples"
TASK = {"instruction": "Say the word.", "input": "a", "output": "b"}


def refused(*arguments: object, code: int = 1) -> str:
    """The one message of a command that fails without a traceback."""
    result = kpig(*arguments)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def write_tasks(folder: Path, *rows: dict | str) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "say.jsonl").write_text("\n".join(lines))
    return folder


def write_config(folder: Path, text: str = "") -> Path:
    path = folder / "my.toml"
    path.write_text(text)
    return path


def many(**changes: object) -> list[dict]:
    return [TASK | {"input": f"a{n}"} | changes for n in range(8)]


def test_help_of_every_command_shows_an_example():
    for command in COMMANDS:
        result = kpig(command, "--help")
        assert result.returncode == 0 and "Example: kpig" in result.stdout, command


def test_no_word_of_a_help_is_taken_for_markup():
    """rich drops "[model]" as a style that it does not know, and leaves a hole in the sentence."""
    root = typer.main.get_command(app)
    for name, command in root.commands.items():
        texts = [command.help or "", *(getattr(one, "help", None) or "" for one in command.params)]
        for text in texts:
            unknown = set(re.findall(r"(?<!\\)\[/?([a-z][^\]]*)\]", text)) - {"bold"}
            assert not unknown, (name, unknown)


def test_help_loads_neither_torch_nor_transformers():
    code = "import sys, kpig.cli.commands, kpig.runs.check\n"
    code += "print([m for m in ('torch', 'transformers', 'plotly', 'scipy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_help_waits_for_no_room_but_that_of_the_recipe():
    code = "import sys, kpig.cli.commands\n"
    code += "print(*[m for m in ('pydantic', 'numpy', 'psutil', 'sqlite3') if m in sys.modules])"
    code += "\nprint(*sorted({m.split('.')[1] for m in sys.modules if m.startswith('kpig.')}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "\ncli errors files pretrain ranks records training\n", (
        "of the last two what ends a command"
    )


def test_methods_are_listed():
    listed = kpig("methods").stdout
    assert all(name in listed for name in ("kpig", "replay", "sequential", "mtl", "init"))


@pytest.mark.parametrize(
    "path", sorted(set(EXAMPLES.glob("*.toml")) - {EXAMPLES / "sweep.toml"}), ids=lambda path: path.name
)
def test_every_shipped_config_is_sound(path):
    if path.name == "superni.toml" and not (EXAMPLES.parent.parent / "shared/data").exists():
        pytest.skip("needs ../shared/data beside the checkout")
    result = kpig("check", path)
    assert result.returncode == 0, result.stderr
    assert "sound" in result.stdout


def test_check_tells_where_the_data_of_an_example_are_that_are_not_in_the_repository(tmp_path):
    first, *_ = (EXAMPLES / "superni.toml").read_text().splitlines()
    assert "not in this repository" in first and "https://github.com/allenai/natural-instructions" in first
    (tmp_path / "examples").mkdir()
    copy = shutil.copy(EXAMPLES / "superni.toml", tmp_path / "examples/superni.toml")
    told = refused("check", copy)
    assert "no such file or folder" in told and first.removeprefix("# ") in told


@pytest.mark.parametrize("given", ["path", "held_out", "variants"])
def test_a_config_that_explains_its_missing_data_is_quoted(given, tmp_path):
    (tmp_path / "there.jsonl").write_text('{"instruction": "Say.", "output": "a"}\n' * 4)
    files = {"path": "there.jsonl", given: "gone.jsonl"}
    keys = "".join(f'{key} = "{file}"\n' for key, file in files.items())
    path = write_config(tmp_path, f"# Ask Ann for the file.\n[stream]\n{keys}")
    assert "begins: Ask Ann for the file." in refused("check", path)
    path.write_text(path.read_text().replace("# Ask Ann for the file.", "#"))
    assert "begins:" not in refused("check", path)
    (tmp_path / "gone.jsonl").write_text("no JSON")
    path.write_text(f"# Ask Ann for the file.\n[stream]\n{keys}")
    assert "Ann" not in refused("check", path), "the data are there"


def test_check_lists_every_problem_of_a_config_at_once(tmp_path):
    path = write_config(
        tmp_path, "[train]\nbatch_sise = 3\nlearning_rate = -1\n[method]\nname = 'kpig'\n[modle]\n"
    )
    message = refused("check", path)
    assert "[train] has no key 'batch_sise'; did you mean 'batch_size'?" in message
    assert "[train] learning_rate = -1" in message
    assert "has no key 'modle'; did you mean 'model'?" in message


def test_an_unknown_method_gets_a_suggestion(tmp_path):
    message = refused("check", write_config(tmp_path, "[method]\nname = 'kpgi'\n"))
    assert "'kpgi' is not a method; did you mean 'kpig'?" in message and "kpig methods" in message


def test_a_method_of_your_own_that_is_nowhere_is_found_missing_before_anything_loads(tmp_path):
    message = refused("check", write_config(tmp_path, "[method]\nname = 'nowhere:Mine'\n"))
    assert "there is no module 'nowhere' on the Python path" in message and "PYTHONPATH" in message
    assert "it names no class" in refused("check", write_config(tmp_path, "[method]\nname = 'json:'\n"))
    found = kpig("check", write_config(tmp_path, "[method]\nname = 'kpig.methods.sequential:Sequential'\n"))
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("name = 'o_lora'", "o_lora trains LoRA"),
        ("name = 'kpig.pretrain.method:Pretrain'", "set train.row_tokens"),
    ],
)
def test_check_asks_the_method_whether_it_can_do_it(settings, words, tmp_path):
    assert words in refused("check", write_config(tmp_path, f"[method]\n{settings}\n"))


def test_what_is_sound_but_may_surprise_is_said_by_check_run_eval_and_score(tmp_path):
    """No key parts, and references that the published scorer cannot read."""
    texts = ("猫在睡觉", "我喜欢喝茶", "今天下雨了", "他在学校里", "书在桌子上", "鸟会飞")
    rows = [{"instruction": "总结", "input": text, "output": text, "metric": "rougeL"} for text in texts]
    tasks = write_tasks(tmp_path / "tasks", *rows)
    text = f"[stream]\npath = '{tasks}'\n[method]\nname = 'kpig'\n"
    text += "[train]\nupdates_per_step=1\nbatch_size=2\n[evaluate]\nmax_new_tokens=2\n"
    config = write_config(tmp_path, text)
    bare, unread = "1 of 1 tasks have no key parts", "1 of 1 tasks have references with letters outside ASCII"
    checked = kpig("check", config).stdout
    assert bare in checked and unread in checked
    assert bare not in kpig("check", config, "--set", "method.name=replay").stdout
    done = kpig("run", config, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    notes = read_run(tmp_path / "run/scores.json").notes
    assert [bare in notes[0], unread in notes[1]] == [True, True]
    assert unread in kpig("eval", "tiny", "--tasks", tasks, "--max-new-tokens", 2).stdout
    answers = next((tmp_path / "run/steps/01/predictions").glob("*.jsonl"))
    assert unread in kpig("score", answers, "--tasks", tmp_path / "run").stdout
    annotated = kpig("annotate", tasks, "--by", "rules", "--out", tmp_path / "kp.json")
    assert "key parts are more than 80 % of the instruction" in annotated.stdout


def test_a_slip_in_the_name_of_a_model_folder_beside_others_is_no_hub_name(tmp_path, monkeypatch):
    (tmp_path / "models/llama").mkdir(parents=True)
    (tmp_path / "models/llama/config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    message = refused("eval", "models/lama", "--tasks", "suite")
    assert "model folder models/lama does not exist; did you mean models/llama?" in message


def test_a_name_that_is_no_folder_is_said_to_have_been_taken_for_a_hub_name():
    """In a new process: whether there is a network is read from the environment once, at the import."""
    found = anew("eval", "nowhere", "--tasks", "suite", HF_HUB_OFFLINE="1")
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert "model nowhere cannot be loaded" in found.stderr
    assert "there is no folder nowhere here, so it was taken for a hub name" in found.stderr


def test_a_setting_that_would_have_no_effect_is_refused(tmp_path):
    path = write_config(tmp_path, "[model]\nlora_rank = 4\n[stream]\ntrain_per_task = 5\n")
    message = refused("check", path)
    assert "'lora_rank' has no effect" in message and "'train_per_task' has no effect" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [("[train\n", "not valid TOML"), ("seed = 'x'", "seed = 'x'"), ("train = 3", "train = 3")],
)
def test_a_config_that_cannot_be_read_says_why(text, words, tmp_path):
    assert words in refused("check", write_config(tmp_path, text))


def test_a_missing_config_says_so(tmp_path):
    assert "no such file" in refused("run", tmp_path / "none.toml")


def test_misuse_exits_with_2(tmp_path):
    assert "no assignment" in refused("check", write_config(tmp_path), "--set", "seed", code=2)
    assert kpig("nonsense").returncode == 2


def plain(message: str) -> str:
    """A message without the frame that is drawn around it, in which its lines are broken."""
    return " ".join(message.replace("│", " ").split())


@pytest.mark.parametrize(
    ("command", "choices"),
    [
        (("gain", "tiny", "--tasks", "suite", "--device", "x"), "'auto', 'cpu', 'cuda', 'mps'"),
        (("annotate", "suite", "--by", "x"), "'llm', 'rules', 'gain', 'best'"),
        (("compare", "runs", "--format", "x"), "'terminal', 'markdown', 'csv', 'latex'"),
        (("pretrain", "--tasks", "x", "--out", "x", "--size", "x"), "'small', 'medium'"),
        (("pretrain", "--tasks", "x", "--out", "x", "--precision", "x"), "'auto', 'float32', 'bfloat16'"),
    ],
    ids=lambda value: value[-2] if isinstance(value, tuple) else "",
)
def test_what_is_no_choice_is_misuse_and_the_choices_are_named(command, choices):
    message = plain(refused(*command, code=2))
    assert f"Invalid value for '{command[-2]}'" in message and f"'x' is not one of {choices}." in message


def test_the_choices_are_those_of_the_rooms_below():
    """The command line states them itself: asking those rooms would make `kpig --help` wait for them."""
    assert get_args(config.TrainSection.model_fields["device"].annotation) == tuple(Device)
    assert tuple(annotate.Way) == WAYS
    assert {*compare.Format} == {"terminal", *FORMATS}


def test_every_command_has_a_module_of_its_name():
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert names == list(COMMANDS)
    for command, name in zip(app.registered_commands, names, strict=True):
        assert command.callback.__module__ == f"kpig.cli.{name}"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["{not json"], "say.jsonl"),
        (["{not json"], "line 1"),
        ([{"input": "a", "output": "b"}], "instruction"),
        (many(key_parts=["no such span"]), "no such span"),
        (
            many(
                key_parts=[{"text": "Say the", "kind": "operation"}, {"text": "the word", "kind": "content"}]
            ),
            "overlap",
        ),
        (many(constraints=[{"type": "max_wrods", "n": 1}]), "did you mean 'max_words'"),
        (many(output=""), "empty"),
        ([TASK | {"split": "train"}, TASK | {"split": "test"}], "in train and in test"),
    ],
    ids=["malformed", "line", "no instruction", "no span", "overlap", "constraint", "empty", "leak"],
)
def test_bad_task_data_are_refused_with_the_reason(rows, words, tmp_path):
    tasks = write_tasks(tmp_path / "tasks", *rows)
    message = refused("check", write_config(tmp_path, f'[stream]\npath = "{tasks}"\n'))
    assert words in message.replace("\n", " ")
    assert not (tmp_path / "runs").exists()


def test_a_held_out_task_that_is_also_in_the_stream_is_refused(tmp_path):
    tasks = write_tasks(tmp_path / "tasks", *many())
    path = write_config(tmp_path, f'[stream]\npath = "{tasks}"\nheld_out = "{tasks}"\n')
    message = refused("check", path)
    assert "say" in message and "held" in message


def test_a_missing_task_file_is_refused(tmp_path):
    path = write_config(tmp_path, f'[stream]\npath = "{tmp_path / "nowhere.jsonl"}"\n')
    assert "nowhere.jsonl" in refused("check", path)


def test_a_model_folder_that_cannot_be_loaded_is_refused(tmp_path):
    (tmp_path / "m").mkdir()
    path = write_config(tmp_path, f'[model]\npath = "{tmp_path / "m"}"\n')
    assert "no config.json" in refused("check", path)
    (tmp_path / "m/config.json").write_text("{}")
    assert "no weights" in refused("check", path)
    (tmp_path / "m/pytorch_model.bin").write_bytes(b"x")
    assert "pickle weights only" in refused("run", path)
    (tmp_path / "m/model.safetensors").write_bytes(b"x")
    message = refused("run", path, "--out", tmp_path / "out")
    assert "cannot be loaded" in message


def test_an_adapter_is_no_model_to_start_from(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/adapter_config.json").write_text("{}")
    path = write_config(tmp_path, f'[model]\npath = "{tmp_path / "m"}"\n')
    spec = tmp_path / "spec.toml"
    spec.write_text('base = "my.toml"\nmethods = ["replay"]\nseeds = [0]\n')
    for refusal in (refused("check", path), refused("sweep", spec, "--out", tmp_path / "out")):
        assert "m is an adapter; train from a whole model" in refusal


def test_run_eval_gain_and_report_do_what_they_say(tmp_path):
    """Each in a new process, once: nothing but its own imports is loaded for it."""
    text = "[suite]\nnum_steps=2\ntasks_per_step=1\nnum_held_out=1\nnum_train=8\nnum_test=2\n"
    text += "[train]\nupdates_per_step=2\nbatch_size=4\n[evaluate]\nmax_new_tokens=4\n"
    done = anew("run", write_config(tmp_path, text), "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout and "P" in done.stdout
    again = kpig("run", tmp_path / "my.toml", "--out", tmp_path / "run")
    assert again.returncode == 1 and "--resume" in again.stderr

    tasks = write_tasks(tmp_path / "tasks", *many(key_parts=["Say the word"]))
    model = tmp_path / "run/steps/02/model"
    scored = anew("eval", model, "--tasks", tasks, "--out", tmp_path / "scores", "--max-new-tokens", 3)
    assert scored.returncode == 0, scored.stderr
    assert read_evaluation(tmp_path / "scores/scores.json").tasks["say"].n == 8
    assert len((tmp_path / "scores/predictions.jsonl").read_text().splitlines()) == 8

    run, answers = tmp_path / "run", tmp_path / "answers.jsonl"
    answers.write_text("".join(path.read_text() for path in (run / "steps/02/predictions").glob("*.jsonl")))
    own = anew("score", answers, "--tasks", run, "--out", tmp_path / "own", "--partial")
    assert own.returncode == 0, own.stderr
    final = read_run(run / "scores.json").steps[-1].tasks
    found = read_evaluation(tmp_path / "own/scores.json").tasks
    assert {name: one.p_score for name, one in found.items()} == {
        name: one.p_score for name, one in final.items()
    }
    before = (run / "scores.json").read_bytes()
    for command in (("score", answers), ("eval", model)):
        assert "holds a run" in refused(*command, "--tasks", run, "--out", run)
    assert (run / "scores.json").read_bytes() == before

    measured = anew("gain", model, "--tasks", tasks, "--json", tmp_path / "gain.json", "--probes", 3)
    assert measured.returncode == 0, measured.stderr
    found = json.loads((tmp_path / "gain.json").read_text())["tasks"]["say"]
    assert found["num_examples"] == 3 and found["reading"] in measured.stdout
    assert found["prob"] == pytest.approx(found["instructed"] - found["masked"])

    reported = anew("report", tmp_path / "run", "--out", tmp_path / "report")
    assert reported.returncode == 0 and (tmp_path / "report/report.html").exists()
    assert "scores.json" in refused("report", tmp_path / "tasks")
