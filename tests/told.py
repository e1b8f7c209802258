"""What each tracker holds of a run, read from its own files by other means than kpig's."""

import json
import sqlite3
import struct
from pathlib import Path

NAMES = ("tensorboard", "trackio", "wandb", "mlflow")

Told = dict[str, list[tuple[int, float]]]
"""For each figure the updates at which it was told, in the order of the file, and its values."""


def told(name: str, run: Path) -> Told:
    return {"tensorboard": _tensorboard, "trackio": _trackio, "wandb": _wandb, "mlflow": _mlflow}[name](run)


def state(name: str, run: Path) -> dict:
    return json.loads((run / f"trackers/{name}.json").read_text())


def _tensorboard(run: Path) -> Told:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "trackers/tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def _trackio(run: Path) -> Told:
    from trackio.utils import TRACKIO_DIR

    found: Told = {}
    with sqlite3.connect(TRACKIO_DIR / "kpig.db") as base:
        rows = base.execute(
            "select step, metrics from metrics where run_name = ? order by id",
            (state("trackio", run)["run"],),
        )
        for step, text in rows:
            for tag, value in json.loads(text).items():
                found.setdefault(tag, []).append((step, value))
    return found


def _wandb(run: Path) -> Told:
    found: Told = {}
    for path in sorted(run.glob("trackers/wandb/*/run-*.wandb")):
        for record in _records(path):
            if record.WhichOneof("record_type") == "history":
                row = {
                    "/".join(one.nested_key) or one.key: json.loads(one.value_json)
                    for one in record.history.item
                }
                for tag, value in row.items():
                    if not tag.startswith("_"):
                        found.setdefault(tag, []).append((row["_step"], value))
    return found


def _records(path: Path):
    """Those of a log in LevelDB's format, behind wandb's 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    data, at, part = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        if left < 7 or kind == 0:
            at += left
            continue
        part += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            part = b""
            yield record


def _mlflow(run: Path) -> Told:
    (folder,) = run.glob(f"trackers/mlflow/*/{state('mlflow', run)['run']}")
    found: Told = {}
    for path in sorted((folder / "metrics").rglob("*")):
        if path.is_file():
            lines = [line.split() for line in path.read_text().splitlines()]
            tag = path.relative_to(folder / "metrics").as_posix()
            found[tag] = [(int(step), float(value)) for _, value, step in lines]
    return found
