"""`starts/` in a run folder: how the run was started before, and a new start put in its place. No torch.

config.NN.toml and environment.NN.json are those of start NN, from 01; stream.NN.json and scores.NN.json stand
beside them where the run went on with further steps then. The files of the last start are those of the run.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from kpig.errors import RunError, clause
from kpig.files import as_json, publish, publish_json
from kpig.runs import lock
from kpig.runs.folder import RunDir
from kpig.runs.lock import Claim
from kpig.scoring.typed_json import Misfit, parse

STARTS = "starts"
NEXT = f"{STARTS}/next.json"
"""A start that is being made: it is whole here before the first file of the run changes."""


@dataclass(frozen=True)
class _Next:
    """Texts of files by their path inside the run folder; None for a file that goes."""

    files: Mapping[str, str | None]


def configs(path: Path) -> list[Path]:
    """The configs of earlier starts, the oldest first."""
    return sorted((path / STARTS).glob("config.*.toml"))


def keep(run: RunDir) -> None:
    """Copy what the run was started with to `starts/`, once: a kill may have come after it."""
    kept = configs(run.path)
    text = (run.path / "config.toml").read_text(encoding="utf-8")
    if kept and kept[-1].read_text(encoding="utf-8") == text:
        return
    number = f"{len(kept) + 1:02d}"
    publish_json(run.path / STARTS / f"environment.{number}.json", run.read("environment.json"))
    publish(run.path / STARTS / f"config.{number}.toml", text)


def count(run: RunDir, num_processes: int) -> None:
    """Add a start to environment.json: the step that it goes on with, and in how many processes."""
    found = run.read("environment.json")
    before = found.get("starts")
    this = {"step": run.current, "processes": num_processes}
    every = [*(before if isinstance(before, list) else []), this]
    publish_json(run.path / "environment.json", {**found, "starts": every})


def renew(run: RunDir, files: Mapping[str, str]) -> None:
    """Start a finished run anew with other first files; the present ones, and its scores, go to `starts/`.

    A kill leaves the old start, or the new one for `settle` to finish.
    """
    number = f"{len(configs(run.path)) + 1:02d}"
    moved = {name: (run.path / name).read_text(encoding="utf-8") for name in (*files, "scores.json")}
    kept = {f"{STARTS}/{Path(name).stem}.{number}{Path(name).suffix}": text for name, text in moved.items()}
    run.check_ours()
    publish(run.path / NEXT, as_json({"files": {**kept, **files, "scores.json": None}}))
    _take_over(run.path)


def settle(path: Path, claim: Claim | None = None) -> None:
    """Finish a start that a kill has left half made; nothing where there is none."""
    if (path / NEXT).is_file():
        with nullcontext(claim) if claim else lock.held(path):
            _take_over(path)


def _take_over(path: Path) -> None:
    try:
        files = parse((path / NEXT).read_bytes(), _Next).files
    except (OSError, Misfit) as error:
        raise RunError(
            f"{path / NEXT}: cannot be read ({clause(error)}); delete it: the run is as it was before kpig "
            "continue, or else its config.toml, environment.json and stream.json are the newest in starts/"
        ) from error
    for name, text in files.items():
        if text is None:
            (path / name).unlink(missing_ok=True)
        else:
            publish(path / name, text)
    (path / NEXT).unlink()
