"""What a page of Markdown says in sentences: code, tables, headings, comments and addresses left out."""

import itertools
import re
from collections.abc import Iterator

FENCE = re.compile(r"(?ms)^ *```.*?^ *```[ ]*$")
COMMENT = re.compile(r"(?s)<!--.*?-->")
BULLET = re.compile(r"^([-*+]|\d+\.) +")
NO_PROSE = ("#", "|", "![", "---", ":::", "    ")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"”)]*\s+(?=[\"“(\[]*[A-Z0-9λΣ½±-])")


def without_code(text: str) -> str:
    """The page without fenced blocks and comments."""
    return COMMENT.sub("", FENCE.sub("", text))


def blocks(text: str) -> Iterator[str]:
    """Paragraphs and list items, each on one line, as a reader sees them."""
    lines: list[str] = []
    for line in [*without_code(text).splitlines(), ""]:
        if not line.strip() or line.startswith(NO_PROSE) or BULLET.match(line.strip()):
            if lines:
                yield _plain(" ".join(lines))
            lines = []
        if line.strip() and not line.startswith(NO_PROSE):
            lines.append(BULLET.sub("", line.strip()))


def sentences(text: str) -> list[str]:
    """The sentences of a page; a colon and a semicolon end none."""
    found = (one.strip() for block in blocks(text) for one in SENTENCE_END.split(block))
    return [one for one in found if re.search(r"\w", one)]


def mean_length(text: str) -> float:
    """Words for each sentence, on average; 0 of a page without any."""
    found = [len(one.split()) for one in sentences(text)]
    return sum(found) / len(found) if found else 0.0


def semicolons(text: str) -> float:
    """Semicolons for each 1,000 words, those of tables counted, those of code not."""
    bare = re.sub(r"`[^`]*`", "code", without_code(text))
    return 1000 * bare.count(";") / max(1, len(bare.split()))


def long_lines(text: str, limit: int = 100) -> list[str]:
    """Lines over the limit that could be shorter: no table, no row of data in a block, no lone address."""
    found, language = [], None
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            language = line.strip().strip("`") if language is None else None
        elif len(line) > limit and language != "" and not line.startswith("|") and not _is_address(line):
            found.append(line)
    return found


def glued_lists(text: str) -> list[str]:
    """Items of lists that stand right below a paragraph."""
    lines = ["", *without_code(text).splitlines()]
    return [
        line
        for before, line in itertools.pairwise(lines)
        if BULLET.match(line) and before.strip() and not BULLET.match(before) and not before.startswith(" ")
    ]


def _is_address(line: str) -> bool:
    return re.fullmatch(r"\S*https?://\S+", line.strip()) is not None


def _plain(block: str) -> str:
    block = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", block)
    return re.sub(r"[*`]", "", re.sub(r"`[^`]*`", lambda found: found.group().replace(" ", "_"), block))
