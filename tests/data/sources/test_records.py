"""TFDS data sets on disk: written by TFDS, read where their photos stand. No network."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from clan_tf.config import DataConfig
from clan_tf.data import read_source
from clan_tf.data.checked_photos import check_photos, used_part
from clan_tf.data.sources import Box
from clan_tf.data.sources.content import read_content
from clan_tf.data.sources.record_features import find_features
from clan_tf.data.sources.shards import Features, read_shard
from clan_tf.errors import UserError
from helpers.records import KINDS, pixels, prepare, toy
from helpers.sources import mistake

pytestmark = pytest.mark.usefixtures("no_leftovers")


def test_tfds_photos_are_the_examples_of_tfds_itself(toy_dir: Path) -> None:
    source = read_source(DataConfig(source="tfds:toy", root=toy_dir))
    assert source.class_names == ("robin", "hawk/eagle")
    assert {split: len(photos) for split, photos in source.splits.items()} == {"train": 6, "val": 2, "test": 4}
    assert source.notes == ("The split 'extra' isn't used.",)
    expected = tfds.builder_from_directory(str(toy_dir / "toy" / "1.0.0")).as_dataset(split="test")
    checked = check_photos(source.splits["test"])
    for index, example in enumerate(tfds.as_numpy(expected)):
        assert checked.photos[index].label == example["label"]
        np.testing.assert_array_equal(used_part(checked, index), example["image"])


def test_caltech_birds_get_their_class_names_back(birds: Path) -> None:
    source = read_source(DataConfig(source="tfds:caltech_birds2011", root=birds))
    assert source.class_names == tuple(f"bird {number}" for number in range(200))
    assert source.notes == ()
    for photo in source.splits["test"]:
        number = int(Path(photo.name).stem)
        assert photo.label == number
        np.testing.assert_array_equal(tf.io.decode_png(read_content(photo)), pixels(number))


def test_relative_boxes_become_pixels(birds: Path) -> None:
    source = read_source(DataConfig(source="tfds:caltech_birds2011", root=birds, crop_to_box=True))
    assert {photo.box for photo in source.splits["test"]} == {Box(1, 3, 8, 12)}


def test_classes_without_names_anywhere_are_numbers(tmp_path: Path) -> None:
    toy(tmp_path, {"train": 4, "test": 2}, names=False)
    source = read_source(DataConfig(source="tfds:toy", root=tmp_path))
    assert source.class_names == ("0", "1")
    assert "the classes are numbers" in source.notes[0]


def test_a_validation_split_is_the_test_split_where_there_is_no_other(tmp_path: Path) -> None:
    toy(tmp_path, {"train": 8, "validation": 4})
    source = read_source(DataConfig(source="tfds:toy", root=tmp_path))
    from_split = {split: {photo.name.split("/")[0] for photo in photos} for split, photos in source.splits.items()}
    assert from_split == {"train": {"train"}, "val": {"train"}, "test": {"validation"}}
    assert "the validation split is the test split" in source.notes[0]


def test_a_validation_split_beside_a_test_split_is_kept(tmp_path: Path) -> None:
    toy(tmp_path, {"train": 8, "validation": 4, "test": 2})
    source = read_source(DataConfig(source="tfds:toy", root=tmp_path))
    assert {split: len(photos) for split, photos in source.splits.items()} == {"train": 8, "val": 4, "test": 2}
    assert source.notes == ()


def test_test_photos_are_cut_from_the_only_split(tmp_path: Path) -> None:
    toy(tmp_path, {"train": 20})
    source = read_source(DataConfig(source="tfds:toy", root=tmp_path))
    counts = {split: len(photos) for split, photos in source.splits.items()}
    assert min(counts.values()) >= 2 and sum(counts.values()) == 20 and counts.keys() == {"train", "val", "test"}
    assert "the test photos are cut from it" in source.notes[0]


def test_a_test_split_without_labels_is_left_out(tmp_path: Path) -> None:
    features = {"image": KINDS.Image(), "label": KINDS.ClassLabel(names=["a", "b"]), "file_name": KINDS.Text()}

    def rows(count: int, labels: tuple[int, int]) -> list[dict[str, Any]]:
        return [{"image": pixels(i), "label": labels[i % 2], "file_name": f"{i}.jpg"} for i in range(count)]

    examples = {"train": rows(8, (0, 1)), "validation": rows(4, (0, 1)), "test": rows(4, (-1, -1))}
    prepare(tmp_path, "toy", features, examples)
    source = read_source(DataConfig(source="tfds:toy", root=tmp_path))
    assert [photo.name for photo in source.splits["test"]] == [f"validation/{i}.jpg" for i in range(4)]
    assert "'test' has no labelled photos" in source.notes[0]


def test_labels_out_of_range_and_a_missing_train_split_are_refused(tmp_path: Path) -> None:
    features = {"image": KINDS.Image(), "label": KINDS.ClassLabel(names=["a", "b"])}
    prepare(tmp_path, "mixed", features, {"train": [{"image": pixels(i), "label": (0, -1)[i]} for i in range(2)]})
    assert "has the label -1; labels are 0 to 1" in mistake(source="tfds:mixed", root=tmp_path)
    toy(tmp_path, {"test": 2})
    assert "has no split 'train'; it has test" in mistake(source="tfds:toy", root=tmp_path)


def test_the_data_dir_of_tfds_is_honoured(toy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(toy_dir))
    assert len(read_source(DataConfig(source="tfds:toy:1.0.0")).splits["test"]) == 4


def test_reading_says_nothing_on_the_console(toy_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    read_source(DataConfig(source="tfds:toy", root=toy_dir))
    mistake(source="tfds:food101", root=toy_dir)
    assert capfd.readouterr() == ("", "")


def test_what_is_not_prepared_is_not_downloaded_but_told(toy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = mistake(source="tfds:food101", root=toy_dir)
    assert f'tfds.builder("food101", data_dir="{toy_dir}").download_and_prepare()' in text
    assert "Did you mean food101?" in mistake(source="tfds:fod101", root=toy_dir)
    assert "link is dead; use the source 'cars'" in mistake(source="tfds:cars196", root=toy_dir)
    assert "there is toy/1.0.0" in mistake(source="tfds:toy:2.0.0", root=toy_dir)
    assert "can't be opened" in mistake(source="tfds:no name", root=toy_dir)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert "pip install 'clan-tf[data]'" in mistake(source="tfds:toy", root=toy_dir)


def test_a_folder_without_records_is_refused(tmp_path: Path, toy_dir: Path) -> None:
    assert "holds no records" in mistake(source="records", root=tmp_path)
    assert "needs the folder" in mistake(source="records")
    assert len(read_source(DataConfig(source="records", root=toy_dir / "toy" / "1.0.0")).splits["test"]) == 4


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("by_name", [True, False])
def test_damaged_or_missing_descriptions_are_refused(tmp_path: Path, file: str, by_name: bool) -> None:
    folder = toy(tmp_path, {"train": 4, "test": 2})
    data = {"source": "tfds:toy", "root": tmp_path} if by_name else {"source": "records", "root": folder}
    whole = (folder / file).read_text(encoding="utf-8")
    for text in ("{", whole[: len(whole) // 2]):
        (folder / file).write_text(text, encoding="utf-8")
        assert f"{folder / file}: is damaged" in mistake(**data)
    (folder / file).write_text("[1]", encoding="utf-8")
    assert "can't be opened" in (text := mistake(**data)) or "is damaged" in text
    (folder / file).unlink()
    if not by_name:
        assert f"holds no records: there is no {file}" in mistake(**data)
    elif file == "dataset_info.json":
        assert f"{folder} holds no records: there is no {file}" in mistake(**data)
    else:
        assert "there is toy/1.0.0" in mistake(**data)


@pytest.mark.parametrize("scheme", ["ram://", "file://"])
def test_records_are_read_from_any_file_system_of_tensorflow(tmp_path: Path, scheme: str) -> None:
    root = f"{scheme}{tmp_path}/copy"
    tf.io.gfile.makedirs(root)
    for file in toy(tmp_path, {"train": 4, "test": 2}).iterdir():
        tf.io.gfile.copy(str(file), f"{root}/{file.name}")
    source = read_source(DataConfig(source="records", root=root))
    assert source.class_names == ("robin", "hawk/eagle")
    checked = check_photos(source.splits["test"])
    assert checked.photos[0].span.file.startswith(scheme) and not checked.broken
    np.testing.assert_array_equal(used_part(checked, 1), pixels(101))


def test_file_systems_that_are_not_read_are_named(toy_dir: Path) -> None:
    for root in ("hdfs://host/toy", "nonsense://toy"):
        assert f"reads no {root.partition('://')[0]}://" in mistake(source="records", root=root)
        assert f"received {root}" in mistake(source="tfds:toy", root=root)
    assert "ram://nowhere holds no records" in mistake(source="records", root="ram://nowhere")
    assert len(read_source(DataConfig(source="tfds:toy", root=f"file://{toy_dir}")).splits["test"]) == 4


def test_other_file_formats_are_refused_unless_there_are_tfrecords_too(tmp_path: Path) -> None:
    toy(tmp_path / "array", {"train": 4, "test": 2}, file_format="array_record")
    assert "is in the format array_record" in mistake(source="tfds:toy", root=tmp_path / "array")
    folder = toy(tmp_path / "both", {"train": 8, "test": 2})
    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    info |= {"fileFormat": "array_record", "alternativeFileFormats": ["tfrecord"]}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    assert len(read_source(DataConfig(source="tfds:toy", root=tmp_path / "both")).splits["test"]) == 2


def test_the_image_and_the_label_are_found_by_key_name_or_kind() -> None:
    class Info:
        full_name, supervised_keys = "toy/1.0.0", None

        def __init__(self, features: Mapping[str, Any], keys: tuple[str, str] | None = None) -> None:
            self.features, self.supervised_keys = KINDS.FeaturesDict(features), keys

    image, mask, label = KINDS.Image(), KINDS.Image(shape=(None, None, 1)), KINDS.ClassLabel(num_classes=2)
    pets = {"image": image, "mask": mask, "label": label, "species": label}
    assert find_features(Info(pets), False) == Features("image", "label")
    assert find_features(Info(pets, ("mask", "species")), False) == Features("mask", "species")
    assert find_features(Info({"photo": image, "kind": label}), False) == Features("photo", "kind")
    for features, text in (
        ({"photo": image, "mask": mask, "label": label}, "one Image for each photo; it has photo, mask"),
        ({"image": image, "text": KINDS.Text()}, "one ClassLabel for each photo; it has none"),
    ):
        with pytest.raises(UserError, match=text):
            find_features(Info(features), False)
    with pytest.raises(UserError, match="one BBoxFeature"):
        find_features(Info(pets), True)


def cut_short(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-30])


def change_a_length(shard: Path) -> None:
    shard.write_bytes(b"\xff" * 8 + shard.read_bytes()[8:])


def change_the_data(shard: Path) -> None:
    content = shard.read_bytes()
    shard.write_bytes(content[:12] + b"\xff" * 20 + content[32:])


def lose_a_record(shard: Path) -> None:
    content = shard.read_bytes()
    shard.write_bytes(content[: 16 + int.from_bytes(content[:8], "little")])


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (Path.unlink, "there is no"),
        (cut_short, "cut short at byte 1482"),
        (change_a_length, "cut short at byte 0"),
        (change_the_data, "record 0: doesn't hold the features image, label"),
        (lose_a_record, "has 1 records instead of 4"),
    ],
)
def test_damaged_shards_are_refused(tmp_path: Path, damage: Callable[[Path], None], expected: str) -> None:
    folder = toy(tmp_path, {"train": 4, "test": 2})
    damage(folder / "toy-train.tfrecord-00000-of-00001")
    text = mistake(source="tfds:toy", root=tmp_path)
    assert expected in text and "toy-train.tfrecord" in text


@pytest.mark.parametrize("file", ["dataset_info.json", "toy-train.tfrecord-00000-of-00001"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, file: str) -> None:
    folder = toy(tmp_path, {"train": 4, "test": 2})
    (folder / file).unlink()
    (folder / file).mkdir()  # stands for one that the user has no right to read
    text = mistake(source="records", root=folder)
    assert text.startswith(f"data.root: {folder / file} can't be read: ") and text.count(file) == 1


def test_shards_are_read_from_any_file_system_of_tensorflow(toy_dir: Path) -> None:
    shard = "ram://records/toy.tfrecord"
    tf.io.gfile.makedirs("ram://records")
    tf.io.gfile.copy(str(toy_dir / "toy" / "1.0.0" / "toy-test.tfrecord-00000-of-00001"), shard)
    spans = [record.span for record in read_shard(shard, Features("image", "label"))]
    assert [span.file for span in spans] == [shard] * 4
    for number, (_, record, offset, length) in enumerate(spans):
        with tf.io.gfile.GFile(shard, "rb") as stream:
            stream.seek(record + 12 + offset)
            np.testing.assert_array_equal(tf.io.decode_png(stream.read(length)), pixels(100 + number))
