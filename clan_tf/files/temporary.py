"""Files and folders that only their process writes, and those that killed processes left behind.

Each gets a random name and is opened exclusively, so that processes of any number of hosts and containers may share a
folder. Its writer keeps it locked; the system unlocks it however the writer ends. The names are not
those of `tempfile`, which do not identify the running system and whose files only their owner can read.
"""

import glob
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

UNTOUCHED_SECONDS = 86400
"""Time without a change after which a file that may be another host's counts as left by a killed process."""
_NAME = re.compile(r"\.(partial|replaced)-[0-9a-f]{8}-[0-9a-f]{16}-.+", re.DOTALL)
_UNKNOWN = "0" * 8
_LONGEST_TAIL = 160
"""Bytes of the final name that a temporary one ends with; most systems allow 255 in all."""


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """Yields a new empty file beside `path`, whose name ends alike; it is removed unless it was renamed by then."""
    remove_leftovers(path)
    temporary, lock = _made(path, lambda new: os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)))
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()
        _close(lock)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder beside `path`; it is removed with everything in it unless it was renamed by then."""
    remove_leftovers(path)
    temporary, lock = _made(path, os.mkdir)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _close(lock)


def swap_folder(new: Path, path: Path) -> None:
    """Replaces a folder by another and deletes the old one; whatever fails, one of them is at `path`."""
    aside = path.with_name(_temporary_name(path, "replaced"))
    lock = _locked(path)
    try:
        path.rename(aside)
        try:
            new.rename(path)
        except BaseException:
            aside.rename(path)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        _close(lock)


def restore_swapped(path: Path) -> None:
    """Completes a `swap_folder` that was killed: where nothing is at `path`, the old folder is restored."""
    for aside in path.parent.glob(f".replaced-*-{glob.escape(_tail(path))}"):
        with _claimed(aside) as is_left, suppress(OSError):
            if is_left and path.exists():
                shutil.rmtree(aside)
            elif is_left:
                aside.rename(path)


def remove_leftovers(path: Path) -> None:
    """Removes what processes left that were killed while writing `path`."""
    _remove_left(path.parent, glob.escape(_tail(path)))


def remove_all_leftovers(folder: Path) -> None:
    """Removes what processes left that were killed while writing anything into a folder."""
    _remove_left(folder, "*")


def _remove_left(folder: Path, tails: str) -> None:
    for left in folder.glob(f".partial-*-{tails}"):
        with _claimed(left) as is_left, suppress(OSError):
            if is_left:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def is_temporary(path: Path) -> bool:
    """Checks whether a name is one that this module gives."""
    return _NAME.fullmatch(path.name) is not None


def _made(path: Path, make: Callable[[Path], None]) -> tuple[Path, int | None]:
    """Returns a new file or folder and the descriptor that locks it; `None` where the system has no such locks."""
    while True:
        temporary = path.with_name(_temporary_name(path, "partial"))
        make(temporary)
        lock = _locked(temporary)
        # Another process may have found it between these two lines, still unlocked, and removed it.
        if temporary.exists():
            return temporary, lock
        _close(lock)


def _temporary_name(path: Path, kind: str) -> str:
    return f".{kind}-{_kernel()}-{secrets.token_hex(8)}-{_tail(path)}"


def _tail(path: Path) -> str:
    name = os.fsencode(path.name)
    return path.name if len(name) <= _LONGEST_TAIL else name[-_LONGEST_TAIL:].decode("utf-8", "ignore")


@cache
def _kernel() -> str:
    """Identifies the running system, whose processes see each other's locks, also across containers."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    return _UNKNOWN


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Yields whether the writer of a temporary file or folder has certainly ended; keeps it locked meanwhile."""
    lock = None
    try:
        if not is_temporary(path) or path.is_symlink():
            yield False
            return
        with suppress(OSError):
            lock = _open(path)
        yield _is_left(path, lock)
    finally:
        _close(lock)


def _is_left(path: Path, lock: int | None) -> bool:
    if fcntl and lock is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.name.split("-")[1] == _kernel() != _UNKNOWN:
                return True
        except BlockingIOError:
            return False
        except OSError:  # no locks here
            pass
    return time.time() - _last_change(path) > UNTOUCHED_SECONDS


def _last_change(path: Path) -> float:
    changes = [time.time()]
    with suppress(OSError):
        statuses = [entry.lstat() for entry in (path, *path.rglob("*"))]
        changes = [max(status.st_mtime, status.st_ctime) for status in statuses]
    return max(changes)


def _locked(path: Path) -> int | None:
    """Opens a descriptor that keeps a file or folder locked until closed, where the system has such locks."""
    lock = None
    with suppress(OSError):
        lock = _open(path)
        if fcntl and lock is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _open(path: Path) -> int | None:
    return os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)) if fcntl else None


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
