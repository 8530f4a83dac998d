"""Small files read with limits; what is damaged or isn't a file is refused by its name."""

import csv
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from clan_tf.errors import UserError
from clan_tf.files.plain_json import parse_json
from clan_tf.files.regular import TABLE_BYTES, read_regular_file


def read_text(path: Path, key: str, limit: int = TABLE_BYTES) -> str:
    """Reads a UTF-8 text file of at most `limit` bytes, without a byte order mark, which some editors write.

    Raises:
        UserError: beginning with `key`, if it can't be read.
    """
    try:
        return regular_text(path, limit).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(
            f"{key}: {path} isn't UTF-8 (line {line}). Save it as UTF-8; spreadsheets call this CSV UTF-8."
        ) from error
    except OSError as error:
        raise UserError(f"{key}: {path} can't be read as a text file: {reason_of(error)}.") from error


def read_json(path: Path, kind: Any, way_out: str) -> Any:
    """Reads a JSON file that clan-tf wrote.

    Args:
        path: the file.
        kind: what it must hold: a type that pydantic checks, such as `dict[str, Any]` or a dataclass.
        way_out: a sentence that says what to do about a damaged file.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    with explaining_damage(path, way_out):
        values = parse_json(regular_text(path))
        return TypeAdapter(kind).validate_python(values)


@contextmanager
def explaining_damage(path: Path, way_out: str) -> Iterator[None]:
    """Turns what reading a damaged file of clan-tf raises into a `UserError` that names it."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: can't be read: {reason_of(error)}. {way_out}") from error
    except (ValueError, csv.Error, RecursionError, MemoryError) as error:
        raise UserError(f"{path}: is damaged ({reason_of(error)}). {way_out}") from error


def reason_of(error: BaseException) -> str:
    """Returns the reason of an error in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else first["msg"]
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = str(getattr(error, "strerror", None) or error)
    return text.splitlines()[0] if text else type(error).__name__


def regular_text(path: Path, limit: int = TABLE_BYTES) -> str:
    """Returns the text of a regular UTF-8 file of at most `limit` bytes."""
    return read_regular_file(path, limit).decode("utf-8")


def is_of_damage(error: OSError) -> bool:
    """Checks whether reading an archive failed because of its content: its directory points before the file's start."""
    return error.errno == errno.EINVAL
