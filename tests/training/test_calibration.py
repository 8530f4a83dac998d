"""Calibration of runs: by training itself, and of what is trained already."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import load_experiment
from clan_tf.data import read_source
from clan_tf.errors import UserError
from clan_tf.evaluation import calibrate, evaluate, read_predictions, score_rows, unknown_text
from clan_tf.export import ExportOptions, export
from clan_tf.files import read_json, write_json
from clan_tf.inference import predict
from clan_tf.models import load_model, save_model
from clan_tf.models.calibration import calibrated
from clan_tf.rejection import Rejection
from clan_tf.run import RunDirectory
from clan_tf.run.exports import outdated_exports
from clan_tf.training import train
from helpers import TINY_DEMO
from helpers.photos import write_photo
from helpers.pictures import without_pictures

RECIPE = [
    "data={source: generated, image_size: 32, resize_size: 36, generated_photos: {train: 24, val: 60, test: 40}}",
    "training={epochs: 1, batch_size: 8, accept_error: 0.99}",
    "model.architecture=plain",
    "data.unknown_classes=['long beak, eye ring, one wing bar']",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    with without_pictures():
        return train(load_experiment(TINY_DEMO, RECIPE), str(tmp_path_factory.mktemp("calibrated") / "run")).run


def test_training_calibrates_both_models_by_validation_photos(run: RunDirectory) -> None:
    result = evaluate(str(run.path), "val")
    assert result.temperature not in (1, 10) and result.uncalibrated
    name = "negative_log_likelihood"
    assert result.calibration[name].value < result.uncalibrated[name].value
    best, last = load_model(run.best), load_model(run.last)
    assert best.temperatures == last.temperatures == {"top": result.temperature, "combined": result.temperature}
    for one, other in zip(best.get_weights(), last.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_trained_is_calibrated_and_evaluated_again(run: RunDirectory) -> None:
    shutil.rmtree(run.path / "evaluation", ignore_errors=True)  # or each calibration repeats it
    fitted = load_model(run.best)
    expected = dict(fitted.temperatures)
    save_model(calibrated(fitted, {}), run.best)
    before = evaluate(str(run.path))
    assert before.temperature == 1 and before.uncalibrated is None
    exported = export(str(run.path), ExportOptions("tflite"), samples=2).folder
    assert outdated_exports(run) == []
    everything = evaluate(str(run.path), "all")
    # The train photos are among the evaluated ones, so that distances to them say nothing.
    distances = ["nearest train photos", "class means (Mahalanobis)"]
    scores = [score.score for score in everything.unknown.scores]
    assert [score.score for score in before.unknown.scores] == [*scores, *distances] and "largest logit" in scores
    done = CliRunner().invoke(app, ["calibrate", str(run.path), "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["temperatures"] == load_model(run.best).temperatures == expected
    assert answer["photos"] == 53 and answer["evaluated"] == ["all", "test"] and run.evaluation("all").is_current
    assert answer["outdated_exports"] == [str(exported)] == [str(folder) for folder in outdated_exports(run)]
    assert "answers as the run's model did before it was changed" in " ".join(evaluate(str(exported)).notes)
    shutil.rmtree(exported)
    losses = answer["negative_log_likelihood"]
    assert losses["after"] < losses["before"]
    stored = json.loads(run.evaluation("test").metrics.read_text(encoding="utf-8"))
    assert stored["calibration"]["temperature"] == answer["temperatures"]["combined"]
    assert stored["branches"]["combined"] == before.combined
    uncalibrated = stored["calibration"]["uncalibrated"]["expected_calibration_error"]["value"]
    assert uncalibrated == pytest.approx(before.calibration_error, abs=1e-4)


def test_what_is_evaluated_again_is_so_with_its_own_options(run: RunDirectory) -> None:
    shutil.rmtree(run.path / "evaluation", ignore_errors=True)
    evaluate(str(run.path), top=3, normalize_confusion=True)
    folder = run.evaluation("test")
    confusion, averages = folder.confusion.read_bytes(), folder.averages.read_text(encoding="utf-8")
    assert "top3" in averages
    calibrate(str(run.path))
    assert folder.is_current and folder.confusion.read_bytes() == confusion
    stored = json.loads(folder.metrics.read_text(encoding="utf-8"))
    assert list(stored["branches"]["combined"]) == ["top1", "top3", "top5"] and stored["normalize_confusion"]
    calibrate(str(run.path), accept_error=0.99)
    assert "top3" in folder.averages.read_text(encoding="utf-8")


def test_answers_are_withheld_as_training_or_calibrate_is_told(run: RunDirectory) -> None:
    shutil.rmtree(run.path / "evaluation", ignore_errors=True)  # or each calibration repeats it
    everything = Rejection(0.99, (0.0,))
    assert load_model(run.best).rejection == load_model(run.last).rejection == everything
    told = CliRunner().invoke(app, ["calibrate", str(run.path), "--accept-error", "1", "--json"])
    assert json.loads(told.stdout)["rejection"] is None and load_model(run.best).rejection is None
    again = CliRunner().invoke(app, ["calibrate", str(run.path), "--accept-error", "0.99", "--per-class", "--json"])
    found = json.loads(again.stdout)["rejection"]
    assert found["thresholds"] == list(load_model(run.best).rejection.thresholds) and len(found["thresholds"]) == 7
    assert (found["photos"], found["accept_error"]) == (53, 0.99) and found["wrong"] < found["accepted"] <= 53
    # What was asked for once is found again, by the model as it is now.
    kept = json.loads(CliRunner().invoke(app, ["calibrate", str(run.path), "--json"]).stdout)["rejection"]
    assert kept == found
    before = run.best.read_bytes()
    for arguments, message in (
        (
            ["--accept-error", "0.02"],
            "no threshold promises at most 2 % of wrong answers: at least 149",
        ),
        (["--accept-error", "0"], "--accept-error: must be above 0, and at most 1; received 0"),
        (["--accept-error", "nan"], "--accept-error: must be above 0, and at most 1; received nan"),
        (["--per-class"], "--per-class: says how answers are withheld; add --accept-error E"),
    ):
        done = CliRunner().invoke(app, ["calibrate", str(run.path), *arguments])
        assert isinstance(done.exception, UserError) and message in str(done.exception)
    assert run.best.read_bytes() == before


def test_photos_of_unknown_classes_are_told_apart_as_well_as_predict_and_scikit_learn_say(
    run: RunDirectory, colour_folders: Path
) -> None:
    own = evaluate(str(run.path))
    source = read_source(run.experiment().data)
    assert own.unknown and own.unknown.photos == len(source.unknown) == 15
    names = [score.score for score in own.unknown.scores]
    assert names[:2] == ["largest probability", "negative entropy"] and len(names) == 6
    done = CliRunner().invoke(app, ["evaluate", str(run.path), "--unknown", str(colour_folders / "test"), "--json"])
    answer = json.loads(done.stdout)
    others = predict(str(run.path), str(colour_folders / "test"), top=1)
    known = [float(row["combined_probability"]) for row in read_predictions(run.evaluation("test"), ("combined",))]
    scores = [*known, *(result["predictions"][0]["probability"] for result in others)]
    expected = roc_auc_score([1] * len(known) + [0] * len(others), scores)
    assert answer["unknown"]["photos"] == len(others) == 15
    assert answer["unknown"]["scores"][0]["auroc"]["value"] == pytest.approx(expected, abs=1e-3)
    assert len(score_rows(own.unknown)) == 6 and "15 unknown photos" in unknown_text(own.unknown)
    empty = CliRunner().invoke(app, ["evaluate", str(run.path), "--unknown", str(run.path / "absent")])
    assert isinstance(empty.exception, UserError) and "absent" in str(empty.exception)


def test_what_cannot_be_calibrated_is_refused(run: RunDirectory, trained_run: RunDirectory, tmp_path: Path) -> None:
    status = run.read_status()
    run.write_status("stopped")
    try:
        stopped = CliRunner().invoke(app, ["calibrate", str(run.path)])
    finally:
        run.write_status(**status)
    save_model(load_model(run.best), tmp_path / "alone.keras")
    alone = CliRunner().invoke(app, ["calibrate", str(tmp_path / "alone.keras")])
    absent = CliRunner().invoke(app, ["calibrate", str(tmp_path / "absent")])
    inside = CliRunner().invoke(app, ["calibrate", str(run.best)])
    other_key = CliRunner().invoke(app, ["calibrate", str(run.path), "--set", "training.epochs=3"])
    few = CliRunner().invoke(app, ["calibrate", str(trained_run.path)])
    for done, message in (
        (stopped, "the run is stopped; only a finished one is calibrated. Resume it: clan-tf train --resume"),
        (absent, "there is no such folder. Give a run directory"),
        (inside, f"isn't a run directory, whose validation photos are needed. Give its run: {run.path}"),
        (other_key, "--set: says where the photos are, by keys of data; received 'training.epochs=3'"),
        (alone, "isn't a run directory, whose validation photos are needed. Give the run of the model"),
        (few, "can't be calibrated: there are 8 validation photos, and it takes 50. Train with more"),
    ):
        assert isinstance(done.exception, UserError), done.output
        assert message in str(done.exception)


def test_a_killed_calibration_is_finished_by_the_next(run: RunDirectory) -> None:
    shutil.rmtree(run.path / "evaluation", ignore_errors=True)
    evaluate(str(run.path))
    folder, model = run.evaluation("test"), run.best.read_bytes()
    expected = folder.predictions.read_bytes()
    folder.predictions.unlink()  # as a kill while its files were exchanged leaves it
    assert "test" in calibrate(str(run.path)).evaluated
    assert folder.predictions.read_bytes() == expected and run.best.read_bytes() == model


def test_a_calibration_that_cannot_write_leaves_every_evaluation(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation", "exports"))
    run = RunDirectory(tmp_path / "run")
    save_model(calibrated(load_model(run.best), {}), run.best)
    evaluate(str(run.path))
    folder = run.evaluation("test")
    metrics = read_json(folder.metrics, dict[str, Any], "")
    write_json(folder.metrics, {key: value for key, value in metrics.items() if key != "model_sha256"})  # an older one
    predictions = folder.predictions.read_bytes()

    def full(*arguments: object, **others: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr("clan_tf.evaluation.tables._prediction_rows", full)
        calibrate(str(run.path))
    assert folder.predictions.read_bytes() == predictions and not folder.is_current
    calibrate(str(run.path))
    assert folder.is_current


@pytest.fixture(scope="module")
def uncalibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunDirectory]:
    """A folder of photos, and a run on them."""
    folder, rng = tmp_path_factory.mktemp("uncalibrated"), np.random.default_rng(0)
    for split, photos in (("train", 12), ("val", 30), ("test", 2)):
        for name in ("a", "b"):
            for number in range(photos):
                color = tuple(map(int, rng.integers(0, 256, 3)))
                write_photo(folder / "photos" / split / name / f"{number}.png", color)
    own = [f"data={{source: folders, root: {folder / 'photos'}, image_size: 32, resize_size: null}}", *RECIPE[1:3]]
    with without_pictures():
        run = train(load_experiment(TINY_DEMO, [*own, "training.calibrate=none"]), str(folder / "run")).run
    return folder / "photos", run


def test_none_leaves_the_logits_as_they_are(uncalibrated: tuple[Path, RunDirectory]) -> None:
    _, run = uncalibrated
    assert set(load_model(run.best).temperatures.values()) == {1.0}


def test_nothing_is_written_where_evaluated_photos_are_gone(uncalibrated: tuple[Path, RunDirectory]) -> None:
    photos, run = uncalibrated
    evaluate(str(run.path))
    shutil.rmtree(photos / "test")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="has none of the 4 test photos"):
        calibrate(str(run.path))
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
