"""docs/data.md is true: every line that it shows is read, as it says."""

import re
from pathlib import Path
from typing import Any

import pytest

from kpig.config import RunConfig
from kpig.config.table import read_table
from kpig.config.tree import build
from kpig.model.encoding import plain_prompt
from kpig.records import Message
from kpig.tasks import stream
from kpig.tasks.readers.splits import SPLIT_NAMES

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
LINES = dict(re.findall(r"^### [^\n]*: `([\w.]+)`\n\n```\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
TOML = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)

BRIEF = Message("system", "Be brief.")
READ: dict[str, tuple[Any, ...]] = {
    "plain.jsonl": ("Name the capital.", "Norway", ("Oslo", "Oslo."), ()),
    "chat.jsonl": ("Capital of Norway?", "", ("Oslo",), (BRIEF,)),
    "sharegpt.json": ("Capital of Norway?", "", ("Oslo",), (BRIEF,)),
    "completion.jsonl": ("Capital of Norway?", "", ("Oslo",), ()),
    "trl.jsonl": ("Capital of Norway?", "", ("Oslo",), ()),
    "alpaca.json": (
        *("Name the capital.", "Norway", ("Oslo",)),
        (BRIEF, Message("user", "Name the capital. Peru"), Message("assistant", "Lima")),
    ),
    "dolly.jsonl": ("When was it founded?", "Oslo was founded in 1040.", ("1040",), ()),
    "table.csv": ("Name the capital.", "Norway", ("Oslo",), ()),
    "table.tsv": ("Capital of Norway?", "", ("Oslo",), ()),
    "task.json": ("Name the capital.", "Norway", ("Oslo",), ()),
}


def unsplit(name: str, content: str) -> str:
    """The line without its split: alone it is no test example."""
    return content.replace(', "split": "train"', "")


@pytest.mark.parametrize("name", LINES)
def test_every_line_of_the_page_is_read_as_it_says(tmp_path, name):
    (tmp_path / name).write_text(unsplit(name, LINES[name]), encoding="utf-8")
    (task,) = stream.load_tasks(tmp_path / name)
    (example,) = task.test
    read = (example.instruction.text, example.input, example.references, example.context)
    assert read == READ[name]
    named = '"task"' in LINES[name] or ",task" in LINES[name]
    assert task.name == ("capitals" if named else name.split(".")[0])


def test_the_page_has_every_format():
    assert LINES.keys() == READ.keys()


def test_the_python_of_the_page_writes_what_is_read(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    assert len(stream.load_tasks(tmp_path / "table.parquet")[0].test) == 5
    with pytest.raises(Exception, match="in train and in test"):
        stream.load(tmp_path / "saved")


@pytest.mark.parametrize("text", TOML)
def test_every_table_of_the_page_is_a_config(tmp_path, text):
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    table = read_table(tmp_path / "a.toml")
    if "stream" in table:
        table["stream"]["path"] = "x"
    assert isinstance(build(table), RunConfig)


def test_the_plain_prompt_is_the_one_of_the_page():
    shown = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)
    said = [("system", "Be brief."), ("user", "Capital of Peru?"), ("assistant", "Lima")]
    said.append(("user", "Capital of Norway?"))
    assert shown == [plain_prompt([{"role": role, "content": text} for role, text in said])]


def test_the_page_names_splits_that_there_are_in_short_lines():
    for name in ("train_sft", "test_sft", "eval", "validation", "valid", "val", "dev"):
        assert name in SPLIT_NAMES and f"`{name}`" in PAGE
    assert max(len(line) for line in PAGE.splitlines() if not line.startswith(("{", "["))) <= 100
