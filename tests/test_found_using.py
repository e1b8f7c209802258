"""What a newcomer meets while using it: advice, refusals and notices that were false, doubled or missing."""

import errno
import importlib
import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from forked import anew, kpig
from kpig.cli import failures, notes
from kpig.cli.gain import _gain_table
from kpig.config import ModelSection
from kpig.errors import DataError, ModelError
from kpig.files import disk_error
from kpig.model.loading import load
from kpig.model.readings import reading
from kpig.pretrain import job as pretrain
from kpig.pretrain.recipe import Recipe
from kpig.progress import Watcher
from kpig.records import Gain
from kpig.runs.places import told_new
from kpig.scoring.meanings.gains import READINGS
from kpig.tasks import stream
from test_cli import refused

SMALL = """
[suite]
num_steps = 1
num_train = 8
num_test = 1
num_held_out = 1
[train]
updates_per_step = 1
batch_size = 2
device = "cpu"
[evaluate]
max_new_tokens = 24
half_listening = false
gain = false
new_wordings = false
"""


@pytest.fixture
def config(tmp_path):
    """A config that is done in a blink."""
    path = tmp_path / "my.toml"
    path.write_text(SMALL)
    return path


# What libraries say of each other


@pytest.mark.parametrize("command", ["check", "run"])
def test_no_command_passes_on_what_libraries_tell_each_other(command, config, tmp_path):
    where = ("--out", tmp_path / "run") if command == "run" else ()
    done = kpig(command, config, "--set", "model.adapter=lora", *where)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr + done.stdout


def test_from_python_too_an_adapter_is_put_on_without_a_word_of_the_future(config, tmp_path):
    code = f"import kpig; kpig.run(kpig.load_config({str(config)!r}, ['model.adapter=lora']), out='run')"
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


class OfALibrary(FutureWarning):
    """Libraries have warnings of their own below those of Python."""


@pytest.mark.parametrize(
    "category", [FutureWarning, DeprecationWarning, PendingDeprecationWarning, OfALibrary]
)
def test_a_warning_for_authors_is_not_shown_whatever_filter_a_library_sets(category, capsys, heard):
    warnings.simplefilter("always")
    warnings.warn("it will be called otherwise", category, stacklevel=1)
    warnings.warn("for you", UserWarning, stacklevel=1)
    told = capsys.readouterr().err
    assert "otherwise" not in told and told.count("UserWarning: for you") == 1


@pytest.fixture
def heard():
    """What commands listen with; all is as before afterwards."""
    import logging

    with warnings.catch_warnings():
        found = notes.listen()
        yield found
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(found)


# A run has tasks of its own


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "my.toml").write_text(SMALL)
    done = kpig("run", folder / "my.toml", "--out", folder / "sweep" / "one")
    assert done.returncode == 0, done.stderr
    return folder / "sweep" / "one"


@pytest.mark.parametrize("command", ["eval", "gain"])
@pytest.mark.parametrize("step", ["", "steps/01"])
def test_a_run_or_a_step_of_it_is_judged_on_its_own_tasks_where_none_are_named(command, step, run):
    more = ["--max-new-tokens", 2] if command == "eval" else ["--probes", 1]
    bare, named = (kpig(command, run / step, *where, *more) for where in ([], ["--tasks", run]))
    assert bare.returncode == named.returncode == 0, bare.stderr
    assert bare.stdout == named.stdout and "repeat_first" in bare.stdout


@pytest.mark.parametrize("command", ["eval", "gain"])
def test_a_model_that_is_no_run_needs_tasks_and_the_message_says_which_may_be_named(command, tmp_path):
    told = refused(command, "tiny", code=2)
    assert "--tasks" in told and "suite" in told and "tiny" in told


# The readings of a gain


@pytest.mark.parametrize("masked", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("instructed", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("annotated", [0, 3])
def test_every_reading_has_its_legend_and_the_table_explains_those_in_it(instructed, masked, annotated):
    found = Gain(instructed - masked, 0.0, instructed, masked, num_examples=3, num_annotated=annotated)
    word = reading(found)
    table = _gain_table("m", {"tasks": {"t": asdict(found) | {"reading": word}}})
    assert f"{word}: {READINGS[word]}" in str(table.caption)
    assert [name for name in READINGS if f"  {name}: " in str(table.caption)] == [word]


def test_gain_prints_what_its_readings_mean():
    done = kpig("gain", "tiny", "--tasks", "suite", "--probes", 1)
    words = " ".join(done.stdout.split())
    assert "0.5" in words and all(READINGS[name] in words for name in READINGS if f"│ {name} " in words)
    assert "reading, of a right answer" in words


# A folder of runs


@pytest.fixture(scope="module")
def sweep(run):
    """A folder of two finished runs at unlike depths, and of one that was never finished."""
    shutil.copytree(run, run.parent / "deeper" / "two")
    begun = shutil.copytree(run, run.parent / "begun")
    (begun / "scores.json").unlink()
    return run.parent


def test_a_report_is_made_of_the_runs_under_a_folder_as_a_comparison_is(sweep, tmp_path):
    done = kpig("report", sweep)
    assert done.returncode == 0, done.stderr
    assert "not finished" in done.stdout and f"report: {sweep / 'report.html'}" in done.stdout
    assert f"gate: {sweep / 'one'}: " in done.stdout and f"gate: {sweep / 'deeper' / 'two'}: " in done.stdout
    both = kpig("report", sweep / "one", sweep, sweep / "one", "--out", tmp_path)
    for name in ("one", "deeper/two", "begun"):  # with --out, the page of an unfinished run is made too
        assert both.stdout.count(f"gate: {sweep / name}: ") == 1
    assert (tmp_path / "report.md").is_file()


def test_a_report_goes_into_the_first_folder_with_a_finished_run(sweep):
    done = kpig("report", sweep / "begun", sweep / "deeper")
    assert done.returncode == 0 and f"report: {sweep / 'deeper' / 'report.html'}" in done.stdout


def test_a_folder_without_a_run_is_refused_by_report(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no run of kpig" in refused("report", tmp_path / "empty")
    assert "no such folder" in refused("report", tmp_path / "none")


# Where no run is meant, and where one is


@pytest.mark.parametrize(
    ("command", "goes_on"),
    [
        (["init", "DIR"], False),
        (["score", "FILE", "--tasks", "suite", "--out", "DIR"], False),
        (["export", "RUN", "--out", "DIR"], False),
        (["run", "a.toml", "--out", "DIR"], True),
        (["run", "a.toml", "--out", "DIR", "--resume"], False),
        (["continue", "RUN", "--tasks", "FILE"], True),
        (["pretrain", "--tasks", "FILE", "--out", "DIR"], True),
        (["--version"], False),
        ([], False),
    ],
)
def test_only_what_goes_on_with_resume_says_so_where_the_disk_is_full(command, goes_on, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kpig", *command])
    told = failures.in_words(OSError(errno.ENOSPC, "No space left"))
    assert ("--resume" in told) == goes_on and "free some space" in told
    assert ("--resume" in failures.going_on(command)) == goes_on
    assert "--resume" not in str(disk_error(Path("x"), OSError(errno.ENOSPC, "No space left")))


def test_a_disk_that_takes_no_file_is_told_as_the_command_needs_it(config, run, tmp_path):
    """A file stands where the folder would be made."""
    (tmp_path / "file").write_text("")
    for command in (["init", tmp_path / "file" / "x"], ["show", "suite", "--html", tmp_path / "file" / "x"]):
        told = refused(*command)
        assert "cannot be written" in told and "--resume" not in told
    assert "with --resume" in refused("run", config, "--out", tmp_path / "file" / "x")


def test_a_resume_of_nothing_is_told_and_a_slip_is_named(config, run):
    done = kpig("run", config, "--out", run.parent / "ome", "--resume")
    assert done.returncode == 0, done.stderr
    words = "".join(done.stderr.split())
    assert (
        "".join(
            [
                "nothing",
                "was",
                "begun",
                "there",
                "that",
                "--resume",
                "could",
                "continue,",
                "so",
                "it",
                "begins",
                "anew",
            ]
        )
        in words
    )
    assert f"didyoumean{run}?" in words
    again = kpig("run", config, "--out", run.parent / "ome", "--resume")
    assert again.returncode == 0 and "nothing was begun" not in " ".join(again.stderr.split())
    assert "did you mean" not in told_new(run.parents[2] / "quite-another")


def test_a_pretraining_that_is_resumed_from_nothing_says_so(tmp_path):
    heard = []

    class Heard(Watcher):
        def say(self, line):
            heard.append(line)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain.run(Recipe(tasks=str(tmp_path)), tmp_path / "bse", resume=True, watch=Heard())
    assert "nothing was begun there" in heard[0] and "did you mean" not in heard[0]


# Data are read once


def test_run_and_continue_read_their_data_once(tmp_path, monkeypatch):
    read = []

    def counted(*given, **named):
        read.append(given)
        return original(*given, **named)

    original = stream.load
    monkeypatch.setattr(stream, "load", counted)
    for name in ("old", "new"):
        rows = [
            {"task": name, "instruction": f"Say {name}.", "input": f"{n}", "output": name} for n in range(9)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = tmp_path / "my.toml"
    path.write_text("[stream]\npath = 'old.jsonl'\n" + SMALL[SMALL.index("[train]") :])
    commands = [importlib.import_module(f"kpig.cli.{name}") for name in ("run", "continue")]
    commands[0].run(path, out=tmp_path / "run")
    assert len(read) == 1
    commands[1].continue_run(tmp_path / "run", str(tmp_path / "new.jsonl"))
    assert len(read) == 2
    commands[0].run(tmp_path / "run" / "config.toml", out=tmp_path / "run", resume=True)
    assert len(read) == 3


# Numbers too long to be read

NINES = "9" * 5000


@pytest.mark.parametrize(
    ("name", "text", "arguments"),
    [
        ("a.jsonl", f'{{"instruction": "x", "input": "a", "output": {NINES}}}', ["show"]),
        ("a.json", f'[{{"instruction": "x", "input": {NINES}, "output": "b"}}]', ["show"]),
        (
            "a.json",
            f'{{"Definition": ["x"], "Instances": [{{"input": "a", "output": [{NINES}]}}]}}',
            ["show"],
        ),
        ("a.csv", f'instruction,input,output,key_parts\nx,a,b,"[{NINES}]"\n', ["show"]),
        ("a.csv", f"instruction,input,output,step\nx,a,b,{NINES}\n", ["show"]),
        ("a.jsonl", f'{{"instruction": "x", "input": "a", "output": "b", "step": "{NINES}"}}', ["show"]),
        ("a.toml", f"seed = {NINES}", ["check"]),
        ("a.toml", f"seeds = [{NINES}]", ["sweep", "--out", "o"]),
        ("a.jsonl", f'{{"task": "x", "example": "a", "response": {NINES}}}', ["score", "--tasks", "suite"]),
        ("a.toml", "", ["sweep", "--out", "o", "--shard", f"1/{NINES}"]),
    ],
)
def test_a_number_too_long_to_be_read_is_told_in_the_users_words(name, text, arguments, tmp_path):
    (tmp_path / name).write_text(text)
    done = kpig(arguments[0], tmp_path / name, *arguments[1:])
    assert done.returncode in (1, 2) and "error: " in done.stderr
    assert not any(word in done.stderr for word in ("Traceback", "sys.", "set_int_max", "integer string"))
    assert len(done.stderr) < 1000


def test_such_a_number_has_its_advice_and_other_words_stay():
    try:
        int(NINES)
    except ValueError as error:
        told = str(DataError(f"x.jsonl: line 3: not valid JSON ({error}); mend the file"))
    assert told == (
        "x.jsonl: line 3: not valid JSON (a number has more than 4300 digits; write it shorter, or in "
        "quotes); mend the file"
    )
    assert str(DataError("use sys.exit() or (4300 digits)")) == "use sys.exit() or (4300 digits)"


# What check tells of the machine and the model


def checked(config, *settings, code=1, **environment):
    """What `kpig check` says of a config with settings; the hub's environment is read when it is imported."""
    given = [word for one in settings for word in ("--set", one)]
    done = anew("check", config, *given, **environment) if environment else kpig("check", config, *given)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_check_finds_that_a_device_is_missing(device, config):
    if (torch.cuda if device == "cuda" else torch.backends.mps).is_available():
        pytest.skip("it is here")
    told = checked(config, f"train.device={device}", "model.path=./nowhere")
    assert f"[train] train.device: device '{device}'" in told and "./nowhere" in told


@pytest.mark.parametrize(
    ("targets", "absent"),
    [
        (["nope"], ["'nope'"]),
        (["q_proj", "v_prj"], ["'v_prj'"]),
        (["proj", "q_proj", "attn.q_proj"], ["'proj'", "'attn.q_proj'"]),
        (["mlp"], ["not supported"]),
    ],
)
def test_check_finds_lora_targets_that_no_layer_of_the_model_has(targets, absent, config):
    told = checked(config, "model.adapter=lora", f"model.lora_targets={json.dumps(targets)}")
    assert all(one in told for one in absent) and "model.lora_targets" in told
    assert "'q_proj'" not in told


def test_a_run_from_python_refuses_lora_targets_that_would_be_passed_over(tmp_path):
    with pytest.raises(ModelError, match=r"no module is called 'v_prj'.*k_proj"):
        load(ModelSection(path="tiny", adapter="lora", lora_targets=("q_proj", "v_prj")))


@pytest.mark.parametrize("targets", [["q_proj"], ["self_attn.v_proj", "down_proj"], ["lm_head"]])
def test_sound_lora_targets_are_sound(targets, config):
    checked(config, "model.adapter=lora", f"model.lora_targets={json.dumps(targets)}", code=0)


@pytest.mark.parametrize(
    ("name", "offline", "words"),
    [
        ("nobody/nothing", "0", "note: model.path 'nobody/nothing' is no folder here"),
        ("tinyy", "0", "Did you mean 'tiny'?"),
        ("nobody/nothing", "1", "error: "),
        ("no such name", "0", "cannot be a name on the hub"),
        ("tiny--x..y", "1", "cannot be a name on the hub"),
    ],
)
def test_check_says_what_is_known_of_a_model_that_is_no_folder(name, offline, words, config):
    code = 0 if words[:1] in "nD" else 1
    told = checked(config, f"model.path={name}", code=code, HF_HUB_OFFLINE=offline)
    assert words in told and ("is no folder" in told)


def test_check_has_no_word_on_a_model_that_was_fetched_before(config, tmp_path):
    snapshot = tmp_path / "hub" / "models--nobody--small" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    hub = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    assert "is no folder" not in checked(config, "model.path=nobody/small", code=0, **hub)
