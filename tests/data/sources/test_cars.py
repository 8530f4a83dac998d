"""Stanford Cars against tiny copies of the layouts that users have, with the traps that are in them."""

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from clan_tf.config import DataConfig
from clan_tf.data import read_source
from clan_tf.data.sources import SOURCE_READERS, Box
from helpers.photos import write_photo
from helpers.sources import GREY, by_file, mistake

VAN = "Ram C/V Cargo Van Minivan 2012"
CARS = ("AM General Hummer SUV 2000", VAN, "Škoda Octavia 2012")


def cars_rows(path_field: str, photos: Mapping[str, int], **more: int) -> list[dict[str, Any]]:
    """Rows of annotations: a path, its class counted from 1, and a box whose first and last pixels belong to it."""
    box = {"bbox_x1": np.uint8(3), "bbox_y1": np.uint8(1), "bbox_x2": np.uint16(12), "bbox_y2": np.uint16(20)}
    return [{**box, "class": np.uint8(label), path_field: path, **more} for path, label in photos.items()]


def write_mat(path: Path, rows: Sequence[Mapping[str, Any]] = (), class_names: Sequence[str] = ()) -> None:
    """A MATLAB file with the variables `annotations` and `class_names`, those that are given."""
    variables: dict[str, Any] = {}
    if rows:
        structs = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
        for index, row in enumerate(rows):
            structs[0, index] = tuple(row.values())
        variables["annotations"] = structs
    if class_names:
        variables["class_names"] = np.array([class_names], dtype=object)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, variables)


TRAIN = {"00001.jpg": 1, "00002.jpg": 2, "00003.jpg": 3, "00004.jpg": 1, "00005.jpg": 2, "00006.jpg": 3}
TEST = {"00001.jpg": 2, "00002.jpg": 3}


@pytest.fixture
def one_list(tmp_path: Path) -> Path:
    """`car_ims/` and `cars_annos.mat`: one list of all photos, with a mark for the test photos."""
    for index in range(1, 9):
        write_photo(tmp_path / "car_ims" / f"{index:06d}.jpg", GREY)
    train = {f"car_ims/{index:06d}.jpg": 1 + index % 3 for index in range(1, 7)}
    test = {"car_ims/000007.jpg": 2, "car_ims/000008.jpg": 3}
    rows = cars_rows("relative_im_path", train, test=0) + cars_rows("relative_im_path", test, test=1)
    write_mat(tmp_path / "cars_annos.mat", rows, CARS)
    return tmp_path


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """`cars_train/`, `cars_test/` and `devkit/`, whose list of test photos has no labels."""
    for split, photos in (("train", TRAIN), ("test", TEST)):
        for name in photos:
            write_photo(tmp_path / f"cars_{split}" / name, GREY)
    write_mat(tmp_path / "devkit" / "cars_meta.mat", class_names=CARS)
    write_mat(tmp_path / "devkit" / "cars_train_annos.mat", cars_rows("fname", TRAIN))
    unlabelled = [{name: value for name, value in row.items() if name != "class"} for row in cars_rows("fname", TEST)]
    write_mat(tmp_path / "devkit" / "cars_test_annos.mat", unlabelled)
    return tmp_path


def test_cars_in_one_list_count_classes_from_one_and_keep_slashes(one_list: Path) -> None:
    source = read_source(DataConfig(source="cars", root=one_list))
    assert source.class_names == CARS
    assert {name: photo.label for name, photo in by_file(source, "test").items()} == {"000007.jpg": 1, "000008.jpg": 2}
    labels = {name: photo.label for name, photo in by_file(source, "train", "val").items()}
    assert labels == {f"{index:06d}.jpg": index % 3 for index in range(1, 7)}


def test_cars_boxes_become_half_open_and_count_from_zero(one_list: Path) -> None:
    source = read_source(DataConfig(source="cars", root=one_list, crop_to_box=True))
    assert {photo.box for photo in by_file(source).values()} == {Box(2, 0, 12, 20)}
    whole = read_source(DataConfig(source="cars", root=one_list))
    assert {photo.box for photo in by_file(whole).values()} == {None}


def test_cars_without_test_labels_have_no_test_split_and_say_which_file_is_missing(devkit: Path) -> None:
    source = read_source(DataConfig(source="cars", root=devkit))
    assert set(source.splits) == {"train", "val"}
    assert len(source.notes) == 1 and "cars_test_annos_withlabels.mat" in source.notes[0]


@pytest.mark.parametrize("folder", ["devkit", "."])
def test_cars_test_labels_are_found_in_the_devkit_and_beside_it(devkit: Path, folder: str) -> None:
    write_mat(devkit / folder / "cars_test_annos_withlabels.mat", cars_rows("fname", TEST))
    source = read_source(DataConfig(source="cars", root=devkit))
    test = by_file(source, "test")
    assert {name: photo.label + 1 for name, photo in test.items()} == TEST
    assert Path(test["00001.jpg"].name).parent.name == "cars_test"
    assert source.notes == ()


def test_cars_folders_within_folders_of_the_same_name_are_found(devkit: Path) -> None:
    write_mat(devkit / "devkit" / "cars_test_annos_withlabels.mat", cars_rows("fname", TEST))
    for name in ("cars_train", "cars_test"):
        (devkit / name).rename(devkit / "photos")
        (devkit / name).mkdir()
        (devkit / "photos").rename(devkit / name / name)
    (devkit / "car_devkit").mkdir()
    (devkit / "devkit").rename(devkit / "car_devkit" / "devkit")
    source = read_source(DataConfig(source="cars", root=devkit))
    assert {split: len(photos) for split, photos in source.splits.items()} == {"train": 3, "val": 3, "test": 2}


@pytest.mark.parametrize("inner", ["", "car_data", "car_data/car_data"])
def test_cars_in_class_folders_are_read_like_any_folders(tmp_path: Path, inner: str) -> None:
    for split, count in (("train", 3), ("test", 1)):
        for name in ("Audi A5 2012", "Ram C-V 2012"):
            for index in range(count):
                write_photo(tmp_path / inner / split / name / f"0000{index}.jpg", GREY)
    source = read_source(DataConfig(source="cars", root=tmp_path))
    assert source.class_names == ("Audi A5 2012", "Ram C-V 2012")
    assert len(source.splits["test"]) == 2
    assert "without boxes" in mistake(source="cars", root=tmp_path, crop_to_box=True)


def test_a_full_set_of_cars_is_compared_with_the_official_counts(one_list: Path) -> None:
    rows = cars_rows("relative_im_path", {"car_ims/000001.jpg": 196}, test=0)
    write_mat(one_list / "cars_annos.mat", rows, [f"Car {number}" for number in range(196)])
    source = SOURCE_READERS["cars"](DataConfig(source="cars", root=one_list))
    assert source.splits["train"][0].label == 195
    assert source.notes == (
        "train has 1 photos; the official train split has 8144.",
        "test has 0 photos; the official test split has 8041.",
    )


@pytest.mark.parametrize(
    ("photos", "expected"),
    [
        ({"car_ims/000001.jpg": 4}, "the class 4; classes are 1 to 3"),
        ({"car_ims/000001.jpg": 0}, "the class 0; classes are 1 to 3"),
        ({"../secret.jpg": 1}, "leaves"),
        ({"car_ims/000009.jpg": 1}, "there is no"),
    ],
)
def test_damaged_cars_lists_are_refused(one_list: Path, photos: Mapping[str, int], expected: str) -> None:
    write_mat(one_list / "cars_annos.mat", cars_rows("relative_im_path", photos, test=0), CARS)
    assert expected in mistake(source="cars", root=one_list)


def test_cars_files_that_are_missing_or_no_matlab_files_are_refused(devkit: Path, tmp_path_factory: Any) -> None:
    meta = devkit / "devkit" / "cars_meta.mat"
    meta.write_bytes(b"not a MATLAB file" * 20)
    assert "can't be read as a MATLAB file" in mistake(source="cars", root=devkit)
    write_mat(meta, cars_rows("fname", TEST))
    assert "no variable 'class_names'" in mistake(source="cars", root=devkit)
    meta.unlink()
    assert "there is no" in mistake(source="cars", root=devkit)
    rows = [{"path": "00001.jpg", "class": 1}, {"path": "00002.jpg", "class": 1}]
    write_mat(meta, class_names=CARS)
    write_mat(devkit / "devkit" / "cars_train_annos.mat", rows)
    assert "annotations must have fname" in mistake(source="cars", root=devkit)
    assert "car_ims/; devkit/, cars_train/ and cars_test/" in mistake(
        source="cars", root=tmp_path_factory.mktemp("elsewhere")
    )


def test_cars_without_a_devkit_name_it_and_the_layouts(devkit: Path) -> None:
    (devkit / "devkit" / "cars_meta.mat").unlink()
    text = mistake(source="cars", root=devkit)
    assert f"there is no {devkit / 'devkit' / 'cars_meta.mat'}, " in text and "Expected is one of" in text
    shutil.rmtree(devkit / "devkit")
    text = mistake(source="cars", root=devkit)
    assert f"there is no {devkit / 'devkit'}, which goes with" in text
    assert "car_ims/; devkit/, cars_train/ and cars_test/" in text


def test_a_cars_list_that_was_cut_is_called_damaged(one_list: Path) -> None:
    file = one_list / "cars_annos.mat"
    whole = file.read_bytes()
    for length in (1, 100, 127, 130, 200, len(whole) // 2, len(whole) - 60, len(whole) - 8):
        file.write_bytes(whole[:length])
        text = mistake(source="cars", root=one_list)
        assert text.startswith(f"{file}: ") and ("is damaged: it is cut short" in text or "MATLAB" in text), text
        assert ("is damaged" in text) is (length >= 130)


def test_a_list_that_cannot_be_read_is_named_with_the_reason(one_list: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = "cars_annos.mat"
    opening = io.open

    def refuse(path: Any, *arguments: Any, **more: Any) -> Any:
        if str(path) == str(one_list / file):
            raise PermissionError(13, "Permission denied", str(path))
        return opening(path, *arguments, **more)

    monkeypatch.setattr(io, "open", refuse)
    text = mistake(source="cars", root=one_list)
    assert text.startswith(f"{one_list / file}: can't be read: Permission denied.") and "data.root" in text
