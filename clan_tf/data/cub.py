"""CUB-200-2011 in its official layout."""

from pathlib import Path

from clan_tf.config import DataConfig
from clan_tf.data.source import Photo, Source, check_classes, require_folder, with_validation
from clan_tf.errors import UserError


def read_cub(config: DataConfig) -> Source:
    """The folder with `images.txt`, `image_class_labels.txt`, `train_test_split.txt`, `classes.txt` and `images/`.

    Validation photos are cut from the official train split; the official test split is left as it is.

    Raises:
        UserError: for a missing file, a line that isn't as it should be, or a path that leaves `images/`.
    """
    root = require_folder(config.root, "cub")
    classes = _table(root / "classes.txt")
    labels = _table(root / "image_class_labels.txt")
    is_train = _table(root / "train_test_split.txt")
    order = {number: label for label, number in enumerate(classes)}
    splits: dict[str, list[Photo]] = {"train": [], "test": []}
    for number, name in _table(root / "images.txt").items():
        label = _look_up(order, _look_up(labels, number, root / "image_class_labels.txt"), root / "classes.txt")
        flag = _look_up(is_train, number, root / "train_test_split.txt")
        path = _inside(root / "images", name)
        splits["train" if flag == "1" else "test"].append(Photo(str(path), label))
    if not splits["train"]:
        raise UserError(f"{root / 'train_test_split.txt'}: no photo is marked 1, for train.")
    validated = with_validation(splits, config.validation_fraction, config.split_seed)
    return check_classes(Source(tuple(classes.values()), validated), root)


def _table(path: Path) -> dict[str, str]:
    """A file of lines `NUMBER VALUE` as a dict."""
    if not path.is_file():
        raise UserError(
            f"data.root: there is no {path}. The official layout has images.txt, image_class_labels.txt, "
            "train_test_split.txt, classes.txt and images/."
        )
    table = {}
    for line_number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        number, space, value = line.strip().partition(" ")
        if not line.strip():
            continue
        if not space:
            raise UserError(f"{path}, line {line_number}: must be NUMBER VALUE; received {line!r}.")
        table[number] = value
    return table


def _look_up(table: dict[str, str] | dict[str, int], number: str, path: Path) -> str | int:
    if number not in table:
        raise UserError(f"{path}: has no line for number {number}.")
    return table[number]


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"images.txt: {name!r} leaves {folder}.")
    if not path.is_file():
        raise UserError(f"images.txt: there is no {path}.")
    return path
