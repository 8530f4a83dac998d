"""Annotations in MATLAB files."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.io import loadmat

from clan_tf.errors import UserError


def read_structs(path: Path, variable: str) -> list[Mapping[str, Any]]:
    """Reads the rows of a struct array, each with its fields.

    Raises:
        UserError: if the file or the variable is missing, damaged or empty.
        OSError: if the file can't be read.
    """
    structs = np.atleast_1d(_read(path, variable))
    if structs.dtype.names is None or not len(structs):
        raise UserError(f"{path}: {variable!r} must be an array of structs with at least one row.")
    return [dict(zip(structs.dtype.names, row, strict=True)) for row in structs]


def read_names(path: Path, variable: str) -> tuple[str, ...]:
    """Reads the strings of a cell array; raises the errors of `read_structs`."""
    return tuple(str(name) for name in np.atleast_1d(_read(path, variable)))


def _read(path: Path, variable: str) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"data.root: there is no {path}.")
    content = path.read_bytes()
    try:
        variables = loadmat(BytesIO(content), squeeze_me=True, variable_names=[variable])
    except Exception as error:  # whatever SciPy meets in a damaged file
        if _is_cut_short(content):
            raise UserError(f"{path}: is damaged: it is cut short. Copy it again.") from error
        raise UserError(f"{path}: can't be read as a MATLAB file of version 4 to 7.2: {error}") from error
    if variable not in variables:
        if _is_cut_short(content):
            raise UserError(f"{path}: is damaged: it is cut short before {variable!r}. Copy it again.")
        raise UserError(f"{path}: has no variable {variable!r}.")
    return variables[variable]


def _is_cut_short(content: bytes) -> bool:
    """Checks whether a variable of a MATLAB file of version 5 to 7.2 extends past its end.

    After a header of 128 bytes, which gives the byte order, each variable begins with its type and its length.
    """
    orders: dict[bytes, Literal["little", "big"]] = {b"IM": "little", b"MI": "big"}
    order = orders.get(content[126:128])
    place = 128
    while order and place < len(content):
        place += 8 + int.from_bytes(content[place + 4 : place + 8], order)
    return bool(order) and place > len(content)
