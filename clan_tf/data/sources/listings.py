"""The text files of the official layouts: a line for each photo or class."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from clan_tf.errors import UserError
from clan_tf.files import read_text

Value = TypeVar("Value")


def read_lines(path: Path, layout: str) -> list[str]:
    """Reads the lines of a layout's file, including blank ones, without a byte order mark.

    Raises:
        UserError: if there is no such file, describing the layout, or if it isn't text.
    """
    if not path.is_file():
        raise UserError(f"data.root: there is no {path}. {layout}")
    return [line.strip() for line in read_text(path, "data.root").split("\n")]


def read_table(path: Path, layout: str) -> dict[str, str]:
    """Reads a file of lines `NUMBER VALUE` as a dict in the order of the lines; both remain strings.

    Raises:
        UserError: naming the line that is malformed or repeats a number.
    """
    table: dict[str, str] = {}
    for line_number, line in enumerate(read_lines(path, layout), start=1):
        number, space, value = line.partition(" ")
        if not line:
            continue
        if not space:
            raise UserError(f"{path}, line {line_number}: must be NUMBER VALUE; received {line!r}.")
        if number in table:
            raise UserError(f"{path}, line {line_number}: number {number} was there before.")
        table[number] = value.strip()
    return table


def look_up(table: Mapping[str, Value], key: str, path: Path) -> Value:
    """Looks up the value of a key; raises a `UserError` if the table, read from `path`, doesn't have it."""
    if key not in table:
        raise UserError(f"{path}: has no line for number {key}.")
    return table[key]
