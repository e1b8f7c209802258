"""A run that met trouble goes on to the bits of one that met none, and says in one message what happened."""

import errno
import random
import re
import shutil
import signal
from pathlib import Path

import pytest

import child
from child import BROKEN, FULL, READ_ONLY, Ended, Trouble, failing, killed, stopping
from kpig import config
from scale import times
from test_job import read_scores, small

SECONDS = re.compile(rb'"\w+_seconds": [-\d.e]+')
"""How long something took is the one thing that may differ."""

MESSAGE = re.compile("^error: ", re.M)

METHODS = ("kpig", "sequential", "ewc", "lora")
"""What learns: a method with memory and gains, none, one with tensors of its own, an adapter."""

ROOM_TO_SAY = 8192
"""Bytes that whatever a command says takes at most."""


def chosen(name: str) -> config.RunConfig:
    adapter = {"model": {"adapter": "lora"}} if name == "lora" else {}
    return small("kpig" if name == "lora" else name, **adapter)


class Straight:
    """A run that nothing happened to."""

    def __init__(self, name: str, folder: Path):
        self.file = folder / f"{name}.toml"
        self.file.write_text(config.dump(chosen(name)))
        self.run = folder / name
        ended = child.run(self.arguments(self.run), self.run)
        assert ended.code == 0, ended.said
        self.operations = ended.operations
        self.largest = max(path.stat().st_size for path in self.run.rglob("*") if path.is_file())

    def arguments(self, out: Path, *more: str) -> list[str]:
        return ["run", str(self.file), "--out", str(out), *more]


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """straight(name): made once."""
    folder, made = tmp_path_factory.mktemp("straight"), {}

    def make(name: str) -> Straight:
        if name not in made:
            made[name] = Straight(name, folder)
        return made[name]

    return make


def contents(run: Path) -> dict[str, bytes]:
    """Every file that decides what comes next: weights, states, predictions, marks of finished steps."""
    kept = (path for path in run.glob("steps/**/*") if path.is_file() and path.name != "scores.json")
    return {str(path.relative_to(run)): SECONDS.sub(b"", path.read_bytes()) for path in kept}


def assert_goes_on(one: Straight, out: Path) -> None:
    """Resumed, it ends with the same bits, and nothing is left over."""
    ended = child.run(one.arguments(out, "--resume"), out)
    assert ended.code == 0, ended.said
    assert contents(out) == contents(one.run) and read_scores(out) == read_scores(one.run)
    assert {path.name for path in out.iterdir()} == {path.name for path in one.run.iterdir()}
    assert not list(out.parent.glob(f"{out.name}.lock"))


def assert_one_message(ended: Ended) -> None:
    assert ended.code == 1, ended
    assert "Traceback" not in ended.said and len(MESSAGE.findall(ended.said)) == 1, ended.said


@pytest.mark.parametrize("seed", times(2, 160))
def test_killed_before_a_file_operation(seed, straight, tmp_path, tried):
    """Up to three times in one run, each time before an operation of its choice."""
    chance = random.Random(f"operations {seed}")
    one = straight(METHODS[seed % len(METHODS)])
    out, more = tmp_path / "run", []
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(1, one.operations)
        ended = child.run(one.arguments(out, *more), out, Trouble(at, killed))
        tried("kills before a file operation", ended.code == -signal.SIGKILL)
        assert ended.code in (-signal.SIGKILL, 0), ended.said
        more = ["--resume"]
    assert_goes_on(one, out)


@pytest.mark.parametrize("seed", times(1, 60))
@pytest.mark.parametrize("act", [FULL, READ_ONLY, BROKEN], ids=["full", "read-only", "broken"])
def test_a_disk_that_refuses(act, seed, straight, tmp_path, tried):
    """Once, or from some moment on."""
    chance = random.Random(f"disk {seed}")
    one = straight(METHODS[seed % len(METHODS)])
    out = tmp_path / "run"
    trouble = Trouble(chance.randint(1, one.operations), act, lasting=chance.random() < 0.5)
    ended = child.run(one.arguments(out), out, trouble)
    tried("disks that refuse")
    if ended.code:
        assert_one_message(ended)
    assert_goes_on(one, out)


@pytest.mark.parametrize("seed", times(2, 80))
def test_files_that_cannot_grow(seed, straight, tmp_path, tried):
    """As on a full disk, in the middle of a file, whoever writes it: Python, Rust or C."""
    one = straight(METHODS[seed % len(METHODS)])
    out = tmp_path / "run"
    # What the command says goes to files too, and has to fit.
    limit = max(ROOM_TO_SAY, int(one.largest ** random.Random(f"limit {seed}").random()))
    ended = child.run(one.arguments(out), out, Trouble(limit=limit))
    tried("files that cannot grow")
    assert_one_message(ended)
    assert_goes_on(one, out)


@pytest.mark.parametrize("seed", times(1, 32))
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)]
)
def test_asked_to_stop(number, code, seed, straight, tmp_path, tried):
    chance = random.Random(f"signal {seed}")
    one = straight(METHODS[seed % len(METHODS)])
    out = tmp_path / "run"
    ended = child.run(one.arguments(out), out, Trouble(chance.randint(1, one.operations), stopping(number)))
    tried("signals")
    assert ended.code in (code, 0), ended.said
    assert "Traceback" not in ended.said
    assert ended.code == 0 or ended.said.count("stopped; ") == 1
    assert_goes_on(one, out)


DAMAGES = ("cut", "emptied", "deleted", "overwritten", "a flipped bit")


def damage(path: Path, how: str, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
    elif how == "a flipped bit" and content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
    else:
        cut = content[: chance.randrange(len(content) + 1)]
        path.write_bytes({"cut": cut, "overwritten": chance.randbytes(len(content))}.get(how, b""))


@pytest.fixture(scope="session")
def half_done(straight, tmp_path_factory):
    """half_done(name): a run that was killed in its second step, with a checkpoint."""
    folder, made = tmp_path_factory.mktemp("half"), {}

    def make(name: str) -> Path:
        if name not in made:
            one = straight(name)
            for at in range(one.operations * 3 // 4, 0, -5):
                out = folder / f"{name}-{at}"
                child.run(one.arguments(out), out, Trouble(at, killed))
                if (out / "steps/02/checkpoint/state.json").exists():
                    break
            made[name] = out
        return made[name]

    return make


@pytest.mark.parametrize("seed", times(2, 160))
def test_a_damaged_file(seed, straight, half_done, tmp_path, tried):
    """The run goes on, or one message says which file. What was changed in place may not be seen."""
    chance = random.Random(f"damage {seed}")
    name = METHODS[seed % len(METHODS)]
    out = Path(shutil.copytree(half_done(name), tmp_path / "run"))
    files = sorted(path for path in out.rglob("*") if path.is_file())
    damage(chance.choice(files), chance.choice(DAMAGES), chance)
    ended = child.run(straight(name).arguments(out, "--resume"), out)
    tried("damaged files")
    assert ended.code in (0, 1) and "Traceback" not in ended.said, ended.said
    if ended.code:
        assert str(out) in ended.said or "steps/" in ended.said, ended.said


def test_the_hook_counts(straight, tmp_path):
    """Each of these troubles does happen: a test of the torture itself."""
    one = straight("sequential")
    assert one.operations > 30
    out = tmp_path / "run"
    assert child.run(one.arguments(out), out, Trouble(1, killed)).code == -signal.SIGKILL
    assert child.run(one.arguments(out, "--resume"), out, Trouble(1, failing(errno.EIO))).code == 1
