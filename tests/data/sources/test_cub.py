"""CUB-200-2011 against a tiny copy of its layout, with the traps that are in it."""

from pathlib import Path

import pytest
from PIL import Image

from clan_tf.config import DataConfig
from clan_tf.data import read_source
from clan_tf.data.checked_photos import check_photos, used_part
from clan_tf.data.sources import SOURCE_READERS, Box
from clan_tf.errors import UserError
from helpers.photos import write_photo
from helpers.sources import GREY, by_file, mistake, write_lines


@pytest.fixture
def cub_root(tmp_path: Path) -> Path:
    """Ids with gaps, two classes, grayscale photos, boxes with decimal places."""
    numbers = [(7, 1), (8, 1), (10, 2), (11, 2), (12, 1), (13, 2)]
    names = {number: f"{label:03d}.Bird_{label}/Bird_{number}.jpg" for number, label in numbers}
    for number, name in names.items():
        write_photo(tmp_path / "images" / name, GREY)
        with Image.open(tmp_path / "images" / name) as image:
            image.convert("L" if number == 7 else "RGB").save(tmp_path / "images" / name)
    write_lines(tmp_path / "images.txt", *(f"{number} {name}" for number, name in names.items()))
    write_lines(tmp_path / "image_class_labels.txt", *(f"{number} {label}" for number, label in numbers))
    write_lines(tmp_path / "train_test_split.txt", *(f"{number} {int(number < 12)}" for number, _ in numbers))
    write_lines(tmp_path / "classes.txt", "1 001.Bird_1", "2 002.Bird_2")
    write_lines(tmp_path / "bounding_boxes.txt", *(f"{number} 2.0 3.6 10.0 20.5" for number, _ in numbers))
    return tmp_path


def test_cub_photos_are_whole_unless_boxes_are_asked_for(cub_root: Path) -> None:
    whole = by_file(read_source(DataConfig(source="cub", root=cub_root)))
    cut = by_file(read_source(DataConfig(source="cub", root=cub_root, crop_to_box=True)))
    assert whole.keys() == cut.keys()
    assert {photo.box for photo in whole.values()} == {None}
    assert {photo.box for photo in cut.values()} == {Box(2, 4, 12, 24)}
    assert used_part(check_photos([cut["Bird_7.jpg"]]), 0).shape == (20, 10, 3)


def test_cub_boxes_that_are_missing_or_empty_are_refused(cub_root: Path) -> None:
    data = {"source": "cub", "root": cub_root, "crop_to_box": True}
    write_lines(cub_root / "bounding_boxes.txt", "7 0 0 0 0")
    assert "wider and higher than 0" in mistake(**data)
    write_lines(cub_root / "bounding_boxes.txt", "7 0 0 x 0")
    assert "NUMBER LEFT TOP WIDTH HEIGHT" in mistake(**data)
    (cub_root / "bounding_boxes.txt").unlink()
    assert "there is no" in mistake(**data) and "bounding_boxes.txt" in mistake(**data)


def test_the_official_counts_are_checked_when_all_classes_are_there(cub_root: Path) -> None:
    write_lines(cub_root / "classes.txt", *(f"{number} {number:03d}.Bird" for number in range(1, 201)))
    notes = SOURCE_READERS["cub"](DataConfig(source="cub", root=cub_root)).notes
    assert notes == (
        "train has 4 photos; the official train split has 5994.",
        "test has 2 photos; the official test split has 5794.",
    )


def test_a_number_that_is_listed_twice_is_refused(cub_root: Path) -> None:
    write_lines(cub_root / "image_class_labels.txt", "7 1", "7 2")
    assert "line 2: number 7 was there before" in mistake(source="cub", root=cub_root)


@pytest.fixture
def official_cub(tmp_path: Path) -> Path:
    """The official layout: ids with gaps, two classes, the last photo of each for testing."""
    lines: dict[str, list[str]] = {name: [] for name in ("images", "image_class_labels", "train_test_split")}
    for number, (label, index) in enumerate([(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)], start=7):
        name = f"{label:03d}.Bird {label}/Bird_{index}.jpg"
        write_photo(tmp_path / "images" / name, (100, 100, 100))
        lines["images"].append(f"{number} {name}")
        lines["image_class_labels"].append(f"{number} {label}")
        lines["train_test_split"].append(f"{number} {int(index < 2)}")
    lines["classes"] = ["1 001.Bird 1", "2 002.Bird 2"]
    for name, content in lines.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(content) + "\n", encoding="utf-8")
    return tmp_path


def test_cub_is_read_by_its_official_split(official_cub: Path) -> None:
    source = read_source(DataConfig(source="cub", root=official_cub))
    assert source.class_names == ("001.Bird 1", "002.Bird 2")
    assert [Path(photo.name).name for photo in source.splits["test"]] == ["Bird_2.jpg", "Bird_2.jpg"]
    assert [photo.label for photo in source.splits["test"]] == [0, 1]
    assert len(source.splits["train"]) + len(source.splits["val"]) == 4


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("images.txt", "7 ../../secret.jpg\n", "leaves"),
        ("images.txt", "7 001.Bird 1/none.jpg\n", "there is no"),
        ("images.txt", "7\n", "line 1"),
        ("image_class_labels.txt", "7 1\n", "no line for number 8"),
        (
            "image_class_labels.txt",
            "\n".join(f"{n} 9" for n in range(7, 13)),
            r"image_class_labels.txt: .* 7 \(001.*'9'.* 1 to 2",
        ),
        ("train_test_split.txt", "7 1\n8 2\n", "train_test_split.txt: number 8 must be 0.* received '2'"),
        ("train_test_split.txt", "7 True\n", "received 'True'"),
        ("classes.txt", None, "classes.txt"),
    ],
)
def test_a_damaged_cub_is_refused(official_cub: Path, file: str, text: str | None, expected: str) -> None:
    (official_cub / file).unlink() if text is None else (official_cub / file).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=expected):
        read_source(DataConfig(source="cub", root=official_cub))
