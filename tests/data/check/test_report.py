"""The check of the data: what is planted is found, and nothing else."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from clan_tf.config import DataConfig
from clan_tf.data import Photo, Source, read_source, survey_source
from clan_tf.data.check import check_data, inspection
from clan_tf.errors import UserError
from helpers.data_check import CLASSES, SIZE, checked, encoded, picture, run


def test_clean_photos_are_reported_clean(root: Path) -> None:
    report = checked(root)
    assert not report.failed
    assert (report.broken, report.odd, report.pairs) == ([], [], [])
    assert {split: sum(classes.values()) for split, classes in report.counts.items()} == {
        "train": 12,
        "val": 4,
        "test": 4,
    }
    assert report.images["width"] == {"min": SIZE, "median": SIZE, "max": SIZE}
    assert report.images["modes"] == {"RGB": 20}


def test_exactly_the_planted_broken_photos_are_reported(root: Path) -> None:
    whole = encoded(picture(50, size=300))
    planted = {
        "empty.jpg": b"",
        "text.jpg": b"not a photo",
        "half.jpg": whole[: len(whole) // 2],
        "unended.jpg": whole[:-2],
        "closed.jpg": whole[: len(whole) // 2] + whole[-2:],
        "half.png": encoded(picture(51), "PNG")[:-2000],
        "half.webp": encoded(picture(52), "WEBP")[:-100],
        "header.webp": encoded(picture(54), "WEBP")[:20],
        "quarter.png": encoded(picture(55), "PNG")[:40],
        "header.jpg": whole[:40],
        "header.gif": encoded(picture(56), "GIF")[:20],
        "tiff.jpg": encoded(picture(53), "TIFF"),
    }
    for name, content in planted.items():
        (root / "train" / CLASSES[0] / name).write_bytes(content)
    report = checked(root)
    problems = {Path(entry["path"]).name: entry["problem"] for entry in report.broken}
    assert problems.keys() == planted.keys()
    assert "empty" in problems["empty.jpg"] and "truncated" in problems["closed.jpg"]
    assert problems["text.jpg"] == "not an image"
    for name in ("half.jpg", "unended.jpg"):
        assert problems[name].startswith("truncated"), name
    for name in ("half.png", "half.webp", "header.webp", "quarter.png", "header.jpg", "header.gif"):
        assert problems[name].startswith("damaged"), name
    assert (report.odd, report.pairs, report.failed) == ([], [], True)


def test_exactly_the_planted_odd_photos_are_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "HUGE_PIXELS", 2 * SIZE * SIZE)
    turned = Image.Exif()
    turned[274] = 6
    deep = np.asarray(picture(65)).astype("uint16") * 257
    grey = picture(61).convert("L")
    planted = {
        "png.jpg": (encoded(picture(60), "PNG"), ["wrongly_named"]),
        "gif.jpeg": (encoded(picture(68), "GIF"), ["wrongly_named"]),
        "grey.jpg": (encoded(grey), ["grayscale"]),
        "grey_rgb.jpg": (encoded(picture(62).convert("L").convert("RGB")), ["grayscale"]),
        "cmyk.jpg": (encoded(picture(63).convert("CMYK")), ["cmyk"]),
        "turned.jpg": (encoded(picture(64), exif=turned), ["exif_rotated"]),
        "deep.png": (tf.io.encode_png(deep).numpy(), ["16_bit"]),
        "moving.gif": (
            encoded(picture(66), "GIF", save_all=True, append_images=[picture(66).rotate(5)]),
            ["animated"],
        ),
        "huge.jpg": (encoded(picture(67, size=2 * SIZE)), ["huge"]),
        "camera.jpg": (encoded(picture(69), "MPO", save_all=True, append_images=[picture(69)]), []),
    }
    for name, (content, _) in planted.items():
        (root / "test" / CLASSES[1] / name).write_bytes(content)
    report = checked(root)
    kinds: dict[str, list[str]] = {name: [] for name in planted}
    for entry in report.odd:
        kinds[Path(entry["path"]).name].append(entry["kind"])
    assert kinds == {name: expected for name, (_, expected) in planted.items()}
    assert (report.broken, report.pairs, report.failed) == ([], [], False)


def test_classes_without_test_photos_and_the_imbalance_are_reported(root: Path) -> None:
    for path in (root / "test" / CLASSES[1]).iterdir():
        path.unlink()
    for index in range(3):
        (root / "train" / CLASSES[1] / f"{index}.jpg").unlink()
    report = checked(root)
    assert report.classes_without_test == [CLASSES[1]]
    assert report.imbalance["ratio"] == 2
    assert report.imbalance["smallest"] == {"class": CLASSES[1], "photos": 3}
    assert not report.failed


def test_classes_that_a_training_refuses_are_findings_of_the_check(root: Path) -> None:
    (root / "train" / "empty").mkdir()
    (root / "test" / "Long beak").mkdir()
    (root / "test" / "Long beak" / "0.jpg").write_bytes(encoded(picture(70)))
    result = run(root, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1 and answer["failed"]
    (missing,) = answer["problems"]
    assert any("'Long beak', 'long beak' differ in capitals alone" in note for note in answer["notes"])
    assert "no train photos of 'Long beak', 'empty'. Other splits have photos of 'Long beak'. Add some" in missing
    assert answer["splits"]["train"]["classes"] == {"Long beak": 0, "empty": 0, "long beak": 6, "short beak": 6}
    assert "stops training" in run(root).output
    with pytest.raises(UserError, match="no train photos of 'Long beak', 'empty'"):
        read_source(DataConfig(root=root))


def test_one_class_alone_is_a_finding_of_the_check(root: Path) -> None:
    for path in (root / "test", root / "val", root / "train" / CLASSES[1]):
        shutil.rmtree(path)
    report = check_data(survey_source(DataConfig(root=root)))
    assert report.failed and "has one class ('long beak')" in report.problems[0]


def test_documents_among_the_photos_are_left_out_and_listed(root: Path) -> None:
    named = ("notes.txt", "boxes.CSV", "paper.pdf", "desktop.ini", ".hidden.jpg")
    for name in named:
        (root / "train" / CLASSES[0] / name).write_text("not a photo", encoding="utf-8")
    (root / "train" / CLASSES[0] / "photo.unknown").write_bytes(encoded(picture(71)))
    report = checked(root)
    reasons = ("document", "document", "document", "system", "hidden")
    assert {Path(item.path).name: item.reason for item in report.left_out} == dict(zip(named, reasons, strict=True))
    assert report.to_json()["left_out"]["files"] == {"document": 3, "system": 1, "hidden": 1}
    assert report.counts["train"][CLASSES[0]] == 7 and not report.failed
    (note,) = report.notes
    assert "Left out: 1 hidden file, such as " in note and "; 3 files with the name of a document, such as " in note


def test_photos_in_memory_are_checked_as_files_are() -> None:
    bird = picture(0)
    photos = [
        Photo("a.jpg", 0, encoded(bird, "PNG")),  # only a file can be named wrongly
        Photo("b", 1, encoded(bird, quality=60)),
        Photo("c", 0, b""),
        Photo("/nowhere/d.jpg", 0),
    ]
    report = check_data(Source(CLASSES, {"train": photos}, ("a note",)))
    assert [entry["path"] for entry in report.broken] == ["c", "/nowhere/d.jpg"]
    assert [(pair.a, pair.b, pair.labels) for pair in report.conflicts] == [("a.jpg", "b", CLASSES)]
    assert report.odd == [] and report.notes == ("a note",)


def test_data_without_classes_has_no_imbalance() -> None:
    answer = check_data(Source((), {"train": []})).to_json()
    assert answer["imbalance"] == {"split": "train", "smallest": None, "largest": None, "ratio": None}
