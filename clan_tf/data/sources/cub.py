"""CUB-200-2011 in its official layout."""

from collections.abc import Mapping
from pathlib import Path

from clan_tf.config import DataConfig
from clan_tf.data.sources.listings import look_up, read_table
from clan_tf.data.sources.source import Box, Photo, Source, drawn_box, inside, official_counts, require_folder
from clan_tf.errors import UserError

OFFICIAL_CLASSES = 200
OFFICIAL_PHOTOS = {"train": 5994, "test": 5794}
LAYOUT = (
    "The official layout has images.txt, image_class_labels.txt, train_test_split.txt, classes.txt, images/ and, "
    "for data.crop_to_box, bounding_boxes.txt."
)


def read_cub(config: DataConfig) -> Source:
    """Reads `images.txt`, `image_class_labels.txt`, `train_test_split.txt` and `classes.txt` beside `images/`.

    With `crop_to_box`, also `bounding_boxes.txt`. The splits are the official ones.

    Raises:
        UserError: for a missing file, a malformed line, or a path that leaves `images/`.
    """
    root = require_folder(config.root, "cub")
    classes = read_table(root / "classes.txt", LAYOUT)
    labels = read_table(root / "image_class_labels.txt", LAYOUT)
    is_train = read_table(root / "train_test_split.txt", LAYOUT)
    boxes = read_table(root / "bounding_boxes.txt", LAYOUT) if config.crop_to_box else {}
    order = {number: label for label, number in enumerate(classes)}
    splits: dict[str, list[Photo]] = {"train": [], "test": []}
    for number, name in read_table(root / "images.txt", LAYOUT).items():
        label = _label(number, name, look_up(labels, number, root / "image_class_labels.txt"), order, root)
        flag = look_up(is_train, number, root / "train_test_split.txt")
        if flag not in ("0", "1"):
            listed_in = root / "train_test_split.txt"
            raise UserError(f"{listed_in}: number {number} must be 0, for test, or 1, for train; received {flag!r}.")
        path = inside(root / "images", name, root / "images.txt")
        box = _box(look_up(boxes, number, root / "bounding_boxes.txt"), root) if config.crop_to_box else None
        splits["train" if flag == "1" else "test"].append(Photo(str(path), label, box=box))
    if not splits["train"]:
        raise UserError(f"{root / 'train_test_split.txt'}: no photo is marked 1, for train.")
    notes = official_counts(splits, OFFICIAL_PHOTOS) if len(classes) == OFFICIAL_CLASSES else ()
    return Source(tuple(classes.values()), splits, notes)


def _label(number: str, name: str, class_number: str, order: Mapping[str, int], root: Path) -> int:
    """Returns the index of a photo's class, whose number is listed in `classes.txt`."""
    if class_number in order:
        return order[class_number]
    numbers = list(order) or ["none"]
    raise UserError(
        f"{root / 'image_class_labels.txt'}: number {number} ({name}) has the class {class_number!r}; the classes of "
        f"{root / 'classes.txt'} are {numbers[0]} to {numbers[-1]}."
    )


def _box(text: str, root: Path) -> Box:
    """Reads `LEFT TOP WIDTH HEIGHT` in pixels, as decimal numbers."""
    listed_in = root / "bounding_boxes.txt"
    try:
        left, top, width, height = map(float, text.split())
    except ValueError:
        raise UserError(f"{listed_in}: a line must be NUMBER LEFT TOP WIDTH HEIGHT; received {text!r}.") from None
    return drawn_box(left, top, left + width, top + height, listed_in)
