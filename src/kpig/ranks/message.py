"""What a process tells the others of its job: a value or an error, packed.

Pickled, for values are of any kind. Only processes of the same job write what is read here.
"""

import io
import pickle
import traceback
from typing import Any

from kpig.errors import KpigError


def packed(value: object, error: Exception | None) -> bytes:
    """What a part of the work gave, and the error that ended it, for the other processes."""
    import torch

    buffer = io.BytesIO()
    torch.save((value, error), buffer)
    return buffer.getvalue()


def unpacked(message: bytes) -> tuple[Any, Exception | None]:
    """What another process of this job has packed; tensors of its GPU come to this one's."""
    import torch

    def here(storage: Any, place: str) -> Any:
        return storage if place == "cpu" else storage.cuda()

    found: tuple[Any, Exception | None] = torch.load(io.BytesIO(message), here, weights_only=False)
    return found


def portable(error: Exception, number: int) -> Exception:
    """The error of a process, as others can raise it; one that is no user's tells where it came from."""
    if not isinstance(error, KpigError):
        error.add_note(f"in process {number}:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
