"""The state of training inside a step, on disk: safetensors and JSON, published whole or not at all."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from kpig.errors import RunError
from kpig.files import as_line, disk_error, replace_folder, sync_folder
from kpig.methods.base import Method
from kpig.model.learner import Learner
from kpig.model.ledger import Ledger
from kpig.model.shards import divided_as, gathered

READY = "READY"
TENSOR = "tensor in method.safetensors"
"""The key of the object that stands for a tensor in state.json."""

DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError)
"""What reading a damaged file may raise: cut, of other bytes, or sound JSON of another shape."""

BEST = "best"
"""The folder in a checkpoint that holds weights and state of the lowest validation loss."""

CURRENT, NEW, OLD = "checkpoint", "checkpoint.new", "checkpoint.old"


@dataclass(frozen=True)
class Best:
    """Where the validation loss of a step, `loss` in nats per token, was lowest: after `update` updates.

    `num_since` are the measurements since then. Weights and the method's state, as it is read back from
    files, are there with `train.keep_best`.
    """

    update: int
    loss: float
    num_since: int = 0
    weights: dict[str, Tensor] | None = None
    method: dict[str, Any] = field(default_factory=dict)

    def passed(self) -> "Best":
        """The same after one more measurement that was no better."""
        return replace(self, num_since=self.num_since + 1)


@dataclass(frozen=True)
class Checkpoint:
    """Training as it stood before update number `update` of a step."""

    update: int
    weights: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]
    method: dict[str, Any]
    ledger: dict[str, Any]
    best: Best | None = None


def capture(
    update: int,
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    method: Method,
    best: Best | None = None,
) -> Checkpoint:
    """The state to save, at once: the optimizer's tensors are not copied and change with the next update.

    Where weights are divided, all processes ask at the same time, and the main one has them whole.
    """
    saved, weights = optimizer.state_dict()["state"], learner.weights()
    state = method.state_dict()
    if learner.network.is_sharded:
        state = _whole(state)
        saved = {number: gathered(one) for number, one in saved.items()}
        weights = gathered(weights)
        if best is not None and best.weights is not None:
            best = replace(best, weights=gathered(best.weights), method=_whole(best.method))
    return Checkpoint(update, weights, saved, state, learner.ledger.as_dict(), best)


def _whole(state: Mapping[str, Any]) -> dict[str, Any]:
    """A method's state with its divided tensors whole in the main process, and empty in the others."""
    plain, tensors = parted(state)
    divided = {name: one for name, one in tensors.items() if isinstance(one, DTensor)}
    found = gathered(divided) or {name: torch.empty(0) for name in divided}
    return _joined(plain, tensors | found)


def publish(checkpoint: Checkpoint, step_dir: Path) -> None:
    """Write beside the present checkpoint, then take its place. A failure leaves the old one usable.

    Raises RunError when the disk does not take it.
    """
    new, current, old = (step_dir / name for name in (NEW, CURRENT, OLD))
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        _write(checkpoint, new)
        sync_folder(new)
        (new / READY).touch()
    except (OSError, SafetensorError) as error:
        shutil.rmtree(new, ignore_errors=True)
        raise RunError(
            f"{new}: the checkpoint could not be written ({error}); the previous one is unharmed. "
            "Free some space and continue with --resume."
        ) from error
    try:
        replace_folder(new, current, old)
    except OSError as error:
        raise disk_error(current, error) from error


def find(step_dir: Path) -> Path | None:
    """The newest complete checkpoint of a step, wherever a kill left it."""
    return next(iter(_complete(step_dir)), None)


def newest(step_dir: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint of a step that can be read; `say` is told of damaged ones that are passed over.

    None where there is none. Raises RunError where all that there are are damaged.
    """
    damaged: list[RunError] = []
    for folder in _complete(step_dir):
        try:
            found = read(folder)
        except RunError as error:
            damaged.append(error)
            continue
        for one in damaged:
            say(f"{one}; going on from {folder}, which is whole (update {found.update})")
        return found
    if damaged:
        raise damaged[0]
    return None


def _complete(step_dir: Path) -> list[Path]:
    """The checkpoints of a step that were written to their end, the newest first."""
    folders = (step_dir / name for name in (NEW, CURRENT, OLD))
    return [folder for folder in folders if (folder / READY).is_file()]


def read(folder: Path) -> Checkpoint:
    """Load a checkpoint; RunError when it is damaged."""
    try:
        state = _read_state(folder)
        return Checkpoint(
            update=_count(state["update"]),
            weights=load_file(folder / "weights.safetensors"),
            optimizer=_nested(load_file(folder / "optimizer.safetensors")),
            method=state["method"],
            ledger=_totals(state["ledger"]),
            best=_read_best(state["best"], folder / BEST) if "best" in state else None,
        )
    except DAMAGE as error:
        raise RunError(
            f"{folder}: damaged checkpoint ({error}); delete this folder and continue with --resume"
        ) from error


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"update is {value!r}, expected a count")
    return value


def _read_best(state: Mapping[str, Any], folder: Path) -> Best:
    """What `_write` says of the best; ValueError where it is damaged."""
    loss = state["loss"]
    if type(loss) is not float or not math.isfinite(loss):
        raise ValueError(f"the best validation loss is {loss!r}, expected a number")
    best = Best(_count(state["update"]), loss, _count(state["num_since"]))
    if not state["kept"]:
        return best
    weights = _named(folder / "weights.safetensors", load_file)
    return replace(best, weights=weights, method=_read_state(folder)["method"])


def _totals(values: Mapping[str, Any]) -> dict[str, Any]:
    """The totals of a ledger; ValueError where they are not."""
    known = Ledger().as_dict()
    wrong = [key for key, value in values.items() if key not in known or type(value) not in (int, float)]
    if wrong:
        raise ValueError(f"ledger: {wrong[0]} is no total")
    return dict(values)


def restore(
    checkpoint: Checkpoint, learner: Learner, optimizer: torch.optim.Optimizer, method: Method
) -> None:
    """Put learner, optimizer and method back to where they were."""
    learner.load_weights(checkpoint.weights)
    learner.ledger.restore(checkpoint.ledger)
    restore_method(method, checkpoint.method)
    weights = list(learner.parameters().values())
    state = {
        number: {name: divided_as(weights[number], one) if one.dim() else one for name, one in of_one.items()}
        for number, of_one in checkpoint.optimizer.items()
    }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def restore_method(method: Method, state: dict[str, Any]) -> None:
    """Give a method its state back; RunError where it is that of another version, or damaged."""
    try:
        method.load_state_dict(state)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise RunError(
            f"the saved state of {type(method).__name__} cannot be used ({type(error).__name__}: {error}): "
            "it is damaged, or of another version of kpig. Finish the run with the version that began it "
            "(environment.json names it), or start anew with --out another folder."
        ) from error


def write_state(state: dict[str, Any], folder: Path, **more: Any) -> None:
    """A method's state as method.safetensors and state.json, the latter with `more` beside it.

    Tensors may stand anywhere in it, in lists and in dicts with text keys; the rest are JSON values.
    """
    plain, tensors = parted(state)
    save_file(tensors, folder / "method.safetensors")
    (folder / "state.json").write_text(as_line({"method": plain, **more}), encoding="utf-8")


def as_read(state: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a method's state that nothing changes any more: as it would be read back from files."""
    plain, tensors = parted(state)
    copies = {
        name: one.detach().clone() if isinstance(one, DTensor) else one.detach().to("cpu", copy=True)
        for name, one in tensors.items()
    }
    return _joined(json.loads(as_line(plain)), copies)


def parted(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A method's state as JSON values, and the tensors in it by the names that stand for them there."""
    tensors: dict[str, Tensor] = {}
    return {key: _without_tensors(value, key, tensors) for key, value in state.items()}, tensors


def read_state(folder: Path) -> dict[str, Any]:
    """What `write_state` wrote: {"method": ..., **more}. Tuples come back as lists.

    Raises RunError where one of its files is missing or damaged.
    """
    try:
        return _read_state(folder)
    except DAMAGE as error:
        raise RunError(f"{folder}: damaged state ({type(error).__name__}: {error})") from error


def _read_state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = _named(folder / "state.json", lambda path: json.loads(path.read_bytes()))
    tensors: dict[str, Tensor] = _named(folder / "method.safetensors", load_file)
    return state | {"method": _joined(state["method"], tensors)}


def _joined(plain: Mapping[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """A method's state of its two parts; earlier versions kept tensors under their own keys only."""
    return {key: _with_tensors(value, tensors) for key, value in plain.items()} | tensors


def _named(path: Path, load: Callable[[Path], Any]) -> Any:
    """What `load` makes of a file; ValueError that names the file where it is missing or damaged."""
    try:
        return load(path)
    except DAMAGE as error:
        raise ValueError(f"{path.name}: {error}") from error


def _without_tensors(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """The value with each tensor moved to `tensors`; its place there stands for it.

    A key may hold a slash, so that two tensors come to the same place: the later one gets a longer name.
    """
    if isinstance(value, Tensor):
        while place in tensors:
            place += "/"
        tensors[place] = value.contiguous()
        return {TENSOR: place}
    if isinstance(value, Mapping):
        return {key: _without_tensors(one, f"{place}/{key}", tensors) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_tensors(one, f"{place}/{number}", tensors) for number, one in enumerate(value)]
    return value


def _with_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value with its tensors back, which are taken out of `tensors`."""
    if isinstance(value, Mapping):
        if TENSOR in value:
            return tensors.pop(value[TENSOR])
        return {key: _with_tensors(one, tensors) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_tensors(one, tensors) for one in value]
    return value


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    save_file(
        {name: tensor.contiguous() for name, tensor in checkpoint.weights.items()},
        folder / "weights.safetensors",
    )
    flat = {
        f"{index}/{name}": tensor
        for index, state in checkpoint.optimizer.items()
        for name, tensor in state.items()
    }
    save_file({name: tensor.contiguous() for name, tensor in flat.items()}, folder / "optimizer.safetensors")
    more = _write_best(checkpoint.best, folder / BEST) if checkpoint.best else {}
    write_state(checkpoint.method, folder, update=checkpoint.update, ledger=checkpoint.ledger, **more)


def _write_best(best: Best, folder: Path) -> dict[str, Any]:
    """Write what is kept of the best into a folder of its own; what to say of it in state.json."""
    if best.weights is not None:
        folder.mkdir()
        save_file(
            {name: tensor.contiguous() for name, tensor in best.weights.items()},
            folder / "weights.safetensors",
        )
        write_state(best.method, folder)
    kept = best.weights is not None
    return {"best": {"update": best.update, "loss": best.loss, "num_since": best.num_since, "kept": kept}}


def _nested(flat: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        index, _, name = key.partition("/")
        states.setdefault(int(index), {})[name] = tensor
    return states
