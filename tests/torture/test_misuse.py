"""Command lines that make no sense: a result, or one message and an exit code, never a traceback."""

import json
import random

import click
import pytest
import typer

import child
from kpig.cli import commands
from scale import times

APP = typer.main.get_command(commands.app)
NAMES = sorted(set(APP.commands) - {"quickstart", "view"})
"""Every command that does not train for minutes, or serve till it is stopped, when what it is given makes
sense: other commands may have made a folder of a path that was not there."""

WORDS = ("", " ", "-", "--", "\x1b[31mred", "‮abc", "\udcff\udcfe", "x" * 5000, "é ü 日本")
NUMBERS = ("0", "-1", "1e400", "nan", "inf", "9" * 5000, "0x10", "1_000", "½")
SETTINGS = ("seed=x", "=", "a.b.c=1", "model.path=" + "[" * 3000, "seed=" + "9" * 5000, "train=1", "seed")


@pytest.fixture(scope="module")
def odd_paths(tmp_path_factory):
    """Paths of what is no task file, run, config or model."""
    folder = tmp_path_factory.mktemp("odd")
    contents = {
        "nothing.jsonl": b"\x00",
        "binary.jsonl": bytes(range(256)),
        "deep.json": b"[" * 5000,
        "half.json": b'{"instruction": "Say',
        "number.json": b"9" * 5000,
        "wrong.toml": b"seed = [1, {",
        "other.toml": b'seed = "x"\n[modle]\npath = 3\n',
        "scores.json": b'{"version": 1, "steps": "none"}',
        "rows.jsonl": b'{"instruction": "Say it.", "input": "a", "output": "b"}\n' * 3,
        "keyparts.json": json.dumps({"t": 7}).encode(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    (folder / "circle").symlink_to("circle")
    return [str(folder / name) for name in (*contents, "folder", "circle", "missing", "missing/deeper")]


def argument(parameter: click.Parameter, paths: list[str], chance: random.Random) -> list[str]:
    """Something odd for an option or an argument, with its flag."""
    if parameter.name == "set_values" or "--set" in parameter.opts:
        value = chance.choice(SETTINGS)
    else:
        value = chance.choice([*paths, *paths, *WORDS, *NUMBERS])
    if parameter.param_type_name == "argument":
        return [value]
    flag = chance.choice(parameter.opts)
    return [flag] if getattr(parameter, "is_flag", False) else [flag, value]


@pytest.mark.parametrize("seed", times(15, 1600))
def test_a_senseless_command_line(seed, odd_paths, tmp_path, monkeypatch, tried):
    chance = random.Random(f"misuse {seed}")
    name = NAMES[seed % len(NAMES)]
    parameters = [one for one in APP.commands[name].params if one.name != "help"]
    needed = [one for one in parameters if one.required or one.param_type_name == "argument"]
    optional = [one for one in parameters if one not in needed]
    picked = needed + chance.sample(optional, min(len(optional), chance.randint(0, 3)))
    arguments = [name, *(word for one in picked for word in argument(one, odd_paths, chance))]
    monkeypatch.chdir(tmp_path)
    ended = child.run(arguments, tmp_path / "out")
    tried("senseless command lines")
    assert ended.code in (0, 1, 2), (arguments, ended)
    assert "Traceback" not in ended.said, (arguments, ended.said)
    assert ended.code == 0 or ended.said.strip(), arguments
    assert "\x1b[31m" not in ended.said and "‮" not in ended.said, (arguments, ended.said)
