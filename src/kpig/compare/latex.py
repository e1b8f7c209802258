"""A comparison as LaTeX: booktabs tables, every outside character escaped."""

import re

from kpig.compare.comparison import Comparison
from kpig.compare.sheets import UNEQUAL, Sheet, sheets
from kpig.rendering import plain

ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
} | {character: f"\\{character}" for character in "&%$#_"}
"""Braces around [, ] and * keep them from being read as options of the line break before them."""


def latex(comparison: Comparison) -> str:
    """A table for every sheet: intervals stand beneath the means, a sheet's notes in its caption."""
    parts = ["% needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs}"]
    if comparison.unequal:
        parts.append(_list(UNEQUAL, comparison.unequal))
    parts += [_table(sheet) for sheet in sheets(comparison)]
    if comparison.notes:
        parts.append(_list("Notes", comparison.notes))
    return "\n\n".join(parts) + "\n"


def tex(text: str) -> str:
    """Other people's text as LaTeX shows it literally, on one line."""
    return "".join(ESCAPES.get(character, character) for character in plain(text))


def _list(title: str, lines: tuple[str, ...]) -> str:
    items = "\n".join(f"\\item {tex(line)}" for line in lines)
    return f"\\noindent\\textbf{{{title}}}\n\\begin{{itemize}}\n{items}\n\\end{{itemize}}"


def _table(sheet: Sheet) -> str:
    caption = " ".join(map(tex, (f"{sheet.title}.", *sheet.notes)))
    rows = [line for row in sheet.rows for line in _lines(row)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            f"\\caption{{{caption}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(sheet.headings) - 1)}}}",
            r"\toprule",
            " & ".join(map(tex, sheet.headings)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _lines(row: tuple[str, ...]) -> list[str]:
    """Each line of a cell is a line of the table; those after the first are small."""
    label, *cells = row
    columns = [[tex(label)], *([_number(line) for line in cell.split("\n")] for cell in cells)]
    small = [[first, *(f"{{\\scriptsize {one}}}" for one in rest)] for first, *rest in columns]
    height = max(map(len, small))
    filled = [column + [""] * (height - len(column)) for column in small]
    return [" & ".join(line) + r" \\" for line in zip(*filled, strict=True)]


def _number(text: str) -> str:
    """The text with a minus where a hyphen leads a number."""
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", tex(text))
