"""Standard streams that can be written to, whatever the caller did to them."""

import os
import sys
from typing import Any, TextIO


def prepare_streams() -> None:
    """Opens the standard streams that the caller closed, and lets them escape what their encoding doesn't have.

    Without it the next file that is opened gets the number of a closed stream, and TensorFlow, whose messages go to
    descriptor 2, writes into it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if not _is_open(number):
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def flush_stdout() -> OSError | None:
    """Writes what was printed; the error if that can't be done, after which nothing is printed any more."""
    try:
        sys.stdout.flush()
    except OSError as error:
        abandon(sys.stdout)
        return error
    return None


def abandon(stream: TextIO) -> None:
    """Redirects a stream to nothing, so that neither the program nor Python's exit fails on it again."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, stream.fileno())
    os.close(sink)


class Unfailing:
    """A stream for messages: if it can't be written, because its reader is gone or its disk is full, work continues.

    Args:
        stream: the stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes a text if that is possible."""
        try:
            return self._stream.write(text)
        except OSError:
            abandon(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flushes if that is possible."""
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
