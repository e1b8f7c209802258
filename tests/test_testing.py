"""`kpig.testing` for third parties: the contract finds what is wrong with a method."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import kpig.testing

PROMISES = {
    "update": "test_every_update_has_a_finite_loss_and_gradient",
    "resume": "test_a_step_interrupted_and_resumed_from_files_equals_a_straight_one_to_the_bit",
    "state": "test_the_state_comes_back_from_files_whole",
    "leak": "test_nothing_leaks_out_of_a_step",
    "bounds": "test_memory_holds_no_more_than_it_may_and_of_learned_tasks_only",
    "filled": "test_memory_is_filled_after_every_step",
    "growth": "test_what_is_saved_does_not_grow_with_the_updates",
    "budget": "test_replay_keeps_to_the_budget_on_average_and_to_past_tasks",
    "goes on": "test_a_stream_that_grows_is_learned_to_the_bit_as_if_it_had_been_known_whole",
    "forgets": "test_what_is_forgotten_leaves_no_example_and_a_step_can_be_learned_without",
    "shared": "test_two_processes_that_share_the_job_learn_as_one_does",
    "divided": "test_two_processes_that_divide_the_weights_learn_as_one_does_or_are_refused_by_name",
    "plain": "test_the_method_can_be_described_in_plain_data",
    "refusal": "test_what_it_cannot_be_used_with_is_refused_before_training_by_the_name_of_the_key",
    "unknown": "test_a_setting_that_it_does_not_have_is_refused_by_name",
    "settings": "test_every_setting_has_a_default_and_says_what_it_means",
}
OF_SETTINGS = {"refusal", "unknown", "settings"}
"""What is asked without a history."""

BREAKS = {
    "Sound": set(),
    "ForgetsState": {"resume", "goes on", "shared"},
    "LoadsLess": {"resume", "state", "goes on", "shared"},
    "SavesSet": PROMISES.keys() - OF_SETTINGS,
    "UsesGlobalChance": {"resume", "goes on", "shared"},
    "ChoosesByItsPart": {"shared"},
    "LogsNan": {"update", "resume"},
    "LeaksHook": {"leak"},
    "LeavesGradients": {"leak"},
    "ExceedsMemory": {"bounds"},
    "RemembersOthers": {"bounds", "filled", "forgets"},
    "NeverRemembers": {"bounds", "filled", "forgets"},
    "ReadsTwice": {"divided"},
    "ReplaysCurrent": {"budget"},
    "WrongBudget": {"budget"},
    "HasNoMemory": {"bounds"},
    "SavesEveryUpdate": {"growth"},
    "SavesTooMuch": {"growth"},
    "TakesAnySetting": {"unknown"},
    "DemandsSetting": {"settings"},
    "NotesNumbers": {"plain"},
    "RefusesSilently": {"refusal"},
    "RefusesNothing": {"refusal"},
}
"""The methods of broken_methods.py, each with the promises that it breaks."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Which tests failed, by method, when the contract was run in a folder and a process of its own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    names = ", ".join(f"Test{name}" for name in BREAKS)
    values = ", ".join(f"contract({name!r})" for name in BREAKS)
    (folder / "test_all.py").write_text(f"from broken_methods import contract\n\n{names} = {values}\n")
    paths = [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rfE", "-k", "not lora", "test_all.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    failures = re.findall(r"(?m)^(?:FAILED|ERROR) test_all\.py::Test(\w+)::(\w+)", done.stdout)
    assert failures, done.stdout + done.stderr
    return {name: {test for one, test in failures if one == name} for name in BREAKS}


def test_the_names_of_the_promises_are_all_that_the_contract_asks():
    asked = {name for name in vars(kpig.testing.MethodContract) if name.startswith("test_")}
    assert asked == set(PROMISES.values())
    assert set().union(*BREAKS.values()) == PROMISES.keys()


@pytest.mark.parametrize("name", BREAKS)
def test_the_contract_finds_what_a_method_breaks_and_nothing_else(name, found):
    assert found[name] == {PROMISES[one] for one in BREAKS[name]}


@pytest.mark.parametrize("adapter", [False, True])
def test_a_learner_to_test_with_is_the_same_for_the_same_arguments(adapter):
    one, other = kpig.testing.learner(adapter), kpig.testing.learner(adapter)
    assert one.is_adapter == adapter and not one.model.training
    assert one.parameters().keys() == other.parameters().keys()
    pairs = zip(one.parameters().values(), other.parameters().values(), strict=True)
    assert all(torch.equal(mine, yours) and mine is not yours for mine, yours in pairs)


def test_without_pytest_it_says_what_to_install():
    code = "import sys; sys.modules['pytest'] = None; import kpig.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "run: pip install pytest" in done.stderr.splitlines()[-1]


def test_nothing_but_kpig_testing_imports_pytest():
    sources = Path(kpig.__file__).parent.rglob("*.py")
    importing = [path for path in sources if re.search(r"(?m)^\s*(import|from) _?pytest", path.read_text())]
    assert {path.parent.name for path in importing} == {"testing"}
