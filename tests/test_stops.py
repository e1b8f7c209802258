"""What a command says when it is stopped, when the machine runs out of something, when nobody reads it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kpig import files
from kpig.cli import failures, stops
from kpig.errors import RunError
from test_compare import write_run

AT_IMPORT = """
import os, signal, sys
class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            {send}
sys.meta_path.insert(0, Sender())
sys.argv = ["kpig", *{arguments!r}]
from kpig.cli import main
main()
"""
"""A command that gets a real signal at the moment when it begins to import a module."""

ONCE = "os.kill(os.getpid(), signal.{name})"
TWICE = f"\n            try: {ONCE}\n            finally: {ONCE}"


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The code in a process whose signals are as a terminal leaves them."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=_default_signals,
    )


def _default_signals() -> None:
    for number in stops.SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def at_import(module: str, send: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(AT_IMPORT.format(module=module, send=send, arguments=arguments), folder)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 75), ("SIGUSR1", 75)])
@pytest.mark.parametrize("send", [ONCE, TWICE], ids=["once", "twice"])
@pytest.mark.parametrize("module", ["typer", "rich.table", "kpig.runs.check", "kpig.config.tree"])
def test_a_stop_at_any_moment_is_one_line_and_no_traceback(module, send, name, code, tmp_path):
    (tmp_path / "my own.toml").write_text("")
    arguments = ("run", "my own.toml", "--set", "seed=3", "--out", "o")
    found = at_import(module, send.format(name=name), tmp_path, *arguments)
    assert found.returncode == code
    assert found.stderr.splitlines() == [stops.message(list(arguments))]
    assert "kpig run 'my own.toml' --set seed=3 --out o --resume" in found.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        (
            "kpig.sweep",
            ("sweep", "a.toml", "--out", "o"),
            "continue with the same command: kpig sweep a.toml --out o",
        ),
        ("kpig.pretrain.job", ("pretrain", "--tasks", "t", "--out", "o"), "--tasks t --out o --resume"),
        ("kpig.runs.check", ("run", "a.toml", "--resume"), "continue with: kpig run a.toml --resume"),
        ("kpig.compare", ("compare", "runs"), "nothing is lost"),
        ("kpig.tasks", ("show", "suite"), "nothing is lost"),
    ],
)
def test_each_command_says_how_it_goes_on(module, arguments, words, tmp_path):
    found = at_import(module, ONCE.format(name="SIGINT"), tmp_path, *arguments)
    assert found.returncode == 130, found.stderr
    (line,) = found.stderr.splitlines()
    assert line.endswith(words) or words in line
    assert line.count("--resume") == ("--resume" in words)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sweep", "a.toml", "--out", "o"), 75),
        (("continue", "runs/my"), 75),
        (("pretrain", "--tasks", "t"), 75),
        (("predict", "tiny"), 75),
        (("quickstart",), 75),
        (("compare", "runs"), None),
        (("check", "a.toml"), None),
        (("methods",), None),
    ],
)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_notice_asks_to_be_started_again_where_the_command_can_go_on(arguments, code, name, tmp_path):
    found = at_import("typer", ONCE.format(name=name), tmp_path, *arguments)
    assert found.returncode == (128 + getattr(signal, name) if code is None else code), found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_a_signal_that_was_silenced_stays_silent(tmp_path):
    code = AT_IMPORT.format(module="typer", send=ONCE.format(name="SIGINT"), arguments=("methods",))
    silenced = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    assert python(silenced + code, tmp_path).returncode == 0


AT_END = """
import atexit, os, signal, sys
sys.argv = ["kpig", *{arguments!r}]
import kpig.cli as cli
def give(*_): os.kill(os.getpid(), signal.{name})
def then(does, once=[give]): return lambda *given: (once and once.pop()(), does(*given))[1]
cli.ranks.leave = then(cli.ranks.leave)
cli.several.last_word = then(cli.several.last_word)
cli.failures.tell = then(cli.failures.tell)
atexit.register(give)
cli.main()
"""
"""A command that gets a signal when it begins to say how it ends, and once more when Python itself ends."""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--version",), 0, ""),
        (("config", "trian"), 2, "trian"),
        (("run", "no.toml", "--out", "o"), 1, "error: no.toml"),
        (("compare", "no"), 1, "error: no"),
    ],
)
def test_a_notice_after_the_end_changes_nothing(arguments, code, words, name, tmp_path):
    """A launcher gives it to all processes as soon as one has ended with an error."""
    found = python(AT_END.format(arguments=arguments, name=name), tmp_path)
    assert found.returncode == code
    assert words in found.stderr and len(found.stderr.splitlines()) == bool(code)


def test_ctrl_c_while_a_command_says_how_it_ends_does_not_wait_and_is_no_traceback(tmp_path):
    found = python(AT_END.format(arguments=("run", "no.toml", "--out", "o"), name="SIGINT"), tmp_path)
    assert found.returncode == 130
    assert found.stderr.splitlines() == [stops.message(["run", "no.toml", "--out", "o"])]


def test_misuse_and_refusals_keep_their_exit_codes(tmp_path):
    for arguments, code in (
        (("run",), 2),
        (("nonsense",), 2),
        (("run", "missing.toml"), 1),
        (("--version",), 0),
    ):
        found = at_import("nothing", "pass", tmp_path, *arguments)
        assert found.returncode == code and "Traceback" not in found.stderr


FAILING = """
import errno, sys
import kpig.runs.check
def fail(*_): {statement}
kpig.runs.check.check = fail
sys.argv = ["kpig", "run", "a.toml"]
from kpig.cli import main
main()
"""


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("raise MemoryError", "out of memory"),
        ("bytearray(1 << 62)", "tokens_per_micro_batch"),
        ("import torch; torch.empty(1 << 55)", "out of memory"),
        ("raise RuntimeError('CUDA out of memory. Tried to allocate 20.00 MiB')", "model.adapter=lora"),
        ("fail()", "nested too deep"),
        ("raise OSError(errno.EMFILE, 'Too many open files', '/a/b')", "ulimit -n"),
        ("raise OSError(errno.ENOSPC, 'No space left on device')", "free some space"),
        ("raise Exception('No space left on device (os error 28)')", "free some space"),
        ("raise OSError(errno.EROFS, 'Read-only file system', '/a')", "/a: Read-only file system"),
        ("raise PermissionError(errno.EACCES, 'Permission denied', 'x')", "permissions"),
    ],
)
def test_what_the_machine_runs_out_of_is_one_message(statement, words, tmp_path, monkeypatch):
    monkeypatch.delenv(failures.TRACEBACK, raising=False)
    found = python(FAILING.format(statement=statement), tmp_path)
    assert found.returncode == 1
    assert words in found.stderr and found.stderr.count("\n") == 1 and failures.TRACEBACK in found.stderr
    monkeypatch.setenv(failures.TRACEBACK, "1")
    assert "Traceback (most recent call last)" in python(FAILING.format(statement=statement), tmp_path).stderr


def test_a_fault_of_ours_keeps_its_traceback(tmp_path):
    found = python(FAILING.format(statement="raise ZeroDivisionError('ours')"), tmp_path)
    assert found.returncode == 1 and "ZeroDivisionError: ours" in found.stderr


def unread(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A command whose standard output nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "kpig", *map(str, arguments)]
        return subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize("arguments", [("methods",), ("--help",), ("--version",), ("show", "suite")])
def test_nobody_reading_is_no_error(arguments):
    found = unread(*arguments)
    assert (found.returncode, found.stderr) == (0, "")


def test_a_comparison_that_nobody_reads_is_written_all_the_same(tmp_path):
    for method in ("kpig", "replay"):
        for seed in range(3):
            write_run(tmp_path / "runs" / f"{method}{seed}", method, seed)
    found = unread("compare", tmp_path / "runs", "--out", tmp_path / "o")
    assert (found.returncode, found.stderr) == (0, "")
    assert {path.suffix for path in (tmp_path / "o").iterdir()} == {".html", ".md", ".csv", ".tex"}


NO_TEXT = os.fsdecode(b"\xff")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", f"{NO_TEXT}.toml"),
        ("run", "my.toml", "--out", f"o/a{NO_TEXT}b"),
        ("check", "my.toml", "--set", f"{NO_TEXT}=1"),
        ("run", "my.toml", "--set", f"model.path={NO_TEXT}"),
        ("compare", NO_TEXT),
        ("score", "p.jsonl", "--tasks", os.fsdecode(b"t\xe9\xfe")),
        (f"ru{NO_TEXT}n",),
    ],
)
def test_arguments_that_are_no_text_are_refused_by_name_and_make_no_folder(arguments, tmp_path):
    (tmp_path / "my.toml").write_text("")
    command = [sys.executable, "-m", "kpig", *arguments]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 2 and "no UTF-8" in found.stderr and "udc" in found.stderr
    assert found.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["my.toml"]


def test_a_working_folder_whose_name_is_no_text_works_or_is_named(tmp_path):
    folder = tmp_path / os.fsdecode(b"d\xff")
    folder.mkdir()
    for text, code in (("seed = 1\n", 0), ('[model]\npath = "./m"\n', 1)):
        (folder / "my.toml").write_text(text)
        command = [sys.executable, "-m", "kpig", "check", "my.toml"]
        found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert found.returncode == code and "Traceback" not in found.stderr
        assert code == 0 or "[model] path" in found.stderr


@pytest.mark.parametrize("text", ["\ud800", "half \udfff of a pair", f"a path {NO_TEXT}"])
def test_what_no_text_can_hold_is_refused_before_anything_is_written_and_json_holds_it_as_an_escape(
    text, tmp_path
):
    path = tmp_path / "new" / "file.json"
    with pytest.raises(RunError, match="no UTF-8 file can hold"):
        files.publish(path, text)
    assert not path.parent.exists()
    files.publish_json(path, {"response": [text]})
    assert json.loads(path.read_bytes()) == json.loads(files.as_line({"response": [text]}))
    assert json.loads(path.read_bytes()) == {"response": [text]}
