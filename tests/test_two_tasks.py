"""That the peer's table on the page is that of what was measured, and how its changes are reckoned."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "docs/results/smollm2-two-tasks.json"


def printed(file):
    command = [sys.executable, str(ROOT / "benchmarks/two_tasks.py"), "--read", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_table_of_the_page_is_that_of_what_was_measured():
    page = (ROOT / "docs/results/real-model.md").read_text()
    section = page.partition("## A peer's table\n")[2].partition("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("|")] == printed(MEASURED)


def test_losses_are_means_over_seeds_and_a_change_is_that_of_the_means(tmp_path):
    def run(a, b, half):
        loss = [[3.0, 2.0], [a, 2.5], [a + 1.0, b]]
        return {"loss": loss, "p": [40.0, 60.0], "half": half, "train": 3000, "forward": 900, "seconds": 7.6}

    (tmp_path / "rows.json").write_text(json.dumps({"replay": [run(1.0, 1.5, None), run(3.0, 0.5, 4.0)]}))
    (line,) = printed(tmp_path / "rows.json")[2:]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "replay",
        *("3.000", "2.000", "3.000", "+50.0%"),
        *("2.000", "2.500", "1.000"),
        *("40.0, 60.0", "4.0", "3", "8"),
    ]


def test_a_file_that_holds_nothing_measured_is_told_in_a_sentence(tmp_path):
    for text in ("{", '{"replay": [{"loss": 3}]}', None):
        file = tmp_path / ("rows.json" if text else "nowhere.json")
        if text:
            file.write_text(text)
        command = [sys.executable, str(ROOT / "benchmarks/two_tasks.py"), "--read", str(file)]
        found = subprocess.run(command, capture_output=True, text=True)
        assert found.returncode == 1 and found.stdout == "" and "Traceback" not in found.stderr
        assert found.stderr.startswith(f"error: {file}: expected what --rows has written")
