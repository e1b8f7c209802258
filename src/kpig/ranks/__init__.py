"""Which process of a job does which part, and what all know after it: slices, sums, the main one's word.

Every process makes the same plan, does its part of it, and gets the results of all. A job of one process is
the usual case: then every function does nothing but its work, and torch.distributed is never asked. Inside a
part of the work, a process is alone: what it calls there is not divided once more.
"""

import atexit
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from kpig.errors import LostError, RunError, TrainingError, clause
from kpig.ranks import heart, launch, message
from kpig.ranks.heart import Heart
from kpig.ranks.launch import Launch

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

JOIN = timedelta(seconds=heart.JOIN_SECONDS)

LONGEST = timedelta(days=2)
"""How long a process waits for another that lives: it may have the longer part, or pay for answers."""

OF_ALL, OF_MAIN = b"a", b"m"
"""What is exchanged: the results of all processes, or that of the main one."""

DIFFERENT = (
    "the processes of this job have planned different work, so their results cannot be put together; a "
    "method draws all chance from clock.rng or self.rng (docs/add-a-method.md)"
)

LOST = (
    "a process of this job has ended, or cannot be reached any more; start the job again, in any number of "
    "processes, and with --resume where its command has that: what is finished is kept"
)


@dataclass
class _Group:
    """The processes that this one has joined.

    `on_machine` is its number on its machine, where that is known. `store` is where they met: it may end with
    this process. `shared` is the last error that was raised in all of them. `word` is what `last_word` has
    answered, in a list of one, and empty before. `attend` is asked whenever one waits: see `while_waiting`.
    """

    number: int
    size: int
    on_machine: int | None = None
    store: Any = None
    heart: Heart | None = None
    shared: BaseException | None = None
    word: list[int | None] = field(default_factory=list)
    attend: Callable[[Exception | None], None] | None = None


_groups: list[_Group] = []
"""The group that was joined; none in a job of one process."""

_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


def join() -> None:
    """Meet the other processes that a launcher has started, once; nothing where there are none.

    A group that the program has made itself (torch.distributed) is joined as it is. Raises UsageError where
    the environment cannot be served, RunError where the others do not come.
    """
    if _groups:
        return
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        number, size = distributed.get_rank(), distributed.get_world_size()
        _groups.extend([_Group(number, size)] if size > 1 else [])
    elif found := launch.found(os.environ):
        _groups.append(_met(found))
        atexit.register(leave)


def take_gpu(num_gpus: int) -> None:
    """Have this process compute on the GPU of its number on its machine; nothing in a job of one process.

    Raises RunError where there is none for it.
    """
    group = _groups[0] if _groups else None
    if group is None or group.on_machine is None:
        return
    if group.on_machine >= num_gpus:
        raise RunError(
            f"more processes than GPUs on a machine: process {group.number} is number {group.on_machine} "
            f"there, counted from 0, and torch sees {num_gpus}; start as many as there are (--nproc_per_node "
            f'{num_gpus}), or compute on the CPU (train.device = "cpu", --device cpu)'
        )
    import torch

    torch.cuda.set_device(group.on_machine)


def leave() -> None:
    """End as one should: the other processes miss this one no more. Nothing where the job has failed here."""
    for group in _groups:
        if group.heart is not None and not group.word:
            group.heart.leave()
    _groups.clear()


def has_joined() -> bool:
    """Whether this process shares a job with others."""
    return bool(_groups)


def number() -> int:
    """The number of this process, from 0; the main one's in a job of one."""
    return _groups[0].number if _groups else 0


def is_main() -> bool:
    """Whether this process is the one that writes, shows and pays."""
    return number() == 0


def num_started() -> int:
    """How many processes share the job."""
    return _groups[0].size if _groups else 1


def num_processes() -> int:
    """How many processes share the work at hand: 1 also inside a part that this one does alone."""
    return 1 if _ALONE.get() else num_started()


def mine(sizes: Sequence[int]) -> list[int]:
    """The numbers of the parts that this process does, rising; `sizes` say how much work each one is.

    Each part is one process's, the largest first given to who has least so far. Some may get none.
    """
    if num_processes() == 1:
        return list(range(len(sizes)))
    loads = [0] * num_processes()
    own = []
    for part in sorted(range(len(sizes)), key=lambda one: (-sizes[one], one)):
        process = loads.index(min(loads))
        loads[process] += max(1, sizes[part])
        if process == number():
            own.append(part)
    return sorted(own)


def in_order(parts: Iterable[Mapping[int, T]]) -> list[T]:
    """What processes have found of some numbered parts, each of its own, in the order of the numbers."""
    found: dict[int, T] = {}
    for part in parts:
        found.update(part)
    return [found[place] for place in range(len(found))]


def united(work: Callable[[], T]) -> list[T]:
    """What `work` gives in each process, by its number, in all of them; an error in one is raised in all.

    What it gives can be pickled. Tensors come to the device of this process.
    """
    if num_processes() == 1:
        return [work()]
    attend = _groups[0].attend or _ignore
    value, failure, packed = _tried(work)
    attend(failure)
    found = [message.unpacked(one) for one in _gathered(OF_ALL, packed)]
    _raise_first(failure, [error for _, error in found])
    found[number()] = (value, None)
    return [one for one, _ in found]


def everywhere(work: Callable[[], T]) -> T:
    """What `work` gives in this process; all do it, and an error in one is raised in all."""
    if num_processes() == 1:
        return work()
    held: list[T] = []
    united(lambda: held.append(work()))
    return held[0]


def by_main(work: Callable[[], T]) -> T:
    """What `work` gives in the main process, which alone does it, in all of them; or its error.

    What it gives can be pickled.
    """
    if num_processes() == 1:
        return work()
    attend = _groups[0].attend or _ignore
    if not is_main():
        attend(None)
        value, error = message.unpacked(_gathered(OF_MAIN, b"")[0])
        _raise_first(None, [error])
        return value  # type: ignore[no-any-return]
    value, failure, packed = _tried(work)
    attend(failure)
    _gathered(OF_MAIN, packed)
    _raise_first(failure, [failure])
    return value  # type: ignore[return-value]


def while_waiting(attend: Callable[[Exception | None], None]) -> None:
    """Have `attend` called in every process that has ended its part of some work, before it gets the rest.

    It is told with which error the part ended, if with one, and returns when all have ended. All processes
    call this at the same time.
    """
    _groups[0].attend = attend


def told(number: int) -> list[int]:
    """What each process tells all, by its number; also inside a part of the work."""
    import torch
    from torch import distributed

    place = "cpu" if "cpu:" in distributed.get_backend_config() else "cuda"
    own = torch.tensor([number], device=place)
    found = [torch.empty_like(own) for _ in range(num_started())]
    with _peers():
        distributed.all_gather(found, own)
    return [int(one) for one in found]


def agree(value: object, what: str) -> None:
    """Raise RunError in all processes where they do not have the same value; `what` names it."""
    found = united(lambda: value)
    if any(one != found[0] for one in found):
        raise RunError(
            f"the processes of this job differ in {what}: {', '.join(str(one)[:80] for one in found[:4])}; "
            "each needs the same files, and the run folder on a disk that all of them see"
        )


def summed(tensors: Mapping[str, "Tensor"], device: "torch.device") -> dict[str, "Tensor"]:
    """The sum of each tensor over all processes, in place; zeros stand for one that a process lacks.

    `device` is where those are made. Every process gets the same bits.
    """
    if num_processes() == 1:
        return dict(tensors)
    import torch
    from torch import distributed

    outlines: dict[str, tuple[torch.Size, torch.dtype]] = {}
    for found in united(lambda: {name: (one.shape, one.dtype) for name, one in tensors.items()}):
        outlines |= found
    whole = {
        name: tensors[name] if name in tensors else torch.zeros(shape, dtype=dtype, device=device)
        for name, (shape, dtype) in outlines.items()
    }
    with _peers():
        for one in [distributed.all_reduce(tensor, async_op=True) for tensor in whole.values()]:
            one.wait()
    return whole


def sum_gradients(parameters: Mapping[str, "torch.nn.Parameter"]) -> None:
    """Make each parameter's gradient the sum over all processes; None stays where all have None."""
    if num_processes() == 1:
        return
    device = next(iter(parameters.values())).device
    held = {name: one.grad for name, one in parameters.items() if one.grad is not None}
    for name, gradient in summed(held, device).items():
        parameters[name].grad = gradient


def last_word(error: BaseException, code: int) -> int | None:
    """None where this process is to tell why the job ends; else the code with which it ends unheard.

    One process tells: the main one of an error that all have, else the first. Asked again, it says the same.
    """
    if not _groups:
        return None
    group = _groups[0]
    if not group.word:
        group.word.append(_word(group, error, code))
    return group.word[0]


def _ignore(_failure: Exception | None) -> None:
    """What a process does for others whose passes need it: nothing, where each has the whole model."""


def _word(group: _Group, error: BaseException, code: int) -> int | None:
    if group.heart is None or _is_of(error, group.shared):
        return None if is_main() else code
    with suppress(RuntimeError):
        word = group.heart.claim(code)
        _part(group.heart, error)
        return word
    return None if group.number <= 1 else code  # who keeps the store is gone, most likely the main one


def _part(heart: Heart, error: BaseException) -> None:
    """Close the connections to the others, who wait for this process, and answer what they ask then.

    Frames that the error has left are cleared: one that was waiting for the others would hold them open.
    """
    from torch import distributed

    traceback.clear_frames(error.__traceback__)
    with suppress(RuntimeError, ValueError, AssertionError):
        distributed.destroy_process_group()
    heart.outlast()


@contextmanager
def _alone() -> Iterator[None]:
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def _met(found: Launch) -> _Group:
    """Meet the processes of a launcher, within JOIN; then one waits for another as long as that one lives."""
    import torch.distributed

    distributed: Any = torch.distributed
    try:
        store, number, size = next(
            distributed.rendezvous("env://", found.number, found.num_processes, timeout=JOIN)
        )
        own = distributed.TCPStore(found.address, found.port, None, False, JOIN, wait_for_workers=False)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        beats = distributed.PrefixStore(f"kpig/{attempt}", own)
        group = _Group(number, size, found.on_machine, store)
        group.heart = Heart(beats, number, size, lambda: _end_lost(group))
        distributed.init_process_group(store=store, rank=number, world_size=size, timeout=LONGEST)
    except (RuntimeError, ValueError) as error:
        raise RunError(
            f"process {found.number} of {found.num_processes} could not meet the others at {found.address}, "
            f"port {found.port} ({clause(str(error).splitlines()[0])}); see that all of them are started, on "
            f"machines that reach that port, within {JOIN.seconds // 60} minutes"
        ) from error
    return group


def _end_lost(group: _Group) -> None:
    assert group.heart is not None
    code = LostError.exit_code
    with suppress(RuntimeError):
        if (told := group.heart.claim(code)) is not None:
            os._exit(told)
    heart.end(f"error: {LOST}", code)


def _tried(work: Callable[[], T]) -> tuple[T | None, Exception | None, bytes]:
    """What `work` gave or raised, and both packed for the other processes."""
    try:
        with _alone():
            value = work()
        return value, None, message.packed(value, None)
    except Exception as error:
        return None, error, message.packed(None, message.portable(error, number()))


def _raise_first(own: Exception | None, failures: Iterable[Exception | None]) -> None:
    """Raise the error of the first process that has one; the one of this process as it was raised."""
    for place, failure in enumerate(failures):
        if failure is not None:
            raised = own if own is not None and place == number() else failure
            _groups[0].shared = raised
            raise raised


def _is_of(error: BaseException | None, shared: BaseException | None) -> bool:
    """Whether an error is the shared one, or was raised from it."""
    while shared is not None and error is not None:
        if error is shared:
            return True
        error = error.__cause__ or error.__context__
    return False


def _gathered(kind: bytes, packed: bytes) -> list[bytes]:
    """What each process has packed, by number. Both kinds go one way, so that a difference is seen."""
    from torch import distributed

    found: list[Any] = [None] * _groups[0].size
    with _peers():
        distributed.all_gather_object(found, kind + packed)
    if any(one[:1] != kind for one in found):
        raise TrainingError(DIFFERENT)
    return [one[1:] for one in found]


@contextmanager
def _peers() -> Iterator[None]:
    """A process that is lost meanwhile, as a LostError."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(LOST) from error
