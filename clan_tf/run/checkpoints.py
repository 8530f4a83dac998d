"""The files in a run's `checkpoints/`: states between two steps, and models that may become the best."""

import re
from pathlib import Path

CHECKPOINT = re.compile(r"state-\d{9,}\.(npz|damaged)|best-\d+\.keras")
"""Pattern of the names of all files that training writes there."""
_STATE = re.compile(r"state-\d{9,}\.npz")


def state_file(folder: Path, step: int) -> Path:
    """Returns the state after a step."""
    return folder / f"state-{step:09d}.npz"


def step_of(state: Path) -> int:
    """Returns the step in the name of a state."""
    return int(state.stem.removeprefix("state-"))


def state_files(folder: Path) -> list[Path]:
    """Returns the states in a folder, newest first."""
    return sorted((path for path in folder.glob("state-*.npz") if _STATE.fullmatch(path.name)), reverse=True)


def set_aside(state: Path) -> None:
    """Renames a damaged state, so that it isn't read again."""
    state.rename(state.with_suffix(".damaged"))


def candidate_file(folder: Path, epoch: int) -> Path:
    """Returns the model of an epoch, which becomes the best once the state after its epoch is written."""
    return folder / f"best-{epoch}.keras"
