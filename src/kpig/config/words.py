"""What is wrong with a table, in words: where, what was given, what was expected, the nearest known name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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


def _keys_of(model: type[BaseModel], parents: Sequence[str]) -> list[str]:
    for parent in parents:
        field = model.model_fields.get(parent)
        if field is None or not (
            isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        ):
            return []
        model = field.annotation
    return list(model.model_fields)
