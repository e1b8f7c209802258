"""Weights divided between the processes of a job by torch's FSDP2, and turns, in which all make a pass.

A pass gathers each layer from all processes, so all must make it at the same time. Their work differs: so
before each pass they tell each other what they are about to do, and who has other work, or none, makes a
padding pass, which counts nothing.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from kpig import ranks
from kpig.errors import LostError, TrainingError, is_out_of_memory

TWO_PASSES = (
    "the loss of this method makes two passes with gradient before one backward pass, which weights that are "
    "divided between processes cannot do; set train.shard = false"
)

Weights = Mapping[str, Tensor]


class Turn(IntEnum):
    """What a process is about to do; of what several want, the lowest but WAITING is done first, by all.

    So passes without gradient come between a pass that learns and its backward pass, and not the other way.
    """

    WAITING = 0
    FORWARD = 1
    STARTING = 2
    """A forward pass with the starting weights in place of the present ones."""
    LEARNING = 3
    BACKWARD = 4


class Shards:
    """A transformers model whose weights are divided. All processes make one at the same time."""

    def __init__(self, model: Any, device: torch.device):
        self._starting: list[tuple[Tensor, Tensor]] = []
        self._model, self._device = model, device
        self._is_starting = self._is_padding = self._is_inside = False
        self._open: Tensor | None = None
        _divide(model, device)
        model.register_forward_pre_hook(self._before, prepend=True)
        model.register_forward_hook(self._after)
        self._pad(Turn.FORWARD)
        ranks.while_waiting(self.attend)

    def start_from(self, starting: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Be told of each trainable weight with its starting one, divided alike, which some turns read."""
        self._starting = [(local(weight.detach()), local(one)) for weight, one in starting]

    def attend(self, failure: Exception | None) -> None:
        """Make the passes of the other processes as long as they have some; `failure` is that of this one's.

        One that came inside of a pass is raised: the others cannot end that pass any more.
        """
        if failure is not None and self._is_inside:
            raise LostError(ranks.LOST) if _is_of_peer(failure) else failure
        while (turn := self._agreed(Turn.WAITING)) is not Turn.WAITING:
            self._pad(turn)
        self._open = None

    @contextmanager
    def backward(self) -> Iterator[None]:
        """Inside the block the one backward pass of the last pass that learns."""
        self._take(Turn.BACKWARD)
        self._is_inside = True
        yield
        self._is_inside, self._open = False, None

    @contextmanager
    def as_starting(self) -> Iterator[None]:
        """Passes without gradient inside the block have the starting weights."""
        self._is_starting = True
        try:
            yield
        finally:
            self._is_starting = False

    def _before(self, *_: Any) -> None:
        if self._is_padding:
            return
        earlier = Turn.STARTING if self._is_starting else Turn.FORWARD
        turn = Turn.LEARNING if torch.is_grad_enabled() else earlier
        self._take(turn)
        self._is_inside = True
        if turn is Turn.STARTING:
            self._exchange()

    def _after(self, _module: Any, _arguments: Any, output: Any) -> None:
        if self._is_padding:
            return
        if self._is_starting and not torch.is_grad_enabled():
            self._exchange()
        self._is_inside = False
        if torch.is_grad_enabled():
            self._open = _nothing(output)

    def _take(self, turn: Turn) -> None:
        """Wait for a turn, and make the passes of the turns before it."""
        while (agreed := self._agreed(turn)) is not turn:
            self._pad(agreed)

    def _agreed(self, turn: Turn) -> Turn:
        """What all do next. TrainingError, in all, for a pass that learns before the last one's backward."""
        wanted = [Turn(one) for one in ranks.told(turn) if one]
        agreed = min(wanted, default=Turn.WAITING)
        if agreed is Turn.LEARNING and self._open is not None:
            self._is_inside = True
            raise TrainingError(TWO_PASSES)
        return agreed

    def _pad(self, turn: Turn) -> None:
        """Have a part in the passes of the others."""
        if turn is Turn.BACKWARD:
            assert self._open is not None
            self._open.backward()  # type: ignore[no-untyped-call]
            self._open = None
            return
        learns = turn is Turn.LEARNING
        self._is_padding = self._is_inside = True
        if turn is Turn.STARTING:
            self._exchange()
        ids = torch.zeros((1, 1), dtype=torch.long, device=self._device)
        with torch.set_grad_enabled(learns), _unhooked(self._model.get_output_embeddings()):
            output = self._model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        if turn is Turn.STARTING:
            self._exchange()
        self._is_padding = self._is_inside = False
        if learns:
            self._open = _nothing(output)

    @torch.no_grad()
    def _exchange(self) -> None:
        """Put the starting weights in the place of the present ones, or back, one at a time."""
        for weight, other in self._starting:
            held = weight.clone()
            weight.copy_(other)
            other.copy_(held)


def turn_back(shards: Shards | None) -> AbstractContextManager[None]:
    """The turn of a backward pass; nothing where weights are whole."""
    return nullcontext() if shards is None else shards.backward()


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each process may have a part, whole, without gradient: all processes ask at once."""
    if not isinstance(tensor, DTensor):
        return tensor.detach()
    return _joined(tensor) if tensor.placements[0].is_shard(0) else tensor.full_tensor().detach()


def _joined(tensor: DTensor) -> Tensor:
    """The rows of all processes, one below the other; the last parts may be shorter, or empty.

    Not by `full_tensor`: with gloo a process once stood still where torch 2.13 starts that exchange. Why is
    not proven. It may start it with Python's lock held, for which gloo's thread waits, holding its own.
    """
    mesh, own = tensor.device_mesh, tensor.to_local().detach()
    padded = own.new_zeros(-(-tensor.shape[0] // mesh.size()), *tensor.shape[1:])
    padded[: own.shape[0]] = own
    parts = [torch.empty_like(padded) for _ in range(mesh.size())]
    distributed.all_gather(parts, padded, group=mesh.get_group())
    return torch.cat(parts)[: tensor.shape[0]]


def gathered(tensors: Weights) -> dict[str, Tensor]:
    """Tensors whole, in the host's memory of the main process; the others get none, but ask too.

    One that has two names is one tensor afterwards too.
    """
    found: dict[int, Tensor] = {}
    for one in tensors.values():
        if id(one) not in found:
            complete = whole(one.detach())
            found[id(one)] = complete.to("cpu", copy=True) if ranks.is_main() else complete.new_empty(0)
    return {name: found[id(one)] for name, one in tensors.items()} if ranks.is_main() else {}


def local(tensor: Tensor) -> Tensor:
    """This process's own part of a tensor, with its memory; the tensor itself where it is whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def divided_as(like: Tensor, tensor: Tensor) -> Tensor:
    """A tensor that every process has whole, divided as `like` is: nothing is sent."""
    if not isinstance(like, DTensor) or isinstance(tensor, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def _divide(model: Any, device: torch.device) -> None:
    """Divide each layer, then what is outside of the layers; what a device is given is its part alone.

    Gradients are sums: a loss is divided by the tokens of all processes before.
    """
    mesh = init_device_mesh(device.type, (ranks.num_started(),))
    layers = set(getattr(model, "_no_split_modules", None) or ())
    parts = [module for module in model.modules() if type(module).__name__ in layers]
    for part in (*parts, model):
        made: Any = fully_shard(part, mesh=mesh, reshard_after_forward=True)
        made.set_gradient_divide_factor(1.0)
        made.set_force_sum_reduction_for_comms(True)


def _nothing(output: Any) -> Tensor:
    """A number with a backward pass through all of the model that adds nothing to any gradient."""
    total: Tensor = output.logits.sum() * 0
    return total


@contextmanager
def _unhooked(layer: torch.nn.Module) -> Iterator[None]:
    """Without what looks at the layer's inputs: a padding pass is not for it to see."""
    hooks = layer._forward_pre_hooks
    layer._forward_pre_hooks = OrderedDict()
    try:
        yield
    finally:
        layer._forward_pre_hooks = hooks


def _is_of_peer(error: Exception) -> bool:
    """Whether a pass failed for another process that is gone: connections are all that gloo tells of."""
    told = str(error).lower()
    return isinstance(error, RuntimeError) and not is_out_of_memory(error) and "connection" in told
