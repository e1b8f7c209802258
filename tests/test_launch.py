"""What docs/several-gpus.md and examples/launch/ say starts a job in several processes: run on CPUs."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kpig import config
from kpig.testing.several import free_port
from test_job import small

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "several-gpus.md").read_text(encoding="utf-8")
SCRIPTS = ROOT / "examples" / "launch"
LITTLE = {
    "suite": {"num_steps": 1, "tasks_per_step": 1, "num_held_out": 0, "num_train": 6, "num_test": 2},
    "train": {"updates_per_step": 2, "device": "cpu"},
}


def command(name):
    """The line of the page that begins with a launcher's name, in words."""
    found = re.findall(rf"(?m)^(?:[A-Z]+=\S+ )*{name}.*-m kpig run.*$|^(?:[A-Z]+=\S+ )+sh .*{name}.*$", PAGE)
    assert len(found) == 1
    return shlex.split(found[0])


def start(words, folder, **more):
    """A launcher in the repository's root, with the programs of this environment first on its path."""
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.Popen(
        [str(one) for one in words],
        cwd=ROOT,
        env=os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(*launchers):
    """What each has said on standard output; AssertionError where one failed."""
    found = [(*one.communicate(timeout=240), one.returncode) for one in launchers]
    assert [code for _, _, code in found] == [0] * len(launchers), found
    return [said for said, _, _ in found]


@pytest.fixture
def job(tmp_path):
    """A config of a small job, where its run goes, and what the page and the scripts call them."""
    (tmp_path / "my.toml").write_text(config.dump(small("replay", **LITTLE)))
    out = tmp_path / "run"
    return {"examples/suite.toml": tmp_path / "my.toml", "my.toml": tmp_path / "my.toml", "runs/my": out}


def num_processes(job):
    """Of the one start of the finished run."""
    assert (job["runs/my"] / "scores.json").is_file()
    starts = json.loads((job["runs/my"] / "environment.json").read_text())["starts"]
    assert len(starts) == 1
    return starts[0]["processes"]


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_a_launcher_starts_a_job_as_the_page_says(launcher, job, tmp_path):
    words = [job.get(word, word) for word in command(launcher)]
    assert "2" in words
    port = f"--{'master_port' if launcher == 'torchrun' else 'main_process_port'}={free_port()}"
    words.insert(words.index("-m"), port)
    (said,) = ended(start(words, tmp_path))
    assert said.count("report: ") == 1 and num_processes(job) == 2


def test_two_launchers_that_meet_do_one_job_as_several_machines_do(job, tmp_path):
    words = [job.get(word, word) for word in command("several_machines")]
    assert words[:4] == ["MACHINES=2", "PROCESSES=8", "MAIN=first.host", "sh"]
    more = {"MACHINES": "2", "PROCESSES": "1", "MAIN": "127.0.0.1", "PORT": str(free_port())}
    first, second = ended(*(start(words[3:], tmp_path, **more) for _ in range(2)))
    assert (first + second).count("report: ") == 1 and num_processes(job) == 2


def test_the_script_for_slurm_starts_a_launcher_on_each_machine(job, tmp_path):
    """srun and scontrol stand here for those of a cluster."""
    for name, does in (("srun", 'echo "$@"'), ("scontrol", "echo first; echo second")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    more = {"SLURM_NNODES": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]"}
    (said,) = ended(start(["sh", SCRIPTS / "slurm.sh", "my.toml", "--out", "runs/my"], tmp_path, **more))
    words = (
        "torchrun --nnodes 2 --nproc_per_node 8 --rdzv_backend c10d --rdzv_id 7 --rdzv_endpoint first:29500"
    )
    assert said == f"{words} -m kpig run my.toml --out runs/my --resume\n"


def test_every_script_says_how_it_is_started_and_is_sound():
    for script in sorted(SCRIPTS.glob("*.sh")):
        text = script.read_text(encoding="utf-8")
        assert f"examples/launch/{script.name}" in text
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
        assert script.name in PAGE or script.name == "one_machine.sh"
