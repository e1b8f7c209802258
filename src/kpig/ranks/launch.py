"""What a launcher's environment says: how many processes do the job, and which one this is. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from kpig.errors import UsageError

WORLD_SIZE = "WORLD_SIZE"
NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun and accelerate launch set beside the number of processes."""

OF_MPI = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""How mpirun, and srun with an MPI plugin, say how many processes they have started."""

DIVIDING = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}
"""What accelerate launch sets where it is configured to divide weights, gradients or the optimizer."""

HOW = (
    "start it as `torchrun --nproc_per_node N -m kpig ...`, or with accelerate launch (docs/several-gpus.md)"
)


@dataclass(frozen=True)
class Launch:
    """One of several processes: its number from 0, in all and on its machine, and where they meet."""

    number: int
    on_machine: int
    num_processes: int
    address: str
    port: int


def found(environment: Mapping[str, str]) -> Launch | None:
    """What the environment says; None for a job of one process.

    Raises UsageError where it speaks of several, and does not say how they find each other, and where it asks
    for weights to be divided between them.
    """
    _refuse_dividing(environment)
    size = _count(environment, WORLD_SIZE) if environment.get(WORLD_SIZE) else 0
    if size == 1:
        return None
    if not size:
        _refuse_mpi(environment)
        return None
    missing = [name for name in NEEDED if not environment.get(name)]
    if missing:
        raise UsageError(
            f"{WORLD_SIZE} = {size} says that this is one of {size} processes, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set; {HOW}, or unset {WORLD_SIZE} for one process"
        )
    numbers = {name: _count(environment, name) for name in ("RANK", "LOCAL_RANK", "MASTER_PORT")}
    if numbers["RANK"] >= size:
        raise UsageError(
            f"RANK = {numbers['RANK']}, but {WORLD_SIZE} = {size} processes are numbered from 0 to "
            f"{size - 1}; {HOW}"
        )
    address, port = environment["MASTER_ADDR"], numbers["MASTER_PORT"]
    return Launch(numbers["RANK"], numbers["LOCAL_RANK"], size, address, port)


def num_started(environment: Mapping[str, str]) -> int:
    """How many processes a launcher has started, 0 where there is none, or one process."""
    text = environment.get(WORLD_SIZE, "")
    return int(text) if text.isdecimal() and text.isascii() and int(text) > 1 else 0


def is_other(environment: Mapping[str, str]) -> bool:
    """Whether the environment is that of a process other than the main one, however little else it says."""
    is_one_of_several = environment.get(WORLD_SIZE, "") not in ("", "1")
    return is_one_of_several and environment.get("RANK", "0") != "0"


def _count(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    if not text.isdecimal() or not text.isascii() or (name == WORLD_SIZE and int(text) == 0):
        raise UsageError(
            f"{name} = {text!r:.80} in the environment is no number of processes or ports; {HOW}"
        )
    return int(text)


def _refuse_dividing(environment: Mapping[str, str]) -> None:
    """Each process holds all weights: an engine that divides them would be asked for and not be there."""
    for name, engine in DIVIDING.items():
        if environment.get(name, "").lower() in ("true", "1", "yes"):
            raise UsageError(
                f"{name} = {environment[name]!r:.80}: accelerate is configured for {engine}, which divides a "
                "model between processes; kpig does that itself, with train.shard = true "
                "(docs/several-gpus.md). Configure accelerate without it (accelerate config), or start with "
                "torchrun"
            )


def _refuse_mpi(environment: Mapping[str, str]) -> None:
    for name in OF_MPI:
        if environment.get(name, "1") not in ("", "0", "1"):
            raise UsageError(
                f"{name} = {environment[name]!r:.80}: started by mpirun, or by srun with an MPI plugin, "
                f"whose processes kpig cannot join; {HOW}, or unset {name} for one process (srun --mpi=none)"
            )
