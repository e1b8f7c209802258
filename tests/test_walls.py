"""The order of the house: which room stands on which, who may import torch, and who must not know whom.

Every import counts: at load, inside functions, and under TYPE_CHECKING.
"""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import kpig
from kpig.methods import METHODS

PACKAGE = Path(kpig.__file__).parent

FLOORS = (
    {"errors", "processes", "records", "rendering"},
    {"pages", "progress", "ranks"},
    {"files"},
    {"config"},
    {"tasks"},
    {"model"},
    {"llm"},
    {"methods", "scoring"},
    {"training"},
    {"runs"},
    {"report"},
    {"compare", "sweep", "annotate", "diversify", "pretrain", "session"},
    {"view"},
    {"cli", "testing"},
    {"__main__"},
)
"""The rooms from the ground up. A room knows its own floor's modules in itself, and what lies below."""

FACE = "kpig"
"""The package's own __init__ hands names on from everywhere; nobody inside takes any but its version."""

HEAVY = ("torch", "transformers", "accelerate", "peft", "safetensors.torch")
LIGHT_ENTRIES = (
    "kpig.cli",
    "kpig.cli.commands",
    "kpig.config",
    "kpig.tasks.stream",
    "kpig.tasks.suite",
    "kpig.tasks.show",
    "kpig.scoring.metrics",
    "kpig.scoring.scores",
    "kpig.scoring.predictions_file",
    "kpig.methods",
    "kpig.methods.chosen",
    "kpig.methods.tables",
    *(entry.target.partition(":")[0] for entry in METHODS.values()),
    "kpig.llm",
    "kpig.model.vocabulary",
    "kpig.runs.check",
    "kpig.runs.disk",
    "kpig.runs.memory",
    "kpig.runs.shapes",
    "kpig.runs.prompts",
    "kpig.runs.unseen",
    "kpig.runs.folder",
    "kpig.runs.course",
    "kpig.runs.gate",
    "kpig.runs.served",
    "kpig.runs.model_card",
    "kpig.config.commented",
    "kpig.pages",
    "kpig.report",
    "kpig.compare",
    "kpig.view",
    "kpig.sweep",
    "kpig.sweep.child",
    "kpig.training.notice",
    "kpig.annotate.job",
    "kpig.diversify",
)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def named_by(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """What one import statement names: modules, and for `from` the names inside them too."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    else:
        assert node.level == 0 and node.module, "imports are absolute"
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def all_imports(source: str) -> set[str]:
    """Names that a module imports anywhere: at load, in functions, under TYPE_CHECKING."""
    statements = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)
    )
    return {name for node in statements for name in named_by(node)}


def imports_at_load(statements: list[ast.stmt]) -> Iterator[str]:
    """Names that a module imports when it is loaded: not in functions, not under TYPE_CHECKING."""
    for node in statements:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from named_by(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports_at_load(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "handlers", "finalbody"):
                yield from imports_at_load(getattr(node, field, []))


def sources() -> dict[str, str]:
    return {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}


def knows(texts: Mapping[str, str]) -> dict[str, set[str]]:
    """For every module the modules of the package that it imports, by whatever kind of import.

    `from package import name` means the module of that name where there is one, else the package.
    """
    found = {}
    for name, text in texts.items():
        named = all_imports(text)
        inner = {one for one in named if one in texts}
        outer = {one for one in inner if any(f"{one}.{last}" in inner for last in names_below(one, named))}
        found[name] = inner - outer - {name, FACE}
    return found


def names_below(package: str, named: set[str]) -> set[str]:
    return {one.removeprefix(f"{package}.") for one in named if one.rpartition(".")[0] == package}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else FACE


def floor(module: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(module) in rooms)


def back_arrows(known: Mapping[str, set[str]]) -> list[str]:
    """Imports that run up, or across to another room of the same floor."""
    return [
        f"{one} -> {other}"
        for one, others in known.items()
        for other in others
        if one != FACE and room(one) != room(other) and floor(other) >= floor(one)
    ]


def circle(known: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a loop; [] where there is none. A package's face may name its own."""
    graph = {name: others - PACKAGES for name, others in known.items() if name not in PACKAGES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


KNOWN = knows(sources())


def test_every_room_has_its_floor():
    assert {room(name) for name in MODULES} - {FACE} == set().union(*FLOORS)
    assert len(set().union(*FLOORS)) <= 27


def test_no_arrow_runs_back_up():
    assert back_arrows(KNOWN) == []


def test_no_modules_import_each_other_in_a_circle():
    assert circle(KNOWN) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("kpig.config.tree", "from kpig.methods import METHODS"),
        ("kpig.model.batch", "def f():\n    from kpig.training import loop"),
        ("kpig.scoring.answers", "if TYPE_CHECKING:\n    from kpig.methods.base import Method"),
        ("kpig.errors", "import kpig.files"),
        ("kpig.sweep.plan", "from kpig.compare import compare"),
    ],
)
def test_one_import_the_wrong_way_is_seen(module, line):
    changed = sources()
    changed[module] += f"\n{line}\n"
    found = back_arrows(knows(changed))
    assert len(found) == 1 and found[0].startswith(f"{module} -> ")


@pytest.mark.parametrize("line", ["from kpig.model import gain", "def f():\n    import kpig.model.loading"])
def test_a_circle_inside_a_room_is_seen(line):
    changed = sources()
    changed["kpig.model.learner"] += f"\n{line}\n"
    assert circle(knows(changed)) != []


def test_the_reading_of_imports_sees_what_it_must():
    source = (
        "import a.b\nif TYPE_CHECKING:\n import c\ntry:\n from d import e\nexcept X:\n import f\n"
        "def g():\n import h"
    )
    assert set(imports_at_load(ast.parse(source).body)) == {"a.b", "d", "d.e", "f"}
    assert all_imports(source) == {"a.b", "c", "d", "d.e", "f", "h"}


def test_objective_knows_tensors_only():
    assert KNOWN["kpig.model.objective"] == set()


def test_one_place_trains_and_one_place_scores_and_only_runs_joins_them():
    """The job knows the loop, and the evaluation that knows the answers. No other place knows both."""

    def knowing(*both):
        return [name for name, others in KNOWN.items() if set(both) <= others]

    assert knowing("kpig.training.loop", "kpig.scoring.answers") == []
    assert knowing("kpig.training.loop", "kpig.runs.evaluation") == ["kpig.runs.job"]


def parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts) + 1)}


@pytest.mark.parametrize("name", LIGHT_ENTRIES)
def test_light_modules_start_without_torch_or_transformers(name):
    code = f"import sys, {name}; print([one for one in {HEAVY} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize(
    "room_name", ["errors", "files", "config", "tasks", "report", "compare", "sweep", "cli"]
)
def test_whole_rooms_touch_no_tensor_when_they_are_loaded(room_name):
    for name, path in MODULES.items():
        if room(name) == room_name:
            at_load = {
                one for found in imports_at_load(ast.parse(path.read_text()).body) for one in parents(found)
            }
            assert at_load.isdisjoint(HEAVY), name


LIGHT_COMMANDS = (
    "--help",
    "check CONFIG",
    "check CONFIG --set method.name=ewc",
    "check CONFIG --set model.path=someone/model-on-the-hub",
    "check CONFIG --set train.batch_size=0",
    "show suite",
    "show CONFIG",
    "config",
    "config method.o_lora",
    "explain",
    "methods",
    "init NEW",
    "gate RUN",
    "report RUN",
    "compare RUN",
)
"""What is looked at before and after a run. CONFIG learns with the shipped model."""


@pytest.mark.parametrize("command", LIGHT_COMMANDS)
def test_commands_that_compute_with_no_model_end_without_torch_or_transformers(command, tmp_path):
    """Not only modules as they load: all that a command asks for on its way."""
    (tmp_path / "my.toml").write_text(
        '[suite]\nnum_steps = 2\n[model]\npath = "tiny"\n[stream]\npath = "suite"'
    )
    shutil.copytree(Path(__file__).parent / "golden" / "old_run", tmp_path / "old_run")
    places = {"CONFIG": tmp_path / "my.toml", "NEW": tmp_path / "new", "RUN": tmp_path / "old_run"}
    words = [str(places.get(word, word)) for word in command.split()]
    code = (
        "import atexit, sys; from kpig.cli import main; sys.argv[0] = 'kpig'; "
        f"atexit.register(lambda: print('loaded:', [one for one in {HEAVY} if one in sys.modules])); main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == (1 if "batch_size=0" in command else 0), done.stderr
    assert done.stdout.endswith("loaded: []\n")
