"""Every block of code in docs/ is run, or carries the reason why not; a page that is added is covered too.

A comment before a block, or below a page's title for all of its blocks, says what to do with it:

    <!-- run by tests/test_x.py -->   another test runs it
    <!-- not run: reason -->          nobody does
    <!-- file: name.jsonl -->         it is written under that name; `# name.toml` as a first line does too
    <!-- printed -->                  the command before prints these lines
    <!-- exits: 2 -->                 its last command ends with that code

Without one, a block is run: commands and Python in the order of the page, in a folder of its own; TOML and
JSON are read.
"""

import contextlib
import io
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kpig import config
from kpig.cli.commands import app
from kpig.errors import KpigError
from kpig.methods.tables import tables_of

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
COMMENT = re.compile(r"<!-- *(run by|not run|file|printed|exits):? *(.*?) *-->", re.DOTALL)
LANGUAGES = ("sh", "python", "toml", "json")
MADE_UP = (("add-a-method.md", "method.recall.weight"), ("add-a-method.md", "method.options.weight"))
"""Settings of the method that a page has its reader write."""

MOST_UNRUN = 19
"""Blocks that nobody runs, over all pages: let it not become a habit."""


@dataclass(frozen=True)
class Block:
    """A fenced block: where its fence stands, its language, its text, and what a comment says of it."""

    line: int
    language: str
    text: str
    note: str
    said: str


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page. A comment below its title holds for all that have none of their own."""
    lines = page.splitlines()
    head = COMMENT.fullmatch(page.split("\n\n")[1].strip())
    note, begun = (head.groups() if head else ("", "")), None
    own: tuple[str, str] | None = None
    for number, line in enumerate(lines, start=1):
        if begun is not None and line.strip() == "```":
            language, first = begun
            yield Block(first, language, "\n".join(lines[first : number - 1]) + "\n", *(own or note))
            begun = own = None
        elif begun is None and line.lstrip().startswith("```"):
            begun = (line.strip().strip("`"), number)
        elif begun is None and (found := COMMENT.fullmatch(line.strip())):
            own = found.groups()
        elif begun is None and line.strip():
            own = None


def found_in(path: Path) -> list[Block]:
    return list(blocks(path.read_text(encoding="utf-8")))


def is_own(block: Block) -> bool:
    """Whether this file runs the block."""
    return block.note not in ("run by", "not run")


EVERY = [(path, block) for path in PAGES for block in found_in(path)]
OWN = [path for path in PAGES if any(is_own(block) for block in found_in(path))]


@pytest.mark.parametrize(
    ("path", "block"), EVERY, ids=[f"{path.relative_to(DOCS)}:{block.line}" for path, block in EVERY]
)
def test_every_block_is_run_or_says_why_not(path, block):
    if block.note == "run by":
        test = (ROOT / block.said).read_text(encoding="utf-8")
        assert path.name in test, f"{block.said} does not name {path.name}"
    elif block.note == "not run":
        assert len(block.said.split()) >= 4, "a reason is a sentence"
    else:
        assert block.language in LANGUAGES or block.note in ("file", "printed"), "what is it?"


def test_few_blocks_are_not_run():
    num_unrun = sum(block.note == "not run" for _, block in EVERY)
    assert num_unrun <= MOST_UNRUN
    assert sum(is_own(block) for _, block in EVERY) >= 2 * num_unrun


def whole(table: dict) -> dict:
    """A piece of a config as one: what stands of [stream] alone is meant for tasks in files."""
    return table | {"stream": {"path": "tasks"} | table["stream"]} if "stream" in table else table


class Reader:
    """Somebody who does what a page says, in a folder of their own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.names: dict[str, object] = {"__name__": "page"}
        self.printed = ""

    def follow(self, block: Block) -> None:
        if name := self.name_of(block):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(block.text, encoding="utf-8")
        if block.note == "printed":
            self.compare(block)
        elif block.language == "sh":
            self.type_in(block)
        elif block.language == "python" and not name:
            exec(compile(block.text, f"line {block.line}", "exec"), self.names)
        elif block.language == "toml" and "methods = " not in block.text:
            config.build(whole(tomllib.loads(block.text)))
        elif block.language == "json":
            json.loads(block.text)

    def name_of(self, block: Block) -> str:
        """Under what name the block is to be written; "" where under none."""
        named = re.match(r"# ([\w./-]+\.(?:toml|py))\n", block.text)
        return block.said if block.note == "file" else named.group(1) if named else ""

    def compare(self, block: Block) -> None:
        printed = " ".join(self.printed.split())
        missing = [line for line in block.text.splitlines() if " ".join(line.split()) not in printed]
        assert missing == [], f"not printed: {missing}; printed was: {self.printed}"

    def type_in(self, block: Block) -> None:
        expected = int(block.said) if block.note == "exits" else 0
        commands = block.text.replace("\\\n", " ").strip().splitlines()
        for number, command in enumerate(commands, start=1):
            words = shlex.split(command, comments=True)
            if words and words[0] != "export":  # this process has the folder on its path already
                assert words[0] == "kpig", f"{command}: say in a comment why it is not run"
                code = self.kpig(words[1:])
                wanted = expected if number == len(commands) else 0
                assert code == wanted, f"{command}\n{self.printed}"

    def kpig(self, arguments: list[str]) -> int:
        """The exit code of a command that runs in this process; what it prints is kept."""
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
        error = result.exception
        self.printed = result.output + (str(error) if error else "")
        return error.exit_code if isinstance(error, KpigError) else result.exit_code


@pytest.mark.parametrize("path", OWN, ids=lambda path: str(path.relative_to(DOCS)))
def test_a_reader_who_does_what_the_page_says_gets_what_it_says(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    reader = Reader(tmp_path)
    known = set(sys.modules)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            for block in found_in(path):
                if is_own(block):
                    reader.follow(block)
    finally:
        for name in {module for module in sys.modules if (tmp_path / f"{module}.py").exists()} - known:
            del sys.modules[name]


KEY = re.compile(r"`((?:model|stream|suite|train|replay|evaluate|method\.\w+)\.(?!jsonl?`)[a-z_0-9.]+)`")


def test_every_key_that_a_page_names_is_there():
    known = {name for table in tables_of() for name in (table.name, *(key.name for key in table.keys))}
    named = {(path.name, key) for path in PAGES for key in KEY.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 30
    assert [one for one in sorted(named) if one[1] not in known and one not in MADE_UP] == []


PAGE = """# A page

<!-- run by tests/test_x.py -->

Some words.

```sh
kpig a
```

<!-- not run: it costs too much -->
```sh
kpig b
```

text

<!-- file: x.jsonl -->
```
{}
```
"""


def test_blocks_and_what_comments_say_of_them_are_found():
    found = [(one.language, one.text, one.note, one.said) for one in blocks(PAGE)]
    assert found == [
        ("sh", "kpig a\n", "run by", "tests/test_x.py"),
        ("sh", "kpig b\n", "not run", "it costs too much"),
        ("", "{}\n", "file", "x.jsonl"),
    ]
    assert next(blocks(PAGE.replace("<!-- run by tests/test_x.py -->\n\n", ""))).note == ""


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (Block(1, "sh", "kpig explain nonsense\n", "", ""), "no table prints"),
        (Block(1, "sh", "kpig explain p_score\n", "exits", "2"), "kpig explain p_score"),
        (Block(1, "sh", "rm -r x\n", "", ""), "say in a comment"),
        (Block(1, "", "what was not printed\n", "printed", ""), "not printed"),
        (Block(1, "toml", "[train]\nepoch = 2\n", "", ""), "epoch"),
        (Block(1, "json", "{,}\n", "", ""), "property name"),
        (Block(1, "python", "assert False, 'wrong'\n", "", ""), "wrong"),
    ],
)
def test_a_page_that_is_not_true_is_found_out(tmp_path, block, told):
    with pytest.raises((AssertionError, KpigError, ValueError), match=told):
        Reader(tmp_path).follow(block)
