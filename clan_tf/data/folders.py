"""Photos in class folders: a folder per split and class, or one folder per class that is cut into splits."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from clan_tf.config import DataConfig
from clan_tf.data.source import Photo, Source, cut, require_folder
from clan_tf.errors import UserError

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_CLUTTER = ("Thumbs.db", "desktop.ini")


def read_folders(config: DataConfig) -> Source:
    """`ROOT/train/CLASS/…` (with `val/` and `test/` where they exist), or `ROOT/CLASS/…`.

    From one folder per class the test photos are cut by a seeded stratified split. The classes are the names
    of the folders, sorted.

    Raises:
        UserError: for a folder that is missing or empty, or a class that train doesn't have.
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
    class_names = tuple(folder.name for folder in _subfolders(split_folders["train"]))
    _require_classes(split_folders["train"], class_names)
    for folder in split_folders.values():
        unknown = [sub.name for sub in _subfolders(folder) if sub.name not in class_names]
        if unknown:
            raise UserError(
                f"data.root: {folder} has the classes {', '.join(unknown[:5])}, which {split_folders['train']} lacks."
            )
    splits = {split: _photos(folder, class_names) for split, folder in split_folders.items()}
    _require_photos(root, splits["train"])
    return Source(class_names, splits)


def _read_class_folders(root: Path, config: DataConfig) -> Source:
    class_names = tuple(folder.name for folder in _subfolders(root))
    _require_classes(root, class_names)
    photos = _photos(root, class_names)
    _require_photos(root, photos)
    train, test = cut(photos, config.test_fraction, config.split_seed)
    return Source(class_names, {"train": train, "test": test})


def _photos(folder: Path, class_names: Sequence[str]) -> list[Photo]:
    return [
        Photo(str(path), label)
        for label, name in enumerate(class_names)
        for path in sorted((folder / name).rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name not in _CLUTTER
    ]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _require_classes(folder: Path, class_names: Sequence[str]) -> None:
    if not class_names:
        raise UserError(f"data.root: {folder} has no class folders. Expected is a folder of photos for each class.")


def _require_photos(root: Path, photos: Sequence[Photo]) -> None:
    if not photos:
        raise UserError(f"data.root: the class folders in {root} are empty.")
