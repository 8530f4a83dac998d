"""A run keeps its split: what it writes of its photos, and how they are found again."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clan_tf.config import DataConfig, Experiment, load_experiment
from clan_tf.data import Photo, Source, list_source, read_source
from clan_tf.data.checked_photos import check_photos
from clan_tf.data.sources import Box
from clan_tf.errors import UserError
from clan_tf.evaluation import Evaluation, evaluate
from clan_tf.run import RunDirectory, read_model_data, read_run_data
from clan_tf.run.data import read_run_split
from clan_tf.run.splits import COLUMNS, Row, RunSplit, match, read_split, run_split, write_split
from clan_tf.training import train
from clan_tf.training.resuming import require_same_content, resumed_data
from helpers.photos import write_photo

COLOURS = {"green": (60, 200, 60), "red": (200, 60, 60)}
HASH = "0" * 64


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunDirectory]:
    """Class folders that are cut into all three splits, and a run of one step on them."""
    root = tmp_path_factory.mktemp("photos") / "data"
    for name, color in COLOURS.items():
        for index in range(14):
            write_photo(root / name / f"{index:02}.jpg", color)
    experiment = Experiment.model_validate(
        {
            "data": {"root": str(root), "image_size": 32},
            "model": {"backbone": "tiny"},
            "training": {"epochs": 1, "batch_size": 9},
        }
    )
    return root, train(experiment, str(tmp_path_factory.mktemp("runs") / "run")).run


@pytest.fixture
def copied(original: tuple[Path, RunDirectory], tmp_path: Path) -> tuple[Path, RunDirectory]:
    """The same where they may be changed; the run's data is at the new place."""
    root, run = original
    shutil.copytree(root, tmp_path / "data")
    shutil.copytree(run.path, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace(str(root), str(tmp_path / "data")), encoding="utf-8")
    return tmp_path / "data", RunDirectory(tmp_path / "run")


def photos_of(run: RunDirectory, split: str) -> list[str]:
    return [row.photo for row in read_split(run.splits).used if row.split == split]


def predicted(result: Evaluation) -> set[str]:
    with (result.folder / "predictions.csv").open(encoding="utf-8") as file:
        return {"/".join(Path(row["photo"]).parts[-2:]) for row in csv.DictReader(file)}


def resume(run: RunDirectory) -> None:
    """The checks of `train --resume`, without training."""
    experiment = run.experiment()
    data = resumed_data(run, experiment)
    checked = {split: check_photos(photos) for split, photos in data.source.splits.items()}
    require_same_content(data, checked, lambda text: None)


def test_a_run_writes_each_photo_with_its_split_class_and_hash(original: tuple[Path, RunDirectory]) -> None:
    root, run = original
    with run.splits.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert sorted(row["photo"] for row in rows) == sorted(f"{name}/{i:02}.jpg" for name in COLOURS for i in range(14))
    assert {row["split"] for row in rows} == {"train", "val", "test"} and {row["use"] for row in rows} == {"used"}
    for row in rows:
        (now,) = check_photos([Photo(str(root / row["photo"]), 0)]).digests
        assert row["sha256"] == now and row["photo"].startswith(f"{row['class']}/")
    counts = json.loads((run.path / "data.json").read_text(encoding="utf-8"))["photos"]
    assert counts == {split: len(photos_of(run, split)) for split in counts}


def test_skipped_quarantined_and_left_out_photos_are_written_too(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name, color in COLOURS.items():
        for index in range(20):
            write_photo(root / name / f"{index:02}.png", color)
    (root / "red" / "bad.png").write_text("no photo", encoding="utf-8")
    (tmp_path / "list.txt").write_text("green/03.png\n", encoding="utf-8")
    config = DataConfig(root=root, quarantine=tmp_path / "list.txt", fraction=0.7, on_broken="skip")
    source = read_source(config)
    checked = {split: check_photos(photos) for split, photos in source.splits.items()}
    rows = {row.photo: row for row in run_split(config, source, checked).rows}
    assert len(rows) == 41
    assert rows["green/03.png"].use == "quarantined"
    assert rows["red/bad.png"].use in ("skipped", "left out")
    by_use = {use: sum(row.use == use for row in rows.values()) for use in ("used", "left out")}
    assert by_use["used"] == sum(len(photos.photos) for photos in checked.values())
    assert 2 < by_use["left out"] < 25
    # None of them is new when the data is listed again.
    found = match(list_source(config), RunSplit(tuple(rows.values())), root)
    assert not found.new and not found.missing and not found.moved


@pytest.mark.parametrize(
    "name", ["two\nlines.jpg", "=1+1.jpg", "'quoted.jpg", '"a", b.jpg', "\udcff\udcfe.jpg", "-1.jpg"]
)
def test_any_name_box_and_class_survives_the_file(tmp_path: Path, name: str) -> None:
    rows = (
        Row("train", 0, "@class", name, Box(1, 2, -3, 0), HASH, "used"),
        Row("train", 1, " b ", f"b/{name}", None, HASH, "used"),
        Row("val", 1, " b ", f"\r{name}", Box(-4), "", "skipped"),
    )
    write_split(tmp_path / "splits.csv", RunSplit(rows))
    assert read_split(tmp_path / "splits.csv").rows == rows
    with (tmp_path / "splits.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert not any(cell.startswith(("=", "+", "-", "@")) for cells in csv.reader(file) for cell in cells)


def test_added_photos_are_noted_and_used_in_no_split(copied: tuple[Path, RunDirectory]) -> None:
    root, run = copied
    for name in COLOURS:
        for index in range(20):
            write_photo(root / name / f"aa{index}.jpg", (9, 9, 9))
    write_photo(root / "blue" / "0.jpg", (9, 9, 200))
    result = evaluate(str(run.path), output=str(root.parent / "after"))
    assert predicted(result) == set(photos_of(run, "test"))
    assert any("41 photos came after the run began" in note for note in result.notes)
    resume(run)


def test_a_moved_root_changes_nothing(copied: tuple[Path, RunDirectory]) -> None:
    root, run = copied
    root.rename(root.with_name("elsewhere"))
    result = evaluate(str(run.best), overrides=[f"data.root={root.with_name('elsewhere')}"], output=str(root))
    assert predicted(result) == set(photos_of(run, "test")) and result.notes == ()
    moved = load_experiment(run.config, [f"data.root={root.with_name('elsewhere')}"])
    resumed = train(moved, str(run.path), resume=True)
    again = evaluate(str(run.path), source=resumed.source, data_section=resumed.data)
    assert again.folder == run.evaluation("test").path and again.notes == () and again.combined == result.combined


def test_missing_photos_are_named_by_evaluate_and_refused_by_resume(copied: tuple[Path, RunDirectory]) -> None:
    root, run = copied
    first, *rest = photos_of(run, "test")
    (root / first).unlink()
    data = read_run_data(run, run.experiment().data)
    assert [photo.name for photo in data.photos("test")] == [str(root / name) for name in rest]
    assert data.notes == (f"1 photo of the run (1 test) missing: '{first}'",)
    with pytest.raises(UserError, match=f"test: {first} is missing"):
        resume(run)
    for name in rest:
        (root / name).unlink()
    with pytest.raises(UserError, match="has none of the .* test photos of the run .*data.root=FOLDER"):
        read_run_data(run, run.experiment().data).photos("test")


def test_changed_content_of_equal_size_and_time_is_told(copied: tuple[Path, RunDirectory]) -> None:
    root, run = copied
    name = photos_of(run, "test")[0]
    status, content = (root / name).stat(), bytearray((root / name).read_bytes())
    content[-30] ^= 1
    (root / name).write_bytes(content)
    os.utime(root / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    result = evaluate(str(run.path), output=str(root.parent / "out"))
    assert any("1 of" in note and "have other content" in note and name in note for note in result.notes)
    with pytest.raises(UserError, match=f"1 photo of the run changed.*\n  test: {name} has other content"):
        resume(run)


def test_exchanged_classes_are_refused_with_what_was_exchanged(copied: tuple[Path, RunDirectory]) -> None:
    root, run = copied
    (root / "red").rename(root / "x")
    (root / "green").rename(root / "red")
    (root / "x").rename(root / "green")
    name = photos_of(run, "train")[0]
    other = name.replace("green", "red")
    with pytest.raises(
        UserError, match=f"28 photos of the run changed.*\n  train: {name} has the content that {other} had"
    ):
        resume(run)


def test_a_photo_in_another_class_folder_is_told_as_such(copied: tuple[Path, RunDirectory]) -> None:
    root, run = copied
    name = next(name for name in photos_of(run, "train") if name.startswith("green"))
    (root / name).rename(root / "red" / "new name.jpg")
    notes = read_run_data(run, run.experiment().data).notes
    assert any(f"{name} (now red/new name.jpg)" in note for note in notes)
    with pytest.raises(UserError, match=rf"train: {name} \(now red/new name.jpg\) is missing"):
        resume(run)


def listing(classes: tuple[str, ...], **splits: list[tuple[str, int]]) -> Source:
    return Source(classes, {split: [Photo(name, label) for name, label in photos] for split, photos in splits.items()})


def test_labels_and_splits_that_the_data_gives_otherwise_now_are_told() -> None:
    rows = [
        Row(split, label, "ab"[label], name, None, HASH, "used")
        for split, label, name in (("train", 0, "1"), ("train", 1, "2"), ("val", 0, "3"), ("test", 1, "4"))
    ]
    same = listing(("a", "b"), train=[("1", 0), ("2", 1), ("3", 0)], test=[("4", 1)])
    found = match(same, RunSplit(tuple(rows)), None)
    assert not (found.new or found.missing or found.relabelled or found.moved or found.reboxed)
    assert found.source.val_is_cut and [photo.name for photo in found.source.splits["val"]] == ["3"]
    other = listing(("0", "a", "b"), train=[("1", 2), ("4", 2), ("3", 1)], test=[("2", 2), ("5", 0)])
    found = match(other, RunSplit(tuple(rows)), None)
    assert [(row.photo, name) for row, name in found.relabelled] == [("1", "b")]
    assert [(row.photo, place) for row, place in found.moved] == [("2", "test"), ("4", "train")]
    assert [photo.name for photo in found.new] == ["5"]
    # The run's own classes, labels, splits and order count.
    assert found.source.class_names == ("a", "b")
    assert {split: [(p.name, p.label) for p in photos] for split, photos in found.source.splits.items()} == {
        "train": [("1", 0), ("2", 1)],
        "val": [("3", 0)],
        "test": [("4", 1)],
    }


def test_a_validation_split_that_came_later_moves_no_photo() -> None:
    rows = (Row("train", 0, "a", "1", None, HASH, "used"), Row("val", 0, "a", "2", None, HASH, "used"))
    later = listing(("a",), train=[("1", 0), ("2", 0)], val=[("3", 0)])
    assert not match(later, RunSplit(rows, val_is_cut=True), None).moved
    assert len(match(later, RunSplit(rows, val_is_cut=False), None).moved) == 1


def test_another_box_is_told() -> None:
    rows = (Row("train", 0, "a", "1", Box(1, 2, 3, 4), HASH, "used"),)
    source = Source(("a",), {"train": [Photo("1", 0, box=Box(1, 2, 3, 5))]})
    assert match(source, RunSplit(rows), None).reboxed == list(rows)


def test_other_data_is_read_anew_and_what_was_trained_on_is_counted(copied: tuple[Path, RunDirectory]) -> None:
    root, run = copied
    other_seed = load_experiment(run.config, ["data.split_seed=3"])
    data = read_model_data(run, other_seed, None)
    assert "another data.split_seed" in data.notes[0] and "read anew" in data.notes[0]
    grouped = read_model_data(run, load_experiment(run.config, ["data.group=path:(.+)"]), None)
    assert "another data.group" in grouped.notes[0]
    test = data.photos("test")
    trained = {str(root / name) for name in photos_of(run, "train")} & {photo.name for photo in test}
    (note,) = data.content_notes("test", check_photos(test))
    assert f"was trained on {len(trained)} of these {len(test)} test photos" in note
    named = read_model_data(run, run.experiment(), "my.yaml")
    assert "the data of my.yaml is read anew" in named.notes[0] and named.match is None
    assert read_model_data(run, load_experiment(run.config, ["data.on_broken=skip"]), None).match
    for name in COLOURS:
        for path in sorted((root / name).iterdir()):
            path.rename(path.with_name(f"other {path.name}"))
    assert "has none of the photos" in read_model_data(run, run.experiment(), None).notes[0]
    with pytest.raises(UserError, match="has none of the photos of the run .*data.root=FOLDER"):
        resume(run)


def test_a_run_of_an_earlier_version_is_evaluated_with_a_note(copied: tuple[Path, RunDirectory]) -> None:
    _, run = copied
    data = json.loads((run.path / "data.json").read_text(encoding="utf-8"))
    del data["splits_sha256"]
    (run.path / "data.json").write_text(json.dumps(data), encoding="utf-8")
    run.splits.unlink()
    assert read_run_split(run) is None
    assert "no splits.csv, because an earlier version wrote it" in read_run_data(run, run.experiment().data).notes[0]
    resume(run)
    data["file_list_sha256"] = "another"
    (run.path / "data.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(UserError, match="aren't those that the run began with"):
        resume(run)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) // 2], "damaged"),
        (lambda content: b"".join(content.splitlines(keepends=True)[:-3]), "aren't those that the run wrote"),
        (lambda content: content.replace(b"test,", b"train,", 1), "aren't those that the run wrote"),
        (lambda content: content.replace(b",used", b",lent", 1), "row 1 isn't a photo of a run: .*'lent'"),
        (lambda content: b"", "there is no column 'split'"),
        (lambda content: content + b'"', "unexpected end of data"),
        (lambda content: content.replace(b"\n", b"\n\x00", 1), "damaged"),
        (None, "No such file"),
    ],
)
def test_a_damaged_file_is_refused_with_the_way_out(
    copied: tuple[Path, RunDirectory], damage: Callable[[bytes], bytes] | None, message: str
) -> None:
    _, run = copied
    content = run.splits.read_bytes()
    run.splits.unlink() if damage is None else run.splits.write_bytes(damage(content))
    with pytest.raises(UserError, match=f"splits.csv: .*{message}.*--config CONFIG"):
        read_run_split(run)


def test_no_byte_of_the_file_can_change_unnoticed(copied: tuple[Path, RunDirectory], rng: np.random.Generator) -> None:
    _, run = copied
    whole, before = run.splits.read_bytes(), read_run_split(run)
    for position in rng.choice(len(whole), 150, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        run.splits.write_bytes(damaged)
        try:
            assert read_run_split(run) == before
        except UserError as error:
            assert "is damaged" in str(error)


def test_a_quarantine_list_of_today_leaves_out_photos_of_the_run(copied: tuple[Path, RunDirectory]) -> None:
    root, run = copied
    first, *rest = photos_of(run, "test")
    (root.parent / "list.txt").write_text(f"{first}\n", encoding="utf-8")
    experiment = load_experiment(run.config, [f"data.quarantine={root.parent / 'list.txt'}"])
    data = read_model_data(run, experiment, None)
    assert [photo.name for photo in data.photos("test")] == [str(root / name) for name in rest] and not data.notes


def test_a_run_writes_corrected_labels_and_evaluates_by_them(tmp_path: Path) -> None:
    root, table = tmp_path / "data", tmp_path / "labels.csv"
    for split in ("train", "val", "test"):
        for name, color in COLOURS.items():
            for index in range(5):
                write_photo(root / split / name / f"{index}.png", color)
    table.write_text("photo,label\ntrain/red/0.png,green\ntest/red/1.png,green\ntrain/red/2.png,-\n", encoding="utf-8")
    experiment = Experiment.model_validate(
        {
            "data": {"root": str(root), "image_size": 32, "relabel": str(table)},
            "model": {"backbone": "tiny"},
            "training": {"epochs": 1, "batch_size": 9},
        }
    )
    run = train(experiment, str(tmp_path / "run")).run
    rows = {row.photo: row for row in read_split(run.splits).rows}
    assert [rows[name].class_name for name in ("train/red/0.png", "test/red/1.png")] == ["green", "green"]
    assert rows["train/red/2.png"].use == "quarantined"
    resume(run)
    data = read_model_data(run, run.experiment(), None)
    assert [note for note in data.notes if "since" in note or "came after" in note] == []
    assert sum(photo.label == 0 for photo in data.photos("test")) == 6

    table.write_text("photo,label\ntrain/red/0.png,\ntest/red/1.png,green\n", encoding="utf-8")
    (note,) = [note for note in read_model_data(run, run.experiment(), None).notes if "relabelled since" in note]
    assert "train/red/0.png (was green, is red)" in note and "test/red" not in note
    with pytest.raises(UserError, match="was 'green' and is 'red'"):
        resume(run)

    table.unlink()
    data = read_model_data(run, run.experiment(), None)
    assert any(str(table) in note and note.endswith("The run's own labels count.") for note in data.notes)
    assert sum(photo.label == 0 for photo in data.photos("test")) == 6


def test_with_other_corrections_the_data_is_read_anew(copied: tuple[Path, RunDirectory]) -> None:
    root, run = copied
    first, *_ = [name for name in photos_of(run, "test") if name.startswith("red")]
    (root.parent / "labels.csv").write_text(f"photo,label\n{first},green\n", encoding="utf-8")
    experiment = load_experiment(run.config, [f"data.relabel={root.parent / 'labels.csv'}"])
    data = read_model_data(run, experiment, None)
    assert any("another data.relabel" in note for note in data.notes)
    assert [photo.label for photo in data.photos("test") if photo.name == str(root / first)] == [0]
