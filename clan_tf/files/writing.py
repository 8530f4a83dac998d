"""Files and folders that are written completely or not at all."""

import errno
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from clan_tf.errors import UserError, listed
from clan_tf.files.plain_json import json_text
from clan_tf.files.reading import reason_of
from clan_tf.files.temporary import remove_all_leftovers, restore_swapped, swap_folder, temporary_file, temporary_folder
from clan_tf.files.writable import require_file_or_nothing

LOCK = ".lock"
"""The file by which `only_process` claims a folder."""
_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors on an open file, which don't contain its name."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary file in the same folder; it becomes `path` if the block succeeds, and is removed otherwise.

    Every process has its own, so that two may write the same file. What a killed process left is removed by the next.
    Where `path` is a link, the file that it leads to is replaced.

    Raises:
        UserError: if `path` exists and isn't a file.
        OSError: if it can't be written; it names `path`.
    """
    require_file_or_nothing(path)
    path = _behind_links(path)
    with _naming(path), temporary_file(path) as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)


def _behind_links(path: Path) -> Path:
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Makes errors of the temporary file in the block name `path` instead."""
    try:
        yield
    except OSError as error:
        full = error.filename is None and error.errno in _WRITING
        if full or str(error.filename).startswith(str(path.parent / ".partial-")):
            error.filename = str(path)
            error.filename2 = None
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file completely or not at all."""
    write_text(path, json_text(value) + "\n")


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Claims a folder for this process while the block runs; the claim ends with the process, however that ends.

    Raises:
        UserError: if another process has claimed it, or nothing can be written into it.
    """
    from filelock import FileLock, Timeout  # which other writing doesn't need

    lock = FileLock(folder / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{folder}: another process is working in it. Wait for it, or stop it.") from error
    except OSError as error:
        raise UserError(f"{folder}: can't be written into: {reason_of(error)}. Use a folder that can.") from error
    try:
        yield
    finally:
        lock.release()


def _flush_folder(folder: Path) -> None:
    """Makes a rename survive a power cut, where the system can open folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def new_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yields a temporary folder beside `path`; it becomes `path` if the block succeeds, and is removed otherwise.

    Every process has its own. Missing parent folders are created, and removed with it.

    Args:
        path: the folder.
        replace: whether an existing folder is replaced once the new one is complete.

    Raises:
        UserError: if `path` exists and isn't to be replaced, or can't be made.
    """
    path = _behind_links(path)
    restore_swapped(path)
    if path.exists() and not replace:
        raise UserError(f"{path}: exists; name a folder that doesn't.")
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        with _noticing_interrupts() as interrupts, _made_folder(path, path) as temporary:
            yield temporary
            _flush_files(temporary)
            if interrupts:
                raise KeyboardInterrupt
            _put_in_place(temporary, path, replace)
    finally:
        for parent in made:
            with suppress(OSError):  # it holds something, such as `path`
                parent.rmdir()


@contextmanager
def new_or_filled_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder that becomes `path` or, where that is an empty folder, whose contents become its own.

    An empty folder stays the folder that it is, such as a mount point or the working folder. If the block fails, it is
    empty again.

    Raises:
        UserError: if `path` is anything but an empty folder, or can't be made.
    """
    if not os.path.lexists(path):
        with new_folder(path) as temporary:
            yield temporary
        return
    require_empty_folder(path)
    with _noticing_interrupts() as interrupts, _made_folder(path / "contents", path) as temporary:
        yield temporary
        _flush_files(temporary)
        if interrupts:
            raise KeyboardInterrupt
        _move_contents(temporary, path)


def require_empty_folder(path: Path) -> None:
    """Raises a `UserError` unless `path` is a folder with nothing in it but what killed processes left."""
    if not path.is_dir():
        raise UserError(f"{path}: exists and isn't a folder; name a folder that is empty or doesn't exist.")
    remove_all_leftovers(path)
    found = sorted(entry.name for entry in path.iterdir())
    if found:
        raise UserError(
            f"{path}: isn't empty; it holds {listed(found, 3)}. Name a folder that is empty or doesn't exist."
        )


def _move_contents(temporary: Path, path: Path) -> None:
    """Moves everything into a folder in the order of its names, or nothing."""
    moved: list[Path] = []
    try:
        for entry in sorted(temporary.iterdir()):
            moved.append(path / entry.name)
            entry.rename(moved[-1])
    except BaseException:
        for entry in moved:
            with suppress(OSError):
                entry.rename(temporary / entry.name)
        raise


@contextmanager
def exchanged_files(path: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yields a temporary folder in `path`; if the block succeeds, its files take the places of those with these names.

    Until then the former files stay as they are, and the disk has both. A process that is killed during the exchange
    leaves no file of the last name: where it is, all belong together. Other files in `path` stay.

    Args:
        path: the folder. Where it doesn't exist it is made, and removed again if the block fails.
        names: of the files. The block writes the last one and some of the others; those that it doesn't are removed.

    Raises:
        UserError: if `path` can't be made, or something else than a file has one of the names.
    """
    for name in names:
        require_file_or_nothing(path / name)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        with _noticing_interrupts() as interrupts, _made_folder(path / "contents", path) as temporary:
            yield temporary
            _flush_files(temporary)
            if interrupts:
                raise KeyboardInterrupt
            _exchange(temporary, path, names)
    finally:
        for folder in made:
            with suppress(OSError):  # it holds something
                folder.rmdir()


def _exchange(temporary: Path, path: Path, names: Sequence[str]) -> None:
    *others, last = names
    (path / last).unlink(missing_ok=True)
    _flush_folder(path)
    for name in others:
        if (temporary / name).exists():
            (temporary / name).replace(path / name)
        else:
            (path / name).unlink(missing_ok=True)
    _flush_folder(path)
    (temporary / last).replace(path / last)
    _flush_folder(path)


def _flush_files(folder: Path) -> None:
    """Makes the files in a folder survive a power cut; not those that links lead to."""
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            with file.open("rb+") as written:
                os.fsync(written.fileno())


@contextmanager
def _made_folder(path: Path, wanted: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`; errors of it, and of files in it, name the folder that is wanted."""
    stack = ExitStack()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = stack.enter_context(temporary_folder(path))
    except OSError as error:
        if error.errno in _WRITING:  # the disk is at fault, not the name
            raise OSError(error.errno, error.strerror, str(wanted)) from error
        raise UserError(f"{wanted}: can't be made: {error.strerror}. Name another folder.") from error
    with stack, _naming_inside(temporary, wanted):
        yield temporary


@contextmanager
def _naming_inside(temporary: Path, wanted: Path) -> Iterator[None]:
    """Makes errors of files in the temporary folder name them as they would be named in the folder that is wanted."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _WRITING:
            error.filename = str(wanted)
        for side in ("filename", "filename2"):
            name = getattr(error, side)
            if isinstance(name, str | os.PathLike) and Path(name).is_relative_to(temporary):
                setattr(error, side, str(wanted / Path(name).relative_to(temporary)))
        raise


def _put_in_place(temporary: Path, path: Path, replace: bool) -> None:
    if replace and path.exists():
        swap_folder(temporary, path)
        return
    try:
        temporary.rename(path)
    except OSError as error:
        raise UserError(f"{path}: can't be made any more: {error.strerror}. Name another folder.") from error


@contextmanager
def _noticing_interrupts() -> Iterator[list[int]]:
    """Yields a list to which every Ctrl-C is added: Python drops the exception if it occurs within a finalizer."""
    noticed: list[int] = []

    def notice(number: int, frame: Any) -> None:
        noticed.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or current_thread() is not main_thread():
        yield noticed
        return
    signal.signal(signal.SIGINT, notice)
    try:
        yield noticed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
