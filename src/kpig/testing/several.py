"""Some work in several processes that share a job: forked from this one, with gloo on the CPU."""

import faulthandler
import io
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from kpig import ranks
from kpig.ranks import launch

T = TypeVar("T")

LONGEST = 90.0
"""Seconds until processes count as hanging."""


def in_processes(work: Callable[[], T], size: int = 2) -> list[T]:
    """What `work` gives in each of some processes that share a job, by number; each is as this one is now.

    What it gives can be pickled. AssertionError with what went wrong where it raises an error in one, or
    takes too long.
    """
    context = multiprocessing.get_context("fork")
    port = free_port()
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = [
        context.Process(target=_do, args=(work, environment(number, size, port), pipe), daemon=True)
        for number, (_, pipe) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    try:
        found = [_received(number, pipe) for number, (pipe, _) in enumerate(pipes)]
    finally:
        for process in processes:
            process.kill()
            process.join()
    failed = [error for _, error in found if error]
    assert not failed, "\n".join(failed)
    return [value for value, _ in found]


def environment(number: int, size: int, port: int) -> dict[str, str]:
    """What a launcher sets for one of several processes of this machine."""
    return {
        launch.WORLD_SIZE: str(size),
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _do(work: Callable[[], Any], variables: dict[str, str], pipe: Connection) -> None:
    # A fork has one thread of its parent's, so a library that asks others for help may wait for ever.
    os.environ.update(variables | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(LONGEST - 10, exit=False)  # says where a process that hangs stands
    value, error = None, ""
    try:
        ranks.join()
        value = work()
    except BaseException:
        error = f"process {variables['RANK']}:\n{traceback.format_exc()}"
    faulthandler.cancel_dump_traceback_later()
    buffer = io.BytesIO()
    torch.save((value, error), buffer)
    pipe.send_bytes(buffer.getvalue())


def _received(number: int, pipe: Connection) -> tuple[Any, str]:
    if not pipe.poll(LONGEST):
        return None, f"process {number}: nothing after {LONGEST:.0f} seconds"
    try:
        received = pipe.recv_bytes()
    except EOFError:
        return None, f"process {number}: has ended without a word"
    found: tuple[Any, str] = torch.load(io.BytesIO(received), weights_only=False)
    return found


def free_port() -> int:
    """A port of this machine that nobody listens to just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
