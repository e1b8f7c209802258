"""Write variants where kpig.tasks.readers finds them, and what was turned down beside them."""

from dataclasses import asdict
from pathlib import Path

from kpig.diversify.report import Report
from kpig.errors import UsageError
from kpig.files import publish_json
from kpig.tasks.readers.files import REJECTED_FILE, VARIANTS_FILE


def free_path(out: Path, overwrite: bool = False) -> Path:
    """Where `write` puts the variants. Raises UsageError where some are and `overwrite` is not set."""
    path = out if out.suffix == ".json" else out / VARIANTS_FILE
    if path.exists() and not overwrite:
        raise UsageError(
            f"{path}: there are variants already; give --overwrite to replace them (answers of a chat model "
            "are in the cache and are not paid again), or --out another folder"
        )
    return path


def write(report: Report, out: Path, overwrite: bool = False) -> Path:
    """Write `out`/variants.json, or `out` itself where it ends in .json; returns that path.

    Beside it goes variants_rejected.json: every candidate that was turned down, with its reason.
    Raises UsageError where variants are there already and `overwrite` is not set, RunError when the disk
    does not take them.
    """
    path = free_path(out, overwrite)
    rejected = {task.task: [asdict(one) for one in task.rejections] for task in report.tasks}
    publish_json(path.with_name(REJECTED_FILE), rejected)
    publish_json(path, {task.task: [one.as_entry() for one in task.variants] for task in report.tasks})
    return path
