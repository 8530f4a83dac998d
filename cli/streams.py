"""Standard streams that can be written to, even if the caller closed them."""

import os
import sys
from typing import Any, TextIO


def prepare_streams() -> None:
    """Opens the standard streams that the caller closed, and makes them escape characters that their encoding lacks.

    Otherwise the next opened file gets the number of a closed stream, and TensorFlow, whose messages go to
    descriptor 2, writes into it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if not _is_open(number):
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def flush_stdout() -> OSError | None:
    """Flushes what was printed; returns the error if that fails, after which nothing more is printed."""
    try:
        sys.stdout.flush()
    except OSError as error:
        abandon(sys.stdout)
        return error
    return None


def abandon(stream: TextIO) -> None:
    """Redirects a stream to the null device, so that neither the program nor Python's exit fails on it again."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, stream.fileno())
    os.close(sink)


class Unfailing:
    """A stream for messages: if writing fails, because its reader is gone or its disk is full, work continues.

    Args:
        stream: the stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes a text if possible."""
        try:
            return self._stream.write(text)
        except OSError:
            abandon(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flushes if possible."""
        try:
            self._stream.flush()
        except OSError:
            abandon(self._stream)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
