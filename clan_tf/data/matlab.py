"""Annotations in MATLAB files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from clan_tf.errors import UserError


def read_structs(path: Path, variable: str) -> list[Mapping[str, Any]]:
    """The rows of a struct array, each with its fields.

    Raises:
        UserError: if the file or the variable is missing, damaged or empty.
    """
    structs = np.atleast_1d(_read(path, variable))
    if structs.dtype.names is None or not len(structs):
        raise UserError(f"{path}: {variable!r} must be an array of structs with at least one row.")
    return [dict(zip(structs.dtype.names, row, strict=True)) for row in structs]


def read_names(path: Path, variable: str) -> tuple[str, ...]:
    """The texts of a cell array; a `UserError` as in `read_structs`."""
    return tuple(str(name) for name in np.atleast_1d(_read(path, variable)))


def _read(path: Path, variable: str) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"data.root: there is no {path}.")
    try:
        variables = loadmat(path, squeeze_me=True, variable_names=[variable])
    except Exception as error:  # whatever SciPy meets in a damaged file
        raise UserError(f"{path}: can't be read as a MATLAB file of version 4 to 7.2: {error}") from error
    if variable not in variables:
        raise UserError(f"{path}: has no variable {variable!r}.")
    return variables[variable]
