"""The command `data check`: what it prints, writes and refuses."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import DataConfig
from clan_tf.data import read_source
from clan_tf.errors import UserError
from helpers import TINY_DEMO
from helpers.data_check import CLASSES, run


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
    assert f"clan-tf train {TINY_DEMO}" in result.output.replace("\n", "")
    assert {path.name for path in (tmp_path / "grids").iterdir()} == {"classes.png", "augmented.png"}
    assert state() == before


@pytest.mark.parametrize(
    ("option", "path", "expected"),
    [
        ("--quarantine", "file.txt", "isn't such a list"),
        ("--quarantine", "file.txt/list.txt", "file.txt is a file, but must be a folder"),
        ("--quarantine", "photos", "can't be read as a text file: is a folder"),
        ("--samples", "file.txt", "file.txt is a file, but must be a folder"),
        ("--samples", "file.txt/grids", "file.txt is a file, but must be a folder"),
        ("--samples", "photos", "can't be written to"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_photos_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, path: str, expected: str
) -> None:
    def refused(dir: Path) -> None:
        raise PermissionError(13, "Permission denied", dir)

    (tmp_path / "photos").mkdir()
    (tmp_path / "file.txt").write_text("precious", encoding="utf-8")
    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    done = run(tmp_path / "photos", option, str(tmp_path / path))  # a folder that reading would refuse
    assert isinstance(done.exception, UserError) and f"{option}: " in str(done.exception)
    assert expected in str(done.exception)
    assert (tmp_path / "file.txt").read_text(encoding="utf-8") == "precious"


def test_groups_in_several_official_splits_fail_the_check_and_are_listed(root: Path) -> None:

    group = ("--set", f"data.group=path:({CLASSES[0]}/0)")
    result = run(root, *group)
    assert result.exit_code == 1
    assert "1 group (3 photos) is in more than one of the data's own splits" in " ".join(result.output.split())
    assert "group train-val-test" in result.output and "ready for training" not in result.output
    (divided,) = json.loads(run(root, *group, "--json").stdout)["divided_groups"]
    assert divided["group"] == f"{CLASSES[0]}/0"
    assert divided["photos"] == {s: [str(root / s / CLASSES[0] / "0.jpg")] for s in ("train", "val", "test")}
    assert json.loads(run(root, "--json").stdout)["divided_groups"] == []


def test_samples_of_photos_that_cannot_be_read_are_skipped_and_the_report_is_there(root: Path, tmp_path: Path) -> None:
    for photo in (root / "train").rglob("*.jpg"):
        photo.write_bytes(b"")
    for options in ((), ("--json",)):
        result = run(root, "--samples", str(tmp_path / "grids"), *options)
        assert result.exit_code == 1 and "broken" in result.stdout, result.exception
        assert "--samples: there is no train photo that can be read" in result.stderr
    assert len(json.loads(result.stdout)["broken"]) == 12 and not (tmp_path / "grids").exists()


def test_classes_that_are_all_unknown_are_refused_as_such(root: Path) -> None:
    for split in ("train", "val", "test"):
        shutil.rmtree(root / split / CLASSES[1])
    for options in ((), ("--json",)):
        done = run(root, "--set", f"data.unknown_classes=[{CLASSES[0]}]", *options)
        assert isinstance(done.exception, UserError)
        assert "data.unknown_classes: leaves 0 of 1 class (" in str(done.exception)


def test_the_quarantine_of_a_table_of_photos_is_relative_to_it_and_moves_with_it(root: Path, tmp_path: Path) -> None:
    """As `data.relabel` and `splits.csv` are, and as the findings are printed."""
    (root / "train" / CLASSES[0] / "0.jpg").write_bytes(b"")
    photos = [path.relative_to(root) for path in sorted(root.rglob("*.jpg"))]
    rows = "".join(f"{photo},{photo.parts[1]},{photo.parts[0]}\n" for photo in photos)
    (root / "birds.csv").write_text(f"path,label,split\n{rows}", encoding="utf-8")
    bad = tmp_path / "bad.txt"
    keys = ["data.source=csv", f"data.csv={root / 'birds.csv'}", "training.batch_size=4"]
    words = [word for key in keys for word in ("--set", key)]
    done = CliRunner().invoke(app, ["data", "check", TINY_DEMO, *words, "--quarantine", str(bad)])
    name = f"train/{CLASSES[0]}/0.jpg"
    assert bad.read_text(encoding="utf-8").splitlines()[2:] == [name]
    assert str(root / name) not in done.stdout
    moved = root.rename(tmp_path / "moved")
    for listed in (name, str(moved / name)):
        bad.write_text(listed, encoding="utf-8")
        source = read_source(DataConfig(source="csv", csv=moved / "birds.csv", quarantine=bad))
        assert {Path(photo.name).name for photo in source.unused["quarantined"]["train"]} == {"0.jpg"}
