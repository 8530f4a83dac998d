"""The run directory: the one place that knows its file names; and models by the path that a user gives."""

import json
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras

from clan_tf.config import Experiment, load_experiment
from clan_tf.errors import UserError
from clan_tf.files import only_process, replacing, write_json, write_text
from clan_tf.models import BranchClassifier
from clan_tf.runtime.contract import file_of_export

Status = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """How a training went.

    Attributes:
        epochs: how many epochs were trained.
        best_epoch: the epoch of `best.keras`, counted from 1.
        best_accuracy: its validation accuracy of the combined prediction, 0…1.
        seconds: time of the training, of all processes that went on with it.
    """

    epochs: int
    best_epoch: int
    best_accuracy: float
    seconds: float


class RunDirectory:
    """A folder with everything about one run; `FILES` is what is in it."""

    FILES = (
        "config.yaml",
        "environment.json",
        "data.json",
        "splits.csv",
        "labels.txt",
        "status.json",
        "samples.png",
        "augmented.png",
        "metrics.csv",
        "curves.png",
        "best.keras",
        "last.keras",
        "checkpoints/",
        "tensorboard/",
        "evaluation/",
    )

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, name: str, path: str | Path | None = None, root: str | Path = "runs") -> "RunDirectory":
        """Makes `path`, or the next free `ROOT/NAME-001`, `ROOT/NAME-002`, …

        Raises:
            UserError: if `path` exists or can't be made.
        """
        try:
            if path is not None:
                Path(path).mkdir(parents=True)
                return cls(path)
            Path(root).mkdir(parents=True, exist_ok=True)
            return cls(_make_numbered(Path(root), name))
        except FileExistsError as error:
            raise UserError(
                f"--run-dir: {path or root} exists, and a run is never overwritten. Give another folder, or leave "
                "--run-dir out for a numbered one."
            ) from error
        except OSError as error:
            raise UserError(f"--run-dir: {path or root} can't be made: {error.strerror}.") from error

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def best(self) -> Path:
        """The model of the epoch with the highest validation accuracy."""
        return self.path / "best.keras"

    @property
    def last(self) -> Path:
        """The model of the last epoch; written when the training ends."""
        return self.path / "last.keras"

    @property
    def checkpoints(self) -> Path:
        """Folder of the states that a stopped training goes on from."""
        return self.path / "checkpoints"

    @property
    def splits(self) -> Path:
        """Which photo was in which split, with the hash of its content."""
        return self.path / "splits.csv"

    @property
    def metrics(self) -> Path:
        """Losses, accuracies and the learning rate by epoch."""
        return self.path / "metrics.csv"

    @property
    def curves(self) -> Path:
        """Picture of `metrics`."""
        return self.path / "curves.png"

    @property
    def samples(self) -> Path:
        """Picture of a few train photos of each class."""
        return self.path / "samples.png"

    @property
    def augmented(self) -> Path:
        """Picture of the first train photos as the model sees them."""
        return self.path / "augmented.png"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard logs."""
        return self.path / "tensorboard"

    def evaluation(self, name: str) -> Path:
        """Folder of one evaluation: the split, or `SPLIT-BRANCH+BRANCH` for some of the branches."""
        return self.path / "evaluation" / name

    def write_start(self, experiment: Experiment, environment: dict[str, Any], data: dict[str, Any]) -> None:
        """Writes what is known before training: the resolved config, the environment and the data's description."""
        write_text(self.config, experiment.to_yaml())
        write_json(self.path / "environment.json", environment)
        write_json(self.path / "data.json", data)
        write_text(self.path / "labels.txt", "".join(f"{name}\n" for name in data["class_names"]))
        self.write_status("running")

    def write_status(self, status: Status, **details: Any) -> None:
        """Writes whether the run is going on or how it ended."""
        write_json(self.path / "status.json", {"status": status, **details})

    def read_status(self) -> dict[str, Any]:
        """What `write_status` wrote last."""
        return json.loads((self.path / "status.json").read_text(encoding="utf-8"))

    def outcome(self) -> Outcome | None:
        """How a finished run went; `None` for another."""
        status = self.read_status()
        if status.pop("status") != "finished":
            return None
        return Outcome(**status)

    def experiment(self) -> Experiment:
        """The resolved config; a `UserError` if it can't be read."""
        return load_experiment(self.config)

    def claimed(self) -> AbstractContextManager[None]:
        """Keeps other processes from training in this folder; entering it raises a `UserError` if one does."""
        return only_process(self.path)

    def candidate(self, epoch: int) -> Path:
        """What becomes `best` once the checkpoint after its epoch is written."""
        return self.checkpoints / f"best-{epoch}.keras"

    def remove_checkpoints(self) -> None:
        """Deletes what only an unfinished training needs."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def remove(self) -> None:
        """Deletes the whole run."""
        shutil.rmtree(self.path, ignore_errors=True)


def is_run(path: Path) -> bool:
    """Whether a folder is a run directory."""
    return (path / "config.yaml").is_file() and (path / "status.json").is_file()


def is_unstarted(path: Path) -> bool:
    """Whether a folder is empty or a run that was killed before it had a status, which is written last."""
    known = {name.rstrip("/") for name in RunDirectory.FILES} - {"status.json"}
    return path.is_dir() and all(entry.name in known or entry.name.startswith(".") for entry in path.iterdir())


def find_model(model: str | Path) -> tuple[Path, RunDirectory | None]:
    """The `.keras` file that a run directory, the folder of an export or a path stands for, and the run it lies in.

    Raises:
        UserError: if there is no such file, or the run has no checkpoint yet.
    """
    path = file_of_export(Path(model)) or Path(model)
    if path.is_dir():
        run = RunDirectory(path)
        if not is_run(path):
            raise _no_model(path, "not a run directory (it has no config.yaml and status.json)")
        if not run.best.is_file():
            raise UserError(f"{path}: this run has no checkpoint yet; it is {run.read_status()['status']}.")
        return run.best, run
    if not path.is_file():
        raise _no_model(path, "no such file or folder")
    if path.suffix != ".keras":
        raise _no_model(path, "not a .keras file")
    return path, find_run_above(path)


def _no_model(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: {reason}. A model is a run directory or a .keras file; predict, evaluate and benchmark also take a "
        ".tflite or .onnx file, a SavedModel folder, or the folder of an export."
    )


def find_run_above(path: Path) -> RunDirectory | None:
    """The run directory that a file lies in, however deep, such as an export."""
    return next((RunDirectory(folder) for folder in path.absolute().parents if is_run(folder)), None)


def load_model(path: Path) -> BranchClassifier:
    """A model that `save_model` wrote; a `UserError` if the file is damaged or holds another model."""
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises many types for a damaged or foreign file.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: can't be loaded as a Keras model: {reason}") from error
    if not isinstance(model, BranchClassifier):
        raise UserError(f"{path}: is a {type(model).__name__}, not a model of clan-tf.")
    return model


def save_model(model: BranchClassifier, path: Path) -> None:
    """Writes a `.keras` file whole or not at all."""
    with replacing(path) as temporary:
        model.save(temporary)


def _make_numbered(root: Path, name: str) -> Path:
    taken = [int(path.name[len(name) + 1 :]) for path in root.glob(f"{name}-*") if path.name[len(name) + 1 :].isdigit()]
    number = max(taken, default=0) + 1
    while True:
        try:
            path = root / f"{name}-{number:03d}"
            path.mkdir()
            return path
        except FileExistsError:
            number += 1
