"""CUB-200-2011 in its official layout."""

from pathlib import Path

from clan_tf.config import DataConfig
from clan_tf.data.source import Box, Photo, Source, inside, official_counts, require_folder
from clan_tf.errors import UserError

OFFICIAL_CLASSES = 200
OFFICIAL_PHOTOS = {"train": 5994, "test": 5794}


def read_cub(config: DataConfig) -> Source:
    """The folder with `images.txt`, `image_class_labels.txt`, `train_test_split.txt`, `classes.txt` and `images/`.

    With `crop_to_box`, also `bounding_boxes.txt`. The splits are the official ones.

    Raises:
        UserError: for a missing file, a line that isn't as it should be, or a path that leaves `images/`.
    """
    root = require_folder(config.root, "cub")
    classes = _table(root / "classes.txt")
    labels = _table(root / "image_class_labels.txt")
    is_train = _table(root / "train_test_split.txt")
    boxes = _table(root / "bounding_boxes.txt") if config.crop_to_box else {}
    order = {number: label for label, number in enumerate(classes)}
    splits: dict[str, list[Photo]] = {"train": [], "test": []}
    for number, name in _table(root / "images.txt").items():
        label = _look_up(order, _look_up(labels, number, root / "image_class_labels.txt"), root / "classes.txt")
        flag = _look_up(is_train, number, root / "train_test_split.txt")
        path = inside(root / "images", name, root / "images.txt")
        box = _box(_look_up(boxes, number, root / "bounding_boxes.txt"), root) if config.crop_to_box else None
        splits["train" if flag == "1" else "test"].append(Photo(str(path), label, box=box))
    if not splits["train"]:
        raise UserError(f"{root / 'train_test_split.txt'}: no photo is marked 1, for train.")
    notes = official_counts(splits, OFFICIAL_PHOTOS) if len(classes) == OFFICIAL_CLASSES else ()
    return Source(tuple(classes.values()), splits, notes)


def _box(text: str, root: Path) -> Box:
    """`LEFT TOP WIDTH HEIGHT` in pixels, as decimal numbers."""
    try:
        left, top, width, height = (round(float(number)) for number in text.split())
    except ValueError:
        raise UserError(
            f"{root / 'bounding_boxes.txt'}: a line must be NUMBER LEFT TOP WIDTH HEIGHT; received {text!r}."
        ) from None
    return Box(left, top, left + width, top + height)


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
