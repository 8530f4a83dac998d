"""The run directory: the one place that knows its file names."""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from clan_tf.config import Experiment, flatten, load_experiment
from clan_tf.config.yaml_text import parse_yaml
from clan_tf.errors import UserError, listed
from clan_tf.files import only_process, read_json, read_rows, read_text, write_json, write_text
from clan_tf.files.temporary import is_temporary
from clan_tf.files.writing import LOCK
from clan_tf.run.checkpoints import CHECKPOINT, candidate_file
from clan_tf.run.documents import Data, Ended, Environment, Unfinished
from clan_tf.run.evaluation_folder import EvaluationFolder
from clan_tf.run.numbered import make_numbered
from clan_tf.run.older import former_values, own_architecture

Status = Literal["running", "finished", "stopped", "failed"]
START = ".clan-tf-start"
"""A file that a run directory holds until it has a status: a run killed before that may be restarted."""
_LOG = re.compile(r"events\.out\.tfevents\..+")
_END = "...\n"
"""YAML's end of a document; a truncated file lacks it."""
_RESTORE = "Restore it from a copy, or train anew in another --run-dir."


@dataclass(frozen=True)
class Outcome:
    """How a training run went.

    Attributes:
        epochs: how many epochs were trained.
        best_epoch: the epoch of `best.keras`, counted from 1.
        best_accuracy: its validation accuracy of the combined prediction, 0…1.
        seconds: training time, over all processes that resumed the run.
    """

    epochs: int
    best_epoch: int
    best_accuracy: float
    seconds: float


class RunDirectory:
    """A folder with everything about one run.

    `FILES` is what training and `evaluate` write into it; exports and a report may come later.
    """

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

    RANGE_TEST = ("learning_rate.csv", "learning_rate.png")
    """Further files of runs that chose their learning rate themselves."""

    INIT_PHOTOS = "init_photos.csv"
    """A further file of runs that started from a trained model."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, name: str, path: str | Path | None = None, root: str | Path = "runs") -> "RunDirectory":
        """Creates `path`, or the next free `ROOT/NAME-001`, `ROOT/NAME-002`, …

        Raises:
            UserError: if `path` exists or can't be made.
        """
        try:
            if path is not None:
                Path(path).mkdir(parents=True)
                return cls(path)
            Path(root).mkdir(parents=True, exist_ok=True)
            return cls(make_numbered(Path(root), name))
        except FileExistsError as error:
            raise UserError(
                f"--run-dir: {path or root} exists, and a run is never overwritten. Give another folder, or leave "
                "--run-dir out for a numbered one."
            ) from error
        except OSError as error:
            raise UserError(
                f"--run-dir: {path or root} can't be made: {error.strerror}. Give another folder."
            ) from error

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """Where the run was made: versions, devices, commit and command."""
        return self.path / "environment.json"

    @property
    def data(self) -> Path:
        """What the data is: its source, classes and counts."""
        return self.path / "data.json"

    @property
    def labels(self) -> Path:
        """The class names, a line each."""
        return self.path / "labels.txt"

    @property
    def status(self) -> Path:
        """Whether the run is still running, or how it ended."""
        return self.path / "status.json"

    @property
    def report(self) -> Path:
        """The page that `clan-tf report` writes."""
        return self.path / "report.html"

    @property
    def best(self) -> Path:
        """The model of the best epoch (`clan_tf.training.best_epoch`)."""
        return self.path / "best.keras"

    @property
    def last(self) -> Path:
        """The model of the last epoch; written when training ends."""
        return self.path / "last.keras"

    @property
    def checkpoints(self) -> Path:
        """Folder of the states that a stopped run is resumed from."""
        return self.path / "checkpoints"

    @property
    def splits(self) -> Path:
        """Which photo was in which split, with the hash of its content."""
        return self.path / "splits.csv"

    @property
    def init_photos(self) -> Path:
        """Which photos the model that the run started from was trained on, or chosen by."""
        return self.path / self.INIT_PHOTOS

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

    def evaluation(self, split: str, branches: Sequence[str] | None = None) -> EvaluationFolder:
        """Returns the folder of an evaluation of the usual branches (`None`) or of others, with its own tables."""
        name = f"{split}-{'+'.join(branches)}" if branches else split
        return EvaluationFolder(self.path / "evaluation" / name, self.best)

    def range_test(self, kind: Literal["csv", "png"]) -> Path:
        """Returns the table or the picture of how the learning rate was chosen."""
        return self.path / f"learning_rate.{kind}"

    def export(self, kind: str) -> Path:
        """Returns the folder of one export, such as `tflite-int8`."""
        return exports_in(self.path) / kind

    def write_start(self, experiment: Experiment, environment: dict[str, Any], data: dict[str, Any]) -> None:
        """Writes what is known before training: the resolved config, the environment and the data's description."""
        write_text(self.config, experiment.to_yaml() + _END)
        self.write_environment(environment)
        write_json(self.data, data)
        write_text(self.labels, "".join(f"{name}\n" for name in data["class_names"]))
        self.write_status("running")

    def mark_start(self) -> None:
        """Marks this folder, which must hold nothing else, as one where training is about to start.

        Raises:
            UserError: if it holds anything else.
        """
        require_unstarted(self.path)
        write_text(self.path / START, "A run that was killed before its first status may be started anew here.\n")

    def write_environment(self, environment: dict[str, Any]) -> None:
        """Writes where the run was made, and the other environments in which it was resumed."""
        write_json(self.environment, environment)

    def write_status(self, status: Status, **details: Any) -> None:
        """Writes whether the run is still running or how it ended."""
        write_json(self.status, {"status": status, **details})
        (self.path / START).unlink(missing_ok=True)

    def read_status(self) -> dict[str, Any]:
        """Reads what `write_status` wrote last; raises a `UserError` if it is damaged."""
        kinds = Annotated[Ended | Unfinished, Field(discriminator="status")]
        return read_json(self.status, kinds, _RESTORE).model_dump()

    def read_data(self) -> dict[str, Any]:
        """Reads `data.json`; raises a `UserError` if it is damaged."""
        return read_json(self.data, Data, _RESTORE).model_dump()

    def read_environment(self) -> dict[str, Any]:
        """Reads `environment.json`; raises a `UserError` if it is damaged."""
        way_out = "Restore it from a copy; nothing but the text of reports depends on it."
        return read_json(self.environment, Environment, way_out).model_dump()

    def read_metrics(self) -> list[dict[str, str]]:
        """Reads the rows of `metrics.csv`, numbers as text; raises a `UserError` if it is damaged."""
        way_out = "Restore it from a copy; --resume writes it anew if the run isn't finished."
        names = ("loss", "combined_accuracy")
        columns = ("epoch", *names, *(f"val_{name}" for name in names))
        rows = read_rows(self.metrics, columns, way_out, is_number=lambda column: True)
        if [row["epoch"] for row in rows] != [str(number) for number in range(1, len(rows) + 1)]:
            raise UserError(f"{self.metrics}: is damaged (its epochs aren't 1, 2, 3, …). {way_out}")
        if not all(name.removeprefix("val_") in rows[0] for name in rows[0]):
            raise UserError(f"{self.metrics}: is damaged (a column of validation has none of training). {way_out}")
        return rows

    def outcome(self) -> Outcome | None:
        """Returns how a finished run went; `None` if the run isn't finished."""
        status = self.read_status()
        if status.pop("status") != "finished":
            return None
        return Outcome(**status)

    def experiment(self, overrides: Sequence[str] = ()) -> Experiment:
        """Returns the resolved config; raises a `UserError` if it can't be read or isn't complete.

        Args:
            overrides: `KEY=VALUE` texts applied to it.
        """
        experiment = load_experiment(self.config, [*own_architecture(self.config), *overrides])
        text = read_text(self.config, "RUN")
        written = dict(flatten(parse_yaml(text) or {}))
        missing = [key for key in experiment.flat() if key not in written]
        # A file with the end marker may be from an older version, which knew fewer keys.
        if missing and not text.endswith(_END):
            raise UserError(f"{self.config}: is damaged (it has no {missing[0]}). {_RESTORE}")
        former = former_values(missing, experiment.model.architecture)
        if not former:
            return experiment
        return load_experiment(self.config, [*own_architecture(self.config), *former, *overrides])

    def claimed(self) -> AbstractContextManager[None]:
        """Keeps other processes from training in this folder; entering it raises a `UserError` if one does."""
        return only_process(self.path)

    def candidate(self, epoch: int) -> Path:
        """Returns what becomes `best` once the checkpoint after its epoch is written."""
        return candidate_file(self.checkpoints, epoch)

    def remove_checkpoints(self) -> None:
        """Deletes only the files there that an unfinished run needs."""
        _remove_files(self.checkpoints, CHECKPOINT)
        _remove_folder(self.checkpoints)

    def remove_start(self) -> None:
        """Deletes the files of a run that failed before its first checkpoint; other files and the folder stay."""
        self.remove_checkpoints()
        _remove_files(self.tensorboard, _LOG)
        _remove_folder(self.tensorboard)
        names = (*self.FILES, *self.RANGE_TEST, self.INIT_PHOTOS, START, LOCK)
        own = [re.escape(name) for name in names if not name.endswith("/")]
        _remove_files(self.path, re.compile("|".join(own)))


def exports_in(folder: Path) -> Path:
    """Names the folder of exports: that of a run, or of a `.keras` file without a run."""
    return folder / "exports"


def is_run(path: Path) -> bool:
    """Checks whether a folder is a run directory."""
    run = RunDirectory(path)
    return run.config.is_file() and run.status.is_file()


def is_unstarted(path: Path) -> bool:
    """Checks whether a folder is empty, or holds only files of a run that was killed before it had a status."""
    return path.is_dir() and not _foreign_names(path)


def require_unstarted(path: Path) -> None:
    """Raises a `UserError` naming what keeps a run from starting in a folder."""
    if not path.is_dir():
        raise UserError(f"--run-dir: {path} isn't a folder. Give one that doesn't exist or is empty.")
    foreign = _foreign_names(path)
    if foreign:
        raise UserError(
            f"--run-dir: {path} isn't a run directory (it has no config.yaml and status.json), and holds "
            f"{listed(foreign, 3)}. Give a folder that doesn't exist or is empty."
        )


def _foreign_names(path: Path) -> list[str]:
    names = {entry.name for entry in path.iterdir() if not is_temporary(entry)} - {LOCK}
    listed_names = (*RunDirectory.FILES, *RunDirectory.RANGE_TEST, RunDirectory.INIT_PHOTOS)
    own = {START, *(name.rstrip("/") for name in listed_names)} - {"status.json"}
    return sorted(names - own if START in names else names)


def _remove_files(folder: Path, names: re.Pattern) -> None:
    """Deletes the files of a folder whose names match, and leftovers of writing such files."""
    with suppress(OSError):
        for entry in list(folder.iterdir()):
            if entry.is_file() and (names.fullmatch(entry.name) or is_temporary(entry)):
                entry.unlink()


def _remove_folder(folder: Path) -> None:
    with suppress(OSError):  # it holds something, or is a link
        folder.rmdir()


def find_run_above(path: Path) -> RunDirectory | None:
    """Finds the run directory that contains a file, such as an export, at any depth."""
    return next((RunDirectory(folder) for folder in path.absolute().parents if is_run(folder)), None)
