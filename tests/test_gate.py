"""The gate: changes and errors are those of a hand, chance seldom shuts it, its exit code is right."""

import itertools
import json
import math
import random
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import fmean, stdev

import pytest
from scipy import stats

from kpig import report
from kpig.errors import RunError
from kpig.records import HELD_OUT, LATER, NEW_WORDING, SEEN, Task
from kpig.runs import gate
from kpig.scoring import predictions, scores
from kpig.scoring.significance import holm, lower_mean_test
from test_cli import kpig, refused
from test_report import COST, prediction

OLD_RUN = Path(__file__).parent / "golden" / "old_run"


def write(folder: Path, rights: dict[str, list[list[float]]], learned: list[list[str]]) -> Path:
    """A run whose examples have these scores: for every task a list per step, from step 0 on."""
    tasks = [Task(name, (), (), (), "rougeL") for name in rights]
    flat = [name for step in learned for name in step]
    for number in range(len(learned) + 1):
        seen = [name for step in learned[:number] for name in step]
        rows = [
            prediction(name, group(name, flat, seen), i, True, rouge_l=value, exact_match=value)
            for name, by_step in rights.items()
            for i, value in enumerate(by_step[number])
        ]
        rows += [prediction(name, SEEN, 0, False, NEW_WORDING) for name in seen]
        step_dir = folder / "steps" / f"{number:02d}"
        predictions.write_by_task(step_dir / "predictions", rows)
        scores.write_step(step_dir / "scores.json", scores.step_scores(number, rows, tasks), COST)
        (step_dir / "DONE").touch()
    (folder / "config.toml").write_text("seed = 0\n")
    (folder / "environment.json").write_text("{}")
    (folder / "stream.json").write_text(json.dumps({"steps": [{}] * len(learned)}))
    return folder


def group(name: str, learned: list[str], seen: list[str]) -> str:
    return SEEN if name in seen else LATER if name in learned else HELD_OUT


def found(run: Path, **options) -> dict[tuple[str, int], gate.Change]:
    return {(one.task, one.since): one for one in gate.judge(run, **options).changes}


@pytest.fixture
def fell(tmp_path) -> Path:
    rng = random.Random(3)
    mixed = [[rng.choice([0.0, 0.25, 1.0]) for _ in range(11)] for _ in range(3)]
    rights = {
        "steady": [[1.0, 0.0, 1.0, 0.5, 1.0]] * 3,
        "fell": [[0.0] * 15, [1.0] * 15, [0.0] * 12 + [1.0] * 3],
        "mixed": mixed,
        "few": [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]],
    }
    return write(tmp_path / "run", rights, [["steady", "fell"], ["mixed"]])


def test_every_change_and_its_error_is_that_of_a_hand(fell):
    changes = found(fell)
    assert {name for name, _ in changes} == {"steady", "fell", "mixed", "few"} and len(changes) == 8
    one = changes["fell", 1]
    assert (one.before, one.now, one.points, one.group) == (100.0, 20.0, -80.0, SEEN)
    differences = [-100.0] * 12 + [0.0] * 3
    assert one.error == pytest.approx(stdev(differences) / math.sqrt(15))
    assert (one.is_paired, one.num_examples) == (True, 15)
    assert changes["few", 0].error == 0 and changes["few", 0].group == HELD_OUT


def test_p_is_that_of_all_flips_corrected_by_holm_over_what_differs(fell):
    def exact(values: list[float]) -> float:
        flips = list(itertools.product((-1, 1), repeat=len(values)))
        return sum(sum(s * v for s, v in zip(f, values, strict=True)) <= sum(values) for f in flips) / len(
            flips
        )

    changes = found(fell)
    few = exact([-1.0, -1.0])
    mixed = [p_of_mixed(fell, since, exact) for since in (1, 0)]
    family = {("fell", 1): 2.0**-12, ("fell", 0): 1.0, ("few", 1): few, ("few", 0): few}
    family |= {("mixed", since): p for since, p in zip((1, 0), mixed, strict=True)}
    expected = dict(zip(family, holm(list(family.values())), strict=True))
    for key, p in expected.items():
        assert changes[key].adjusted == pytest.approx(p), key
    assert changes["steady", 1].adjusted == 1


def p_of_mixed(run: Path, since: int, exact) -> float:
    def scored(number: int) -> list[float]:
        path = run / "steps" / f"{number:02d}" / "predictions" / "mixed.jsonl"
        return [one.rouge_l for one in predictions.read(path) if one.wording == "seed"]

    differences = [now - old for now, old in zip(scored(2), scored(since), strict=True) if now != old]
    return 1.0 if sum(differences) >= 0 else exact(differences)


def test_what_dropped_beyond_noise_shuts_it_and_what_may_drop_does_not(fell):
    verdict = gate.judge(fell)
    assert [(one.task, one.since) for one in verdict.dropped] == [("fell", 1)] and not verdict.is_open
    assert {one.task for one in verdict.undecided} >= {"few"}
    assert gate.judge(fell, max_drop=80.0).is_open and gate.judge(fell, max_drop=80.0).worse
    done = kpig("gate", fell)
    assert (
        done.returncode == 1 and "shut: step 2, 4 tasks: 1 got worse beyond noise, 1 by more" in done.stdout
    )
    assert "fell -80.0 ± 10.7 since step 1" in done.stdout and "(!)" in done.stdout
    assert "too few test examples" in done.stdout and done.stderr == ""
    assert kpig("gate", fell, "--max-drop", 80.5).returncode == 0
    assert kpig("gate", fell, "--step", 1).returncode == 0


def test_the_first_step_is_held_against_the_untuned_model_once(fell):
    assert {since for _, since in found(fell, step=1)} == {0}


def test_chance_shuts_it_for_one_table_in_twenty_at_most(tmp_path):
    rng, shut, tries = random.Random(11), 0, 60
    for number in range(tries):
        rights = {
            f"t{task}": [[float(rng.random() < 0.6) for _ in range(13)] for _ in range(2)]
            for task in range(5)
        }
        shut += not gate.judge(write(tmp_path / str(number), rights, [list(rights)]), max_drop=0).is_open
    assert shut <= stats.binom.ppf(0.999, tries, gate.LEVEL)


def test_a_hundred_tasks_do_not_blind_it(tmp_path):
    rights = {f"t{n}": [[1.0, 0.0] * 15, [0.0, 1.0] * 15] for n in range(99)}
    rights["fell"] = [[1.0] * 30, [0.0] * 30]
    verdict = gate.judge(write(tmp_path / "run", rights, [list(rights)]))
    assert [one.task for one in verdict.dropped] == ["fell"]


def test_other_examples_are_not_paired(tmp_path):
    rights = {"a": [[1.0, 1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0, 0.0]]}
    run = write(tmp_path / "run", rights, [["a"]])
    path = run / "steps" / "00" / "predictions" / "a.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row | {"example": f"other-{n}"}) + "\n" for n, row in enumerate(rows)))
    (one,) = gate.judge(run).changes
    assert not one.is_paired and one.points == -60
    old, now = [100 * value for value in rights["a"][0]], [100 * value for value in rights["a"][1]]
    assert one.error == pytest.approx(math.sqrt(stdev(old) ** 2 / 5 + stdev(now) ** 2 / 5))
    expected = stats.permutation_test(
        (now, old), lambda a, b: fmean(a) - fmean(b), alternative="less", vectorized=False
    ).pvalue
    assert one.adjusted == pytest.approx(expected) == lower_mean_test(now, old, 0)


def test_a_single_example_has_no_error_and_shuts_nothing(tmp_path):
    run = write(tmp_path / "run", {"a": [[1.0], [0.0]]}, [["a"]])
    verdict = gate.judge(run)
    assert verdict.changes[0].error is None and verdict.is_open
    assert "more test examples would tell" in verdict.sentence and "± –" in kpig("gate", run).stdout


def test_a_task_that_is_scored_no_more_is_named(tmp_path):
    run = write(tmp_path / "run", {"a": [[1.0] * 5] * 2, "gone": [[1.0] * 5] * 2}, [["a"]])
    (run / "steps/01/predictions/gone.jsonl").unlink()
    told = json.loads((run / "steps/01/scores.json").read_text())
    del told["tasks"]["gone"]
    (run / "steps/01/scores.json").write_text(json.dumps(told))
    assert gate.judge(run).unscored == ("gone",)
    said = "1 tasks are not scored at step 1, and were at one that it is held against: gone"
    assert said in kpig("gate", run).stdout


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("left", [None, 0, 4])
def test_a_gate_never_opens_on_answers_that_are_lost(tmp_path, step, left):
    rights = {"held": [[1.0] * 20] * 2, "fell": [[1.0] * 20, [1.0] * 4 + [0.0] * 16]}
    run = write(tmp_path / "run", rights, [["held", "fell"]])
    assert not gate.judge(run).is_open
    file = run / f"steps/0{step}/predictions/fell.jsonl"
    if left is None:
        file.unlink()
    else:
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:left]))
    assert f"'fell' was scored on 20 answers, and {left or 0} are there" in refused("gate", run)


def test_runs_that_cannot_be_judged_are_refused_by_name(fell, tmp_path):
    assert "holds no run" in refused("gate", tmp_path)
    assert "step 9 cannot be judged" in refused("gate", fell, "--step", 9)
    for points in ("nan", "-1", "inf", "many"):
        assert "--max-drop" in refused("gate", fell, "--max-drop", points, code=2)
    (fell / "steps/02/predictions/few.jsonl").write_text("{}\n")
    assert "few.jsonl" in refused("gate", fell)
    shutil.rmtree(fell / "steps/01/predictions")
    with pytest.raises(RunError, match="keeps no predictions"):
        gate.judge(fell, step=1)


def test_a_report_says_it_in_one_line(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(OLD_RUN, run)
    report.write([report.read_run(run)], tmp_path)
    sentence = gate.judge(run).sentence
    assert f"is it safe to ship? {sentence}" in (tmp_path / "report.md").read_text().replace("\\", "")
    assert "What got worse?" in (tmp_path / "report.html").read_text()
    assert f"gate: {run}: {sentence}" in kpig("report", run, "--out", tmp_path / "page").stdout
    assert kpig("gate", run).returncode in (0, 1)


def test_the_gate_loads_no_torch():
    code = "import sys; from pathlib import Path; from kpig.runs import gate; "
    code += f"gate.judge(Path({str(OLD_RUN)!r}))"
    code += "; print([one for one in ('torch', 'transformers') if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
