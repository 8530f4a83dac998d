"""Folders of photos, clean and spoilt."""

from pathlib import Path

import pytest
from PIL import Image

from helpers.data_check import CLASSES, encoded, picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder per split and class with twenty photos that nothing is wrong with."""
    numbers = iter(range(100))
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        for name in CLASSES:
            folder = tmp_path / "birds" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                (folder / f"{index}.jpg").write_bytes(encoded(picture(next(numbers)), quality=95))
    return tmp_path / "birds"


@pytest.fixture
def spoilt(root: Path) -> Path:
    """With a broken test photo, two leaks, a copy in train, and a picture under two labels."""
    (root / "test" / CLASSES[0] / "broken.jpg").write_bytes(b"")
    test, val, train = (root / split / CLASSES[0] for split in ("test", "val", "train"))
    (train / "of_test.jpg").write_bytes(encoded(Image.open(test / "0.jpg"), quality=60))
    (train / "of_val.jpg").write_bytes((val / "0.jpg").read_bytes())
    (train / "twice.jpg").write_bytes((train / "0.jpg").read_bytes())
    (root / "train" / CLASSES[1] / "otherwise.jpg").write_bytes((train / "1.jpg").read_bytes())
    return root
