"""Files of predictions: JSONL, one a line, as a run and an evaluation keep them. The one writer and reader.

A file from another tool is read by `predictions_file`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kpig.errors import RunError, clause
from kpig.files import as_line, name_for, publish
from kpig.records import Prediction
from kpig.scoring.typed_json import Misfit, parse


def write(path: Path, predictions: Sequence[Prediction]) -> None:
    """The predictions in one file, published whole."""
    publish(path, "".join(as_line(_plain(one)) for one in predictions))


def write_by_task(folder: Path, predictions: Sequence[Prediction]) -> None:
    """The predictions in a file for each task, in order of appearance.

    A task's name is whatever the data say, so the file's name is made of it, never a path.
    """
    by_task: dict[str, list[Prediction]] = {}
    for one in predictions:
        by_task.setdefault(one.task, []).append(one)
    for name, of_task in by_task.items():
        write(folder / f"{name_for(name)}.jsonl", of_task)


def read(path: Path) -> Iterator[Prediction]:
    """The predictions of a file in order, a line at a time.

    Raises RunError, when it comes to it, naming the first line that is no prediction and why.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield _prediction(path, number, line)
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read as predictions ({error.strerror or error}); restore or remove it"
        ) from error


def _plain(prediction: Prediction) -> dict[str, Any]:
    """Its fields, without the score that nearly no prediction has."""
    fields = asdict(prediction)
    if fields["own_score"] is None:
        del fields["own_score"]
    return fields


def _prediction(path: Path, number: int, line: bytes) -> Prediction:
    try:
        return parse(line, Prediction)
    except Misfit as error:
        raise RunError(
            f"{path}: cannot be read as predictions: line {number}: {clause(error)}; restore or remove it"
        ) from None
