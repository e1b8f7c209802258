"""What `kpig show` prints and the page that it writes; the words of a task are untrusted."""

import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

import kpig
from kpig.records import KEY_PART_KINDS, Example, Instruction, KeySpan, Task
from kpig.tasks import show, stream, suite
from test_cli import kpig as command

HOSTILE = "</p><script>alert('x')</script> [bold]Sort[/bold] & {{ 7 * 7 }} <img src=x onerror=y>\x1b[2J\u202e"


def printed(task, color_system=None, width=100):
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=bool(color_system), color_system=color_system, width=width)
    console.print(show.terminal(task))
    return buffer.getvalue()


@pytest.fixture
def task():
    return suite.task(("reverse", "json"), 2, 1, 0)


@pytest.fixture
def hostile():
    spans = (KeySpan(4, 12, "operation"), KeySpan(32, 60, "content"))
    one = Instruction(HOSTILE, spans, f"origin {HOSTILE}")
    example = Example("1", "bad", one, HOSTILE, (HOSTILE,))
    return Task(f"bad {HOSTILE}", (one,), (example,), (), "rougeL", (HOSTILE,))


class Page(HTMLParser):
    """The tags of a page and the text inside its marks."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.marked, self.text = set(), [], []
        self.open = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.open = dict(attrs)["class"] if tag == "mark" else ""

    def handle_endtag(self, tag):
        self.open = ""

    def handle_data(self, data):
        self.text.append(data)
        if self.open:
            self.marked.append([self.open, data])


def test_the_terminal_shows_wordings_legend_twin_and_one_example(task):
    text = printed(task, width=200)
    assert "[reverse the order of the words](operation)" in text
    assert "[Answer in the JSON format](format)" in text, "wordings for evaluation are shown too"
    assert "Your task is to _. _." in text
    assert f"input\n{task.train[0].input}\nresponse\n{task.train[0].response}" in text
    assert task.train[1].input not in text


def test_each_kind_has_a_colour_of_its_own_where_the_terminal_has_colours():
    assert list(show.COLOURS) == list(KEY_PART_KINDS)
    assert len(set(show.COLOURS.values())) == len(KEY_PART_KINDS)
    spans = tuple(KeySpan(2 * number, 2 * number + 1, kind) for number, kind in enumerate(KEY_PART_KINDS))
    one = Instruction("a b c d e f", spans)
    text = printed(Task("six", (one,), (), (), "rougeL"), "256")
    codes = {re.search(rf"\x1b\[([\d;]+)m{letter}\x1b", text).group(1) for letter in "abcdef"}
    assert len(codes) == len(KEY_PART_KINDS)
    assert "(operation)" not in text


def test_the_page_marks_exactly_the_key_parts_by_kind(task):
    page = Page(show.html(task))
    expected = [
        [span.kind, one.text[span.start : span.end]]
        for one in (*task.instructions, *task.evaluation_instructions)
        for span in one.key_parts
    ]
    assert page.marked == [["operation", "operation"], ["format", "format"], *expected]
    assert task.train[0].response in page.text


def test_the_pieces_of_an_instruction_join_to_its_text(task):
    for one in (*task.instructions, Instruction("ab", (KeySpan(0, 1), KeySpan(1, 2))), Instruction("")):
        found = list(show.pieces(one))
        assert "".join(text for text, _ in found) == one.text
        assert [kind for _, kind in found if kind] == [span.kind for span in one.key_parts]


def test_the_page_shows_hostile_text_as_text_and_runs_nothing(hostile):
    page = show.html(hostile)
    found = Page(page)
    assert not found.tags & {"script", "img", "bold", "link", "iframe"}
    assert "<script" not in page and "onerror=y>" not in page
    assert "default-src 'none'" in page
    assert show.visible(HOSTILE) in found.text
    assert "\x1b" not in page and "\u202e" not in page


def test_the_page_needs_no_other_file(task):
    assert not re.search(r"https?://|url\(|src=|href=", show.html(task))


def test_the_terminal_gets_no_control_characters_and_no_markup(hostile):
    text = printed(hostile, width=1000)
    assert "\x1b" not in text and "\u202e" not in text
    assert "[bold]Sort[/bold]" in text and "{{ 7 * 7 }}" in text
    coloured = printed(hostile, "truecolor", width=1000)
    assert "\x1b[2J" not in coloured


def test_visible_keeps_the_length_and_the_letters_of_every_script():
    text = "Zeile\n\tÄ 请 سلام नमस्ते 👩‍🔬 \u00a0"
    assert show.visible(text) == text
    bad = "a\x00\x07\x1b\x9b\u2066\ud800b\r"
    assert show.visible(bad) == "a" + "�" * 6 + "b�"


def test_a_task_without_key_parts_or_examples_says_so():
    bare = Task("bare", (Instruction("Sort."),), (), (), "rougeL")
    for text in (printed(bare), show.html(bare)):
        assert show.NO_KEY_PARTS in text
        assert "response" not in text


def test_a_long_input_is_shortened(task):
    one = task.instruction
    long = Task("long", (one,), (Example("1", "long", one, "x" * 5000, ("y",)),), (), "rougeL")
    for text in (printed(long), show.html(long)):
        assert "3000 more characters" in text
        assert "x" * 2001 not in text.replace("\n", "")


def test_every_shared_task_can_be_shown(shared_data):
    for task in stream.load_tasks(shared_data / "superni-stream", test_per_task=1):
        one = task.instruction
        expected = [[span.kind, one.text[span.start : span.end]] for span in one.key_parts]
        assert Page(show.html(task)).marked[-len(expected) :] == expected
        assert task.name in printed(task)


def test_what_is_to_be_copied_is_never_wrapped_nor_cropped(task):
    long = '[{"role": "user", "content": "' + "word and word " * 40 + '"}]'
    buffer = io.StringIO()
    console = Console(file=buffer, width=40)
    console.print(show.terminal(task, prompts=[("messages to send", long)]), crop=False)
    assert long in buffer.getvalue().splitlines()


def test_the_command_prints_messages_that_can_be_read_as_json(tmp_path):
    said = [{"role": "user", "content": "word and word " * 30}, {"role": "assistant", "content": "yes"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": said}) + "\n", encoding="utf-8")
    base = tmp_path / "base"
    shutil.copytree(Path(kpig.__file__).parent / "tiny", base)
    (base / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}:")
    done = command("show", tmp_path / "a.jsonl", "--model", base)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    sent = json.loads(lines[lines.index("messages to send") + 1])
    assert sent[0]["content"].strip() == said[0]["content"].strip()
