"""What a machine runs out of, in words: memory, disk, files, depth. What is left is a fault of ours."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence

from kpig.cli import stops
from kpig.cli.screen import say
from kpig.errors import DiskError, KpigError, clause, is_out_of_memory
from kpig.files import of_system

TRACEBACK = "KPIG_TRACEBACK"
"""The environment variable that shows where in the program an error came from."""

DETAILS = f"Set {TRACEBACK}=1 and repeat it to see where."

MEMORY = (
    "Lower train.tokens_per_micro_batch, then model.max_length or train.batch_size "
    "(--set SECTION.KEY=VALUE), set model.adapter=lora, take a smaller model, or fewer --workers"
)
ADVICE = {
    errno.ENOSPC: "free some space, then give the command again",
    errno.EDQUOT: "free some of your quota, then give the command again",
    errno.EMFILE: "allow more open files (ulimit -n 4096), or lower --workers, then give the command again",
    errno.ENFILE: "end other programs, or lower --workers, then give the command again",
    errno.EAGAIN: "allow more processes (ulimit -u), or lower --workers, then give the command again",
    errno.ENOMEM: MEMORY,
    errno.EROFS: "give a folder on a disk that can be written",
}
"""What to do about an error of the system, by its number."""

OTHER_ADVICE = "look at the path, its permissions and the free space, then give the command again"


def tell(words: str) -> None:
    """One message on standard error; the way there before it where `KPIG_TRACEBACK` asks for it."""
    if os.environ.get(TRACEBACK, "0") not in ("", "0"):
        say(traceback.format_exc(), file=sys.stderr)
    say(f"error: {words}", file=sys.stderr)


def in_words(error: Exception) -> str | None:
    """What went wrong and what to do; None where the error is neither a user's nor of the machine."""
    if isinstance(error, KpigError):
        return f"{error}{going_on(sys.argv[1:]) if isinstance(error, DiskError) else ''}"
    if is_out_of_memory(error):
        return f"out of memory ({clause(_first_line(error))}). {MEMORY}. {DETAILS}"
    if isinstance(error, RecursionError):
        return (
            f"something is nested too deep ({clause(_first_line(error))}): look for a value, a task file or "
            f"a template with hundreds of brackets or blocks inside each other, and flatten it. {DETAILS}"
        )
    if type(error).__module__.startswith("pydantic") and hasattr(error, "errors"):
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return f"a value cannot be used: {'; '.join(told)[:300]}"
    found = of_system(error)
    if found is None:
        return None
    advice = ADVICE.get(found.errno or 0, OTHER_ADVICE)
    return f"{clause(_first_line(error))}; {advice}{going_on(sys.argv[1:])}. {DETAILS}"


def going_on(arguments: Sequence[str]) -> str:
    """How what the command has begun goes on once there is room; "" where it begins nothing that goes on."""
    if arguments and arguments[0] in stops.CONTINUED and "--resume" not in arguments:
        return ", with --resume: what is finished is kept"
    return ""


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
