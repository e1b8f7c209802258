"""Read an entry of a constraints.json into a constraint."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from kpig.errors import DataError, nearest
from kpig.records import Constraint
from kpig.tasks.constraints.kinds import KINDS
from kpig.tasks.constraints.table import CONSTRAINTS, ConstraintType

NOTE_KEYS = ("source", "note", "comment", "description")
"""Keys that any entry of a file beside tasks may have for its readers. So may keys that begin with "_"."""

DOCUMENTATION_KEYS = (*NOTE_KEYS, "strength", "match", "made_by", "check")
DOCUMENTATION_PREFIXES = ("gold_", "_")
MOST_SHOWN = 200
"""Characters of a value that a message shows. Chosen: more hides the message."""


def parse(raw: object, where: str) -> Constraint:
    """The constraint of one entry of a constraints.json: its `type`, an optional `kind`, its parameters.

    Documentation (DOCUMENTATION_KEYS, `gold_...` and `_...`) is left out. Raises DataError,
    every line beginning with `where`, for an unknown type, kind or parameter, for a missing one, and for
    a value that cannot be used, such as a pattern that does not compile.
    """
    if not isinstance(raw, Mapping):
        raise DataError(f"{where}: a constraint must be an object with a 'type', not {raw!r}")
    name = raw.get("type")
    if "type" not in raw and (meant := nearest("type", raw)):
        raise DataError(f"{where}: there is no key '{meant}'; did you mean 'type'?")
    if name is None:
        raise DataError(
            f"{where}: 'type' is missing in the constraint {_short(dict(raw))}; "
            f"known: {', '.join(CONSTRAINTS)}"
        )
    if not isinstance(name, str) or name not in CONSTRAINTS:
        raise DataError(f"{where}: {_unknown('constraint type', name, CONSTRAINTS)}")
    given = {key: value for key, value in raw.items() if key != "type" and not _is_documentation(key)}
    kind = given.pop("kind", None)
    params, problems = _read_params(CONSTRAINTS[name], given)
    if kind is not None and kind not in KINDS:
        problems.insert(0, _unknown("kind", kind, KINDS))
    if problems:
        raise DataError("\n".join(f"{where}: {name}: {problem}" for problem in problems))
    return Constraint(name, MappingProxyType(params), kind)


def stated(constraint: Constraint) -> dict[str, Any]:
    """The constraint as an entry of a constraints.json, so that `parse` finds the same again."""
    params = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in constraint.params.items()
    }
    return {"type": constraint.type, **params} | ({"kind": constraint.kind} if constraint.kind else {})


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def _is_documentation(key: str) -> bool:
    return key in DOCUMENTATION_KEYS or key.startswith(DOCUMENTATION_PREFIXES)


def _read_params(
    constraint_type: ConstraintType, given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The parameters as the check takes them, and a sentence for everything wrong with them."""
    readers = {**constraint_type.required, **constraint_type.optional}
    params, problems = {}, []
    for name, value in given.items():
        if name not in readers:
            problems.append(_unknown("parameter", name, (*readers, "kind")))
            continue
        try:
            params[name] = readers[name](value)
        except ValueError as error:
            problems.append(f"'{name}' must be {error}, not {_short(value)}")
    problems += [f"'{name}' is missing" for name in constraint_type.required if name not in given]
    problems += constraint_type.joint_problems(given)
    return params, problems


def _unknown(what: str, given: object, known: Iterable[str]) -> str:
    names = list(known)
    close = nearest(given, names)
    hint = f"did you mean '{close}'?" if close else f"known: {', '.join(names)}"
    return f"{given!r} is no {what}; {hint}"
