"""Numbers and other people's words as text: for a cell, a line of the terminal, a plot, Markdown."""

import html
import re

from kpig.rendering import plain, visible

NONE = "–"
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With what a formula begins in some spreadsheet, full-width signs included; tabs and CRs do not get here."""

MAX_SHOWN_CHARACTERS = 1500
"""Of a prompt or response in the examples of a report. Chosen, so that a page of examples stays readable."""


def decimal(value: float | None, digits: int = 1) -> str:
    """A number with so many decimals, never a negative zero."""
    return NONE if value is None else f"{value:z.{digits}f}"


def signed(value: float | None, digits: int = 1) -> str:
    """A difference with its sign; none at zero."""
    text = decimal(value, digits)
    return f"+{text}" if value is not None and not text.startswith("-") and float(text) else text


def compact(value: float | None) -> str:
    """A count in at most six characters: 950, 120.5k, 1.2M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value is not None and value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.1f}{unit}"
    return NONE if value is None else f"{value:.0f}"


def pair(first: float | None, second: float | None) -> str:
    """Two numbers in one cell: 12.5/40.0."""
    return NONE if first is None and second is None else f"{decimal(first)}/{decimal(second)}"


def number_in(text: str) -> float | None:
    """The first number of a cell, units of `compact` and separators of thousands included."""
    found = re.match(r"(-?[\d,]+(?:\.\d+)?)([kMG]?)", text)
    if not found or not found[1].strip("-,"):
        return None
    return float(found[1].replace(",", "")) * {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}[found[2]]


def shortened(text: str) -> str:
    """The text, or its beginning and how much more there is."""
    rest = len(text) - MAX_SHOWN_CHARACTERS
    return text if rest <= 0 else f"{text[:MAX_SHOWN_CHARACTERS]} … ({rest} more characters)"


def csv_cell(text: str) -> str:
    """Text for a cell that a spreadsheet takes for text: one that begins like a formula gets an apostrophe.

    A number stays one, also a negative one. Source: OWASP, CSV injection.
    """
    line = plain(text)
    return f"'{line}" if line.startswith(FORMULA) and not _is_number(line) else line


def csv_comment(text: str) -> str:
    """A comment line of a CSV file; its pieces between separators are cells for a spreadsheet."""
    pieces = re.split(r"([,;]\s*)", plain(text))
    return "# " + "".join(piece if place % 2 else csv_cell(piece) for place, piece in enumerate(pieces))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?[\d.,]+(e[+-]?\d+)?", text, re.IGNORECASE) is not None


def plot_label(text: str, limit: int = 40) -> str:
    """Text for plotly, which would read tags in it; at most `limit` characters."""
    line = plain(text)
    return html.escape(line if len(line) <= limit else line[: limit - 1] + "…", quote=False)


def fenced(text: str) -> str:
    """A code block with a fence longer than any run of backticks inside."""
    text, fence = visible(text), "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"
