"""Resolution of MODEL paths: the only place that decides which file a path stands for.

Modules for runs are imported only if needed, so that exported files can be located with few packages.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clan_tf.errors import UserError
from clan_tf.runtime.contract import file_of_export

if TYPE_CHECKING:
    from clan_tf.run import RunDirectory

ModelKind = Literal["keras", "saved_model", "tflite", "onnx"]


@dataclass(frozen=True)
class LocatedModel:
    """A resolved MODEL path.

    Attributes:
        path: the path that the user gave.
        file: the `.keras`, `.tflite` or `.onnx` file, or the SavedModel folder.
    """

    path: Path
    file: Path

    @property
    def kind(self) -> ModelKind:
        """The format of the file."""
        kinds: dict[str, ModelKind] = {".keras": "keras", ".tflite": "tflite", ".onnx": "onnx"}
        return kinds.get(self.file.suffix, "saved_model") if not self.file.is_dir() else "saved_model"

    @property
    def is_exported(self) -> bool:
        """Whether a runtime other than Keras runs it."""
        return self.kind != "keras"

    @cached_property
    def run(self) -> "RunDirectory | None":
        """The run that the model belongs to, if any."""
        from clan_tf.run import RunDirectory, find_run_above, is_run

        return RunDirectory(self.path) if is_run(self.path) else find_run_above(self.file)


def locate(model: str | Path) -> LocatedModel:
    """Resolves MODEL to its file and its run.

    Args:
        model: a run directory, a `.keras`, `.tflite` or `.onnx` file, a folder with `saved_model.pb`, a folder with
            versions of it (the highest is used), or a folder that `clan-tf export` made.

    Raises:
        UserError: if there is no such file, the run has no checkpoint yet, or an `export.json` is damaged.
    """
    path = Path(model)
    file = _exported_file(path)
    if file == path and not path.exists():
        raise _no_model(path, "no such file or folder")
    return LocatedModel(path, file) if file else locate_keras(model)


def locate_keras(model: str | Path) -> LocatedModel:
    """Resolves MODEL to its `.keras` file and its run, for tasks that an exported file can't do.

    Args:
        model: a run directory, a `.keras` file, or the folder of an export that holds one.

    Raises:
        UserError: as in `locate`, and for an exported file.
    """
    from clan_tf.run import RunDirectory, is_run

    path = file_of_export(Path(model)) or Path(model)
    if path.is_dir():
        run = RunDirectory(path)
        if not is_run(path):
            raise _no_model(path, "not a run directory (it has no config.yaml and status.json)")
        if not run.best.is_file():
            status = run.read_status()["status"]
            if status == "finished":
                raise UserError(f"{run.best}: is missing from a finished run. Restore it from a copy, or train again.")
            raise UserError(f"{path}: this run has no checkpoint yet; it is {status}.")
        return LocatedModel(path, run.best)
    if not path.is_file():
        raise _no_model(path, "not a regular file" if path.exists() else "no such file or folder")
    if path.suffix != ".keras":
        raise _no_model(path, "not a .keras file")
    return LocatedModel(Path(model), path)


def _exported_file(path: Path) -> Path | None:
    """Finds the exported file or SavedModel folder that a path stands for; `None` if it doesn't look like one."""
    file = _servable(path)
    if file is None and (exported := file_of_export(path)):
        return _servable(exported)
    return file


def _servable(path: Path) -> Path | None:
    """Finds a `.tflite` or `.onnx` file, a folder with `saved_model.pb`, or the highest version in a folder."""
    if path.suffix in (".tflite", ".onnx"):
        return path
    versions = [path / str(number) for number in sorted((int(child.name) for child in _numbered(path)), reverse=True)]
    folders = (folder for folder in (path, *versions) if (folder / "saved_model.pb").is_file())
    return next(folders, None)


def _numbered(path: Path) -> list[Path]:
    children = path.iterdir() if path.is_dir() else ()
    return [child for child in children if child.name.isascii() and child.name.isdecimal()]


def _no_model(path: Path, reason: str) -> UserError:
    from clan_tf.run import find_run_above, nearest_run

    owner = find_run_above(path) if path.exists() else None
    hint = f" Give the run that it is in: {owner.path}." if owner else nearest_run(path, (".keras", ".tflite", ".onnx"))
    return UserError(
        f"{path}: {reason}.{hint} A model is a run directory or a .keras file; predict, evaluate and benchmark also "
        "take a .tflite or .onnx file, a SavedModel folder, or the folder of an export."
    )
