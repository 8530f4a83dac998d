"""Stanford Cars in the layouts in use today."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clan_tf.config import DataConfig
from clan_tf.data.sources.folders import read_folders
from clan_tf.data.sources.matlab import read_names, read_structs
from clan_tf.data.sources.source import Photo, Source, drawn_box, inside, official_counts, require_folder
from clan_tf.data.sources.split_names import SPLIT_FOLDERS
from clan_tf.errors import UserError

OFFICIAL_CLASSES = 196
OFFICIAL_PHOTOS = {"train": 8144, "test": 8041}
LABELLED_TEST = "cars_test_annos_withlabels.mat"
LAYOUTS = (
    "Expected is one of: cars_annos.mat and car_ims/; devkit/, cars_train/ and cars_test/; "
    "train/ and test/ with a folder for each class"
)


def read_cars(config: DataConfig) -> Source:
    """Reads `cars_annos.mat` with `car_ims/`, or `devkit/` with `cars_train/` and `cars_test/`, or class folders.

    Which one it is shows in the root. The splits are the official ones.

    Raises:
        UserError: for a root that is none of them, a missing or damaged file, a label out of range, or a path that
            leaves the folder of its photos.
    """
    root = require_folder(config.root, "cars")
    if (root / "cars_annos.mat").is_file():
        source = _read_one_list(root, config)
    elif _folder(root, "cars_train"):
        source = _read_devkit(root, config)
    else:
        source = _read_class_folders(root, config)
    if len(source.class_names) != OFFICIAL_CLASSES:
        return source
    expected = {split: count for split, count in OFFICIAL_PHOTOS.items() if split in source.splits}
    return replace(source, notes=(*source.notes, *official_counts(source.splits, expected)))


def _read_one_list(root: Path, config: DataConfig) -> Source:
    file = root / "cars_annos.mat"
    class_names = read_names(file, "class_names")
    splits: dict[str, list[Photo]] = {"train": [], "test": []}
    for row in read_structs(file, "annotations"):
        photo = _photo(row, "relative_im_path", root, file, len(class_names), config.crop_to_box)
        splits["test" if _is_test(row, file) else "train"].append(photo)
    return Source(class_names, splits)


def _is_test(row: Mapping[str, Any], file: Path) -> bool:
    try:
        return bool(int(row["test"]))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{file}: annotations must have test, 0 or 1, for each photo.") from None


def _read_devkit(root: Path, config: DataConfig) -> Source:
    devkit = _folder(root, "devkit", "car_devkit/devkit") or root
    meta = devkit / "cars_meta.mat"
    if not meta.is_file():
        missing = root / "devkit" if devkit == root else meta
        raise UserError(f"data.root: there is no {missing}, which goes with {root / 'cars_train'}. {LAYOUTS}.")
    class_names = read_names(meta, "class_names")

    def photos(split: str, file: Path) -> list[Photo]:
        folder = _folder(root, f"cars_{split}/cars_{split}", f"cars_{split}") or root / f"cars_{split}"
        rows = read_structs(file, "annotations")
        return [_photo(row, "fname", folder, file, len(class_names), config.crop_to_box) for row in rows]

    splits = {"train": photos("train", devkit / "cars_train_annos.mat")}
    for file in (devkit / LABELLED_TEST, root / LABELLED_TEST, devkit / "cars_test_annos.mat"):
        if file.is_file() and "class" in read_structs(file, "annotations")[0]:
            return Source(class_names, splits | {"test": photos("test", file)})
    note = f"There is no test split, because {devkit} lacks the labels of the test photos: {LABELLED_TEST}."
    return Source(class_names, splits, (note,))


def _read_class_folders(root: Path, config: DataConfig) -> Source:
    for folder in (root, root / "car_data", root / "car_data" / "car_data"):
        if _folder(folder, *SPLIT_FOLDERS["train"]):
            if config.crop_to_box:
                raise UserError(f"data.crop_to_box: {folder} has class folders, without boxes. Set it to false.")
            return read_folders(config.model_copy(update={"root": folder}))
    raise UserError(f"data.root: {root} isn't a layout of Stanford Cars. {LAYOUTS}.")


def _folder(root: Path, *names: str) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _photo(
    row: Mapping[str, Any], path_field: str, folder: Path, listed_in: Path, classes: int, crop_to_box: bool
) -> Photo:
    """Returns an annotation's photo; its class and pixels count from 1, and its box includes the last pixel."""
    try:
        name, number = str(row[path_field]), int(row["class"])
        sides = [int(row[f"bbox_{side}"]) for side in ("x1", "y1", "x2", "y2")] if crop_to_box else None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{listed_in}: annotations must have {path_field}, class and bbox_…: {error}.") from None
    if not 1 <= number <= classes:
        raise UserError(f"{listed_in}: {name} has the class {number}; classes are 1 to {classes}.")
    path = inside(folder, name, listed_in)
    box = drawn_box(sides[0] - 1, sides[1] - 1, sides[2], sides[3], listed_in) if sides else None
    return Photo(str(path), number - 1, box=box)
