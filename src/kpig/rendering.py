"""Fill one of the package's Jinja templates."""

from collections.abc import Callable, Mapping
from typing import Any


def render(
    template: str,
    values: Mapping[str, Any],
    autoescape: bool,
    filters: Mapping[str, Callable[..., Any]] | None = None,
) -> str:
    """The text of `templates/<template>` with `values`; a value that the template misses is an error.

    Pages pass `autoescape=True`: task names and model output are other people's text.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("kpig", "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    return environment.get_template(template).render(values)
