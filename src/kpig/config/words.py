"""What is wrong with a table, in words: where, what was given, what was expected, the nearest known name."""

from collections.abc import Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from kpig.errors import nearest, shown


def listed(where: str, problems: Sequence[str]) -> str:
    """The problems of one file, each on a line of its own below the first."""
    indent = "\n" + " " * (len("error: ") + len(where) + 2)
    return f"{where}: " + indent.join(problems)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known name that `word` is most likely a slip of, else all known ones, as the end of a sentence."""
    names = list(known)
    close = nearest(word, names, cutoff=0.5)
    return f"; did you mean {close!r}?" if close else f"; known: {', '.join(names)}"


def all_explained(
    problems: Iterable[Mapping[str, Any]], model: type[BaseModel], parents: Sequence[str] = ()
) -> list[str]:
    """Every complaint of pydantic's about a table, as `explained` says it.

    Where a value may be of several kinds, pydantic complains once for each: that is one complaint, which
    names them all.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for problem in problems:
        place = _chosen_at(problem["loc"], model)
        if place is None:
            found[len(found), *problem["loc"]] = dict(problem)
        elif place not in found:
            found[place] = {**problem, "loc": place}
        else:
            more = str(problem["msg"]).removeprefix("Input should be ")
            found[place]["msg"] += f", or {more}"
    return [explained(problem, model, parents) for problem in found.values()]


def explained(
    problem: Mapping[str, Any], model: type[BaseModel], parents: Sequence[str] = (), where: str = ""
) -> str:
    """One complaint of pydantic's about a table of `model`, which lies below `parents` in its file."""
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:  # of the table itself, such as a key that is no text in UTF-8
        table = where or (f"[{'.'.join(parents)}] " if parents else "")
        return f"{table}{shown(message)}; given are the keys {shown(repr(list(problem['input'])))}"
    *inside, key = (str(part) for part in problem["loc"])
    place = [*parents, *inside]
    table = where or (f"[{'.'.join(place)}] " if place else "")
    if problem["type"] == "extra_forbidden":
        return f"{table}has no key {key!r}{did_you_mean(key, _keys_of(model, inside))}"
    return f"{table}{key} = {shown(repr(problem['input']))}: {message[0].lower() + message[1:]}"


def _chosen_at(place: Sequence[Any], model: type[BaseModel]) -> tuple[Any, ...] | None:
    """Where in a table the value lies that may be of several kinds, one of which was tried; None for others.

    pydantic writes the kind that it tried, and what lies inside of it, behind the place of the value.
    """
    annotation: Any = model
    for depth, part in enumerate(place):
        if get_origin(annotation) in (Union, UnionType):
            kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
            if len(kinds) > 1:
                return tuple(place[:depth])
            annotation = kinds[0]
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(part))
            annotation = None if field is None else field.annotation
        else:
            annotation = next(iter(get_args(annotation)[-1:]), None)
    return None


def _keys_of(model: type[BaseModel], parents: Sequence[str]) -> list[str]:
    for parent in parents:
        field = model.model_fields.get(parent)
        if field is None or not (
            isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        ):
            return []
        model = field.annotation
    return list(model.model_fields)
