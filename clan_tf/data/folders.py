"""Photos in class folders: a folder per split and class, or one folder per class that is cut into splits."""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NoReturn

from clan_tf.config import DataConfig
from clan_tf.data.cutting import cut
from clan_tf.data.source import Photo, Source, require_folder
from clan_tf.errors import UserError, counted
from clan_tf.photos.listing import PHOTO_SUFFIXES

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_CLUTTER = ("Thumbs.db", "desktop.ini")
DOCUMENTS = (
    *(".txt", ".md", ".rtf", ".pdf", ".doc", ".docx", ".odt", ".csv", ".tsv", ".xls", ".xlsx", ".ods"),
    *(".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".htm", ".log", ".py", ".sh", ".mat", ".npy"),
    *(".zip", ".gz", ".tar", ".7z", ".rar", ".mp3", ".wav", ".mp4", ".mov", ".avi", ".mkv"),
)
"""Files that people keep beside photos. A file of any other name is a photo, or a broken one."""


def read_folders(config: DataConfig) -> Source:
    """`ROOT/train/CLASS/…` (with `val/` and `test/` where they exist), or `ROOT/CLASS/…`.

    From one folder per class the test photos are cut by a seeded stratified split. The classes are the names of the
    folders of all splits, sorted. Files named as `DOCUMENTS` are left out, and a note says so. A link that leads
    nowhere is a broken photo.

    Raises:
        UserError: for a folder that is missing or has no photos at all.
        OSError: for one that can't be listed.
    """
    root = require_folder(config.root, "folders")
    split_folders = _split_folders(root)
    return _read_split_folders(root, split_folders) if split_folders else _read_class_folders(root, config)


def _split_folders(root: Path) -> dict[str, Path]:
    found = {}
    for split, names in SPLIT_FOLDERS.items():
        for folder in _subfolders(root):
            if folder.name.lower() in names:
                found[split] = folder
    if found and "train" not in found:
        raise UserError(f"data.root: {root} has {', '.join(f'{f.name}/' for f in found.values())} but no train/.")
    return found


def _read_split_folders(root: Path, split_folders: Mapping[str, Path]) -> Source:
    _require_classes(split_folders["train"])
    class_names = tuple(sorted({sub.name for folder in split_folders.values() for sub in _subfolders(folder)}))
    files = {split: _files(folder, class_names) for split, folder in split_folders.items()}
    splits = {split: _photos(found) for split, found in files.items()}
    _require_photos(root, splits["train"])
    return _with_left_out(Source(class_names, splits), chain.from_iterable(files.values()))


def _read_class_folders(root: Path, config: DataConfig) -> Source:
    _require_classes(root)
    class_names = tuple(folder.name for folder in _subfolders(root))
    files = _files(root, class_names)
    photos = _photos(files)
    _require_photos(root, photos)
    train, test = cut(photos, config.test_fraction, config.split_seed)
    return _with_left_out(Source(class_names, {"train": train, "test": test}), files)


def _files(folder: Path, class_names: Sequence[str]) -> list[Photo]:
    return [
        Photo(str(path), label)
        for label, name in enumerate(class_names)
        for path in _paths_below(folder / name)
        if not path.name.startswith(".") and path.name not in _CLUTTER and _may_be_photo(path)
    ]


def _paths_below(folder: Path) -> list[Path]:
    """The files at any depth, sorted; links that lead nowhere are among them."""
    if not folder.exists():
        return []
    return sorted(Path(place, name) for place, _, names in os.walk(folder, onerror=_refuse) for name in names)


def _refuse(error: OSError) -> NoReturn:
    raise error


def _may_be_photo(path: Path) -> bool:
    """Whether it is a file, or can't be looked at, which the check of the photos reports."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _photos(files: Iterable[Photo]) -> list[Photo]:
    return [file for file in files if not _is_document(file)]


def _with_left_out(source: Source, files: Iterable[Photo]) -> Source:
    left_out = tuple(file.name for file in files if _is_document(file))
    if not left_out:
        return source
    note = f"Not photos by name, and left out: {counted(len(left_out), 'file')}, such as {left_out[0]}."
    return replace(source, notes=(*source.notes, note), left_out=left_out)


def _is_document(file: Photo) -> bool:
    return Path(file.name).suffix.lower() in DOCUMENTS


def _subfolders(folder: Path) -> list[Path]:
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    for path in paths:
        is_file = path.suffix.lower() in (*DOCUMENTS, *PHOTO_SUFFIXES)
        if path.is_symlink() and not path.exists() and not is_file:
            raise UserError(
                f"data.root: {path} is a link to {os.readlink(path)}, which isn't there. Mend or remove it."
            )
    return [path for path in paths if path.is_dir()]


def _require_classes(folder: Path) -> None:
    if not _subfolders(folder):
        raise UserError(f"data.root: {folder} has no class folders. Expected is a folder of photos for each class.")


def _require_photos(root: Path, photos: Sequence[Photo]) -> None:
    if not photos:
        raise UserError(f"data.root: the class folders in {root} are empty.")
