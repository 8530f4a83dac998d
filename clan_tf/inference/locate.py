"""What a MODEL path stands for."""

from pathlib import Path

from clan_tf.errors import UserError
from clan_tf.run import RunDirectory, find_run_above, is_run
from clan_tf.runtime.contract import file_of_export


def find_model(model: str | Path) -> tuple[Path, RunDirectory | None]:
    """Resolves MODEL, a run directory, an export's folder or a file, to its `.keras` file and its run, if any.

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
        raise _no_model(path, "not a regular file" if path.exists() else "no such file or folder")
    if path.suffix != ".keras":
        raise _no_model(path, "not a .keras file")
    return path, find_run_above(path)


def _no_model(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: {reason}. A model is a run directory or a .keras file; predict, evaluate and benchmark also take a "
        ".tflite or .onnx file, a SavedModel folder, or the folder of an export."
    )
