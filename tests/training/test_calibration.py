"""Calibration of runs: by training itself, and of what is trained already."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import load_experiment
from clan_tf.errors import UserError
from clan_tf.evaluation import calibrate, evaluate
from clan_tf.models import load_model, save_model
from clan_tf.models.calibration import calibrated
from clan_tf.run import RunDirectory
from clan_tf.training import train
from helpers import TINY_DEMO
from helpers.photos import write_photo

RECIPE = [
    "data={source: generated, image_size: 32, resize_size: 36, generated_photos: {train: 24, val: 60, test: 40}}",
    "training={epochs: 1, batch_size: 8}",
    "model.architecture=plain",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
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
    fitted = load_model(run.best)
    expected = dict(fitted.temperatures)
    save_model(calibrated(fitted, {}), run.best)
    before = evaluate(str(run.path))
    assert before.temperature == 1 and before.uncalibrated is None
    done = CliRunner().invoke(app, ["calibrate", str(run.path), "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["temperatures"] == load_model(run.best).temperatures == expected
    assert answer["photos"] == 60 and "test" in answer["evaluated"]
    losses = answer["negative_log_likelihood"]
    assert losses["after"] < losses["before"]
    stored = json.loads(run.evaluation("test").metrics.read_text(encoding="utf-8"))
    assert stored["calibration"]["temperature"] == answer["temperatures"]["combined"]
    assert stored["branches"]["combined"] == before.combined
    uncalibrated = stored["calibration"]["uncalibrated"]["expected_calibration_error"]["value"]
    assert uncalibrated == pytest.approx(before.calibration_error, abs=1e-4)


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


def test_none_leaves_the_logits_as_they_are(tmp_path: Path) -> None:
    own = [*RECIPE, "training.calibrate=none"]
    model = load_model(train(load_experiment(TINY_DEMO, own), str(tmp_path / "run")).run.best)
    assert set(model.temperatures.values()) == {1.0}


def test_a_killed_calibration_is_finished_by_the_next(run: RunDirectory) -> None:
    evaluate(str(run.path))
    folder, model = run.evaluation("test"), run.best.read_bytes()
    expected = folder.predictions.read_bytes()
    folder.predictions.unlink()  # as a kill after the model was written leaves it
    assert "test" in calibrate(str(run.path)).evaluated
    assert folder.predictions.read_bytes() == expected and run.best.read_bytes() == model


def test_nothing_is_written_where_evaluated_photos_are_gone(tmp_path: Path, rng: np.random.Generator) -> None:
    for split, photos in (("train", 12), ("val", 30), ("test", 2)):
        for name in ("a", "b"):
            for number in range(photos):
                color = tuple(map(int, rng.integers(0, 256, 3)))
                write_photo(tmp_path / "photos" / split / name / f"{number}.png", color)
    own = [f"data={{source: folders, root: {tmp_path / 'photos'}, image_size: 32}}", *RECIPE[1:]]
    run = train(load_experiment(TINY_DEMO, [*own, "training.calibrate=none"]), str(tmp_path / "run")).run
    evaluate(str(run.path))
    shutil.rmtree(tmp_path / "photos" / "test")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="has none of the 4 test photos"):
        calibrate(str(run.path))
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
