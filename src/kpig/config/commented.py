"""A configuration to start from: every key with its default, and above it what it means and costs."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from kpig.config.keys import explained, value_as_toml
from kpig.config.section import Section
from kpig.config.tree import RunConfig

WIDTH = 98
"""Characters of a line of comment at most."""

HEAD = (
    "A run of kpig: every key with its default. What you leave out is as it stands here. The tasks are named "
    "under [stream], the model under [model]. Look at it with: kpig check; learn it with: kpig run."
)


def commented(method: str, settings: type[Section]) -> str:
    """The text of a TOML file, with the method of that name and its own settings."""
    lines = [*_comment(HEAD), ""]
    for name, field in RunConfig.model_fields.items():
        if isinstance(field.default, Section):
            lines += _table(name, type(field.default), {"name": method} if name == "method" else {})
        else:
            lines += [*_key(name, field, field.default), ""]
        if name == "method" and settings.model_fields:
            lines += _table(f"method.{method}", settings, {})
    return "\n".join(lines).rstrip() + "\n"


def _table(name: str, section: type[Section], given: Mapping[str, Any], meaning: str = "") -> list[str]:
    """A table and those inside it; values of `given` go before the defaults."""
    lines = [*_comment(meaning or (section.__doc__ or "").split("\n\n")[0]), f"[{name}]"]
    inner: list[str] = []
    for key, field in section.model_fields.items():
        if isinstance(field.default, Section):
            inner += _table(f"{name}.{key}", type(field.default), {}, field.description or "")
        else:
            lines += _key(key, field, given.get(key, field.default))
    return [*lines, "", *inner]


def _key(key: str, field: FieldInfo, value: Any) -> Iterator[str]:
    yield from _comment(explained(field))
    yield f"# {key} = ..." if value is None else f"{key} = {value_as_toml(value)}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), WIDTH)]
