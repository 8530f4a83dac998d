"""Each reader against a tiny copy of the layout that its data has on users' disks, with the traps that are in it."""

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from clan_tf.config import DataConfig
from clan_tf.data import Photo, Source, read_source
from clan_tf.data.checked_photos import check_photos, used_part
from clan_tf.data.sources import SOURCE_READERS, Box
from clan_tf.errors import UserError
from helpers.photos import write_photo

GREY = (100, 100, 100)
VAN = "Ram C/V Cargo Van Minivan 2012"
CARS = ("AM General Hummer SUV 2000", VAN, "Škoda Octavia 2012")


def by_file(source: Source, *splits: str) -> dict[str, Photo]:
    """The photos of some splits, or of all, by the name of their file."""
    return {Path(photo.name).name: photo for split in splits or source.splits for photo in source.splits[split]}


def mistake(**data: Any) -> str:
    """The text of the error that reading ends with."""
    with pytest.raises(UserError) as caught:
        read_source(DataConfig(**data))
    return str(caught.value)


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_every_source_of_the_config_has_a_reader() -> None:
    from clan_tf.config.experiment import SOURCES

    assert set(SOURCE_READERS) == {*SOURCES, "tfds"}


# CUB-200-2011


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


# Stanford Cars


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


@pytest.mark.parametrize(("source", "file"), [("cars", "cars_annos.mat"), ("csv", "photos.csv")])
def test_a_list_that_cannot_be_read_is_named_with_the_reason(
    one_list: Path, monkeypatch: pytest.MonkeyPatch, source: str, file: str
) -> None:
    (one_list / "photos.csv").touch()
    opening = io.open

    def refuse(path: Any, *arguments: Any, **more: Any) -> Any:
        if str(path) == str(one_list / file):
            raise PermissionError(13, "Permission denied", str(path))
        return opening(path, *arguments, **more)

    monkeypatch.setattr(io, "open", refuse)
    text = mistake(source=source, root=one_list)
    assert text.startswith(f"{one_list / file}: can't be read: Permission denied.") and "data.root" in text


# FGVC-Aircraft

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


# CSV


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Nine photos in `photos/`, and the path of a table beside it."""
    for index in range(9):
        write_photo(tmp_path / "photos" / f"{index:03d}.jpg", GREY)
    return tmp_path / "photos.csv"


LABELS = ("007", "F-16A/B", 'grün, "matt"')


def rows_of(labels: Sequence[str] = LABELS, photos: int = 9) -> list[str]:
    quoted = ['"' + label.replace('"', '""') + '"' for label in labels]
    return [f"photos/{index:03d}.jpg,{quoted[index % len(quoted)]}" for index in range(photos)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_labels_are_kept_exactly_and_test_photos_are_cut(table: Path, encoding: str) -> None:
    table.write_text("\n".join(["path,label", *rows_of()]), encoding=encoding)
    source = read_source(DataConfig(source="csv", root=table.parent))
    assert source.class_names == LABELS
    assert {split: len(photos) for split, photos in source.splits.items()} == {"train": 3, "val": 3, "test": 3}
    assert {name: photo.label for name, photo in by_file(source).items()} == {f"{i:03d}.jpg": i % 3 for i in range(9)}


def test_csv_labels_that_are_the_same_text_are_one_class_and_those_that_look_alike_are_refused(table: Path) -> None:
    write_lines(table, "path,label", *rows_of([" caf\u00e9\u00a0", "cafe\u0301\u200b", "bar"]))
    assert read_source(DataConfig(source="csv", csv=table)).class_names == ("bar", "caf\u00e9")
    write_lines(table, "path,label", *rows_of(["hen", "Hen", "he\u200bn"]))
    text = mistake(source="csv", csv=table)
    assert "'Hen'" not in text
    assert "line 4: label: 'he\\u200bn' looks like 'hen' on line 2" in text
    write_lines(table, "path,label", *rows_of(["hen", "two\nlines", "\u200b"], 3))
    text = mistake(source="csv", csv=table)
    assert "line 4: label: has a line end or another control character in it; received 'two\\x0alines'" in text
    assert "line 5: label: is empty" in text


def test_one_photo_under_two_spellings_is_refused(table: Path) -> None:
    write_lines(table, "path,label", "photos/000.jpg,hen", "photos/001.jpg,cock", "photos/../photos/000.jpg,cock")
    assert "path: 'photos/../photos/000.jpg' is on line 2 too" in mistake(source="csv", csv=table)


def test_csv_splits_are_those_of_the_table(table: Path) -> None:
    splits = ["train", "train", "train", "valid", "validation", "val", "test", "test", "test"]
    rows = [f"{row},{split},ignored" for row, split in zip(rows_of(), splits, strict=True)]
    write_lines(table, "path,label,split,note", *rows)
    source = read_source(DataConfig(source="csv", csv=table))
    assert set(by_file(source, "val")) == {"003.jpg", "004.jpg", "005.jpg"}
    assert set(by_file(source, "test")) == {"006.jpg", "007.jpg", "008.jpg"}


def test_csv_paths_are_relative_to_the_root_or_else_to_the_table(table: Path, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("tables") / "list.csv"
    write_lines(elsewhere, "label,path", *(f"{'ab'[index % 2]},{index:03d}.jpg" for index in range(9)))
    assert len(by_file(read_source(DataConfig(source="csv", csv=elsewhere, root=table.parent / "photos")))) == 9
    assert "mistakes in 9 of 9 rows" in mistake(source="csv", csv=elsewhere)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_may_have_semicolons_or_tabs_between_its_columns(table: Path, separator: str) -> None:
    """As spreadsheets write them in many countries."""
    rows = [("path", "label"), *((f"photos/{index:03d}.jpg", f"bird, {index % 2}") for index in range(9))]
    write_lines(table, *(separator.join(row) for row in rows))
    source = read_source(DataConfig(source="csv", root=table.parent))
    assert source.class_names == ("bird, 0", "bird, 1")
    assert len(by_file(source)) == 9


def test_every_mistake_in_a_csv_is_named_with_its_line(table: Path, tmp_path: Path) -> None:
    (tmp_path.parent / "secret.jpg").write_bytes(b"")
    bad = [
        "photos/000.jpg,a,train",
        "photos/001.jpg, ,train",
        "photos/002.jpg,a,training set",
        "photos/000.jpg,b,test",
        "../secret.jpg,b,test",
        "photos/999.jpg,b,test",
        "photos/003.jpg,b, with a comma,test",
        "photos/004.jpg,b",
        ",b,test",
    ]
    write_lines(table, "path,label,split", *bad)
    text = mistake(source="csv", root=tmp_path)
    assert "mistakes in 8 of 9 rows" in text
    for line in (
        "line 3: label: is empty",
        "line 4: split: must be train, val or test; received 'training set'",
        "line 5: path: 'photos/000.jpg' is on line 2 too",
        "line 6: path: '../secret.jpg' leaves",
        "line 7: path: there is no",
        "line 8: must have as many values as the header",
        "line 9: must have as many values as the header",
        "line 10: path: is empty",
    ):
        assert line in text


@pytest.mark.parametrize("linked", ["photos", "photos/000.jpg"])
def test_a_link_that_leaves_the_root_is_named_with_its_target(table: Path, tmp_path_factory: Any, linked: str) -> None:
    link, target = table.parent / linked, tmp_path_factory.mktemp("elsewhere") / "target"
    link.rename(target)
    link.symlink_to(target)
    write_lines(table, "path,label", *rows_of())
    text = mistake(source="csv", root=table.parent)
    assert f"'photos/000.jpg' leaves {table.parent}, because {link} is a link to {target}. Set data.root" in text


def test_a_link_that_stays_in_the_root_is_followed_and_one_to_itself_refused(table: Path) -> None:
    (table.parent / "alias").symlink_to("photos")
    (table.parent / "loop.jpg").symlink_to("loop.jpg")
    write_lines(table, "path,label", *(row.replace("photos", "alias") for row in rows_of()))
    assert len(by_file(read_source(DataConfig(source="csv", root=table.parent)))) == 9
    write_lines(table, "path,label", "loop.jpg,a", "alias/../../secret.jpg,b")
    text = mistake(source="csv", root=table.parent)
    assert "line 2: path: there is no" in text and "'alias/../../secret.jpg' leaves" in text
    assert "is a link" not in text


def test_only_the_first_twenty_mistakes_of_a_csv_are_listed(table: Path) -> None:
    write_lines(table, "path,label", *(f"none/{index}.jpg,a" for index in range(25)))
    text = mistake(source="csv", root=table.parent)
    assert text.count("there is no") == 20 and "and 5 more" in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"path:label\na.jpg:b\n", "no column path and no column label"),
        (b"path,class\na.jpg,b\n", "no column label"),
        (b"path,label\n", "no rows"),
        (b"", "no column path"),
        ("path,label\na.jpg,grün\n".encode("latin-1"), "in UTF-8"),
        (b'path,label\na.jpg,"b\n', "can't be read as a CSV table"),
        (b"path,label,split\nphotos/000.jpg,a,test\n", "no row has the split 'train'"),
    ],
)
def test_a_csv_that_is_none_is_refused(table: Path, content: bytes, expected: str) -> None:
    table.write_bytes(content)
    assert expected in mistake(source="csv", root=table.parent)


def test_a_csv_with_one_label_speaks_of_the_table_and_its_labels(table: Path) -> None:
    write_lines(table, "path,label", *rows_of(["a"]))
    for data in ({"root": table.parent}, {"csv": table}):
        text = mistake(source="csv", **data)
        assert text.startswith(f"data.csv: {table} has one class ('a')")
        assert "in the column label" in text and "folder" not in text
    write_lines(table, "path,label,split", "photos/000.jpg,a,train", "photos/001.jpg,b,test")
    assert f"data.csv: {table} has no train photos of 'b'" in mistake(source="csv", csv=table)


def test_a_csv_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    assert "needs the table" in mistake(source="csv")
    assert "there is no file" in mistake(source="csv", root=tmp_path)
    assert "there is no file" in mistake(source="csv", csv=tmp_path / "list.csv")
