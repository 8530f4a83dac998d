"""What must hold before a model is exported."""

from collections.abc import Sequence
from pathlib import Path

from clan_tf.errors import UserError
from clan_tf.runtime.contract import EXPORT_FILE


def require_free(folder: Path, force: bool) -> None:
    """Raises a `UserError` if a folder exists, unless it is an export that may give way."""
    if not folder.exists():
        return
    if not force:
        raise UserError(f"--output: {folder} exists. Name another folder, or replace it: --force.")
    if not (folder / EXPORT_FILE).is_file():
        raise UserError(f"--force: {folder} isn't an export (it has no {EXPORT_FILE}), and is left alone.")


def require_lines(path: Path, class_names: Sequence[str]) -> None:
    """Raises a `UserError` for a class name that doesn't fit on a line of a list of labels."""
    for name in class_names:
        if name.splitlines() != [name]:
            raise UserError(f"{path}: the class name {name!r} isn't one line of text, as lists of labels need.")
