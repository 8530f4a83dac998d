"""FGVC-Aircraft against a tiny copy of its layout, with the traps that are in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clan_tf.config import DataConfig
from clan_tf.data import read_source
from clan_tf.data.checked_photos import check_photos, used_part
from clan_tf.data.sources import SOURCE_READERS, Box
from helpers.sources import by_file, mistake, write_lines

BANNER = 20
VARIANTS = ("707-320", "F-16A/B", "F/A-18")
PHOTOS = {"0034309": "F-16A/B", "1025794": "F/A-18", "0056978": "707-320", "1340192": "F-16A/B", "0481847": "F/A-18"}
TESTED = {"0698580": "707-320", "0450014": "F/A-18"}


def write_levels(folder: Path, level: str, file: str, names: Mapping[str, str]) -> None:
    """The files of one level: the classes, and the photos of trainval and test; `names` maps variants to classes."""
    write_lines(folder / file, *sorted(set(names.values())))
    for part, photos in (("trainval", PHOTOS | {"0062765": "707-320"}), ("test", TESTED)):
        write_lines(folder / f"images_{level}_{part}.txt", *(f"{key} {names[name]}" for key, name in photos.items()))


@pytest.fixture
def aircraft(tmp_path: Path) -> Path:
    """`data/` of the official archive: white photos of several modes above a black banner."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for index, photo_id in enumerate([*PHOTOS, "0062765", *TESTED]):
        pixels = np.full((60, 40, 3), 255, "uint8")
        pixels[-BANNER:] = 0
        mode = ("RGB", "L", "CMYK")[index % 3]
        Image.fromarray(pixels).convert(mode).save(folder / "images" / f"{photo_id}.jpg")
    write_levels(folder, "variant", "variants.txt", dict(zip(VARIANTS, VARIANTS, strict=True)))
    families = {"707-320": "Boeing 707", "F-16A/B": "F-16", "F/A-18": "F/A-18"}
    write_levels(folder, "family", "families.txt", families)
    makers = {"707-320": "Boeing", "F-16A/B": "Lockheed Corporation", "F/A-18": "Boeing"}
    write_levels(folder, "manufacturer", "manufacturers.txt", makers)
    write_lines(folder / "images_box.txt", *(f"{photo_id} 5 3 30 28" for photo_id in [*PHOTOS, "0062765", *TESTED]))
    return tmp_path


def test_aircraft_trainval_is_train_and_ids_keep_their_zeros(aircraft: Path) -> None:
    source = read_source(DataConfig(source="aircraft", root=aircraft))
    assert source.class_names == VARIANTS
    assert set(by_file(source, "train", "val")) == {f"{photo_id}.jpg" for photo_id in [*PHOTOS, "0062765"]}
    test = {name: source.class_names[photo.label] for name, photo in by_file(source, "test").items()}
    assert test == {f"{photo_id}.jpg": name for photo_id, name in TESTED.items()}


@pytest.mark.parametrize(
    ("level", "names"),
    [("family", ("Boeing 707", "F-16", "F/A-18")), ("manufacturer", ("Boeing", "Lockheed Corporation"))],
)
def test_aircraft_classes_are_those_of_the_level(aircraft: Path, level: str, names: tuple[str, ...]) -> None:
    source = read_source(DataConfig(source="aircraft", root=aircraft / "data", level=level))
    assert source.class_names == names
    assert names[by_file(source)["0034309.jpg"].label] in ("F-16", "Lockheed Corporation")


def test_the_banner_is_cut_off_every_photo_whatever_its_mode(aircraft: Path) -> None:
    photos = list(by_file(read_source(DataConfig(source="aircraft", root=aircraft))).values())
    assert {photo.box for photo in photos} == {Box(0, 0, 0, -BANNER)}
    checked = check_photos(photos)
    for index in range(len(photos)):
        pixels = used_part(checked, index).numpy()
        assert pixels.shape == (60 - BANNER, 40, 3)
        assert pixels[:-8].min() > 240  # beside the banner a JPEG is blurred


def test_aircraft_boxes_replace_the_cut_of_the_banner(aircraft: Path) -> None:
    source = read_source(DataConfig(source="aircraft", root=aircraft, crop_to_box=True))
    assert {photo.box for photo in by_file(source).values()} == {Box(4, 2, 30, 28)}
    write_lines(aircraft / "data" / "images_box.txt", "0034309 5 3 30")
    assert "ID LEFT TOP RIGHT BOTTOM" in mistake(source="aircraft", root=aircraft, crop_to_box=True)


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("images_variant_trainval.txt", "0034309 F-117", "'F-117', which is not in the list"),
        ("images_variant_trainval.txt", "../../secret F/A-18", "leaves"),
        ("images_variant_test.txt", "34309 F/A-18", "there is no"),
        ("images_variant_test.txt", "0034309", "line 1: must be NUMBER VALUE"),
    ],
)
def test_damaged_aircraft_lists_are_refused(aircraft: Path, file: str, line: str, expected: str) -> None:
    write_lines(aircraft / "data" / file, line)
    assert expected in mistake(source="aircraft", root=aircraft)


def test_a_root_without_aircraft_tells_the_layout(aircraft: Path, tmp_path_factory: Any) -> None:
    assert "images_variant_trainval.txt" in mistake(source="aircraft", root=tmp_path_factory.mktemp("elsewhere"))
    (aircraft / "data" / "families.txt").unlink()
    assert "there is no" in mistake(source="aircraft", root=aircraft, level="family")


def test_a_full_set_of_aircraft_is_compared_with_the_official_counts(aircraft: Path) -> None:
    names = [*VARIANTS, *(f"Aircraft {number}" for number in range(97))]
    write_lines(aircraft / "data" / "variants.txt", *names)
    notes = SOURCE_READERS["aircraft"](DataConfig(source="aircraft", root=aircraft)).notes
    assert notes == (
        "train has 6 photos; the official train split has 6667.",
        "test has 2 photos; the official test split has 3333.",
    )
