"""What a run goes on with from a learned step: the model or adapter, and the state of the method."""

import shutil
from dataclasses import asdict
from pathlib import Path

from kpig.errors import KpigError, RunError, clause
from kpig.files import sync_folder, writing
from kpig.methods.base import Method
from kpig.model.learner import Learner, Weights
from kpig.scoring import scores
from kpig.training import checkpoint


def write(step_dir: Path, learner: Learner, weights: Weights | None, method: Method) -> None:
    """Put both into the folder of a step; `weights` as `Network.save` takes them."""
    target = step_dir / ("adapter" if learner.is_adapter else "model")
    folders = (target, step_dir / "state")
    with writing(target):
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        learner.save(target, weights)
        checkpoint.write_state(method.state_dict(), step_dir / "state", ledger=learner.ledger.as_dict())
        for folder in folders:
            sync_folder(folder)


def require(step_dir: Path) -> None:
    """RunError where what is to be gone on from is not there; the weights themselves are not read."""
    try:
        if not any((step_dir / name).is_dir() for name in ("adapter", "model")):
            raise RunError(f"{step_dir} has neither model nor adapter")
        checkpoint.read_state(step_dir / "state")
    except RunError as error:
        raise RunError(
            f"{step_dir} cannot be gone on from: {clause(error)}. Restore it; nothing was changed"
        ) from error


def take_over(step_dir: Path, learner: Learner, method: Method, can_be_learned: bool = True) -> None:
    """Go on from a finished step; RunError that names the file where one of its files is damaged.

    `can_be_learned`: the run still has the data of the step, so that it may be learned again.
    """
    target = step_dir / ("adapter" if learner.is_adapter else "model")
    try:
        if not target.is_dir():
            raise RunError(f"{target} is missing; train.keep_models drops those of earlier steps.")
        learner.restore(target)
        state = checkpoint.read_state(step_dir / "state")
        checkpoint.restore_method(method, state["method"])
        _, cost = scores.read_step(step_dir / "scores.json")
    except KpigError as error:
        again = (
            f", or delete the folder {step_dir} and give the command again with --resume: that step is "
            "learned again, to the same numbers on a CPU."
            if can_be_learned
            else ": the run keeps no training data of it, so that it cannot be learned again."
        )
        raise RunError(f"{step_dir} cannot be gone on from: {error}\nRestore it{again}") from error
    learner.ledger.restore(asdict(cost))
