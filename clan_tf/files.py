"""Files that are there whole or not at all."""

import glob
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clan_tf.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; it becomes `path` if the block ends well, and vanishes if not.

    Every process has its own, so that two may write the same file. What a killed process left is removed by the next.
    """
    for left in path.parent.glob(f".partial-*-{glob.escape(path.name)}"):
        if not _is_running(left.name.split("-")[1]):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
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
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


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

    Args:
        path: the folder.
        replace: whether a folder that is there already gives way, once the new one is complete.

    Raises:
        UserError: if `path` exists and doesn't give way.
    """
    if path.exists() and not replace:
        raise UserError(f"{path}: exists; name a folder that doesn't.")
    temporary, replaced = path.with_name(f".partial-{path.name}"), path.with_name(f".partial-replaced-{path.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in filter(Path.is_file, temporary.rglob("*")):
            with file.open("rb+") as written:
                os.fsync(written.fileno())
        if path.exists():
            path.rename(replaced)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
