"""Cross-validation: runs that resume exactly, and figures over all of them."""

import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import Experiment, load_experiment, with_values
from clan_tf.data import Photo, Source
from clan_tf.errors import CheckFailed, UserError
from clan_tf.evaluation import Share, evaluate
from clan_tf.explain import explain_photos
from clan_tf.files import read_rows
from clan_tf.folds import CrossValidation, FoldResult, cross_validate, plan_folds
from clan_tf.inference import predict
from clan_tf.models.files import load_model, save_model
from clan_tf.run import RunDirectory
from clan_tf.training import train
from helpers import TINY_DEMO
from helpers.models import randomize_heads
from helpers.photos import write_photo

RECIPE = [
    "data={source: folders, image_size: 32, resize_size: null, validation_fraction: 0.25}",
    *("model.architecture=plain", "training.batch_size=5", "training.epochs=2"),
]


class Killed(BaseException):
    """Stands for a process that is killed."""


@pytest.fixture(scope="module")
def experiment(colour_folders: Path) -> Experiment:
    """Two epochs on the colours, whose splits are official."""
    return load_experiment(TINY_DEMO, [*RECIPE, f"data.root={colour_folders}"])


@pytest.fixture(scope="module")
def finished(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> CrossValidation:
    return cross_validate(experiment, 2, str(tmp_path_factory.mktemp("folds") / "all"))


def test_every_fold_is_a_run_whose_figures_are_in_the_table(finished: CrossValidation, colour_folders: Path) -> None:
    rows = read_rows(finished.folder / "folds.csv", ("run", "right", "accuracy"), "")
    assert [row["run"] for row in rows] == ["fold-1", "fold-2"]
    tested = []
    for row in rows:
        run = RunDirectory(finished.folder / row["run"])
        assert run.read_status()["status"] == "finished"
        predictions = read_rows(run.evaluation("test").predictions, ("photo", "true", "combined"), "")
        assert int(row["right"]) == sum(photo["true"] == photo["combined"] for photo in predictions)
        tested += [photo["photo"] for photo in predictions]
    assert sorted(tested) == sorted(str(path) for path in (colour_folders / "train").rglob("*.jpg"))
    written = json.loads((finished.folder / "folds.json").read_text())
    assert written["mean"] == pytest.approx(np.mean([float(row["accuracy"]) for row in rows]))
    assert written["standard_deviation"] == pytest.approx(np.std([float(row["accuracy"]) for row in rows], ddof=1))
    right = sum(int(row["right"]) for row in rows)
    interval = binomtest(right, len(tested)).proportion_ci(method="wilson")
    assert written["pooled"]["right"] == right and written["pooled"]["photos"] == len(tested) == 36
    assert [written["pooled"][end] for end in ("low", "high")] == pytest.approx([interval.low, interval.high])


def test_a_fold_can_be_evaluated_and_resumed_by_itself_without_notes(finished: CrossValidation) -> None:
    run = finished.folds[0].run
    again = evaluate(str(run))
    assert again.combined["top1"] == pytest.approx(finished.folds[0].accuracy.value) and again.notes == ()
    experiment = RunDirectory(run).experiment()
    assert (experiment.data.folds, experiment.data.fold) == (2, 1)
    assert train(experiment, str(run), resume=True).outcome.best_epoch == finished.folds[0].best_epoch


def test_a_killed_fold_goes_on_exactly_and_finished_ones_are_not_trained_again(
    finished: CrossValidation, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def killed_in_the_second(experiment: Experiment, run_dir: str, **others: Any) -> Any:
        trained.append(Path(run_dir).name)
        callbacks = []
        if trained == ["fold-1", "fold-2"]:

            def kill(epoch: int, logs: Any) -> None:
                raise Killed

            callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=kill)]
        return train(experiment, run_dir, callbacks=callbacks, **others)

    monkeypatch.setattr(import_module("clan_tf.folds.cross_validate"), "train", killed_in_the_second)
    folder, told = str(tmp_path / "killed"), list[Path]()
    with pytest.raises(Killed):
        cross_validate(experiment, 2, folder, after_fold=told.append)
    assert not (tmp_path / "killed" / "folds.csv").exists()
    result = cross_validate(experiment, 2, folder, resume=True, after_fold=told.append)
    assert trained == ["fold-1", "fold-2", "fold-2"] and [path.name for path in told] == ["fold-1", "fold-2"]
    assert result.to_json() == finished.to_json()
    for one, other in zip(finished.folds, result.folds, strict=True):
        pairs = zip(*(load_model(each.run / "last.keras").get_weights() for each in (one, other)), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model.weights": "imagenet"}, "there are no ImageNet weights for 'tiny'"),
        ({"training.device": "gpu"}, "TensorFlow sees no GPU"),
        ({"model.weights": "absent.h5"}, "there is no file .*absent.h5"),
    ],
)
def test_what_training_refuses_is_refused_before_a_folder_is_made(
    values: dict[str, Any], message: str, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for start, folder in ((cross_validate, None), (plan_folds, "folds")):
        with pytest.raises(UserError, match=message):
            start(with_values(experiment, values), 2, folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", [None, "folds"])
def test_a_folder_in_which_no_fold_began_is_removed(
    folder: str | None, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*words: Any) -> None:
        raise UserError("No photo can be read.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(import_module("clan_tf.folds.cross_validate"), "prepare_data", unreadable)
    with pytest.raises(UserError, match="No photo can be read"):
        cross_validate(experiment, 2, folder)
    assert not [path for path in tmp_path.rglob("*") if path.name != "runs"]
    if folder is None:
        (tmp_path / "given").mkdir()
        with pytest.raises(UserError, match="No photo can be read"):
            cross_validate(experiment, 2, "given", resume=True)
        assert (tmp_path / "given").is_dir(), "this process hasn't made it"


def test_a_dry_run_of_folds_refuses_the_folder_that_training_refuses(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    for start in (cross_validate, plan_folds):
        with pytest.raises(UserError, match="never overwritten"):
            start(experiment, 2, str(tmp_path))
        with pytest.raises(UserError, match="holds 'thesis.txt'. Give a folder that doesn't exist or is empty"):
            start(experiment, 2, str(tmp_path), resume=True)
    assert f"{tmp_path}/new/folds.csv" in plan_folds(experiment, 2, f"{tmp_path}/new").files
    assert not (tmp_path / "new").exists()


def test_a_failure_inside_a_fold_says_how_all_folds_go_on(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(epoch: int, logs: Any) -> None:
        raise OSError(28, "No space left on device", "metrics.csv")

    def failing(*words: Any, **others: Any) -> Any:
        return train(*words, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=full_disk)], **others)

    monkeypatch.setattr(import_module("clan_tf.folds.cross_validate"), "train", failing)
    with pytest.raises(CheckFailed) as caught:
        cross_validate(experiment, 2, str(tmp_path / "my folds"))
    command = f"--run-dir '{tmp_path / 'my folds'}' --resume"
    assert str(caught.value).endswith(f"The same command with {command} goes on where it stopped.")


def test_a_fold_tested_with_an_earlier_model_is_tested_again(
    finished: CrossValidation, experiment: Experiment, tmp_path: Path
) -> None:
    shutil.copytree(finished.folder, tmp_path / "all")
    run = RunDirectory(tmp_path / "all" / "fold-1")
    save_model(randomize_heads(load_model(run.best)), run.best)
    result = cross_validate(experiment, 2, str(tmp_path / "all"), resume=True)
    assert result.folds[0].accuracy.value == pytest.approx(evaluate(str(run.path)).combined["top1"])
    assert run.evaluation("test").is_current and result.folds[1].accuracy == finished.folds[1].accuracy
    stored = run.evaluation("test").predictions.read_bytes()
    assert stored != RunDirectory(finished.folder / "fold-1").evaluation("test").predictions.read_bytes()


def test_folds_of_another_experiment_are_not_mixed(experiment: Experiment, finished: CrossValidation) -> None:
    folder = str(finished.folder)
    longer = with_values(experiment, {"training.epochs": 3})
    with pytest.raises(UserError, match="another experiment; these keys differ:\n  training.epochs: 2 in the run, 3"):
        cross_validate(longer, 2, folder, resume=True)
    with pytest.raises(UserError, match=r"data.folds: 2 in the run, 3 now"):
        cross_validate(experiment, 3, folder, resume=True)
    assert not (finished.folder / "fold-3").exists()


def test_folds_of_another_taxonomy_or_other_content_are_refused(
    experiment: Experiment, finished: CrossValidation, colour_folders: Path, tmp_path: Path
) -> None:
    (tmp_path / "levels.csv").write_text('class,group\nred bird,a\n"blue, small",a\ngrün,b\n', encoding="utf-8")
    with pytest.raises(UserError, match="isn't the taxonomy that the run began with"):
        cross_validate(
            with_values(experiment, {"data.taxonomy": str(tmp_path / "levels.csv")}),
            2,
            str(finished.folder),
            resume=True,
        )
    photo = colour_folders / "train" / "grün" / "3.jpg"
    content = photo.read_bytes()
    photo.write_bytes(content + b"\0")
    try:
        with pytest.raises(UserError, match="other content than when the run began|of the run changed since it began"):
            cross_validate(experiment, 2, str(finished.folder), resume=True)
    finally:
        photo.write_bytes(content)


def test_photos_added_between_two_folds_are_refused(colour_folders: Path, finished: CrossValidation) -> None:
    added = colour_folders / "train" / "grün" / "added.jpg"
    write_photo(added, (60, 200, 60))
    try:
        experiment = RunDirectory(finished.folds[0].run).experiment()
        with pytest.raises(UserError, match="of the run changed since it began|came after the run began"):
            cross_validate(experiment, 2, str(finished.folder), resume=True)
    finally:
        added.unlink()


def test_folders_in_the_way_are_told(experiment: Experiment, finished: CrossValidation, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists, and a run is never overwritten.*go on with its folds: --resume"):
        cross_validate(experiment, 2, str(finished.folder))
    with pytest.raises(UserError, match="is a run, and not a folder of folds"):
        cross_validate(experiment, 2, str(finished.folds[0].run), resume=True)
    with pytest.raises(UserError, match="needs the folder of the folds"):
        cross_validate(experiment, 2, resume=True)
    with pytest.raises(UserError, match="13 folds need at least 13 different photos of every class; 3 of 3 classes"):
        cross_validate(experiment, 13, str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_the_command_prints_what_is_written(experiment: Experiment, finished: CrossValidation) -> None:
    words = [*RECIPE, f"data.root={experiment.data.root}", "--folds", "2", "--run-dir", str(finished.folder)]
    result = CliRunner().invoke(app, ["train", str(TINY_DEMO), *words, "--resume"])
    assert result.exit_code == 0, result.output
    pooled = finished.pooled
    assert f"{100 * pooled.value:.2f} % (95 % interval {100 * pooled.low:.2f} to {100 * pooled.high:.2f} %)" in (
        result.output
    )
    assert "fold-2" in result.output and f"Mean {100 * finished.mean:.2f} %" in result.output
    refused = CliRunner().invoke(app, ["train", str(TINY_DEMO), "--folds", "1"])
    assert isinstance(refused.exception, UserError) and "data.folds" in str(refused.exception)


def test_the_ensemble_is_of_all_folds_and_told_apart_on_photos_of_theirs(
    experiment: Experiment, finished: CrossValidation, colour_folders: Path
) -> None:
    words = ["train", str(TINY_DEMO), *RECIPE, f"data.root={colour_folders}", "--folds", "2"]
    result = CliRunner().invoke(app, [*words, "--run-dir", str(finished.folder), "--resume", "--ensemble"])
    file = finished.folder / "ensemble.keras"
    assert result.exit_code == 0, result.output
    assert f"clan-tf evaluate {file} --config CONFIG" in result.output
    photo = str(next((colour_folders / "test").rglob("*.jpg")))
    label = predict(str(file), [photo])[0]["predictions"][0]
    by_fold = [predict(str(fold.run), [photo], top=3)[0]["predictions"] for fold in finished.folds]
    shares = [{each["label"]: each["probability"] for each in answers} for answers in by_fold]
    means = {name: (shares[0][name] + shares[1][name]) / 2 for name in shares[0]}
    assert label["label"] == max(means, key=means.__getitem__)
    assert label["probability"] == pytest.approx(means[label["label"]], abs=1e-5)
    with pytest.raises(UserError, match="is an ensemble, and has no maps of its own. Explain its members"):
        explain_photos(str(file), [photo], finished.folder / "explained")

    config = {"config": str(RunDirectory(finished.folds[0].run).config)}
    apart = ["data.folds=null", "data.fold=null"]
    assert evaluate(str(file), "test", overrides=apart, **config).notes == ()
    note = "18 of 18 photos were in the folds: all members of the ensemble but one were trained on each of them"
    known = evaluate(str(file), "test", **config)  # the first fold
    assert f"{note}, so this accuracy is higher than on new photos" in known.notes


def test_an_ensemble_needs_folds_and_not_too_many() -> None:
    for words, message in (
        (["train", "--ensemble"], "--ensemble: is of the models of several folds. Give their number: --folds K"),
        (["train", "--folds", "21", "--ensemble", "--dry-run"], "at most 20 models; received --folds 21"),
    ):
        refused = CliRunner().invoke(app, words)
        assert isinstance(refused.exception, UserError) and message in str(refused.exception)


def test_the_interval_over_groups_is_that_of_whole_groups_drawn_anew() -> None:
    """Groups of 8 photos that are all right or all wrong count as 20 answers, not as 160."""
    photos = [Photo(f"{n}", 0, f"{n}".encode(), group=f"{n // 8}") for n in range(160)]
    rows = [{"photo": f"{n}", "true": "a", "combined": "a" if n // 8 % 2 else "b"} for n in range(160)]
    sources = [Source(("a",), {"test": photos[:80]}), Source(("a",), {"test": photos[80:]})]
    over_groups = import_module("clan_tf.folds.cross_validate")._over_groups
    found = over_groups(sources, [rows[:80], rows[80:]])
    interval = binomtest(10, 20).proportion_ci(method="wilson")
    assert found.value == 0.5
    assert [found.low, found.high] == pytest.approx([interval.low, interval.high], abs=0.06)
    assert over_groups([Source(("a",), {"test": [replace(photo, group=None) for photo in photos]})], [rows]) is None
    assert over_groups(sources, [[{**row, "photo": "elsewhere"} for row in rows]]) is None


def test_figures_of_folds_by_hand() -> None:
    shares = [Share.of(8, 10), Share.of(3, 5)]
    folds = [FoldResult(n, Path(f"fold-{n}"), {"test": s.photos}, 1, s) for n, s in enumerate(shares, start=1)]
    result = CrossValidation(Path("folds"), folds)
    assert result.mean == pytest.approx(0.7) and result.deviation == pytest.approx(0.02**0.5)
    assert (result.pooled.right, result.pooled.photos) == (11, 15)
