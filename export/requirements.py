"""Requirements that must be met before a model is exported."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clan_tf.errors import UserError, listed
from clan_tf.files import read_json, require_folder_or_nothing
from clan_tf.runtime.contract import EXPORT_FILE


@dataclass(frozen=True)
class _Written:
    """The content of `export.json`: what an export wrote."""

    file: str
    files: tuple[str, ...] | None = None
    """`None` in exports of earlier versions."""

    def holds(self, name: str) -> bool:
        """Returns whether the export wrote a file, given by its path in the folder."""
        if self.files is None:
            return Path(self.file) in (Path(name), *Path(name).parents)
        return name in (self.file, *self.files)


def require_free(folder: Path, force: bool) -> None:
    """Raises a `UserError` unless a folder can be made, or may be replaced: an export that holds no other files."""
    require_folder_or_nothing("--output", folder.absolute().parent)
    if not folder.exists():
        return
    if not force:
        raise UserError(f"--output: {folder} exists. Give another folder, or replace it: --force.")
    if not (folder / EXPORT_FILE).is_file():
        raise UserError(f"--force: {folder} isn't an export (it has no {EXPORT_FILE}), and is left alone.")
    written = read_json(folder / EXPORT_FILE, _Written, "Remove the folder, or give another: --output.")
    foreign = [name for name in files_in(folder) if name != EXPORT_FILE and not written.holds(name)]
    if foreign:
        raise UserError(
            f"--force: {folder} also holds {listed(foreign, 3)}, which the export didn't write. Move that elsewhere, "
            "or give another folder: --output."
        )


def files_in(folder: Path) -> list[str]:
    """Lists all files in a folder, by their paths relative to it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not _is_real_folder(path))


def _is_real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def require_lines(path: Path, class_names: Sequence[str]) -> None:
    """Raises a `UserError` for a class name that doesn't fit on one line of a list of labels."""
    for name in class_names:
        if name.splitlines() != [name]:
            raise UserError(f"{path}: the class name {name!r} isn't a single line of text, as lists of labels require.")
