"""TFDS data sets on disk, and packs: written by TFDS, read where their photos stand. No network."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.image_classification.caltech_birds import CaltechBirds2011
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import DataConfig
from clan_tf.data import Source, read_source
from clan_tf.data.checked_photos import check_photos, used_part
from clan_tf.data.pack import PackFormat, pack
from clan_tf.data.pipeline.resizing import resize_photo
from clan_tf.data.sources import Box
from clan_tf.data.sources.content import read_content
from clan_tf.data.sources.record_features import find_features
from clan_tf.data.sources.shards import Features, read_shard
from clan_tf.errors import CheckFailed, UserError
from clan_tf.progress import Progress
from helpers.photos import write_photo

Examples = Mapping[str, list[dict[str, Any]]]
KINDS = tfds.features


def mistake(**data: Any) -> str:
    """The text of the error that reading ends with."""
    with pytest.raises(UserError) as caught:
        read_source(DataConfig(**data))
    return str(caught.value)


def pixels(seed: int, height: int = 12, width: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype="uint8")


def prepare(
    data_dir: Path, name: str, features: Mapping[str, Any], examples: Examples, file_format: str = "tfrecord"
) -> Path:
    """Writes a data set as TFDS does; returns its version folder."""
    tfds.disable_progress_bar()
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=KINDS.FeaturesDict(features),
        split_datasets={split: list(enumerate(rows)) for split, rows in examples.items()},
        data_dir=data_dir,
        file_format=file_format,
        disable_shuffling=True,
    )
    return Path(builder.data_dir)


def toy(data_dir: Path, splits: Mapping[str, int], names: bool = True, **more: Any) -> Path:
    """A data set with two classes in turn, `splits` saying how many photos there are."""
    label = KINDS.ClassLabel(names=["robin", "hawk/eagle"]) if names else KINDS.ClassLabel(num_classes=2)
    rows = {
        split: [{"image": pixels(number + 100 * place), "label": number % 2} for number in range(count)]
        for place, (split, count) in enumerate(splits.items())
    }
    return prepare(data_dir, "toy", {"image": KINDS.Image(), "label": label}, rows, **more)


@pytest.fixture(scope="module", autouse=True)
def no_leftovers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """TFDS makes a temporary folder for every builder that a test writes with, and doesn't remove it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture(scope="module")
def toy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    toy(folder, {"train": 8, "test": 4, "extra": 2})
    return folder


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CUB with the features, names and boxes that TFDS gives it: 200 numbered classes whose names stand beside."""

    def examples(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        for number in range(count):
            yield (
                str(number),
                {
                    "image": pixels(number),
                    "image/filename": f"{number}.jpg",
                    "label": number % 200,
                    "label_name": f"bird {number % 200}",
                    "bbox": KINDS.BBox(ymin=0.25, xmin=0.1, ymax=1.0, xmax=0.8),
                    "segmentation_mask": np.zeros((12, 10, 1), "uint8"),
                },
            )

    folder = tmp_path_factory.mktemp("birds")
    tfds.disable_progress_bar()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            CaltechBirds2011, "_split_generators", lambda self, _: {"train": examples(200), "test": examples(3)}
        )
        CaltechBirds2011(data_dir=folder).download_and_prepare()
    return folder


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
    assert all(photo.name.startswith("validation/") for photo in source.splits["test"])
    assert all(photo.name.startswith("train/") for photo in source.splits["val"])
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


def test_a_pack_keeps_its_facts_in_any_file_system(near: Path) -> None:
    packed = read_source(small(f"file://{near}/", source="records"))
    assert packed.class_names == tuple(sorted(ODD_NAMES))


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


# Packs

ODD_NAMES = ("1e3", "two  spaces", "hawk, eagle", "grün", '"quoted"')


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with names that a list of lines can't hold, and photos of every kind and size."""
    root = tmp_path_factory.mktemp("originals")
    for label, name in enumerate(ODD_NAMES):
        for index in range(6):
            split = "train" if index < 4 else "test"
            write_photo(root / split / name / f"{index}.jpg", (40 * label, 90, 200), (30 + 9 * index, 40))
    turned = root / "train" / "grün" / "0.jpg"
    with Image.open(turned) as image:
        exif = image.getexif()
        exif[274] = 6
        image.convert("CMYK").save(turned, exif=exif)
    with Image.open(root / "test" / "grün" / "5.jpg") as image:
        image.convert("L").save(root / "test" / "grün" / "5.jpg")
    return root


def small(root: Path, **more: Any) -> DataConfig:
    return DataConfig(root=root, image_size=16, resize_size=20, **more)


def names_and_labels(source: Source) -> dict[str, list[tuple[str, int]]]:
    return {
        split: [("/".join(Path(photo.name).parts[-3:]), photo.label) for photo in photos]
        for split, photos in source.splits.items()
    }


@pytest.fixture(scope="module")
def exact(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lossless pack."""
    return pack(small(originals), tmp_path_factory.mktemp("exact") / "pack", PackFormat(quality=None)).folder


@pytest.fixture(scope="module")
def near(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of JPEGs."""
    packed = pack(small(originals), tmp_path_factory.mktemp("near") / "pack")
    assert packed.photos["test"] == 10 and packed.photos["train"] + packed.photos["val"] == 20
    return packed.folder


def largest_difference(config: DataConfig, packed: Source, mode: str = "stretch") -> float:
    """Of a photo's mean over its pixels: the resized photos of a config against the packed ones."""
    differences = []
    for split, photos in read_source(config).splits.items():
        before, after = check_photos(photos), check_photos(packed.splits[split])
        for index in range(len(before.photos)):
            expected = resize_photo(used_part(before, index), 20, mode).numpy()
            differences.append(np.abs(used_part(after, index).numpy() - expected.astype(float)).mean())
    return max(differences)


def test_a_pack_keeps_names_labels_splits_and_order(originals: Path, near: Path) -> None:
    packed, source = read_source(small(near, source="records")), read_source(small(originals))
    assert packed.class_names == source.class_names == tuple(sorted(ODD_NAMES))
    assert names_and_labels(packed) == names_and_labels(source)
    assert packed.notes == ()
    assert packed.val_is_cut and source.val_is_cut


def test_a_lossless_pack_holds_exactly_the_resized_photos(originals: Path, exact: Path, tmp_path: Path) -> None:
    assert largest_difference(small(originals), read_source(small(exact, source="records"))) == 0
    config = small(originals, resize_mode="keep_aspect", fraction=0.3)
    pack(config, tmp_path / "pack", PackFormat(quality=None))
    packed = read_source(small(tmp_path / "pack", source="records", resize_mode="keep_aspect"))
    assert packed.notes == ()
    assert largest_difference(config, packed, "keep_aspect") == 0


def test_a_pack_of_jpegs_is_near(originals: Path, near: Path) -> None:
    assert 0 < largest_difference(small(originals), read_source(small(near, source="records"))) < 4


def test_tfds_itself_reads_a_pack(originals: Path, near: Path) -> None:
    builder = tfds.builder_from_directory(str(near))
    names = builder.info.features["label"].names
    assert set(names) >= {"hawk, eagle", "grün", '"quoted"'} and len(set(names)) == 5
    examples = list(tfds.as_numpy(builder.as_dataset(split="train")))
    packed = [
        Path(photo.name).relative_to(originals).as_posix() for photo in read_source(small(originals)).splits["train"]
    ]
    assert [example["image"].shape for example in examples] == [(20, 20, 3)] * len(packed)
    assert sorted(example["name"].decode() for example in examples) == sorted(packed)


def test_shards_have_about_the_size_that_is_asked_for(originals: Path, tmp_path: Path) -> None:
    packed = pack(small(originals), tmp_path / "pack", PackFormat(shard_megabytes=0.004))
    sizes = [file.stat().st_size for file in (tmp_path / "pack").glob("*.tfrecord-*")]
    assert packed.shards == len(sizes) > 5 and packed.size == sum(sizes)
    assert max(sizes) < 6000
    assert len(read_source(small(tmp_path / "pack", source="records")).splits["train"]) == packed.photos["train"]


def test_a_pack_tells_what_differs_from_what_is_asked(near: Path) -> None:
    larger = {"image_size": 16, "resize_size": 24, "resize_mode": "keep_aspect"}
    notes = read_source(DataConfig(source="records", root=near, **larger)).notes
    assert "packed at 20 pixels and are enlarged to 24" in notes[0]
    assert "resize_mode=stretch, not keep_aspect" in notes[1]
    assert "were packed whole" in mistake(source="records", root=near, crop_to_box=True)


def test_a_pack_with_damaged_or_unknown_facts_is_refused(near: Path, tmp_path: Path) -> None:
    shutil.copytree(near, tmp_path / "pack")
    (tmp_path / "pack" / "metadata.json").write_text('{"clan_tf": {"full_size": 20}}', encoding="utf-8")
    assert "packed by another version" in mistake(source="records", root=tmp_path / "pack")
    (tmp_path / "pack" / "metadata.json").write_text("{", encoding="utf-8")
    assert "metadata.json: is damaged" in mistake(source="records", root=tmp_path / "pack")


def test_boxes_are_cut_out_when_packing(birds: Path, tmp_path: Path) -> None:
    config = small(birds, source="tfds:caltech_birds2011", crop_to_box=True)
    pack(config, tmp_path / "pack", PackFormat(quality=None))
    packed = read_source(small(tmp_path / "pack", source="records", crop_to_box=True))
    assert packed.notes == () and packed.splits["test"][0].box is None
    number = int(Path(packed.splits["test"][0].name).stem)
    image = used_part(check_photos(packed.splits["test"]), 0)
    np.testing.assert_array_equal(image, resize_photo(tf.constant(pixels(number)[3:12, 1:8]), 20))


def test_a_pack_without_a_test_split_keeps_its_validation_split(originals: Path, tmp_path: Path) -> None:
    rows = [
        f'"train/{name}/{index}.jpg",{name[0]},{split}'
        for name in ("grün", "hawk, eagle")
        for index, split in enumerate(("train", "train", "val", "val"))
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["path,label,split", *rows]), encoding="utf-8")
    pack(small(originals, source="csv", csv=table), tmp_path / "pack")
    packed = read_source(small(tmp_path / "pack", source="records"))
    assert {split: len(photos) for split, photos in packed.splits.items()} == {"train": 4, "val": 4}


class Interrupting(Progress):
    """Stops in the middle of writing, as Ctrl-C does."""

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Callable[..., None]]:
        def advance(text: str = "") -> None:
            if description == "packing photos":
                raise KeyboardInterrupt

        yield advance


def test_an_interrupted_pack_leaves_nothing(originals: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        pack(small(originals), tmp_path / "pack", progress=Interrupting())
    assert list(tmp_path.iterdir()) == []


def test_a_pack_that_cannot_be_written_says_why(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tfds.core.SequentialWriter, "add_examples", fail)
    with pytest.raises(CheckFailed, match="No space left on device"):
        pack(small(originals), tmp_path / "pack")
    assert list(tmp_path.iterdir()) == []


def test_broken_photos_are_not_packed(originals: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        for index in range(4):
            write_photo(tmp_path / "photos" / name / f"{index}.jpg", (90, 90, 90))
    (tmp_path / "photos" / "a" / "4.jpg").write_bytes(b"no photo")
    with pytest.raises(UserError, match="4.jpg: not an image"):
        pack(small(tmp_path / "photos"), tmp_path / "pack")
    packed = pack(small(tmp_path / "photos", on_broken="skip"), tmp_path / "pack")
    assert sum(packed.photos.values()) == 8


def test_data_pack_makes_a_new_folder_and_says_how_to_train_from_it(originals: Path, tmp_path: Path) -> None:
    keys = ("data.source=folders", f"data.root={originals}", "data.image_size=16", "data.resize_size=20")
    arguments = [
        "data",
        "pack",
        "demo",
        *(word for key in keys for word in ("--set", key)),
        "--output",
        str(tmp_path / "a pack"),
    ]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    counts = answer["splits"]
    assert counts["test"] == 10 and counts["train"] + counts["val"] == 20 and answer["full_size"] == 20
    assert answer["next"].endswith(f"--set data.source=records --set 'data.root={tmp_path / 'a pack'}'")
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, UserError) and "exists" in str(again.exception)
