"""Runs: what they leave behind, how they end, and how they are resumed."""

import csv
import json
import os
import signal
from pathlib import Path

import keras
import numpy as np
import pytest

from clan_tf.config import Experiment, load_experiment, with_values
from clan_tf.errors import CheckFailed, UserError
from clan_tf.models import load_model, save_model
from clan_tf.run import RunDirectory
from clan_tf.run.checkpoints import state_files
from clan_tf.training import TrainingResult, loop, train
from helpers import TINY_DEMO
from helpers.processes import kept_by_another_process


@pytest.fixture(scope="module")
def finished(colour_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return train(
        load_experiment(
            TINY_DEMO,
            [
                "data={source: folders, image_size: 32, resize_size: null, validation_fraction: 0.25}",
                f"data.root={colour_folders}",
                "training.batch_size=9",
                "training.epochs=4",
                "training.learning_rate=0.01",
            ],
        ),
        runs_root=str(tmp_path_factory.mktemp("runs")),
    )


def test_a_run_directory_holds_everything_about_the_run(finished: TrainingResult) -> None:
    path = finished.run.path
    assert path.name == "demo-001"
    assert not finished.run.checkpoints.exists()
    for name in ("best.keras", "last.keras", "metrics.csv", "curves.png", "samples.png", "environment.json"):
        assert (path / name).stat().st_size > 0
    assert not list(path.glob(".partial*"))
    assert (path / "labels.txt").read_text(encoding="utf-8").splitlines() == ["blue, small", "grün", "red bird"]
    data = json.loads((path / "data.json").read_text(encoding="utf-8"))
    assert data["photos"]["test"] == 15 and data["photos"]["train"] + data["photos"]["val"] == 36
    assert finished.run.read_status()["status"] == "finished"
    with finished.run.metrics.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    accuracies = [float(row["val_combined_accuracy"]) for row in rows]
    error = np.sqrt(max(accuracies) * (1 - max(accuracies)) / data["photos"]["val"])
    best = finished.outcome.best_epoch
    assert accuracies[best - 1] == finished.outcome.best_accuracy >= max(accuracies) - error
    assert all(accuracy < max(accuracies) - error for accuracy in accuracies[best:])


def test_training_lowers_the_loss(finished: TrainingResult) -> None:
    with finished.run.metrics.open(encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.7 * losses[0]


def test_an_existing_run_directory_is_not_touched(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="never overwritten"):
        train(experiment, run_dir=str(tmp_path / "run"))
    assert list((tmp_path / "run").iterdir()) == []


def test_a_loss_that_is_not_finite_stops_with_the_step_and_leaves_nothing(
    experiment: Experiment, tmp_path: Path
) -> None:
    wild = experiment.model_copy(update={"training": experiment.training.model_copy(update={"learning_rate": 1e30})})
    with pytest.raises(CheckFailed, match=r"at step \d of epoch 1"):
        train(wild, run_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


class SignalAt(keras.callbacks.Callback):
    """Sends this process a signal at a step of the run."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        super().__init__()
        self.steps_left, self.number = step, number

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.steps_left -= 1
        if self.steps_left == 0:
            os.kill(os.getpid(), self.number)


def save_and_interrupt(model: keras.Model, path: Path) -> None:
    """Saves a model, and gets Ctrl-C meanwhile if it is the last one."""
    save_model(model, path)
    if path.name == "last.keras":
        signal.raise_signal(signal.SIGINT)


@pytest.fixture(params=[pytest.param("sgd", marks=pytest.mark.soak), "adamw"])
def undisturbed(request: pytest.FixtureRequest, finished: TrainingResult, tmp_path: Path) -> TrainingResult:
    """The finished run, and a plain network by the other optimizer and of another loss.

    Networks of several branches, and SGD, are killed in test_methods.py, too.
    """
    if request.param == "sgd":
        return finished
    values: dict[str, object] = {"optimizer": "adamw", "layer_decay": 0.8, "freeze_epochs": 1, "learning_rate": 1e-3}
    values |= {"class_weights": {"grün": 3}, "logit_adjustment": 1, "focal_gamma": 2}
    values = {f"training.{key}": value for key, value in values.items()}
    other = with_values(finished.run.experiment(), {"model.architecture": "plain", **values})
    return train(other, str(tmp_path / "undisturbed"))


def test_a_stopped_run_goes_on_to_the_weights_of_one_that_was_not_stopped(
    undisturbed: TrainingResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path / "run")
    experiment = undisturbed.run.experiment()
    with pytest.raises(KeyboardInterrupt):
        train(experiment, str(run.path), callbacks=[SignalAt(4, signal.SIGINT)])
    assert run.read_status()["status"] == "stopped"
    assert [path.name for path in state_files(run.checkpoints)] == ["state-000000005.npz", "state-000000003.npz"]
    # What a `kill -9` in the middle of writing leaves, and a newest checkpoint with a flipped bit.
    (run.checkpoints / ".partial-999999999-state-000000007.npz").write_bytes(b"half")
    damaged = bytearray(state_files(run.checkpoints)[0].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    state_files(run.checkpoints)[0].write_bytes(damaged)
    with pytest.raises(SystemExit, match="143"):
        train(experiment, str(run.path), resume=True, callbacks=[SignalAt(2, signal.SIGTERM)])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "save_model", save_and_interrupt)
        train(experiment, str(run.path), resume=True)
    assert run.last.exists() and run.read_status()["status"] == "stopped"
    result = train(experiment, str(run.path), resume=True)
    assert result.outcome.best_epoch == undisturbed.outcome.best_epoch
    assert run.metrics.read_bytes() == undisturbed.run.metrics.read_bytes()
    for file in ("last", "best"):
        one, other = (load_model(getattr(r, file)).get_weights() for r in (run, undisturbed.run))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_finished_run_is_not_trained_again(finished: TrainingResult) -> None:
    before = finished.run.last.stat().st_mtime_ns
    again = train(finished.run.experiment(), str(finished.run.path), resume=True)
    assert again.outcome == finished.outcome
    assert finished.run.last.stat().st_mtime_ns == before


def test_a_run_of_another_experiment_is_refused_with_the_keys_that_differ(finished: TrainingResult) -> None:
    experiment = finished.run.experiment()
    other = experiment.model_copy(update={"training": experiment.training.model_copy(update={"momentum": 0.5})})
    with pytest.raises(UserError, match="training.momentum: 0.9 in the run, 0.5 now"):
        train(other, str(finished.run.path), resume=True)


def test_two_processes_cannot_train_one_run(finished: TrainingResult) -> None:
    run = finished.run
    with kept_by_another_process(run.path), pytest.raises(UserError, match="another process is working in it"):
        train(run.experiment(), str(run.path), resume=True)
    assert train(run.experiment(), str(run.path), resume=True).outcome == finished.outcome


def test_early_stopping_ends_the_run(experiment: Experiment, tmp_path: Path) -> None:
    patient = experiment.training.model_copy(update={"early_stopping": 1, "learning_rate": 1e-9, "epochs": 9})
    result = train(experiment.model_copy(update={"training": patient}), run_dir=str(tmp_path / "run"))
    assert result.outcome.epochs < 9
