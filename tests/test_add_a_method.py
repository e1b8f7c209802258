"""docs/add-a-method.md is true: its files run as it says, and it names every hook and field that there is."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kpig
import kpig.testing
from kpig import config
from kpig.methods import METHODS
from kpig.testing import MethodContract, configured, live
from kpig.testing.history import CAPACITY, STEPS
from kpig.training.passes import OWN_NAMES
from test_docs import resolved

PAGE = (Path(__file__).parents[1] / "docs" / "add-a-method.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)
SPANS = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))
FILES = {
    re.match(r"# ([\w.]+)\n", text).group(1): text
    for language, text in BLOCKS
    if language in ("python", "toml")
}
COMMANDS = [line for language, text in BLOCKS if language == "sh" for line in text.strip().splitlines()]


class Places(kpig.Method):
    """Looks up every replayed example by its place, as the page says it can."""

    def __init__(self, config):
        super().__init__(config)
        self.memory, self.looked_up = kpig.Memory(config.replay.memory_per_task, config.seed), 0

    def replay(self, clock, learner):
        self.drawn = self.memory.draw(self.num_replayed(clock), clock.rng("replay"), reword=False)
        assert all(one in self.memory.tasks[one.task].examples for one in self.drawn)
        self.num_current = clock.num_current
        return self.drawn

    def loss(self, learner, batch):
        for example, place, is_past in zip(
            batch.examples, batch.places, batch.replayed.tolist(), strict=True
        ):
            number = place - self.num_current
            assert is_past == (number >= 0)
            assert not is_past or example is self.drawn[number]
            self.looked_up += is_past
        return super().loss(learner, batch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of the page, as its reader writes them."""
    found = tmp_path_factory.mktemp("recall")
    for name, text in FILES.items():
        (found / name).write_text(text, encoding="utf-8")
    return found


def run(folder, *command):
    """A command of the page in its folder, with what it exports."""
    paths = filter(None, [".", os.environ.get("PYTHONPATH")])
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def events(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def num_passed(said):
    """How many laws of the contract held; `run` has seen that none failed. Later ones make them more."""
    return int(re.search(r"(\d+) passed", said)[1])


def test_the_commands_of_the_page_check_test_run_and_compare_the_method(folder):
    assert COMMANDS[0] == "export PYTHONPATH=." and [line.split()[0] for line in COMMANDS[1:]] == [
        "kpig", "pytest", "kpig", "kpig", "kpig",
    ]  # fmt: skip
    said = [run(folder, *line.split()) for line in COMMANDS[1:]]
    assert num_passed(said[1]) >= 25
    assert re.search(r"(?m)^recall:Recall +\d", said[-1]) and re.search(r"(?m)^replay +\d", said[-1])
    records = events(folder / "runs/recall")
    first, second = ([one for one in records if one["step"] == step] for step in (1, 2))
    assert len(first) == len(second) == 6
    assert not any("fall" in one or "penalty_ratio" in one for one in first)
    assert all(one["penalty_ratio"] > 0 for one in second[1:] if one["fall"] > 0)
    assert sum(one["fall"] for one in second) > 0
    resolved_config = config.load_resolved(folder / "runs/recall/config.toml")
    assert resolved_config.method.given == {"weight": 2.0}


def test_the_other_method_of_the_page_keeps_the_contract_too(folder):
    text = FILES["test_recall.py"].replace("recall:Recall", "hush:Hush")
    (folder / "test_hush.py").write_text(
        text.replace('    settings = {"weight": 2.0}\n    rehearses = True\n', "")
    )
    assert num_passed(run(folder, "pytest", "test_hush.py")) >= 25


def test_a_replayed_example_is_found_by_its_place(tmp_path):
    history = live(configured("test_add_a_method:Places"), tmp_path)
    assert history.method.looked_up == sum(len(drawn) for drawn in history.drawn) > 0


def test_a_sweep_takes_the_method_by_the_same_name(folder):
    (folder / "sweep.toml").write_text(
        'base = "recall.toml"\nmethods = ["recall:Recall", "replay"]\nseeds = [0, 1]\n'
    )
    listed = run(folder, "kpig", "sweep", "sweep.toml", "--out", "runs/sweep", "--dry-run")
    assert listed.count("recall") >= 2


@pytest.mark.parametrize("one", [kpig.Batch, kpig.Clock, kpig.Loss, kpig.Step, kpig.Logits])
def test_every_field_of_what_a_hook_gets_or_gives_is_named(one):
    words = set(re.findall(r"\w+", " ".join(SPANS)))
    assert {field.name for field in dataclasses.fields(one)} <= words


def test_every_hook_and_attribute_of_a_method_has_its_row():
    rows = set(re.findall(r"(?m)^\| `(\w+)` \|", PAGE))
    public = {name for name in vars(kpig.Method) if not name.startswith("_")} | {"__init__"}
    assert public - rows == {"num_replayed", "most_replayed", "rng"}, "helpers, named below the table"
    assert {"num_replayed(clock)", "most_replayed(clock)", "rng(purpose)"} <= SPANS


def test_the_contract_has_room_for_as_many_stored_numbers_as_the_page_says():
    learner, memory = kpig.testing.learner(adapter=True), kpig.Memory(CAPACITY, configured("replay").seed)
    kept = [one for step in STEPS for task in step for one in memory.part(task)]
    tokens = sum(len(learner.encoder.encode(one).response) for one in kept)
    room = 2 * len(STEPS) * sum(weight.numel() for weight in learner.weights().values())
    assert f"that is {room} in all, for {tokens} response tokens in memory: {room // tokens}" in PAGE


def test_the_names_that_a_record_has_of_itself_are_all_named(tmp_path):
    log = live(configured("l2"), tmp_path).log + live(configured("replay"), tmp_path / "replay").log
    taken = {name for record in log for name in record} - {"step", "update", "cross_entropy"}
    sentence = " ".join(PAGE.split()).split("- The names ")[1].split(" are the loop's.")[0]
    assert taken <= set(re.findall(r"`(\w+)`", sentence)) == OWN_NAMES


def test_every_attribute_of_the_contract_has_its_row():
    rows = set(re.findall(r"(?m)^\| `(\w+)` \|", PAGE))
    assert {"method", "settings", "rehearses", "refuses"} <= rows & set(MethodContract.__annotations__)


@pytest.mark.parametrize("name", sorted(span for span in SPANS if re.fullmatch(r"kpig(\.\w+)+", span)))
def test_every_name_of_the_package_is_there(name):
    resolved(name)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`learner\.(\w+)", PAGE))))
def test_every_call_on_a_learner_is_there(name):
    assert hasattr(kpig.testing.learner(), name)


@pytest.mark.parametrize(
    ("names", "home"), re.findall(r"(?m)^\| ((?:`[A-Z]\w+`(?:, )?)+) \| `(kpig\.[\w.]+)` \|$", PAGE)
)
def test_inside_the_package_every_public_name_comes_from_its_room(names, home):
    for name in re.findall(r"\w+", names):
        assert getattr(resolved(home), name) is getattr(kpig, name)


def test_the_names_to_take_are_all_named_and_have_a_room():
    listed = set(
        re.findall(r"`([A-Z]\w+)`", PAGE.split("Everything it needs is in `kpig`:")[1].split("Formulas")[0])
    )
    homes = PAGE.split("Inside the package,")[1]
    assert listed <= set(kpig.__all__) and listed == set(re.findall(r"`([A-Z]\w+)`", homes))


def test_the_line_of_the_registry_is_written_as_its_others_are():
    source = Path(resolved("kpig.methods.registry").__file__).read_text(encoding="utf-8")
    line = re.compile(r'"\w+": _entry\("(\w+):(\w+)", "[^"]+"\),')
    (shown,) = (match for span in SPANS if (match := line.fullmatch(span)))
    assert shown.groups() == ("recall", "Recall")
    assert len(line.findall(source)) > len(METHODS) / 3


def test_the_lines_of_the_page_are_short():
    assert max(map(len, PAGE.splitlines())) <= 100
