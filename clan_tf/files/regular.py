"""Reading files of users: regular ones only, because a pipe or a device may never end, and no more than is sensible."""

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

TEXT_BYTES, TABLE_BYTES = 2**20, 2**30
"""Largest size of a text written by hand, and of a table or list of photos."""


def open_regular_file(path: str | Path, limit: int | None = None) -> BinaryIO:
    """Opens a file for reading bytes; links are followed.

    Args:
        path: the file.
        limit: the most bytes it may have; no limit if `None`.

    Raises:
        OSError: if it can't be opened, isn't a regular file (but a folder, a pipe, a socket or a device), or is too
            large. `strerror` states the reason in words that can follow the path.
    """
    _require_regular(os.stat(path), path, limit)  # before it is opened, which may already affect a device
    file = open(path, "rb", opener=_open_without_waiting)
    try:
        _require_regular(os.fstat(file.fileno()), path, limit)
    except OSError:
        file.close()
        raise
    return file


def require_regular_file(path: str | Path, limit: int | None = None) -> None:
    """Raises the `OSError` of `open_regular_file` for a file that other code opens by its name."""
    open_regular_file(path, limit).close()


def read_regular_file(path: str | Path, limit: int) -> bytes:
    """Reads the content of a file of at most `limit` bytes; errors are those of `open_regular_file`.

    System files that report a size of 0, such as those in `/proc`, count as empty.
    """
    with open_regular_file(path, limit) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def file_sha256(path: str | Path) -> str:
    """Computes the SHA-256 of a file's content, in hexadecimal; errors are those of `open_regular_file`."""
    file: Any
    with open_regular_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def existing_parent(path: Path) -> Path:
    """Finds the nearest of a path and its parents that exists, which determines its disk and permissions."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _require_regular(status: os.stat_result, path: str | Path, limit: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "isn't a regular file", os.fspath(path))
    if limit is not None and status.st_size > limit:
        size, most = (f"{count / 1e6:,.1f} MB" for count in (status.st_size, limit))
        raise OSError(errno.EFBIG, f"is too large: {size}, at most {most} are read", os.fspath(path))
