"""How pages are written: short sentences, one thought each, lines that fit a screen."""

import re
from pathlib import Path

import pytest

import prose

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
MOST_WORDS, MOST_SEMICOLONS, MOST_CHARACTERS = 15, 5, 100
"""Words of a sentence on average, semicolons of 1,000 words, characters of a line."""

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS)))


@every_page
def test_sentences_are_short(page):
    assert prose.mean_length(page.read_text(encoding="utf-8")) < MOST_WORDS


@every_page
def test_semicolons_are_few(page):
    assert prose.semicolons(page.read_text(encoding="utf-8")) <= MOST_SEMICOLONS


@every_page
def test_lines_are_short(page):
    assert prose.long_lines(page.read_text(encoding="utf-8"), MOST_CHARACTERS) == []


@every_page
def test_a_list_has_a_blank_line_above_it(page):
    """The site's Markdown takes it for text otherwise, also where a wrapped line begins with a number."""
    assert prose.glued_lists(page.read_text(encoding="utf-8")) == []


P_VALUE = re.compile(r"\bp (?:0\.|=|is|value|of the)|\bno p\b|\*\*p\*\*")
FIRST = re.compile(r"P-score|What P, V, half-listening and p mean")


@every_page
def test_a_newcomer_reads_of_scores_before_a_p_value(page):
    text = prose.without_code(page.read_text(encoding="utf-8"))
    if (value := P_VALUE.search(text)) is not None:
        score = FIRST.search(text)
        assert score is not None and score.start() < value.start(), value.group()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two words.\nIt goes on; still one.", ["One.", "Two words.", "It goes on; still one."]),
        ("# A title\n\n- a point\n  that goes on\n- another", ["a point that goes on", "another"]),
        (
            "See `kpig run X. Y` now. A [link to it](a.b) too.",
            ["See kpig_run_X._Y now.", "A link to it too."],
        ),
        ("| a. B. | c |\n\n```sh\nkpig run. Now.\n```\n\n<!-- not. Seen. -->", []),
        ("About 2.5 points, e.g. two. Then more", ["About 2.5 points, e.g. two.", "Then more"]),
    ],
)
def test_sentences_are_found(text, found):
    assert prose.sentences(text) == found


def test_what_counts_is_counted():
    assert prose.mean_length("One two three. Four.") == 2
    assert prose.semicolons("a; b; `c; d`\n```\ne;\n```\n") == 1000 * 2 / 3
    long = "x" * 101
    assert prose.long_lines(f"{long} y\n| {long} |\n```\n{long} z\n```\n```sh\n{long} w\n```") == [
        f"{long} y",
        f"{long} w",
    ]


def test_lists_without_a_blank_line_above_are_found():
    assert prose.glued_lists("It was\n51. Then more.") == ["51. Then more."]
    assert prose.glued_lists("Points:\n- one\n  goes on\n- two") == ["- one"]
    assert prose.glued_lists("- one\n- two\n  goes on\n- three\n\n1. a\n2. b\n```\nx\n- y\n```") == []
