"""What a sweep's TOML file says, read and checked by itself."""

import copy
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationError

from kpig.config import SUITE, RunConfig, Section, find_beside, flat, read_table
from kpig.config.section import Listed
from kpig.config.words import listed
from kpig.errors import ConfigError, nearest

AXES = ("seed", "method.name", "stream.order", "stream.order_seed")
"""What the sweep itself decides: its values replace those of `base`, and no setting may hold them."""

LONGEST_LABEL = 60
"""Characters. Chosen: a folder's name also holds method, seed and order, and file systems end at 255
bytes."""

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Order = Literal["given"] | int | tuple[int, ...]


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("expected a whole number of 0 or more")
    return value


def _order(value: Any) -> Order:
    if value == "given":
        return "given"
    if isinstance(value, list | tuple) and value and all(type(one) is int and one > 0 for one in value):
        return tuple(value)
    if type(value) is int and value >= 0:
        return value
    raise ValueError(
        "expected 'given', a whole number (the seed of a shuffled order), or a list of step numbers from 1"
    )


def _base(value: Any) -> str | dict[str, Any]:
    if (isinstance(value, str) and value) or isinstance(value, dict):
        return value
    raise ValueError("expected the path of a config, or a table [base] with the sections of one")


def _label(value: Any) -> str:
    if not isinstance(value, str) or not LABEL.fullmatch(value) or len(value) > LONGEST_LABEL:
        raise ValueError(
            f"expected at most {LONGEST_LABEL} letters, digits, '.', '_' and '-', a letter or digit first: "
            "it becomes part of a folder's name"
        )
    return value


def _method(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected a name from `kpig methods`, or module:Class of your own")
    _label(value.replace(":", "-"))
    return value


Whole = Annotated[int, PlainValidator(_whole)]
Label = Annotated[str, PlainValidator(_label)]
MethodName = Annotated[str, PlainValidator(_method)]


class Setting(Section):
    """A named change of the base config, for every method of the sweep or for one of them."""

    name: Label = Field(description="names the setting; part of the run folders' names")
    method: MethodName | None = Field(None, description="the one method it is for; left out: all")
    set: dict[str, Any] = Field(description="section.key = value, as with `kpig run --set`")


class Spec(Section):
    """What a sweep's TOML file says. The runs are every method x seed x order x setting."""

    base: Annotated[Any, PlainValidator(_base)] = Field(
        description="a config beside the spec, or a table with its sections"
    )
    methods: Listed[MethodName] = Field(min_length=1, description="names from `kpig methods`")
    seeds: Listed[Whole] = Field(min_length=1, description="seeds of training")
    orders: Listed[Annotated[Any, PlainValidator(_order)]] = Field(
        ("given",), min_length=1, description="'given', the seed of a shuffled order, or a list of steps"
    )
    suite_per_seed: bool = Field(
        False, description="give every seed a stream of its own from the built-in suite: suite.seed = seed"
    )
    include_default: bool = Field(
        True, description="run a method that has settings also with the base config alone"
    )
    settings: Listed[Setting] = Field((), description="further variants; none: the base config alone")


def read(path: Path) -> Spec:
    """The spec at `path`; ConfigError with everything that is wrong with its own keys."""
    try:
        return Spec.model_validate(read_table(path))
    except ValidationError as error:
        raise ConfigError(listed(str(path), _explanations(error.errors()))) from None


def base_table(spec: Spec, path: Path) -> dict[str, Any]:
    """The base config as a plain table, what it names by a relative path found beside its file."""
    source = path if isinstance(spec.base, dict) else path.parent / os.path.expanduser(spec.base)
    table = copy.deepcopy(spec.base) if isinstance(spec.base, dict) else read_table(source)
    find_beside(source.parent, table)
    return table


def contradictions(spec: Spec, base: Mapping[str, Any]) -> list[str]:
    """What the keys of a spec say against each other or against its base."""
    problems = []
    for axis in ("methods", "seeds", "orders"):
        values = getattr(spec, axis)
        problems += [f"{axis} has {one!r} twice" for one, count in Counter(values).items() if count > 1]
    section = base.get("stream")
    order = section.get("order", "given") if isinstance(section, dict) else "given"
    if "orders" not in spec.model_fields_set and order != "given":
        problems.append(f"base has stream.order = {order!r}, which a sweep replaces; state orders = [...]")
    if spec.suite_per_seed and isinstance(section, dict) and section.get("path", SUITE) != SUITE:
        problems.append(
            f"suite_per_seed needs the built-in suite, but base has stream.path = {section['path']!r}"
        )
    axes = (*AXES, "suite.seed") if spec.suite_per_seed else AXES
    for setting in spec.settings:
        where = f"settings {setting.name!r}"
        if setting.method and setting.method not in spec.methods:
            problems.append(f"{where}: method {setting.method!r} is not among methods{_hint(setting, spec)}")
        keys = flat(setting.set)
        taken = [key for key in keys if any(f"{key}.".startswith(f"{axis}.") for axis in axes)]
        problems += [f"{where}: {key!r} is decided by the sweep itself" for key in taken]
        if not keys:
            problems.append(f"{where}: set is empty; expected section.key = value")
    return problems


def _hint(setting: Setting, spec: Spec) -> str:
    near = nearest(setting.method, spec.methods, cutoff=0.5)
    return f"; did you mean {near!r}?" if near else f" ({', '.join(spec.methods)})"


EXPECTED = {
    "tuple_type": 'expected a list, such as ["kpig", "replay"] or [0, 1]',
    "too_short": "expected at least one",
    "dict_type": 'expected a table, such as { "section.key" = value }',
    "model_type": "expected a table",
    "bool_type": "expected true or false",
}
"""What a value should have been, by the kind of pydantic's complaint."""


def _explanations(problems: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every problem in words; a list is not also called empty because all that is in it was refused."""
    inside = {problem["loc"][:1] for problem in problems if len(problem["loc"]) > 1}
    return [_explain(one) for one in problems if not (one["type"] == "too_short" and one["loc"] in inside)]


def _explain(problem: Mapping[str, Any]) -> str:
    *parents, key = problem["loc"]
    where = "".join(f"{part + 1}: " if isinstance(part, int) else f"{part} " for part in parents)
    if problem["type"] == "extra_forbidden":
        if not parents and key in RunConfig.model_fields:
            return (
                f"has no key {key!r}: what all runs share stands below base, as [base.{key}] or "
                'base = "config.toml"'
            )
        known = (Setting if parents else Spec).model_fields
        near = nearest(key, known, cutoff=0.5)
        return f"{where}has no key {key!r}" + (
            f"; did you mean {near!r}?" if near else f"; known: {', '.join(known)}"
        )
    name = f"number {key + 1}" if isinstance(key, int) else key
    if problem["type"] == "missing":
        return f"{where}{name} is missing; {(Setting if parents else Spec).model_fields[key].description}"
    message = EXPECTED.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    return f"{where}{name} = {problem['input']!r}: {message[0].lower() + message[1:]}"


def refuse(path: Path, problems: Sequence[str]) -> None:
    """ConfigError with all the problems, if there are any."""
    if problems:
        raise ConfigError(listed(str(path), problems))
