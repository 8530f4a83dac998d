"""Files that are there whole or not at all."""

import glob
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from filelock import FileLock, Timeout

from clan_tf.errors import UserError
from clan_tf.text import escaped_json


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; it becomes `path` if the block ends well, and vanishes if not.

    Every process has its own, so that two may write the same file. What a killed process left is removed by the next.
    """
    temporary = _temporary(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def read_text(path: Path, key: str) -> str:
    """A UTF-8 text file; a `UserError` that begins with `key` if it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{key}: {path} can't be read as a text file: {reason}.") from error


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(path, escaped_json(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def _temporary(path: Path) -> Path:
    """This process' own name for what becomes `path`; what killed processes left under such names is removed."""
    for left in path.parent.glob(f".partial-*-{glob.escape(path.name)}"):
        if not _is_running(left.name.split("-")[1]):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f".partial-{os.getpid()}-{path.name}")


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Keeps a folder for this process while the block runs; the claim ends with the process, however that ends.

    Raises:
        UserError: if another process keeps it.
    """
    try:
        with FileLock(folder / ".lock", blocking=False):
            yield
    except Timeout as error:
        raise UserError(f"{folder}: another process is working in it. Wait for it, or stop it.") from error


def _flush_folder(folder: Path) -> None:
    """Makes a renaming last through a power cut, where the system can open folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    return True


@contextmanager
def new_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yields a temporary folder beside `path`; it becomes `path` if the block ends well, and vanishes if not.

    Every process has its own. The folders above are made, and vanish with it.

    Args:
        path: the folder.
        replace: whether a folder that is there already gives way, once the new one is complete.

    Raises:
        UserError: if `path` exists and doesn't give way, or can't be made.
    """
    if path.exists() and not replace:
        raise UserError(f"{path}: exists; name a folder that doesn't.")
    temporary, made = _temporary(path), [parent for parent in path.parents if not parent.exists()]
    replaced = temporary.with_name(f"{temporary.name}.replaced")
    try:
        with _noticing_interrupts() as interrupts:
            _make_folder(temporary, path)
            yield temporary
            for file in filter(Path.is_file, temporary.rglob("*")):
                with file.open("rb+") as written:
                    os.fsync(written.fileno())
            if interrupts:
                raise KeyboardInterrupt
            if path.exists():
                path.rename(replaced)
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
        for parent in made:
            with suppress(OSError):  # it holds something, such as `path`
                parent.rmdir()


def _make_folder(temporary: Path, path: Path) -> None:
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{path}: can't be made: {error.strerror}. Name another folder.") from error


@contextmanager
def _noticing_interrupts() -> Iterator[list[int]]:
    """Yields a list to which every Ctrl-C is added: Python drops the exception where it comes within a finalizer."""
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
