"""Look at a task: its instructions with the key parts marked by kind, the masked twin, one example.

The words of a task are untrusted: the terminal gets no control characters and the page no markup.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.rule import Rule
from rich.text import Text

from kpig.records import KEY_PART_KINDS, MASK_TEXT, Example, Instruction, KeySpan, Task
from kpig.rendering import render, visible
from kpig.tasks import coverage

TEMPLATE = "show.html.j2"
MOST_CHARACTERS = 2000
"""Of an input or response that is shown. Chosen: about a screen of text."""

COLOURS = {
    "operation": "black on bright_cyan",
    "label_set": "black on bright_magenta",
    "format": "black on bright_yellow",
    "length": "black on bright_green",
    "content": "white on blue",
    "reference": "white on dark_orange3",
}
NO_KEY_PARTS = "no key parts are known; find some with: kpig annotate"


Prompts = Sequence[tuple[str, str]]
"""What the example is to a model, under headings."""


def terminal(task: Task, mask_text: str = MASK_TEXT, prompts: Prompts = ()) -> Group:
    """The task for `rich.print`: wordings with their key parts in colour, the twin, one example, `prompts`.

    Where colours are off the kind stands behind each key part, in brackets. `prompts` are never wrapped,
    for they are there to be copied: print with crop=False.
    """
    parts: list[Any] = [
        Rule(Text(visible(task.name)), align="left"),
        Text(_facts(task)),
        _legend(task),
        Text(),
    ]
    for wording in _wordings(task):
        parts += [Text(visible(wording.origin), style="bold"), _Marked(wording)]
        if not wording.key_parts:
            parts.append(Text(NO_KEY_PARTS, style="dim"))
        parts.append(Text())
    parts += [Text("masked twin", style="bold"), Text(visible(task.instruction.masked(mask_text))), Text()]
    for name, text in _example(task):
        parts += [Text(name, style="bold"), Text(text)]
    for name, text in prompts:
        parts += [Text(name, style="bold"), Text(visible(text), no_wrap=True, overflow="ignore")]
    return Group(*parts)


def html(task: Task, mask_text: str = MASK_TEXT, prompts: Prompts = ()) -> str:
    """The same as one page that needs no other file and runs no script."""
    values = {
        "name": visible(task.name),
        "facts": _facts(task),
        "wordings": [(visible(one.origin), list(pieces(one))) for one in _wordings(task)],
        "kinds": _kinds(task),
        "no_key_parts": NO_KEY_PARTS,
        "twin": visible(task.instruction.masked(mask_text)),
        "example": [*_example(task), *((name, visible(text)) for name, text in prompts)],
    }
    return render(TEMPLATE, values, autoescape=True)


def pieces(instruction: Instruction) -> Iterator[tuple[str, str | None]]:
    """The text cut at its key parts: each piece with its kind, None between key parts; none is empty."""
    text, position = visible(instruction.text), 0
    for span in (*instruction.key_parts, KeySpan(len(text), len(text))):
        if position < span.start:
            yield text[position : span.start], None
        if span.start < span.end:
            yield text[span.start : span.end], span.kind
        position = span.end


class _Marked:
    """An instruction that marks its key parts as the console can: by colour, or by the kind in brackets."""

    def __init__(self, instruction: Instruction):
        self.instruction = instruction

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        has_colour = console.color_system is not None and not console.no_color
        text = Text()
        for piece, kind in pieces(self.instruction):
            if kind is None:
                text.append(piece)
            elif has_colour:
                text.append(piece, style=COLOURS[kind])
            else:
                text.append(f"[{piece}]({_spoken(kind)})")
        yield text


def _legend(task: Task) -> Text:
    legend = Text("key parts: ", style="bold")
    for kind in _kinds(task):
        legend.append(f" {_spoken(kind)} ", style=COLOURS[kind]).append(" ")
    return legend


def _kinds(task: Task) -> list[str]:
    """The kinds that occur, in their usual order; all where none occurs."""
    used = {span.kind for wording in _wordings(task) for span in wording.key_parts}
    return [kind for kind in KEY_PART_KINDS if kind in used or not used]


def _wordings(task: Task) -> tuple[Instruction, ...]:
    return (*task.instructions, *task.evaluation_instructions)


def _facts(task: Task) -> str:
    categories = visible(", ".join(task.categories)) or "no category"
    judges = f", {len(task.validation)} validation" if task.validation else ""
    counts = f"{len(task.train)} training{judges} and {len(task.test)} test examples"
    own = len(task.own_instructions)
    covered = "".join(f"; {one}" for one in coverage.cautions(coverage.instructions([task])))
    note = f"; {own} instructions are single examples' own, the first is shown" if own else ""
    return (
        f"{categories}; {task.metric}; {counts}; {len(task.constraints)} constraints{note}{visible(covered)}"
    )


def _example(task: Task) -> list[tuple[str, str]]:
    """Names and texts of the first example: input, responses, an instruction of its own; may be empty."""
    example = shown_example(task)
    if example is None:
        return []
    own = example.instruction in task.own_instructions
    texts = [(f"{one.role}, before", one.text) for one in example.context]
    texts += [("its own instruction", example.instruction.text)] if own else []
    texts += [("input", example.input), *(("response", reference) for reference in example.references)]
    return [(name, _short(visible(text))) for name, text in texts]


def shown_example(task: Task) -> Example | None:
    """The example that is shown: the first that is trained on, or else tested; None where there is none."""
    return next(iter((*task.train, *task.test)), None)


def _short(text: str) -> str:
    rest = len(text) - MOST_CHARACTERS
    return text if rest <= 0 else f"{text[:MOST_CHARACTERS]} … ({rest} more characters)"


def _spoken(kind: str) -> str:
    return kind.replace("_", " ")
