"""Standard output that outlasts its reader: `kpig compare --out X | head` still writes X."""

import io
import sys
from typing import Any, TextIO


class Pipe(io.FileIO):
    """A file whose reader may go away; what is written then goes nowhere, and is no error."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            return memoryview(content).nbytes


def outlast_readers() -> None:
    """Let what is printed go nowhere once nobody reads it. A terminal is left as it is.

    What the encoding of an output lacks is printed as an escape, in a terminal too.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = _outlasting(sys.stdout), _outlasting(sys.stderr)


def _outlasting(stream: TextIO) -> TextIO:
    """The same stream over a `Pipe`; one that is closed or no file at all stays as it is."""
    if not isinstance(stream, io.TextIOWrapper) or stream.isatty():
        return stream
    stream.flush()
    pipe = io.BufferedWriter(Pipe(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(
        pipe,
        encoding=stream.encoding,
        errors=stream.errors,
        # PYTHONUNBUFFERED sets the other: without a line's end it would wait here in the buffer.
        line_buffering=stream.line_buffering or stream.write_through,
        write_through=stream.write_through,
    )
