"""Other people's words made fit to be seen: on a terminal, and in the package's templates."""

import html
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO

STEERING = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\ud800-\\udfff\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]"
)
"""Control characters but for line break and tab, half surrogates, and Unicode's bidirectional controls: what
follows one of those would be shown in another order than it is stored."""


MARKS = re.compile(r"[\\|`*\[\]$~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""What Markdown would read as its own; an underscore within a word it would not."""


def visible(text: str) -> str:
    """The text, of the same length, without characters that steer a terminal or turn the reading direction.

    Line breaks and tabs stay; each other control character, half surrogate and direction mark becomes "�".
    """
    return STEERING.sub("�", text)


def plain(text: str) -> str:
    """On one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def markdown_cell(text: str) -> str:
    """Text inside a Markdown table or line, shown as it is."""
    return MARKS.sub(r"\\\g<0>", html.escape(plain(str(text)), quote=False))


def say(text: object, file: TextIO | None = None, end: str = "\n") -> None:
    """Print a text, whatever is in it, to standard output or another stream."""
    print(visible(str(text)), file=file or sys.stdout, end=end)


def render(
    template: str,
    values: Mapping[str, Any],
    autoescape: bool,
    filters: Mapping[str, Callable[..., Any]] | None = None,
) -> str:
    """The text of `templates/<template>` with `values`; a value that the template misses is an error.

    Pages pass `autoescape=True`: task names and model output are other people's text, and are made visible.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("kpig", "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown if autoescape else None,
    )
    environment.filters |= filters or {}
    return environment.get_template(template).render(values)


def _shown(value: Any) -> Any:
    """What a page shows of a value; markup of our own (a subclass of str) is left as it is."""
    return visible(value) if type(value) is str else value
