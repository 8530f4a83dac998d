"""`clan-tf data labels`: planted wrong labels are found, and an edited table corrects them."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clan_tf.cli.main import app
from clan_tf.config import DataConfig, Experiment, load_experiment
from clan_tf.data import read_source
from clan_tf.errors import UserError
from clan_tf.labels import LabelReport, find_mislabelled
from helpers import TINY_DEMO
from helpers.photos import write_photo

COLORS = {"red": (200, 60, 60), "grün": (60, 200, 60), "=<b>blue": (60, 60, 200)}
PLANTED = {"train/red/wrong.png": "grün", "train/grün/wrong.png": "=<b>blue", "train/=<b>blue/wrong.png": "red"}
"""Photos in the folder of another class, and whose colour they have."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labels") / "photos"
    for split, count in (("train", 10), ("val", 4), ("test", 3)):
        for name, color in COLORS.items():
            for index in range(count):
                write_photo(root / split / name / f"{index}.png", color)
    for name, color in PLANTED.items():
        write_photo(root / name, COLORS[color])
    return root


def keys(root: Path, *more: str) -> list[str]:
    return ["data.source=folders", f"data.root={root}", "data.image_size=32", "data.resize_size=36", *more]


def experiment(root: Path, *more: str) -> Experiment:
    return load_experiment(TINY_DEMO, keys(root, *more))


def run(root: Path, output: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["data", "labels", TINY_DEMO, *keys(root), "--output", str(output), *options])


@pytest.fixture(scope="module")
def report(photos: Path) -> LabelReport:
    return find_mislabelled(experiment(photos))


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(table: Path, rows: list[dict[str, str]]) -> None:
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_planted_wrong_labels_are_the_worst_and_their_classes_are_suggested(report: LabelReport) -> None:
    assert {photo.name: photo.suggested for photo in report.photos[:3]} == PLANTED
    assert {photo.name for photo in report.issues} == set(PLANTED)
    assert len(report.photos) == 33 and report.folds == 5
    qualities = [photo.quality for photo in report.photos]
    assert qualities == sorted(qualities)


def test_agreement_is_the_share_of_labels_that_are_the_most_probable_class(report: LabelReport) -> None:
    assert report.agreement == pytest.approx(30 / 33)


def test_typical_photos_carry_right_labels(report: LabelReport) -> None:
    assert set(report.typical) == set(COLORS)
    assert all(Path(photo.name).parent.name == name for name, photo in report.typical.items())
    assert all("wrong" not in photo.name for photo in report.typical.values())


def test_the_ranking_is_the_same_each_time(photos: Path, report: LabelReport) -> None:
    assert [photo.name for photo in find_mislabelled(experiment(photos)).photos] == [
        photo.name for photo in report.photos
    ]


@pytest.mark.parametrize(("split", "count"), [("val", 12), ("test", 9), ("all", 54)])
def test_other_splits_are_ranked_with_the_help_of_train_photos(photos: Path, split: str, count: int) -> None:
    found = find_mislabelled(experiment(photos), split)
    assert len(found.photos) == count
    assert split == "all" or all(photo.name.startswith(f"{split}/") for photo in found.photos)
    assert found.agreement > 0.9


def test_random_weights_are_noted(report: LabelReport) -> None:
    assert any("random weights" in note for note in report.notes)


def test_table_page_and_json_say_the_same(photos: Path, tmp_path: Path) -> None:
    done = run(photos, tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["issues"] == 3 and answer["photos"] == 33
    assert {entry["photo"]: entry["suggested_label"] for entry in answer["ranked_issues"]} == PLANTED
    rows = rows_of(tmp_path / "out" / "labels.csv")
    assert [row["is_issue"] for row in rows] == ["yes"] * 3 + ["no"] * 30
    assert {row["label"] for row in rows} == {""}, "nothing changes unless it is edited"
    page = (tmp_path / "out" / "labels.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 66 and "3 of 33 photos" in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == [] and "<script" not in page
    assert "&lt;b&gt;blue" in page and "<b>blue" not in page


def test_the_printed_table_tells_what_to_do_next(photos: Path, tmp_path: Path) -> None:
    done = run(photos, tmp_path / "out")
    assert "The labels of 3 of 33 photos are probably wrong" in done.stdout
    assert f"data.relabel={tmp_path / 'out' / 'labels.csv'}" in done.stdout


def test_an_edited_table_of_an_earlier_search_is_never_replaced(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("edited", encoding="utf-8")
    done = run(photos, tmp_path)
    assert isinstance(done.exception, UserError) and "isn't empty" in str(done.exception)
    assert (tmp_path / "labels.csv").read_text(encoding="utf-8") == "edited"


def test_by_default_a_new_folder_is_made(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels").mkdir()
    done = CliRunner().invoke(app, ["data", "labels", TINY_DEMO, *keys(photos), "--json"])
    assert json.loads(done.stdout)["output"] == "labels-2"
    assert (tmp_path / "labels-2" / "labels.html").is_file()


def test_corrected_labels_are_used_and_a_second_search_keeps_them(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out")
    table = tmp_path / "out" / "labels.csv"
    rows = rows_of(table)
    rows[0]["label"], rows[1]["label"], rows[2]["label"] = rows[0]["suggested_label"], rows[1]["suggested_label"], "-"
    write_rows(table, rows)
    source = read_source(DataConfig(root=photos, relabel=table))
    labels = {Path(photo.name).relative_to(photos).as_posix(): photo.label for photo in source.splits["train"]}
    names = [row["photo"].removeprefix("'") for row in rows[:3]]
    assert [source.class_names[labels[name]] for name in names[:2]] == [PLANTED[name] for name in names[:2]]
    assert names[2] not in labels and len(labels) == 32
    again = find_mislabelled(experiment(photos, f"data.relabel={table}"))
    assert again.issues == [] and again.agreement == 1
    run(photos, tmp_path / "second", "--set", f"data.relabel={table}")
    kept = read_source(DataConfig(root=photos, relabel=tmp_path / "second" / "labels.csv"))
    assert kept.splits == source.splits, "the new table can take the place of the old one"


def test_copies_of_a_wrong_photo_don_t_vouch_for_it(photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    shutil.copytree(photos, root)
    for name in PLANTED:
        shutil.copy(root / name, (root / name).with_name("copy.png"))
    found = find_mislabelled(experiment(root))
    assert {Path(photo.name).stem for photo in found.photos[:6]} == {"wrong", "copy"}


def test_single_photos_of_a_class_are_counted_and_not_ranked(photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    shutil.copytree(photos, root)
    write_photo(root / "train" / "rare" / "0.png", (20, 20, 20))
    for index in range(2):
        write_photo(root / "train" / "few" / f"{index}.png", (200, 200, 200))
    found = find_mislabelled(experiment(root))
    assert found.unranked == 1 and len(found.photos) == 35
    assert any("1 photo can't be ranked" in note for note in found.notes)
    assert any("fewer than 5 different photos" in note and "'few'" in note for note in found.notes)


def test_photos_that_nothing_can_be_compared_with_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name, color in COLORS.items():
            write_photo(tmp_path / split / name / "0.png", color)
    with pytest.raises(UserError, match=r"data.root: .* 0 of 3 classes have two different photos"):
        find_mislabelled(experiment(tmp_path))


@pytest.mark.parametrize(("split", "reason"), [("trian", "must be train, val, test or all"), ("test", "no photos in")])
def test_a_split_that_isn_t_there_is_refused(tmp_path: Path, split: str, reason: str) -> None:
    for name, color in COLORS.items():
        for index in range(3):
            write_photo(tmp_path / "train" / name / f"{index}.png", color)
            write_photo(tmp_path / "val" / name / f"{index}.png", color)
    with pytest.raises(UserError, match=reason):
        find_mislabelled(experiment(tmp_path), split)


def test_a_failed_search_leaves_no_folder(photos: Path, tmp_path: Path) -> None:
    assert isinstance(run(photos, tmp_path / "out", "--split", "other").exception, UserError)
    assert list(tmp_path.iterdir()) == []


def test_without_cleanlab_the_extra_is_named(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith(("clan_tf.labels", "clan_tf.report.labels"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    done = run(photos, tmp_path / "out")
    assert isinstance(done.exception, UserError) and "pip install 'clan-tf[labels]'" in str(done.exception)
