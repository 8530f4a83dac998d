"""`clan-tf predict --csv` and `--sort-into`: what is written, and what is left alone."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.errors import CheckFailed, UserError
from clan_tf.files import read_rows
from clan_tf.inference import predict, sort_photos
from clan_tf.inference.sorting import LISTING, UNSURE
from clan_tf.models import save_model
from clan_tf.rejection import Rejection
from helpers.exports import PHOTOS, answering_model, keras_answers, tflite_file

OLD = 1_000_000_000_123_456_789


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tflite_file(tmp_path_factory.mktemp("model") / "birds.tflite", answering_model()))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six photos in two folders, three of them with the same name, one with bytes that aren't UTF-8, and no photo."""
    folder = tmp_path / "photos"
    names = [b"a/same.png", b"b/same.png", b"b/SAME.png", b"b/caf\xe9.png", b"b/e=.png", b"b/f.png"]
    for index, name in enumerate(names):
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PHOTOS[index]).save(path)
        os.utime(path, ns=(OLD, OLD + index))
    (folder / "b" / "text.jpg").write_text("no photo", encoding="utf-8")
    return folder


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def made(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir() and path.name != LISTING)


def test_the_table_holds_every_photo_with_its_labels_or_its_error(model: str, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    table.write_text("an older table", encoding="utf-8")
    done = run(model, photos, "--csv", table, "--top", "2")
    assert done.exit_code == 1 and "6 photos predicted, 0 unsure, 1 couldn't be read" in done.stdout
    with table.open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert header == ["path", "label", "probability", "label_2", "probability_2", "withheld", "error"]
    rows = read_rows(table, header, "")
    expected = predict(model, [str(photos)], top=2)
    assert [row["path"] for row in rows] == [result["path"] for result in expected]
    for row, result in zip(rows, expected, strict=True):
        if "error" in result:
            assert list(row.values()) == [result["path"], "", "", "", "", "", "not an image"]
            continue
        for prediction, rank in zip(result["predictions"], ("", "_2"), strict=True):
            assert row[f"label{rank}"] == prediction["label"]
            assert float(row[f"probability{rank}"]) == pytest.approx(prediction["probability"], abs=1e-6)
    assert sum(row["error"] != "" for row in rows) == 1
    assert list(tmp_path.glob(".*")) == []


def test_json_is_the_only_output_and_the_files_are_written_too(model: str, photos: Path, tmp_path: Path) -> None:
    output, table = photos / "b" / "sorted", tmp_path / "out.csv"
    done = run(model, photos, "--json", "--csv", table, "--sort-into", output, "--unsure-below", "0")
    results = json.loads(done.stdout)
    assert done.exit_code == 1 and len(results) == 7 and table.is_file()
    files = [result["file"] for result in results if "predictions" in result]
    assert sorted(map(Path, files)) == made(output) and len(files) == 6
    for result in results:
        if "predictions" in result:
            assert Path(result["file"]).parent == output / result["predictions"][0]["label"]


@pytest.mark.parametrize("exists", [False, True])
def test_photos_are_copied_by_label_and_listed(model: str, photos: Path, tmp_path: Path, exists: bool) -> None:
    output = tmp_path / "sorted"
    if exists:
        output.mkdir()
    before = output.stat().st_ino if exists else None
    predictions = {result["path"]: result for result in predict(model, [str(photos)])}
    threshold = sorted(r["predictions"][0]["probability"] for r in predictions.values() if "error" not in r)[3]
    done = run(model, photos, "--sort-into", output, "--unsure-below", repr(threshold))
    assert done.exit_code == 1, done.output
    assert "6 photos copied" in done.stdout and "not an image" in done.stdout
    assert f"unsure (in {UNSURE})" in done.stdout
    assert before in (None, output.stat().st_ino)
    rows = read_rows(output / LISTING, ("photo", "label", "probability", "withheld", "file", "error"), "")
    assert [row["photo"] for row in rows] == list(predictions)
    assert sorted(output / row["file"] for row in rows if row["file"]) == made(output)
    for row in rows:
        if row["error"]:
            assert row["error"] == "not an image" and not row["file"]
            continue
        photo, copy, (best, *_) = Path(row["photo"]), output / row["file"], predictions[row["photo"]]["predictions"]
        is_sure = best["probability"] >= threshold
        assert (row["label"], row["withheld"]) == ((best["label"], "") if is_sure else ("", best["label"]))
        assert copy.parent.name == (best["label"] if is_sure else UNSURE)
        assert copy.read_bytes() == photo.read_bytes() and copy.stat().st_mtime_ns == photo.stat().st_mtime_ns
        assert not copy.is_symlink() and copy.suffix == ".png"
    assert len(list((output / UNSURE).iterdir())) == 3
    assert not list(output.glob(".*")) and not list(tmp_path.glob(".*"))


def test_links_lead_to_absolute_paths(
    model: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(model, "photos/a", "photos/a/same.png", "--sort-into", "out/sorted", "--link", "--unsure-below", "1")
    assert done.exit_code == 0 and "1 photo linked" in done.stdout, done.output
    (link,) = made(tmp_path / "out" / "sorted")
    assert os.readlink(link) == str(photos / "a" / "same.png") and link.parent.name == UNSURE


def test_the_working_folder_can_be_filled(
    model: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run(model, photos / "a", "--sort-into", ".").exit_code == 0
    assert len(made(Path.cwd())) == 1 and (tmp_path / "here" / LISTING).is_file()


def results_of(photos: dict[Path, str]) -> list[dict[str, Any]]:
    return [
        {"path": str(path), "label": label, "predictions": [{"label": label, "probability": 0.9}]}
        for path, label in photos.items()
    ]


def test_labels_of_any_text_get_folders_inside_and_no_photo_is_overwritten(tmp_path: Path) -> None:
    labels = ["F-16A/B", "..", "../..", "con", "Red", "red", "\x1b[2J", UNSURE, LISTING, "/etc", "ü" * 300]
    photos = {}
    for index, label in enumerate(labels):
        for folder in ("x", "y", "z"):
            path = tmp_path / f"{index}" / folder / (("p" * 251 if folder != "z" else "P" * 251) + ".jpg")
            path.parent.mkdir(parents=True)
            path.write_text(f"{index}{folder}", encoding="utf-8")
            photos[path] = label
    output = tmp_path / "out"
    output.mkdir()
    results = sort_photos(results_of(photos), output, tmp_path / "final")
    files = {result["path"]: Path(result["file"]).relative_to(tmp_path / "final") for result in results}
    assert len({str(file).casefold() for file in files.values()}) == len(photos)
    assert {len(file.parts) for file in files.values()} == {2}
    assert len({str(file.parent).casefold() for file in files.values()}) == len(labels)
    for photo, file in files.items():
        assert (output / file).read_text(encoding="utf-8") == Path(photo).read_text(encoding="utf-8")
    assert sorted(output / file for file in files.values()) == made(output)


def test_a_photo_that_went_away_is_an_error_of_its_own(tmp_path: Path) -> None:
    here, gone = tmp_path / "here.jpg", tmp_path / "gone.jpg"
    here.write_text("x", encoding="utf-8")
    (tmp_path / "out").mkdir()
    first, second = sort_photos(results_of({gone: "a", here: "a"}), tmp_path / "out", tmp_path / "out")
    assert first["error"] == "it was predicted, but can't be copied: No such file or directory" and "file" not in first
    assert second["file"] == str(tmp_path / "out" / "a" / "here.jpg")


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **names: Any) -> None:
        raise OSError(28, "No space left on device")

    photo = tmp_path / "a.jpg"
    photo.write_text("x", encoding="utf-8")
    monkeypatch.setattr(os, "utime", full)
    with pytest.raises(CheckFailed, match="final: can't be written: No space left on device"):
        sort_photos(results_of({photo: "a"}), tmp_path, tmp_path / "final")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sort-into", "photos"], "photos: isn't empty; it holds 'a', 'b'. Name a folder that is empty or"),
        (["--sort-into", "photos/a/same.png"], "exists and isn't a folder"),
        (["--link"], "--link: says how photos are sorted; add --sort-into D."),
        (["--sort-into", "new", "--unsure-below", "1.5"], "--unsure-below: must be a probability from 0 to 1; rec"),
        (["--sort-into", "new", "--unsure-below", "-0.5"], "must be a probability from 0 to 1; received -0.5"),
        (["--sort-into", "new", "--unsure-below", "nan"], "must be a probability from 0 to 1; received nan"),
        (["--csv", "photos/a/same.png"], "--csv: must be a file whose name ends in .csv; received photos/a/same.png"),
        (["--csv", "none/out.csv"], "--csv: none/out.csv can't be written: there is no folder none"),
        (["--csv", "new/all.csv", "--sort-into", "new"], "is in the folder of --sort-into"),
        (["--sort-into", "new"], ""),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(
    model: str, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    if message:
        done = run(model, "photos", *arguments)
        assert isinstance(done.exception, UserError) and message in str(done.exception)
    else:
        assert isinstance(run("missing.keras", "photos", *arguments).exception, UserError)
    assert sorted(tmp_path.rglob("*")) == before


HALF = """
import os, signal, sys
from clan_tf.cli.main import run
from clan_tf.inference import sorting
first = sorting.read_photo_file
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background

def interrupted(path):
    if path.name == "f.png":
        os.kill(os.getpid(), signal.Signals[sys.argv.pop()])
    return first(path)

sorting.read_photo_file = interrupted
run()
"""


@pytest.mark.parametrize("exists", [False, True])
def test_an_interrupted_run_leaves_nothing(model: str, photos: Path, tmp_path: Path, exists: bool) -> None:
    output = tmp_path / "sorted"
    if exists:
        output.mkdir()
    arguments = ["predict", model, str(photos), "--sort-into", str(output)]
    command = [sys.executable, "-c", HALF, *arguments]
    stopped = subprocess.run([*command, "SIGINT"], capture_output=True, text=True)
    assert stopped.returncode == 130 and "interrupted" in stopped.stderr and stopped.stdout == ""
    assert list(output.iterdir()) == [] if exists else not output.exists()
    assert not list(tmp_path.glob(".*"))
    killed = subprocess.run([*command, "SIGKILL"], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL and list((output if exists else tmp_path).glob(".partial-*"))
    assert run(*arguments[1:]).exit_code == 1  # for the file that is no photo
    assert len(made(output)) == 6 and not list((output if exists else tmp_path).glob(".*"))


def test_answers_that_are_withheld_have_no_label_anywhere(photos: Path, tmp_path: Path) -> None:
    """The threshold travels with the model; the command's own goes before it."""
    classifier = answering_model()
    answers = sorted(keras_answers(classifier).max(axis=1))
    classifier.rejection = Rejection(0.1, (float(answers[len(answers) // 2]),))
    model, table = tmp_path / "m.keras", tmp_path / "out.csv"
    save_model(classifier, model)
    results = [result for result in predict(str(model), list(PHOTOS)) if "error" not in result]
    for result, row in zip(results, keras_answers(classifier), strict=True):
        (best, *_) = result["predictions"]
        given = bool(classifier.rejection.accepts(row))
        assert (result["label"], result.get("reason")) == ((best["label"], None) if given else (None, "unsure"))
    assert 0 < sum(result["label"] is None for result in results) < len(results)
    assert all(result["label"] for result in predict(str(model), list(PHOTOS), unsure_below=0))
    done = run(str(model), photos, "--unsure-below", "1", "--csv", table, "--sort-into", tmp_path / "sorted")
    assert "6 unsure" in done.stdout, done.output
    for line in read_rows(table, ("label", "withheld", "error"), ""):
        assert not line["label"] and bool(line["withheld"]) != bool(line["error"])
    assert {path.parent.name for path in made(tmp_path / "sorted")} == {UNSURE}
    shown = run(str(model), photos, "--unsure-below", "1")
    assert "unsure: " in shown.stdout
