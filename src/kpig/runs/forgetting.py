"""What a run forgets with --forget-data: the examples of the tasks that it has learned."""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from kpig.config import RunConfig
from kpig.errors import some
from kpig.files import name_for, replace_folder, writing
from kpig.methods import chosen
from kpig.records import Task
from kpig.runs import kept, lock
from kpig.runs.folder import RunDir
from kpig.runs.lock import Claim
from kpig.training import checkpoint

STATE = "state"
PAGES = ("report.html", "report.md")
FORGET = "--forget-data"


def forget(run: RunDir, config: RunConfig, steps: Sequence[Sequence[Task]]) -> None:
    """Drop the examples of learned `steps`: kept tests, memory in every state, predictions, the report.

    Those of held-out tasks stay. The report is made again when the new step is learned.
    A kill leaves some of it to do; done again it is complete.
    """
    run.check_ours()
    names = [task.name for step in steps for task in step]
    for page in PAGES:  # they show answers and prompts
        (run.path / page).unlink(missing_ok=True)
    for number, tasks in enumerate(((), *steps)):
        step_dir = run.step(number)
        kept.write(step_dir, map(kept.instructed, tasks))
        if number:
            _forget_state(step_dir, config)
        for name in names:
            (step_dir / "predictions" / f"{name_for(name)}.jsonl").unlink(missing_ok=True)


def settle(path: Path, claim: Claim | None = None) -> None:
    """Put states in order that a kill of `forget` has left beside their place; nothing where none is."""
    left = [*path.glob(f"steps/*/{STATE}.old"), *path.glob(f"steps/*/{STATE}.new")]
    if not left:
        return
    with nullcontext(claim) if claim else lock.held(path):
        for folder in left:
            state = folder.with_name(STATE)
            if folder.suffix == ".old" and not state.exists():
                folder.rename(state)
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)


def sentence(steps: Sequence[Sequence[Task]]) -> str:
    """What can no longer be done, in one sentence."""
    names = [task.name for step in steps for task in step]
    return (
        f"the examples of {len(names)} tasks are forgotten ({FORGET}; {some(names)}): these tasks can "
        "no longer be replayed or scored, and their scores are those of before"
    )


def _forget_state(step_dir: Path, config: RunConfig) -> None:
    method = chosen.create(config)
    state = checkpoint.read_state(step_dir / STATE)
    checkpoint.restore_method(method, state.pop("method"))
    method.forget()
    new, old = (step_dir / f"{STATE}.{name}" for name in ("new", "old"))
    with writing(step_dir / STATE):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        checkpoint.write_state(method.state_dict(), new, **state)
        replace_folder(new, step_dir / STATE, old)
