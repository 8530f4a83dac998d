"""Packs: what is written, read back and refused. No network."""

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from typer.testing import CliRunner

from clan_tf.cli.experiment import ExperimentArguments
from clan_tf.cli.main import app
from clan_tf.config import DataConfig
from clan_tf.data import Source, read_source
from clan_tf.data.checked_photos import check_photos, used_part
from clan_tf.data.pack import PackFormat, pack
from clan_tf.data.pipeline.resizing import resize_photo
from clan_tf.errors import CheckFailed, UserError
from clan_tf.progress import Progress
from helpers import TINY_DEMO
from helpers.photos import write_photo
from helpers.records import pixels
from helpers.sources import mistake

ODD_NAMES = ("1e3", "two  spaces", "hawk, eagle", "grün", '"quoted"')

pytestmark = pytest.mark.usefixtures("no_leftovers")


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


def test_a_disk_without_room_is_told_with_sizes_that_differ(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=840))
    with pytest.raises(CheckFailed, match=r"the pack needs about [0-9.]+ kB; 840 bytes are free\. Make room, or name"):
        pack(small(originals), tmp_path / "pack")


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
        TINY_DEMO,
        *(word for key in keys for word in ("--set", key)),
        "--output",
        str(tmp_path / "a pack #1"),
    ]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    counts = answer["splits"]
    assert counts["test"] == 10 and counts["train"] + counts["val"] == 20 and answer["full_size"] == 20
    assert answer["next"].endswith(f"""data.source=records 'data.root="{tmp_path / "a pack #1"}"'""")
    assert ExperimentArguments.read(
        {"given": shlex.split(answer["next"])[2:], "overrides": None, "preset": None}
    ).load().data.root == str(tmp_path / "a pack #1")
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, UserError) and "exists" in str(again.exception)


def test_a_pack_has_the_splits_of_its_groups_and_the_next_command_asks_for_none(tmp_path: Path) -> None:
    rows = [f"{label}/{number}.png,{label},{number // 3}{label}" for label in "ab" for number in range(18)]
    for row in rows:
        write_photo(tmp_path / "photos" / row.split(",")[0], (100, 100, 100))
    (tmp_path / "photos" / "photos.csv").write_text("\n".join(["path,label,animal", *rows]), encoding="utf-8")
    keys = ["source=csv", f"root={tmp_path / 'photos'}", "group=column:animal", "image_size=16", "resize_size=20"]
    words = [word for key in keys for word in ("--set", f"data.{key}")]
    done = CliRunner().invoke(app, ["data", "pack", TINY_DEMO, *words, "--output", str(tmp_path / "pack"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["next"].endswith("data.group=null")
    animal = {path: group for path, _, group in (row.split(",") for row in rows)}
    packed = read_source(DataConfig(source="records", root=str(tmp_path / "pack")))
    sides = [{animal[photo.name] for photo in photos} for photos in packed.splits.values()]
    assert len(sides) == 3 and sum(map(len, sides)) == len(set.union(*sides)) == 12


def test_corrected_labels_are_in_the_pack_and_its_command_doesn_t_correct_them_again(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            for index in range(3):
                write_photo(tmp_path / "photos" / split / name / f"{index}.jpg", (90, 90, 90))
    (tmp_path / "labels.csv").write_text("photo,label\ntrain/a/0.jpg,b\ntrain/a/1.jpg,-\n", encoding="utf-8")
    keys = ["data.source=folders", f"data.root={tmp_path / 'photos'}", f"data.relabel={tmp_path / 'labels.csv'}"]
    arguments = ["data", "pack", TINY_DEMO, *keys, "data.image_size=16", "--output", str(tmp_path / "pack"), "--json"]
    answer = json.loads(CliRunner().invoke(app, [*arguments, "data.resize_size=20"]).stdout)
    assert answer["next"].endswith(f"data.root={tmp_path / 'pack'} data.relabel=null")
    packed = read_source(small(tmp_path / "pack", source="records"))
    assert sorted(packed.class_names[photo.label] for photo in packed.splits["train"]) == ["a", "b", "b", "b", "b"]


def test_a_pack_keeps_its_facts_in_any_file_system(near: Path) -> None:
    packed = read_source(small(f"file://{near}/", source="records"))
    assert packed.class_names == tuple(sorted(ODD_NAMES))
