"""The order of the house: who may import torch, and who must not know whom."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import kpig

PACKAGE = Path(kpig.__file__).parent
HEAVY = ("torch", "transformers", "accelerate", "peft", "safetensors.torch")
MAY_BE_HEAVY = {
    f"kpig.{name}"
    for name in (
        "rows",
        "packing",
        "batch",
        "objective",
        "model",
        "gain",
        "checkpoint",
        "train",
        "evaluate",
        "job",
    )
} | {"kpig.annotate.by_gain", "kpig.annotate.best"}
MAY_BE_HEAVY |= {
    f"kpig.pretrain.{name}" for name in ("tokenizer", "shapes", "speed", "mixture", "card", "job")
}
# Programs above the stages; the command line imports them inside its commands.
ON_TOP = {"kpig.diagnose", "kpig.quickstart", "kpig.pretrain.card", "kpig.pretrain.job"}
LIGHT_ENTRIES = ("kpig.cli", "kpig.config", "kpig.stream", "kpig.report", "kpig.methods", "kpig.suite")
LIGHT_ENTRIES += ("kpig.llm", "kpig.annotate.job", "kpig.diversify", "kpig.show", "kpig.check")
LIGHT_ENTRIES += ("kpig.compare",)
LIGHT_ENTRIES += ("kpig.sweep", "kpig.sweep.child", "kpig.score_file")


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_at_load(statements):
    """Names that a module imports when it is loaded: not in functions, not under TYPE_CHECKING."""
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports_at_load(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "handlers", "finalbody"):
                yield from imports_at_load(getattr(node, field, []))


def parents(name):
    parts = name.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts) + 1)}


DIRECT = {
    name: {one for found in imports_at_load(ast.parse(path.read_text()).body) for one in parents(found)}
    for name, path in MODULES.items()
}


def loaded_with(name):
    """Every module of the package that loading `name` loads, itself and its parents included."""
    found, left = set(), set(parents(name))
    while left:
        one = left.pop()
        found.add(one)
        left |= (DIRECT[one] & MODULES.keys()) - found
    return found


def heavy(name):
    return {one for module in loaded_with(name) for one in DIRECT[module] if one in HEAVY}


def may_be_heavy(name):
    return name in MAY_BE_HEAVY | ON_TOP or name.startswith("kpig.methods.")


def test_the_reading_of_imports_sees_what_it_must():
    source = "import a.b\nif TYPE_CHECKING:\n import c\ntry:\n from d import e\nexcept X:\n import f\ndef g():\n import h"
    assert set(imports_at_load(ast.parse(source).body)) == {"a.b", "d", "d.e", "f"}
    assert heavy("kpig.train") and heavy("kpig.job") and heavy("kpig.gain")


@pytest.mark.parametrize("name", [name for name in MODULES if not may_be_heavy(name)])
def test_only_the_stages_that_compute_load_torch_or_transformers(name):
    assert heavy(name) == set()


def test_programs_above_the_stages_touch_no_tensor_themselves():
    assert {one for name in ON_TOP & MODULES.keys() for one in DIRECT[name] if one in HEAVY} == set()


def test_train_and_evaluate_do_not_know_each_other():
    assert "kpig.evaluate" not in loaded_with("kpig.train")
    assert "kpig.train" not in loaded_with("kpig.evaluate")


def test_only_the_job_and_what_stands_above_it_know_both():
    below = [name for name in MODULES if "kpig.job" not in loaded_with(name)]
    assert [name for name in below if {"kpig.train", "kpig.evaluate"} <= loaded_with(name)] == []


def test_objective_knows_tensors_only():
    assert {name for name in DIRECT["kpig.objective"] if name.startswith("kpig")} == set()


def test_replay_and_metrics_know_no_model():
    for name in ("kpig.replay", "kpig.metrics", "kpig.scores"):
        assert not loaded_with(name) & {"kpig.model", "kpig.encoding"}


def test_no_modules_import_each_other_in_a_circle():
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    graph = {name: (DIRECT[name] & MODULES.keys()) - packages for name in MODULES.keys() - packages}
    TopologicalSorter(graph).prepare()


def test_methods_do_not_know_the_loop():
    for name in MODULES:
        if name.startswith("kpig.methods"):
            assert not loaded_with(name) & {"kpig.train", "kpig.evaluate", "kpig.job"}


@pytest.mark.parametrize("name", LIGHT_ENTRIES)
def test_light_modules_start_without_torch_or_transformers(name):
    code = f"import sys, {name}; print([one for one in {HEAVY} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
