"""Runs from Python write their report and say how far they are, in a notebook too."""

import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

import kpig
from kpig.progress import Watcher
from test_continue import configured, months  # noqa: F401
from test_job import small

CELLS = (
    """
import kpig
config = kpig.build_config({
    "suite": {"num_steps": 2, "num_train": 20, "num_test": 2, "num_held_out": 1},
    "train": {"updates_per_step": 4, "batch_size": 2},
    "method": {"name": "sequential"},
    "evaluate": {"max_new_tokens": 4},
})
""",
    "scores = kpig.run(config, out='run')",
    "print(len(scores.steps)); kpig.run(config, out='run', resume=True, watch=kpig.Watcher()).matrix",
    "kpig.run(config, out='run')",
)


def text_of(cell) -> str:
    """What stands in the outputs of a cell, whatever kind each is of."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        found += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    return "\n".join(found)


def test_a_notebook_shows_progress_and_tables_and_the_report_is_written(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in CELLS])
    client = NotebookClient(
        notebook,
        timeout=200,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": tmp_path}},
    )
    client.execute()
    learned, quiet, refused = notebook.cells[1:]
    told = text_of(learned)
    assert all(output.output_type == "display_data" for output in learned.outputs), told
    lines = re.findall(r"<pre>(.*?)</pre>", told)
    done = [line for line in lines if ": done in " in line]
    for words in ("0/2 sequential: evaluate", "1/2 sequential: train 4/4", "2/2 sequential: train 4/4"):
        assert sum(words in line for line in done) == 1, "a line changes in place, and stays as it ended"
    assert all(line.startswith("█" * 24) for line in done) and "tokens/s" in told
    assert "scores after step 2 of 2" in told and "<pre style" in told, "tables are those of rich"
    assert "report.html" in told and "ipywidgets" not in told
    assert (tmp_path / "run/report.html").is_file() and (tmp_path / "run/report.md").is_file()
    assert [output.output_type for output in quiet.outputs] == ["stream", "execute_result"]
    assert quiet.outputs[0].text == "3\n"
    assert refused.outputs[-1].ename == "RunError" and "--resume" in refused.outputs[-1].evalue


def test_from_a_script_progress_is_on_standard_error_and_can_be_silenced(tmp_path):
    code = "\n".join([*CELLS[:2], "print(scores.method)"])
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == "sequential\n"
    assert "scores after step 2 of 2" in found.stderr and "report: run/report.html" in found.stderr
    code = code.replace("out='run'", "out='again', watch=kpig.Watcher()")
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (found.stdout, found.stderr) == ("sequential\n", "")
    assert (tmp_path / "again/report.html").is_file()


@pytest.mark.parametrize("method", ["replay"])
def test_a_run_that_goes_on_from_python_writes_its_report_anew(method, months, tmp_path):  # noqa: F811
    run = tmp_path / "run"
    kpig.run(configured(months, "old", method), run, watch=Watcher())
    first = (run / "report.md").read_text()
    kpig.extend(run, str(months["new"]), watch=Watcher())
    assert (run / "report.md").read_text() != first and "count" in (run / "report.md").read_text()


def test_a_run_that_was_finished_without_a_report_gets_it(tmp_path):
    from kpig.runs import job

    chosen = small("sequential")
    job.run(chosen, tmp_path / "run")
    assert not (tmp_path / "run/report.html").exists()
    kpig.run(chosen, tmp_path / "run", resume=True, watch=Watcher())
    assert (tmp_path / "run/report.html").is_file()
