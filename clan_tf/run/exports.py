"""The exports in a run, and whether they are of its models as they are now."""

from dataclasses import dataclass
from pathlib import Path

from clan_tf.errors import UserError
from clan_tf.files import file_sha256, read_json
from clan_tf.run.directory import RunDirectory
from clan_tf.runtime.contract import EXPORT_FILE


@dataclass(frozen=True)
class _Made:
    """The content of `export.json`: what an export was made from."""

    model: str
    model_sha256: str | None = None
    """`None` in exports of earlier versions."""


def outdated_exports(run: RunDirectory) -> list[Path]:
    """Lists the folders of a run's exports that aren't known to be of its model as it is now.

    `clan-tf calibrate` changes models. Exports of older versions don't say what they were made from, and are listed.
    """
    files = sorted(run.export("*").parent.glob(f"*/{EXPORT_FILE}"))
    return [file.parent for file in files if _is_current(file, run) is not True]


def is_outdated(run: RunDirectory, file: Path) -> bool:
    """Returns whether a file, or a folder, is of an export in the run that was made before its model was changed."""
    exports = run.export("*").parent.absolute()
    if not file.absolute().is_relative_to(exports) or file.absolute() == exports:
        return False
    folder = exports / file.absolute().relative_to(exports).parts[0]
    return _is_current(folder / EXPORT_FILE, run) is False


def _is_current(file: Path, run: RunDirectory) -> bool | None:
    """Returns whether an export is of the model's file as it is now; `None` if that can't be said."""
    try:
        made = read_json(file, _Made, "")
    except UserError:
        return None
    model = run.path / Path(made.model).name  # the run may have been moved
    if made.model_sha256 is None or not model.is_file():
        return None
    return made.model_sha256 == file_sha256(model)
