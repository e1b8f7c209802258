"""The values of a row, checked and as text: what every format of rows shares."""

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from kpig.errors import DataError, nearest, some
from kpig.tasks.drafts import Row
from kpig.tasks.measures import METRICS, is_own
from kpig.tasks.problems import Problems
from kpig.tasks.readers.files import typed

log = logging.getLogger(__name__)


def read_row(
    raw: Mapping[str, Any], example_id: str, split: str | None, where: str, file: str, problems: Problems
) -> Row | None:
    """One example, or None where its output is NaN or null, or its input NaN. A null input is no input.

    Numbers and booleans become text, and empty responses beside others are left out; both are noted.
    Raises DataError for a missing output, an empty response, or a value of the wrong type.
    """
    where = f"{where}: example '{example_id}'"
    if "output" not in raw:
        near = nearest("output", raw)
        hint = f"did you mean '{near}'?" if near else "expected a text, or a list of texts, under 'output'"
        raise DataError(f"{where}: has no 'output'; {hint}")
    outputs = raw["output"] if isinstance(raw["output"], list) else [raw["output"]]
    text = "" if raw.get("input") is None else raw["input"]
    if _is_void(text) or (outputs and all(map(_is_void, outputs))):
        return None
    references = tuple(
        noted_text(value, f"{where}: 'output'", file, "output", problems)
        for value in outputs
        if not _is_void(value)
    )
    full = tuple(reference for reference in references if reference.strip())
    if not full:
        raise DataError(f"{where}: has an empty response; write it out or remove the example")
    if len(full) < len(outputs):
        problems.notes[f"{file}: an empty reference beside others is left out"] += 1
    return Row(example_id, noted_text(text, f"{where}: 'input'", file, "input", problems), full, split)


def text_of(value: object, what: str) -> str:
    """The value as text: numbers as JSON writes them, true and false, dates in ISO 8601.

    Raises DataError, beginning with `what`, for lists, objects, bytes, and numbers that are none of JSON's.
    """
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise DataError(
            f"{what} is {value}, which is no number of JSON (one above 1.8e308 is read as infinite); "
            "write it as a text, or remove the example"
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, int | float | Decimal) else typed(value, str, what, "a text")


def noted_text(value: object, what: str, file: str, field_name: str, problems: Problems) -> str:
    """`text_of`, noted where the value is no text yet."""
    text = text_of(value, what)
    if not isinstance(value, str):
        problems.note(
            f"{file}: '{field_name}' holds values that are no text; they are read as JSON writes them "
            "(3, 0.5, true)",
            what,
        )
    return text


def _is_void(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def kept_rows(
    kept: Sequence[Row], where: str, skipped: Sequence[str] = (), problems: Problems | None = None
) -> tuple[Row, ...]:
    """The rows of a task; those that `read_row` gave none for are told, at the places `skipped`.

    Of rows with the same id the first is kept where `problems` skips rows, if all are of one split. Raises
    DataError where no row is left or two have the same id.
    """
    if skipped:
        count = "1 example has" if len(skipped) == 1 else f"{len(skipped)} examples have"
        log.warning("%s: %s NaN or null for output, or NaN for input; skipped", some(skipped), count)
    if not kept:
        raise DataError(f"{where}: has no examples; expected at least one")
    first: dict[str, Row] = {}
    repeated = [row for row in kept if first.setdefault(row.id, row) is not row]
    if not repeated:
        return tuple(kept)
    ids = list(dict.fromkeys(row.id for row in repeated))
    across = any(row.split != first[row.id].split for row in repeated)
    if problems is None or problems.rows is problems or across:
        more = f" (and {len(ids) - 1} more ids do)" if len(ids) > 1 else ""
        raise DataError(f"{where}: the id '{ids[0]}' stands for several examples{more}; ids must differ")
    problems.rows.num_skipped += len(repeated)
    problems.rows.add(f"{where}: {len(repeated)} examples have the id of an earlier one ({some(ids)})")
    return tuple(first.values())


def texts_of(value: object, what: str) -> tuple[str, ...]:
    """The text or list of texts as a tuple; raises DataError for anything else."""
    values = value if isinstance(value, list) else [value]
    return tuple(typed(text, str, what, "a text or a list of texts") for text in values)


def checked_metric(value: object, where: str) -> str | None:
    """The metric as stated, or None; raises DataError for an unknown one.

    Data are not trusted to name code that is run: a `module:function` is refused here.
    """
    if value is not None and (not isinstance(value, str) or value not in METRICS):
        own = isinstance(value, str) and is_own(value)
        advice = "; a function of your own is named in the config, [stream.metrics]" if own else ""
        raise DataError(f"{where}: metric is {value!r:.80}; expected one of {', '.join(METRICS)}{advice}")
    return value
