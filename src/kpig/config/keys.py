"""Every key of a table of the configuration in words: its type, default, meaning and cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tomli_w
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from kpig.config.section import COST, Section
from kpig.config.tree import RunConfig

WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "nothing"}
"""What a reader calls the plain types."""

KINDS = {"ge": Ge, "gt": Gt, "le": Le, "lt": Lt}
BOUNDS = {"ge": "{} or more", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
MOST_STATED = 1 << 53
"""A bound beyond it is one of the machine's, not of the key's meaning."""


@dataclass(frozen=True)
class Key:
    """A key with its dotted name, its type in words, default, meaning, and cost where it has one of its own.

    The default is a JSON value, None where there is none.
    """

    name: str
    type: str
    default: Any
    meaning: str
    cost: str

    @property
    def written(self) -> str:
        """The default as TOML writes it."""
        return value_as_toml(self.default)


@dataclass(frozen=True)
class Table:
    """A table of the configuration, "" for the keys above all tables, and what it is about."""

    name: str
    meaning: str
    keys: tuple[Key, ...]

    def as_json(self) -> dict[str, Any]:
        """The table as JSON values."""
        return asdict(self)


def tables(methods: Mapping[str, type[Section]]) -> Iterator[Table]:
    """The tables of a config in its order; `methods` are the settings of each, by name, below [method]."""
    yield Table("", RunConfig.__doc__ or "", tuple(_keys("", RunConfig)))
    for name, field in RunConfig.model_fields.items():
        if isinstance(field.default, Section):
            yield from _nested(name, type(field.default))
        if name == "method":
            for method, settings in methods.items():
                yield from _nested(f"method.{method}", settings)


def value_as_toml(value: Any) -> str:
    """A default as it stands behind the sign of equality in TOML; "" for none."""
    if value is None:
        return ""
    if isinstance(value, Mapping) and not value:
        return "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_as_toml, value))}]"
    return tomli_w.dumps({"key": value}).strip().removeprefix("key = ")


def explained(field: FieldInfo) -> str:
    """The meaning of a field, and behind it its cost where it has one of its own."""
    cost = _cost(field)
    return (field.description or "") + (f". Cost: {cost}" if cost else "")


def _nested(name: str, section: type[Section], meaning: str = "") -> Iterator[Table]:
    """A table and those inside it."""
    first = (section.__doc__ or "").split("\n\n")[0]
    yield Table(name, " ".join((meaning or first).split()), tuple(_keys(f"{name}.", section)))
    for key, field in section.model_fields.items():
        if isinstance(field.default, Section):
            yield from _nested(f"{name}.{key}", type(field.default), field.description or "")


def _cost(field: FieldInfo) -> str:
    """What `kpig.config.section.cost` says of a field; "" where nothing is said."""
    extra = field.json_schema_extra
    return str(extra.get(COST, "")) if isinstance(extra, dict) else ""


def _keys(prefix: str, section: type[Section]) -> Iterator[Key]:
    for name, field in section.model_fields.items():
        if not isinstance(field.default, Section):
            given = None if field.is_required() else field.default
            default = list(given) if isinstance(given, tuple) else given
            words = _type(field.annotation, field.metadata)
            yield Key(f"{prefix}{name}", words, default, field.description or "", _cost(field))


def _type(annotation: Any, limits: Sequence[Any] = ()) -> str:
    """A type in the words of a reader, with the bounds that it has."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0], [*_limits(inner[1:]), *limits])
    if origin in (Union, UnionType):
        return " or ".join(_type(one) for one in inner)
    if origin is Literal:
        return " or ".join(f'"{one}"' if isinstance(one, str) else str(one) for one in inner)
    if origin is tuple:
        return f"list of {_plural(_type(inner[0]))}"
    if origin is not None and issubclass(origin, Mapping):
        return "table"
    return WORDS[annotation] + _bounds(limits)


def _plural(words: str) -> str:
    return f"{words}s" if words in WORDS.values() and words != "text" else words


def _limits(found: Sequence[Any]) -> Iterator[Any]:
    """The bounds inside an Annotated, which pydantic keeps in a field of its own."""
    for one in found:
        yield from one.metadata if isinstance(one, FieldInfo) else [one]


def _bounds(limits: Sequence[Any]) -> str:
    """The bounds of a number in words; "" for those that no reader meets."""
    found = {name: bound for one in limits for name, bound in _bound(one) if abs(bound) <= MOST_STATED}
    if found.keys() == {"ge", "le"}:
        return f" from {found['ge']:g} to {found['le']:g}"
    return "".join(f", {BOUNDS[name].format(f'{bound:g}')}" for name, bound in found.items())


def _bound(limit: Any) -> Iterator[tuple[str, Any]]:
    """The name and value of one bound of pydantic's, nothing for any other metadata."""
    yield from ((name, getattr(limit, name)) for name in BOUNDS if isinstance(limit, KINDS[name]))
