"""A first config that says what every key means and is what leaving it out is; completion in a shell."""

import os
import subprocess
import sys

import pytest

from forked import anew
from kpig import config
from kpig.config import RunConfig
from kpig.config.commented import commented
from kpig.methods import METHODS, chosen
from test_cli import kpig, refused


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_config_is_that_of_a_file_without_a_key(method, tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(commented(method, chosen.load(method).Settings))
    (tmp_path / "empty.toml").write_text(f'[method]\nname = "{method}"\n')
    found = config.load(path)
    empty = config.load(tmp_path / "empty.toml")
    own = config.differing_keys(found, empty)
    assert all(key.startswith(f"method.{method}.") for key in own)
    if method != "o_lora":  # it asks for an adapter, which the defaults have not
        assert chosen.complete(found) == chosen.complete(empty)


def test_every_key_has_its_meaning_above_it():
    lines = commented("kpig", chosen.load("kpig").Settings).splitlines()
    text = " ".join(line.removeprefix("# ") for line in lines)
    sections = [type(field.default) for field in RunConfig.model_fields.values()]
    for section in (*sections, chosen.load("kpig").Settings):
        for name, field in getattr(section, "model_fields", {}).items():
            assert " ".join((field.description or "").split()) in text, name
    for number, line in enumerate(lines):
        if " = " in line and not line.startswith("#"):
            assert lines[number - 1].startswith("# "), line
    assert max(map(len, lines)) <= 100


def test_init_writes_it_once_and_the_config_is_sound(tmp_path):
    done = anew("init", tmp_path / "new" / "deep")
    assert done.returncode == 0, done.stderr
    path = tmp_path / "new/deep/kpig.toml"
    assert kpig("check", path).returncode == 0
    path.write_text("mine")
    assert "is there already" in refused("init", tmp_path / "new" / "deep") and path.read_text() == "mine"
    assert "did you mean 'replay'" in refused("init", tmp_path / "other", "--method", "repaly")
    assert not (tmp_path / "other").exists()
    assert kpig("init", tmp_path, "--method", "ewc").returncode == 0
    assert "[method.ewc]" in (tmp_path / "kpig.toml").read_text()


def completed(words: str, count: int) -> list[str]:
    asked = {"_KPIG_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    code = "import sys; sys.argv[0] = 'kpig'; from kpig.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    return done.stdout.split()


def test_a_shell_completes_commands_and_options():
    assert {"gate", "gain"} <= set(completed("kpig ga", 1))
    assert completed("kpig expo", 1) == ["export"]
    assert completed("kpig export --mer", 2) == ["--merge"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_in_a_home_of_its_own(shell, tmp_path):
    code = "import sys; sys.argv = ['kpig', '--install-completion', sys.argv[1]]; "
    code += "from kpig.cli import main; main()"
    environment = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, shell], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert any("_KPIG_COMPLETE" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
