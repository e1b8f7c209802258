"""What benchmarks/last_models.py makes of a sweep's last models, and that the page has what its rows say."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "docs/results/smollm2-short-40.jsonl"
PAGE = ROOT / "docs/results/real-model.md"


def printed(*arguments, cwd=ROOT):
    command = [sys.executable, str(ROOT / "benchmarks/last_models.py"), *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert found.returncode == 0, found.stderr
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found.stdout.splitlines()]


def test_the_table_of_the_page_is_that_of_the_rows():
    head, _, *lines = printed(ROWS)
    section = PAGE.read_text().partition("### All test examples")[2].partition("\n## ")[0]
    written = [line for line in section.splitlines() if line.startswith("| ")]
    of_page = [[cell.strip() for cell in line.strip("|").split("|")] for line in written]
    names, *told = of_page
    assert len(told) == len(lines) == 7
    for line, cells in zip(lines, told, strict=True):
        for name, cell in zip(names[1:], cells[1:], strict=True):
            found = line[head.index(name)]
            assert (found.partition(" [")[0] if name.startswith("gain") else found) == cell, name


def test_the_table_of_the_whole_stream_is_that_of_its_rows():
    head, _, *lines = printed(ROOT / "docs/results/smollm2-whole.jsonl")
    section = PAGE.read_text().partition("## The whole stream\n")[2].partition("\n## ")[0]
    of_page = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    names, _, *told = of_page
    assert len(told) == len(lines) == 4
    for line, cells in zip(lines, told, strict=True):
        assert cells == [line[head.index(name)] for name in ("", *names[1:])]
    answers = str(ROOT / "docs/results/smollm2-whole-answers.jsonl")
    command = [sys.executable, str(ROOT / "benchmarks/by_example.py"), answers, "--against", "kpig"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    apart = {line.split(" | ")[0].strip("| "): line for line in made.splitlines()}
    told = " ".join(section.split())
    for line, group, sign in (
        ("replay ratio=0.95", 0, ""),
        ("replay ratio=0.5", 0, ""),
        ("replay ratio=0.95", 1, "+"),
    ):
        mean, low, high = re.findall(r"([+-][\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\]", apart[line])[group]
        interval = f"[{low.lstrip('+')}, {high.lstrip('+')}]"
        assert f"{mean} {interval}" in told or f"{mean.lstrip(sign)} points behind** {interval}" in told


def test_the_table_of_general_questions_is_that_of_its_rows():
    head, _, *lines = printed(ROOT / "docs/results/smollm2-short-general.jsonl")
    section = PAGE.read_text().partition("## Does it keep")[2].partition("\n## ")[0]
    of_page = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()]
    names, _, _, *told = [cells for cells in of_page if len(cells) > 1]
    assert [cells[0] for cells in told] == [line[0] for line in lines]
    for line, cells in zip(lines, told, strict=True):
        for name, cell in zip(names[1:], cells[1:], strict=True):
            found = line[head.index(name)]
            assert (found.partition(" [")[0] if name.startswith("gain") else found) == cell, name


def test_the_differences_of_the_page_are_those_of_the_rows():
    head, _, *lines = printed(ROWS, "--against", "kpig")
    (at,) = (number for number, line in enumerate(lines) if line[0] == "replay ratio=0.95")
    minus = lines[at + 1]
    page = " ".join(PAGE.read_text().split())
    for name in ("P seen", "P held-out", "half-listening % seen", "half-listening % held-out"):
        mean, low, high, p = re.findall(r"[+-]?\d+\.\d+", minus[head.index(name)])[:4]
        assert f"{mean} [{low.lstrip('+')}, {high.lstrip('+')}]" in page and f"p {float(p):.2f}" in page


LADDER = ROOT / "docs/results/ladder.jsonl"
KPIG = "kpig twin_weight=3.0"
ON_THE_PAGE = {
    KPIG: "kpig",
    "kpig twin_weight=0.3, twin_share=1.0, gain_from=probe": "kpig, all twins",
    "kpig selection=lowest, twin_weight=0.3, twin_share=1.0, gain_from=probe": "kpig, all twins, lowest gain",
    "replay ratio=0.5": "replay",
    "replay ratio=0.95": "replay, ratio 0.95",
    "init": "init (bound)",
    "mtl": "mtl (bound)",
}


def section_of(page, heading):
    """The cells of a section's table by the name in front, and by column."""
    section = (ROOT / page).read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    names, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in rows}


def test_the_tables_of_the_ladder_are_those_of_its_rows():
    head, _, *lines = printed(LADDER, "--rank", "--against", KPIG)
    scores, differences = {}, {}
    for number, line in enumerate(lines):
        name = ON_THE_PAGE.get(line[0], line[0])
        if line[0] != f"minus {KPIG}":
            scores[name] = dict(zip(head[1:], line[1:], strict=True))
        else:
            before = ON_THE_PAGE.get(lines[number - 1][0], lines[number - 1][0])
            differences[before] = dict(zip(head, line, strict=False))
    page = section_of("docs/results/ladder.md", "Scores")
    assert page == {
        name: {column: cells[column.replace("forgetting", "Forgetting")] for column in page["kpig"]}
        for name, cells in scores.items()
    }
    page = section_of("docs/results/ladder.md", "Differences")
    assert page.keys() == differences.keys() - {"init (bound)"}
    for name, cells in page.items():
        for column, cell in cells.items():
            told = differences[name].get(column.replace("forgetting", "Forgetting"), "–")
            found = re.sub(r", Holm ([\d.]+)$", r" (\1)", told)
            assert cell == found or (cell == "–" and not found.startswith(("+", "-"))), (name, column)


def test_models_of_runs_are_asked_once_and_their_rows_give_the_table_again(tmp_path):
    base = {"suite": {"num_steps": 2, "tasks_per_step": 1, "num_train": 8, "num_held_out": 1}}
    (tmp_path / "sweep.toml").write_text(
        "\n".join(
            [
                'methods = ["sequential", "replay"]',
                "seeds = [0]",
                "[base.suite]",
                *(f"{key} = {value}" for key, value in base["suite"].items()),
                "[base.train]",
                "updates_per_step = 1",
                "[base.evaluate]",
                "max_new_tokens = 2",
                "num_gain_examples = 2",
            ]
        )
    )
    spec = [sys.executable, "-m", "kpig", "sweep", "sweep.toml", "--out", "runs"]
    subprocess.run(spec, check=True, capture_output=True, cwd=tmp_path)
    asked = ("runs", "--out", "asked", "--test-per-task", 3, "--rows", "rows.jsonl", "--against", "replay")
    first = printed(*asked, cwd=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert {row["line"] for row in rows} == {"sequential", "replay"} and all(row["computing"] for row in rows)
    assert len({name.rpartition(" ")[2] for name in rows[0]["scores"]}) == 2, "seen and held-out tasks"
    scores = tmp_path / "asked" / rows[0]["run"] / "scores.json"
    assert {task["n"] for task in json.loads(scores.read_text())["tasks"].values()} == {3}
    written = scores.stat().st_mtime_ns
    assert (
        printed(*asked, cwd=tmp_path) == first == printed("rows.jsonl", "--against", "replay", cwd=tmp_path)
    )
    assert scores.stat().st_mtime_ns == written
    assert any(line[0] == "minus replay" for line in first)
    own = ("--as-scored", "--rank", "--rows", "own.jsonl")
    head, _, *lines = printed("runs", *own, cwd=tmp_path)
    assert [head, lines] == [(again := printed("own.jsonl", "--rank", cwd=tmp_path))[0], again[2:]]
    ranks = {line[0]: line[head.index("rank")] for line in lines}
    assert set(ranks) == {"sequential", "replay"} and sum(map(float, ranks.values())) == 3.0
    for line in lines:
        kept = tmp_path / f"runs/{line[0]}-seed0-ordergiven/scores.json"
        final = json.loads(kept.read_text())["final"]
        assert float(line[head.index("P seen")]) == round(final["seen"]["p_score"], 1)
        assert float(line[head.index("V held-out")]) == round(final["held_out"]["v_score"], 1)
        for group, column in (("seen", "half-listening % seen"), ("held_out", "half-listening % held-out")):
            assert float(line[head.index(column)]) == round(final[group]["half_listening"], 1)
    of_kinds = ("--as-scored", "--kinds")
    kinds, _, *by_kind = printed("own.jsonl", "--kinds", cwd=tmp_path)
    assert [kinds, by_kind] == [(again := printed("runs", *of_kinds, cwd=tmp_path))[0], again[2:]]
    for line, cells in zip(lines, by_kind, strict=True):
        kept = tmp_path / f"runs/{line[0]}-seed0-ordergiven/scores.json"
        seen = json.loads(kept.read_text())["final"]["seen"]["violations"]
        found = {kind: cells[kinds.index(f"{kind.replace('_', ' ')} seen")] for kind in seen}
        assert found == {kind: f"{share:.1f}" for kind, share in seen.items()} and cells[0] == line[0]
    script = [sys.executable, str(ROOT / "benchmarks/by_example.py")]
    apart = [*script, "runs", "--against", "replay", "--rows", "answers.jsonl"]
    made = subprocess.run(apart, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    again = [*script, "answers.jsonl", "--against", "replay"]
    assert made == subprocess.run(again, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    found = {cells[1]: cells for cells in (re.split(r" *\| *", line) for line in made.splitlines())}
    for line in lines:
        assert found[line[0]][2::2][:2] == [line[head.index(f"P {group}")] for group in ("seen", "held-out")]
    more = [*script, "runs", "--against", "replay", "--asked"]
    of_asked = subprocess.run(
        [*more, "asked"], capture_output=True, text=True, cwd=tmp_path, check=True
    ).stdout
    found = {cells[1]: cells for cells in (re.split(r" *\| *", line) for line in of_asked.splitlines())}
    both = [one for one in first[2:] if one[0] in found]
    assert len(both) == 2
    for line in both:
        scores = [line[first[0].index(f"P {group}")] for group in ("seen", "held-out")]
        assert found[line[0]][2::2][:2] == scores
    not_asked = subprocess.run([*more, "nowhere"], capture_output=True, text=True, cwd=tmp_path)
    assert not_asked.returncode == 1 and "last_models.py with --out nowhere asks it" in not_asked.stderr
    kept = tmp_path / "asked" / rows[0]["run"] / "predictions.jsonl"
    kept.write_text(kept.read_text().replace('"task": "', '"task": "another-'))
    of_others = subprocess.run([*more, "asked"], capture_output=True, text=True, cwd=tmp_path)
    assert of_others.returncode == 1 and "which is none of its tasks" in of_others.stderr


def test_runs_without_a_place_for_answers_are_a_wrong_use(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/last_models.py"), str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 2 and "needs --out" in found.stderr


def test_rows_of_before_kinds_were_written_are_told():
    command = [sys.executable, str(ROOT / "benchmarks/last_models.py"), str(ROWS), "--kinds"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 1 and "no V by kind; write its row again with --rows" in found.stderr


def test_a_kind_that_only_some_rows_have_is_none_of_the_others(tmp_path):
    one = json.loads((ROOT / "docs/results/smollm2-parts.jsonl").read_text().splitlines()[0])
    found = {"a": {"x": 1.0}, "b": {"x": 2.0, "y": 3.0}}
    rows = [{**one, "line": name, "V by kind": kinds} for name, kinds in found.items()]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    head, _, first, second = printed(tmp_path / "rows.jsonl", "--kinds")
    assert head[-2:] == ["x", "y"] and first[-2:] == ["1.0", "0.0"] and second[-2:] == ["2.0", "3.0"]


def test_no_rank_is_made_of_other_tasks_than_the_runs_own():
    rows = ROOT / "docs/results/smollm2-short-general.jsonl"
    command = [sys.executable, str(ROOT / "benchmarks/last_models.py"), str(rows), "--rank"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 1 and found.stderr.startswith("error: --rank needs P seen")


def test_a_folder_without_runs_is_told_in_a_sentence(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/last_models.py"), str(tmp_path), "--out", "x"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr.startswith(f"error: {tmp_path}") and "Traceback" not in found.stderr
