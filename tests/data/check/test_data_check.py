"""The check of the data: what is planted is found, and nothing else."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from typer.testing import CliRunner, Result

from clan_tf.cli.main import app
from clan_tf.config import DataConfig, load_experiment, with_values
from clan_tf.data import Photo, Source, read_source, survey_source
from clan_tf.data.check import DataReport, check_data, inspection, require_ready, training_problems
from clan_tf.data.check.duplicates import THUMBNAIL_SIZE, near_duplicates
from clan_tf.data.check.readiness import fitting_batch
from clan_tf.data.checked_photos import check_photos
from clan_tf.data.sources.generated import draw_photo
from clan_tf.errors import UserError

CLASSES = ("long beak", "short beak")
SIZE = 96


def picture(number: int, size: int = SIZE) -> Image.Image:
    """A drawn bird like no other, though all are alike in layout."""
    return Image.fromarray(draw_photo(number % 8, np.random.default_rng([7, number]), size))


def encoded(image: Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    content = BytesIO()
    image.save(content, image_format, **options)
    return content.getvalue()


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


def checked(root: Path) -> DataReport:
    return check_data(read_source(DataConfig(root=root)))


def run(root: Path, *options: str) -> Result:
    keys = ("data.source=folders", f"data.root={root}", "training.batch_size=4")
    arguments = [*(word for key in keys for word in ("--set", key)), *options]
    return CliRunner().invoke(app, ["data", "check", "demo", *arguments])


def relative(path: str, root: Path) -> str:
    return Path(path).relative_to(root).as_posix()


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


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: encoded(image, quality=40),
        lambda image: encoded(image.resize((86, 86), Image.Resampling.BICUBIC), quality=75),
        lambda image: encoded(image.resize((106, 106), Image.Resampling.LANCZOS), quality=75),
        lambda image: encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), quality=75),
        lambda image: encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((86, 86)), quality=50),
        lambda image: encoded(image, "PNG"),
    ],
    ids=["re-encoded", "smaller", "larger", "mirrored", "mirrored, smaller and re-encoded", "other format"],
)
def test_a_copy_of_a_test_photo_in_train_is_the_one_leak(root: Path, copy: Callable[[Image.Image], bytes]) -> None:
    original = root / "test" / CLASSES[0] / "1.jpg"
    content = copy(Image.open(original))
    suffix = ".png" if content.startswith(b"\x89PNG") else ".jpg"
    planted = original.parents[2] / "train" / CLASSES[0] / f"copy{suffix}"
    planted.write_bytes(content)
    report = checked(root)
    (leak,) = report.leaks
    assert (leak.a, leak.b, leak.kind, leak.splits) == (str(planted), str(original), "near", ("train", "test"))
    assert report.failed
    assert not report.duplicates and not report.conflicts


def test_no_two_of_many_different_photos_are_taken_for_copies() -> None:
    birds = [Photo(f"bird {n}", n % 2, encoded(picture(n), "PNG")) for n in range(46)]
    report = check_data(Source(CLASSES, {"train": birds}))  # 1,035 pairs
    assert report.pairs == []


def test_the_same_shapes_in_other_colours_are_no_copies() -> None:
    bird = np.asarray(picture(3))
    photos = [Photo(f"{n}", 0, encoded(Image.fromarray(np.roll(bird, n, axis=2)), "PNG")) for n in range(3)]
    assert check_data(Source(CLASSES, {"train": photos})).pairs == []


def test_photos_without_details_are_no_copies_of_each_other() -> None:
    ramp = np.linspace(0, 20, 64)[:, None, None]
    skies = [np.broadcast_to((100 + 20 * n, 150, 200 - 15 * n) + ramp, (64, 64, 3)).astype("uint8") for n in range(5)]
    plain = [Photo(f"{n}", 0, encoded(Image.fromarray(sky), "PNG")) for n, sky in enumerate(skies)]
    assert check_data(Source(CLASSES, {"train": plain})).pairs == []


def test_blocks_do_not_hide_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clan_tf.data.check.duplicates._BLOCK", 3)
    shape = (8, THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3)
    thumbnails = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    thumbnails[7], thumbnails[5] = thumbnails[1], thumbnails[4][:, ::-1]
    calls = []
    assert near_duplicates(thumbnails, lambda: calls.append(1)).tolist() == [[1, 7], [4, 5]]
    assert len(calls) == 3


def test_the_same_bytes_are_an_exact_duplicate_and_different_labels_a_conflict(root: Path) -> None:
    photo = root / "train" / CLASSES[0] / "0.jpg"
    for name in CLASSES:
        (root / "train" / name / "copy.jpg").write_bytes(photo.read_bytes())
    report = checked(root)
    pairs = {(relative(pair.a, root), relative(pair.b, root), pair.kind) for pair in report.duplicates}
    first = "train/long beak/0.jpg"
    assert pairs == {(first, "train/long beak/copy.jpg", "exact"), (first, "train/short beak/copy.jpg", "exact")}
    assert [pair.labels for pair in report.conflicts] == [CLASSES]
    assert report.leaks == [] and report.failed


def test_every_leaking_copy_is_named_once_more_than_one_or_not(root: Path) -> None:
    content = (root / "test" / CLASSES[0] / "0.jpg").read_bytes()
    for place in ("train/long beak/a.jpg", "train/long beak/b.jpg", "test/long beak/c.jpg"):
        (root / place).write_bytes(content)
    report = checked(root)
    assert {name for leak in report.leaks for name in (Path(leak.a).name, Path(leak.b).name)} == {
        "a.jpg",
        "b.jpg",
        "0.jpg",
        "c.jpg",
    }
    assert len(report.leaks) == 3 and len(report.duplicates) == 2


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
    assert missing.endswith("no train photos of 'Long beak', 'empty'. Other splits have photos of 'Long beak'.")
    assert answer["splits"]["train"]["classes"] == {"Long beak": 0, "empty": 0, "long beak": 6, "short beak": 6}
    assert "stops a training" in run(root).output
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
    assert "Left out: 1 hidden file, such as " in note and "; 3 files named as documents, such as " in note


def test_copies_never_part_where_the_validation_photos_are_cut_at_random(root: Path) -> None:
    shutil.rmtree(root / "val")
    for path in list((root / "train").rglob("*.jpg")):
        path.with_name(f"copy of {path.name}").write_bytes(path.read_bytes())
    for seed in range(4):
        report = check_data(read_source(DataConfig(root=root, split_seed=seed, validation_fraction=0.4)))
        assert sum(report.counts["val"].values()) > 0
        assert len(report.duplicates) == 12 and not report.across_cut and not report.failed


def test_near_copies_across_our_own_cut_are_reported_but_are_no_leak(root: Path) -> None:
    shutil.rmtree(root / "val")
    for path in list((root / "train").rglob("*.jpg")):
        path.with_name(f"copy of {path.name}").write_bytes(encoded(Image.open(path), quality=60))
    arguments = ["--set", "data.validation_fraction=0.4"]
    result = run(root, *arguments)
    assert result.exit_code == 0, result.output
    assert "across train and val: clan-tf cut these validation photos" in result.output
    answer = json.loads(run(root, "--json", *arguments).stdout)
    assert answer["leaks"] == [] and ["train", "val"] in [pair["splits"] for pair in answer["duplicates"]]


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


def test_training_without_the_quarantined_photos_is_clean(spoilt: Path, tmp_path: Path) -> None:
    listed = tmp_path / "lists" / "quarantine.txt"
    result = run(spoilt, "--quarantine", str(listed))
    assert result.exit_code == 1 and f"data.quarantine={listed}" in result.output
    lines = [line for line in listed.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert sorted(lines) == [
        "test/long beak/broken.jpg",
        "train/long beak/1.jpg",
        "train/long beak/of_test.jpg",
        "train/long beak/of_val.jpg",
        "train/long beak/twice.jpg",
        "train/short beak/otherwise.jpg",
    ]
    source = read_source(DataConfig(root=spoilt, quarantine=listed))
    assert {split: len(photos) for split, photos in source.splits.items()} == {"train": 11, "val": 4, "test": 4}
    report = check_data(source)
    assert not report.failed and report.pairs == []
    again = run(spoilt, "--set", f"data.quarantine={listed}", "--quarantine", str(listed))
    assert again.exit_code == 1
    assert listed.read_text(encoding="utf-8").count("\n") == 10, "what was left out before is looked at again"


def test_json_is_one_document_with_every_finding(spoilt: Path) -> None:
    result = run(spoilt, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert {"splits", "classes", "broken", "duplicates", "leaks", "odd", "images", "imbalance", "notes"} <= set(answer)
    assert answer["splits"]["train"] == {"total": 16, "classes": {"long beak": 9, "short beak": 7}}
    assert answer["classes"] == 2
    assert [entry.keys() for entry in answer["broken"]] == [{"path", "problem"}]
    assert {tuple(leak["splits"]) for leak in answer["leaks"]} == {("train", "test"), ("train", "val")}
    assert {pair["kind"] for pair in answer["duplicates"]} == {"exact"}
    assert len(answer["conflicts"]) == 1


def test_the_table_is_short_and_says_what_to_do_next(spoilt: Path) -> None:
    bad = run(spoilt)
    assert bad.exit_code == 1
    for words in ("broken", "leak train-test, near", "labels differ", "--quarantine quarantine.txt"):
        assert words in bad.output
    assert len(bad.output.splitlines()) < 55


def test_the_smallest_classes_are_counted_split_by_split(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = CLASSES[1], CLASSES[0]
    (root / "train" / small / "0.jpg").unlink()
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in run(root).output.splitlines()]
    assert [large, "6", "2", "2"] in rows and [small, "5", "2", "2"] in rows
    monkeypatch.setattr("clan_tf.cli.data_check._MOST_CLASSES", 1)
    output = run(root).output
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in output.splitlines()]
    assert "The 1 classes with the fewest train photos" in output
    assert [small, "5", "2", "2"] in rows and [large, "6", "2", "2"] not in rows


def test_a_clean_check_passes_writes_the_samples_and_changes_no_photo(root: Path, tmp_path: Path) -> None:
    def state() -> dict[Path, tuple[int, bytes]]:
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}

    before = state()
    options = ["--set", "data.image_size=32", "--set", "data.resize_size=36"]
    result = run(root, "--samples", str(tmp_path / "grids"), *options)
    assert result.exit_code == 0, result.output
    assert "clan-tf train demo" in result.output
    assert {path.name for path in (tmp_path / "grids").iterdir()} == {"classes.png", "augmented.png"}
    assert state() == before


def test_a_quarantine_list_replaces_no_other_file(spoilt: Path, tmp_path: Path) -> None:
    precious = tmp_path / "config.yaml"
    precious.write_text("name: precious", encoding="utf-8")
    done = run(spoilt, "--quarantine", str(precious))
    assert isinstance(done.exception, UserError) and "isn't such a list" in str(done.exception)
    assert precious.read_text(encoding="utf-8") == "name: precious"


@pytest.mark.parametrize(
    ("option", "path", "expected"),
    [
        ("--quarantine", "file.txt", "isn't such a list"),
        ("--quarantine", "file.txt/list.txt", "file.txt is a file, and must be a folder"),
        ("--quarantine", "photos", "can't be read as a text file: is a folder"),
        ("--samples", "file.txt", "file.txt is a file, and must be a folder"),
        ("--samples", "file.txt/grids", "file.txt is a file, and must be a folder"),
        ("--samples", "photos", "can't be written to"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_photos_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, path: str, expected: str
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "file.txt").write_text("precious", encoding="utf-8")
    monkeypatch.setattr("os.access", lambda place, mode: False)
    done = run(tmp_path / "photos", option, str(tmp_path / path))  # a folder that reading would refuse
    assert isinstance(done.exception, UserError) and f"{option}: " in str(done.exception)
    assert expected in str(done.exception)
    assert (tmp_path / "file.txt").read_text(encoding="utf-8") == "precious"


VERDICTS = {
    "one photo a class": (
        {"a": 1, "b": 1, "c": 1},
        [],
        "no class has photos enough to cut one.*Add photos .*or give .*val/",
    ),
    "two photos a class": ({"a": 2, "b": 2}, [], "no class has photos enough to cut one after a test photo"),
    "fewer photos than a batch": ({"a": 9, "b": 9}, ["training.batch_size=30"], "batch_size: 30 is more than the"),
    "one class": ({"a": 9}, [], "one class"),
    "another number of classes": ({"a": 9, "b": 9}, ["data.classes=8"], "data.classes: is 8, and the data has 2"),
    "some classes with one or two photos": ({"a": 20, "b": 1, "c": 2}, [], ""),
    "photos enough": ({"a": 12, "b": 12}, [], ""),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_check_and_train_give_the_same_verdict_and_the_advice_runs(case: str, tmp_path: Path) -> None:
    counts, keys, expected = VERDICTS[case]
    numbers = iter(range(200))
    for name, count in counts.items():
        (tmp_path / "d" / name).mkdir(parents=True)
        for index in range(count):
            (tmp_path / "d" / name / f"{index}.jpg").write_bytes(encoded(picture(next(numbers))))
    keys = ["data.source=folders", f"data.root={tmp_path / 'd'}", "training.batch_size=4", *keys]
    words = [word for key in keys for word in ("--set", key)]
    checked = CliRunner().invoke(app, ["data", "check", *words])
    planned = CliRunner().invoke(app, ["train", *words, "--dry-run"])
    assert checked.exit_code == (1 if expected else 0), checked.output
    advised = [shlex.split(line)[1:] for line in checked.output.splitlines() if line.startswith("  clan-tf train ")]
    if expected:
        assert isinstance(planned.exception, UserError) and re.search(expected, str(planned.exception))
        assert str(planned.exception) in checked.output
        assert "A training can't start on these photos:" in checked.output and "stands in the way" not in checked.output
    else:
        assert planned.exit_code == 0 and len(advised) == 1
    if case.startswith("some"):
        assert re.search("No validation photo is left for 'b'.*leave such classes out", checked.output)
    for command in advised:
        assert CliRunner().invoke(app, [*command, "--dry-run"]).exit_code == 0


def test_broken_photos_that_empty_a_class_keep_a_training_from_starting(root: Path) -> None:
    for path in (root / "train" / CLASSES[0]).iterdir():
        path.write_bytes(b"broken")
    source = survey_source(DataConfig(root=root))
    experiment = load_experiment("demo", ["training.batch_size=4"])
    checked = {split: check_photos(photos) for split, photos in source.splits.items()}
    with pytest.raises(UserError, match="No train photo of 'long beak' can be read") as refused:
        require_ready(experiment, source, checked)
    answer = json.loads(run(root, "--json", "--set", "data.on_broken=skip").stdout)
    assert answer["problems"] == [str(refused.value)] and answer["can_start"] is False


def test_the_smaller_batch_that_is_advised_fits_its_parts(root: Path) -> None:
    source = survey_source(DataConfig(root=root))
    for parts, batch in (
        (5, {"training.batch_size": 10}),
        (20, {"training.batch_size": 12, "training.accumulation": 1}),
    ):
        experiment = load_experiment("demo", ["training.batch_size=40", f"training.accumulation={parts}"])
        assert fitting_batch(experiment, source) == batch
        assert not training_problems(with_values(experiment, batch), source)


@pytest.mark.parametrize("name", ["a list.txt", "2024", "a: b", "#1", "null"])
def test_the_advised_quarantine_can_be_given_as_printed(
    spoilt: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(spoilt, "--quarantine", name)
    (command,) = [shlex.split(line)[1:] for line in result.output.splitlines() if line.startswith("  clan-tf train ")]
    planned = CliRunner().invoke(app, [*command, "--dry-run"])
    assert planned.exit_code == 0, planned.exception
