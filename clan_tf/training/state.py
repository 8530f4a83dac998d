"""The state of a training run between two steps, in files that are complete or refused."""

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import FiniteFloat, NonNegativeInt, TypeAdapter

from clan_tf.errors import CheckFailed
from clan_tf.files import parse_json, replacing
from clan_tf.files.reading import is_of_damage
from clan_tf.run.checkpoints import set_aside, state_file, state_files, step_of
from clan_tf.training.best_epoch import ACCURACY

KEPT = 2
"""How many states are kept on disk: the newest, and one to fall back to."""


@dataclass
class TrainingState:
    """The progress of a training run, apart from its variables.

    Attributes:
        step: how many steps are done.
        totals: sums of `metric_columns` over the steps of the unfinished epoch.
        rows: the metrics of each finished epoch: a row of `metrics.csv`.
        seconds: training time so far, over all processes that resumed the run.
        best: the epoch, from 1, whose model is kept; 0 before the first ends.
    """

    step: NonNegativeInt = 0
    totals: list[FiniteFloat] = field(default_factory=list)
    rows: list[dict[str, FiniteFloat]] = field(default_factory=list)
    seconds: FiniteFloat = 0.0
    best: NonNegativeInt = 0

    def __post_init__(self) -> None:
        """Finds the best epoch of a state from before it was written down: the first of the highest accuracy."""
        accuracies = [row.get(ACCURACY, 0.0) for row in self.rows]
        if accuracies and not self.best:
            self.best = 1 + accuracies.index(max(accuracies))


def write_state(folder: Path, state: TrainingState, variables: Sequence[Any]) -> None:
    """Writes a state and the values of the variables; of the older states only the previous one is kept.

    NumPy's `.npz` holds a CRC-32 of every array, so that a damaged file is detected.

    Raises:
        CheckFailed: if a value isn't finite; nothing is written then.
    """
    arrays = {f"variable_{index}": np.asarray(variable) for index, variable in enumerate(variables)}
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        raise CheckFailed(f"The weights became NaN before step {state.step + 1}.")
    folder.mkdir(exist_ok=True)
    text = np.frombuffer(json.dumps(asdict(state), allow_nan=False).encode(), dtype="uint8")
    path = state_file(folder, state.step)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, state=text, **arrays)
    files = state_files(folder)
    current = files.index(path)
    for newer in files[:current]:
        # It is damaged; otherwise this run would have started from it.
        set_aside(newer)
    for older in files[current + KEPT :]:
        older.unlink()


def read_state(
    folder: Path,
    variables: Sequence[Any],
    note: Callable[[str], None] = lambda text: None,
    problem_with: Callable[[TrainingState], str | None] = lambda state: None,
) -> TrainingState:
    """Reads the newest intact state, and assigns its values to the variables.

    Args:
        folder: where `write_state` wrote.
        variables: the variables that were written, in the same order.
        note: called with a message for each damaged file.
        problem_with: explains why an intact state still can't be used; returns `None` if it can.

    Returns:
        The state; a new one if there is none.

    Raises:
        CheckFailed: if all are damaged or belong to another model.
        OSError: if one can't be read, which says nothing about its content.
    """
    files = state_files(folder)
    for path in files:
        state, problem = TrainingState(), None
        try:
            state, arrays = _read(path, variables)
        except OSError as error:
            if not is_of_damage(error):
                raise
            problem = "not a complete zip archive"
        # Damaged archives and texts raise many types of errors.
        except Exception as error:  # noqa: BLE001
            problem = str(error).splitlines()[0] if isinstance(error, _Unfit) else type(error).__name__
        if problem:
            note(f"{path} is damaged ({problem}); trying the checkpoint before it")
        elif problem := problem_with(state):
            note(f"{path} can't be used: {problem}; trying the checkpoint before it")
        else:
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)
            return state
    if files:
        raise CheckFailed(
            f"{folder}: every checkpoint is damaged, or of another model or version of clan-tf. Train again in another "
            "--run-dir."
        )
    return TrainingState()


class _Unfit(ValueError):
    """A checkpoint that can be read, but belongs to another run."""


def _read(path: Path, variables: Sequence[Any]) -> tuple[TrainingState, list[np.ndarray]]:
    """Reads a state and the values of the variables; refuses arrays of other shapes or types before loading them."""
    if not path.is_file():
        raise _Unfit("not a file")
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        for index, variable in enumerate(variables):
            dtype = np.dtype(getattr(variable.dtype, "as_numpy_dtype", variable.dtype))
            _require_array(archive, f"variable_{index}", tuple(variable.shape), dtype)
        _require_text(archive, "state")
        if f"variable_{len(variables)}.npy" in archive.namelist():
            raise _Unfit("it has more variables than the model")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            state = TypeAdapter(TrainingState).validate_python(_parsed(arrays["state"].tobytes()))
            values = [arrays[f"variable_{index}"] for index in range(len(variables))]
    if state.step != step_of(path):
        raise _Unfit(f"it is from step {state.step}")
    if not all(np.isfinite(array).all() for array in values if array.dtype.kind == "f"):
        raise _Unfit("it holds NaN")
    return state, values


def _require_array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    found = _header(archive, name)
    if found != (shape, dtype):
        raise _Unfit(f"{name} is {found[0]} {found[1]} and not {shape} {dtype}")


def _require_text(archive: zipfile.ZipFile, name: str) -> None:
    shape, dtype = _header(archive, name)
    if len(shape) != 1 or dtype != np.uint8 or shape[0] > archive.getinfo(f"{name}.npy").file_size:
        raise _Unfit(f"{name} isn't a text")


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Reads the shape and type of an array, without its data."""
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype


def _parsed(text: bytes) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise _Unfit(str(error)) from error
