"""FGVC-Aircraft in its official layout."""

from collections.abc import Mapping
from pathlib import Path

from clan_tf.config import DataConfig
from clan_tf.data.sources.listings import look_up, read_lines, read_table
from clan_tf.data.sources.source import Box, Photo, Source, drawn_box, inside, official_counts, require_folder
from clan_tf.errors import UserError

CLASS_FILES = {"variant": "variants.txt", "family": "families.txt", "manufacturer": "manufacturers.txt"}
OFFICIAL_CLASSES = {"variant": 100, "family": 70, "manufacturer": 30}
OFFICIAL_PHOTOS = {"train": 6667, "test": 3333}
PHOTO_LISTS = {"train": "trainval", "test": "test"}
WITHOUT_BANNER = Box(bottom=-20)
"""The lowest 20 rows of every photo are a copyright banner."""

LAYOUT = (
    "The official layout has data/ with images/, variants.txt, families.txt, manufacturers.txt, "
    "images_variant_trainval.txt, images_variant_test.txt and the same for family and manufacturer."
)


def read_aircraft(config: DataConfig) -> Source:
    """Reads the folder `data/` of the official archive, or a folder above it; `level` says what the classes are.

    Train is the official trainval, test the official test. Every photo loses its banner; with `crop_to_box` it is cut
    to the box of `images_box.txt` instead, which doesn't reach into the banner.

    Raises:
        UserError: for a missing file, a class that isn't in the list, or a path that leaves `images/`.
    """
    folder = _data_folder(require_folder(config.root, "aircraft"))
    class_names = tuple(line for line in read_lines(folder / CLASS_FILES[config.level], LAYOUT) if line)
    boxes = read_table(folder / "images_box.txt", LAYOUT) if config.crop_to_box else None
    splits = {
        split: _photos(folder, f"images_{config.level}_{photo_list}.txt", class_names, boxes)
        for split, photo_list in PHOTO_LISTS.items()
    }
    is_full = len(class_names) == OFFICIAL_CLASSES[config.level]
    return Source(class_names, splits, official_counts(splits, OFFICIAL_PHOTOS) if is_full else ())


def _data_folder(root: Path) -> Path:
    official = Path("fgvc-aircraft-2013b") / "data"
    for folder in (root, root / "data", root / official, root / "fgvc-aircraft-2013b" / official):
        if (folder / "images").is_dir():
            return folder
    raise UserError(f"data.root: neither {root} nor {root / 'data'} has images/. {LAYOUT}")


def _photos(folder: Path, file_name: str, class_names: tuple[str, ...], boxes: Mapping[str, str] | None) -> list[Photo]:
    """Returns the photos of a list with lines `ID CLASS`; IDs have leading zeros, names contain spaces and slashes."""
    listed_in = folder / file_name
    labels = {name: label for label, name in enumerate(class_names)}
    photos = []
    for photo_id, name in read_table(listed_in, LAYOUT).items():
        if name not in labels:
            raise UserError(f"{listed_in}: {photo_id} has the class {name!r}, which is not in the list of classes.")
        path = inside(folder / "images", f"{photo_id}.jpg", listed_in)
        photos.append(Photo(str(path), labels[name], box=_box(photo_id, boxes, folder / "images_box.txt")))
    return photos


def _box(photo_id: str, boxes: Mapping[str, str] | None, listed_in: Path) -> Box:
    """Reads a line `ID LEFT TOP RIGHT BOTTOM`; the first pixel is 1 and the last belongs to the box."""
    if boxes is None:
        return WITHOUT_BANNER
    text = look_up(boxes, photo_id, listed_in)
    try:
        left, top, right, bottom = map(int, text.split())
    except ValueError:
        raise UserError(f"{listed_in}: a line must be ID LEFT TOP RIGHT BOTTOM; received {text!r}.") from None
    return drawn_box(left - 1, top - 1, right, bottom, listed_in)
