"""The state of a training between two steps, in files that are whole or refused."""

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clan_tf.errors import CheckFailed
from clan_tf.files import replacing

KEPT = 2
"""How many states stay on the disk: the newest, and one to fall back to."""


@dataclass
class TrainingState:
    """Where a training stands, beside its variables.

    Attributes:
        step: how many steps were made.
        totals: sums of `metric_columns` over the steps of the epoch that isn't finished.
        rows: the numbers of each finished epoch: a row of `metrics.csv`.
        seconds: how long the training took so far, of all processes that went on with it.
    """

    step: int = 0
    totals: list[float] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    def best_epoch(self, column: str) -> int | None:
        """The first epoch, from 1, with the highest value of a column; `None` before the first ends."""
        values = [row[column] for row in self.rows]
        return 1 + values.index(max(values)) if values else None


def write_state(folder: Path, state: TrainingState, variables: Sequence[Any]) -> None:
    """Writes a state and the values of the variables; of the other states only the one before stays.

    NumPy's `.npz` holds a CRC-32 of every array, so that a damaged file is known.

    Raises:
        CheckFailed: if a value isn't finite; nothing is written then.
    """
    arrays = {f"variable_{index}": np.asarray(variable) for index, variable in enumerate(variables)}
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        raise CheckFailed(f"The weights became NaN before step {state.step + 1}.")
    folder.mkdir(exist_ok=True)
    text = np.frombuffer(json.dumps(asdict(state)).encode(), dtype="uint8")
    with replacing(folder / f"state-{state.step:09d}.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, state=text, **arrays)
    files = state_files(folder)
    current = [path.name for path in files].index(f"state-{state.step:09d}.npz")
    for path in files[:current]:
        # It is damaged, or this training would have begun with it.
        path.rename(path.with_suffix(".damaged"))
    for path in files[current + KEPT :]:
        path.unlink()


def read_state(
    folder: Path, variables: Sequence[Any], note: Callable[[str], None] = lambda text: None
) -> TrainingState:
    """Reads the newest state that is whole, and assigns its values to the variables.

    Args:
        folder: where `write_state` wrote.
        variables: as they were written, in the same order.
        note: told of each damaged file.

    Returns:
        The state; a new one where there is none.

    Raises:
        CheckFailed: if all are damaged, or of another model.
        OSError: if one can't be read, which says nothing about what is in it.
    """
    files = state_files(folder)
    for path in files:
        try:
            state, arrays = _read(path, len(variables))
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            note(f"{path} is damaged ({type(error).__name__}); trying the checkpoint before it")
            continue
        if [array.shape for array in arrays] != [tuple(variable.shape) for variable in variables]:
            raise CheckFailed(
                f"{path}: is of another model or another version of clan-tf. Train anew in another --run-dir."
            )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        return state
    if files:
        raise CheckFailed(f"{folder}: every checkpoint is damaged. Train anew in another --run-dir.")
    return TrainingState()


def state_files(folder: Path) -> list[Path]:
    """The states in a folder, newest first."""
    return sorted(folder.glob("state-*.npz"), reverse=True)


def _read(path: Path, variables: int) -> tuple[TrainingState, list[np.ndarray]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        state = TrainingState(**json.loads(arrays["state"].tobytes()))
        return state, [arrays[f"variable_{index}"] for index in range(variables)]
