"""A page from its template: markup, style sheets, scripts, packed data, and the policy that holds them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kpig import rendering
from kpig.pages.libraries import Library, plotly, tables
from kpig.pages.packing import packed_data
from kpig.pages.policy import policy

FOLDER = Path(rendering.__file__).parent / "templates"
BASE_STYLE, BASE_SCRIPT = "pages/base.css", "pages/base.js"


def render(
    template: str,
    values: Mapping[str, Any],
    *,
    data: Mapping[str, Any] | None = None,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    libraries: Iterable[Library] | None = None,
    filters: Mapping[str, Callable[..., Any]] | None = None,
    own: Sequence[str] = (),
) -> str:
    """The page of a template that extends `pages/base.html.j2`; whatever is in `values` is shown as text.

    `data` are read by the page's scripts: `await kpig.data(name)`. `styles` and `scripts` are files below
    `templates/`, which come after the shell's own. Both libraries are brought along where none are named.
    `own` is that of `policy`: a page that a server shows may ask it for more.
    """
    from markupsafe import Markup

    brought = (plotly(), tables()) if libraries is None else tuple(libraries)
    sheets = [_read(name) for name in (BASE_STYLE, *styles)]
    codes = [_read(name) for name in (BASE_SCRIPT, *scripts)]
    shell = {
        "policy": policy((*codes, *(one.code for one in brought)), sheets, own),
        "styles": list(map(Markup, sheets)),
        "scripts": list(map(Markup, codes)),
        "libraries": {one.name: Markup(one.content) for one in brought},
        "data": {name: Markup(packed_data(value)) for name, value in (data or {}).items()},
    }
    return rendering.render(template, {**values, "shell": shell}, True, filters)


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
