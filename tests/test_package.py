"""The package as others get it: built, checked, installed without the repository, and at work there."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SMALL = (
    "stream.max_steps=1",
    "stream.train_per_task=8",
    "stream.test_per_task=1",
    "train.updates_per_step=1",
    "train.batch_size=2",
    "evaluate.max_new_tokens=4",
)


def done(command, folder, **environment):
    """What a command prints in a folder, without anything that points to the repository."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    result = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=own | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of wheel and sdist, built of what the build needs alone; the wheel is made of the sdist."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    out = tmp_path_factory.mktemp("dist")
    done([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source], source)
    return out


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """A new environment with the wheel. The packages that it needs are those of this one, kpig aside."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (site / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done([*pip, "--python", folder / "bin/python", "install", "--no-deps", "--no-index", wheel], folder)
    return folder / "bin"


def test_wheel_and_sdist_pass_twine(built):
    files = sorted(built.iterdir())
    assert [one.suffix for one in files] == [".whl", ".gz"]
    told = done([sys.executable, "-m", "twine", "check", "--strict", *files], built, NO_COLOR="1")
    assert told.count("PASSED") == 2


def test_the_wheel_works_in_a_new_environment_without_the_repository(installed, tmp_path):
    kpig, python = installed / "kpig", installed / "python"
    where = done([python, "-c", "import kpig, sys; print(kpig.__file__, *sys.path, sep='\\n')"], tmp_path)
    package, *path = where.splitlines()
    assert Path(package).is_relative_to(installed.parent)
    assert not [one for one in path if one and Path(one).is_relative_to(ROOT / "src")]
    assert "kpig quickstart" in done([kpig, "quickstart", "--help"], tmp_path)
    assert "my/kpig.toml" in done([kpig, "init", "my"], tmp_path)
    assert "sound" in done([kpig, "check", "my/kpig.toml"], tmp_path)
    settings = [word for one in SMALL for word in ("--set", one)]
    told = done([kpig, "quickstart", "--methods", "sequential", *settings], tmp_path, OMP_NUM_THREADS="1")
    assert "report: runs/quickstart/report.html" in told
    assert (tmp_path / "runs/quickstart/sequential/scores.json").is_file()


def test_every_extra_is_listed_with_what_it_is_for():
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8").split("## Extras")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \|$", page, flags=re.MULTILINE)
    listed = {name: use for names, use in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(listed) == set(PROJECT["optional-dependencies"])
    assert all(listed.values()) and "docs/install.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_metadata_say_what_an_index_asks():
    assert PROJECT["license"] == "Apache-2.0" and PROJECT["requires-python"] == ">=3.11"
    assert all((ROOT / name).is_file() for name in (*PROJECT["license-files"], PROJECT["readme"]))
    assert PROJECT["authors"] and PROJECT["classifiers"] and PROJECT["description"]
    assert not any(one.startswith("License ::") for one in PROJECT["classifiers"])
    assert not any("example" in url for url in PROJECT["urls"].values())
