"""Runs: what they leave behind, how they end, and how they go on."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path
from typing import IO

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import Experiment, load_experiment
from clan_tf.errors import CheckFailed, UserError
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory, load_model
from clan_tf.training import disk, training
from clan_tf.training.failures import explained, recording
from clan_tf.training.state import TrainingState, read_state, state_files, write_state


@pytest.fixture
def experiment(colour_folders: Path) -> Experiment:
    return load_experiment(
        "demo",
        [
            "data={source: folders, image_size: 32, validation_fraction: 0.25}",
            f"data.root={colour_folders}",
            "training.batch_size=9",
            "training.epochs=3",
        ],
    )


@pytest.fixture(scope="module")
def finished(colour_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> training.TrainingResult:
    return training.train(
        load_experiment(
            "demo",
            [
                "data={source: folders, image_size: 32, validation_fraction: 0.25}",
                f"data.root={colour_folders}",
                "training.batch_size=9",
                "training.epochs=4",
            ],
        ),
        runs_root=str(tmp_path_factory.mktemp("runs")),
    )


def test_a_run_directory_holds_everything_about_the_run(finished: training.TrainingResult) -> None:
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
    best = max(range(4), key=lambda index: float(rows[index]["val_combined_accuracy"]))
    assert finished.outcome.best_epoch == best + 1


def test_training_lowers_the_loss(finished: training.TrainingResult) -> None:
    with finished.run.metrics.open(encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.7 * losses[0]


def test_an_existing_run_directory_is_not_touched(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="never overwritten"):
        training.train(experiment, run_dir=str(tmp_path / "run"))
    assert list((tmp_path / "run").iterdir()) == []


def test_a_loss_that_is_not_finite_stops_with_the_step_and_leaves_nothing(
    experiment: Experiment, tmp_path: Path
) -> None:
    wild = experiment.model_copy(update={"training": experiment.training.model_copy(update={"learning_rate": 1e30})})
    with pytest.raises(CheckFailed, match=r"at step \d of epoch 1"):
        training.train(wild, run_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_disk_that_cannot_hold_the_checkpoints_is_refused_before_training(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(UserError, match="checkpoints need"):
        training.train(experiment, run_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_keeps_the_last_whole_checkpoint(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = np.savez, []

    def failing_save(file: IO[bytes], **arrays: np.ndarray) -> None:
        calls.append(file)
        if len(calls) > 2:
            file.write(b"half")
            raise OSError(28, "No space left on device", file.name)
        save(file, **arrays)

    monkeypatch.setattr(np, "savez", failing_save)
    with pytest.raises(CheckFailed, match="No space left on device.*Go on with: clan-tf train --run-dir .*--resume"):
        training.train(experiment, run_dir=str(tmp_path / "run"))
    run = RunDirectory(tmp_path / "run")
    assert load_model(run.best).class_names == ["blue, small", "grün", "red bird"]
    assert run.read_status()["status"] == "failed"
    assert [path.name for path in state_files(run.checkpoints)] == ["state-000000006.npz", "state-000000003.npz"]
    assert not list(run.path.rglob(".partial*"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device", "/run/state"), "/run/state: No space left on device. Way out"),
        (tf.errors.NotFoundError(None, None, "photo.jpg; No such file or directory"), "photo can't be read any more"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), "memory is full.*training.accumulation=2.*Way out"),
        (MemoryError(), "memory is full"),
        (tf.errors.UnavailableError(None, None, "Socket closed"), "Another process of this training ended.*Way out"),
    ],
)
def test_what_can_happen_to_a_training_is_explained(error: Exception, expected: str) -> None:
    with pytest.raises(CheckFailed, match=expected), explained(True, lambda: " Way out"):
        raise error


def test_an_error_of_one_process_is_not_laid_on_others() -> None:
    with pytest.raises(tf.errors.UnavailableError), explained(False):
        raise tf.errors.UnavailableError(None, None, "gs://bucket")


@pytest.mark.parametrize(("kept", "is_new"), [("best.keras", True), ("metrics.csv", False)])
def test_a_run_with_results_or_of_another_time_is_never_removed(kept: str, is_new: bool, tmp_path: Path) -> None:
    (tmp_path / kept).touch()
    with pytest.raises(OSError), recording(RunDirectory(tmp_path), is_new, Progress()):
        raise OSError(28, "No space left on device")
    assert (tmp_path / kept).exists()
    assert RunDirectory(tmp_path).read_status()["status"] == "failed"


def test_photos_that_vanish_stop_the_training_with_the_command_that_goes_on(
    colour_folders: Path, experiment: Experiment, tmp_path: Path
) -> None:
    shutil.copytree(colour_folders, tmp_path / "photos")

    class Remove(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            shutil.rmtree(tmp_path / "photos")

    data = experiment.data.model_copy(update={"root": str(tmp_path / "photos"), "cache": "none"})
    with pytest.raises(CheckFailed, match="photo can't be read any more.*Go on with: clan-tf train .* --resume"):
        training.train(experiment.model_copy(update={"data": data}), str(tmp_path / "run"), callbacks=[Remove()])
    assert state_files(RunDirectory(tmp_path / "run").checkpoints)


class SignalAt(keras.callbacks.Callback):
    """Sends this process a signal at a step of the run."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        super().__init__()
        self.steps_left, self.number = step, number

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.steps_left -= 1
        if self.steps_left == 0:
            os.kill(os.getpid(), self.number)


def test_a_stopped_run_goes_on_to_the_weights_of_one_that_was_not_stopped(
    finished: training.TrainingResult, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    experiment = finished.run.experiment()
    with pytest.raises(KeyboardInterrupt):
        training.train(experiment, str(run.path), callbacks=[SignalAt(4, signal.SIGINT)])
    assert run.read_status()["status"] == "stopped"
    assert [path.name for path in state_files(run.checkpoints)] == ["state-000000005.npz", "state-000000003.npz"]
    # What a `kill -9` in the middle of writing leaves, and a newest checkpoint with a flipped bit.
    (run.checkpoints / ".partial-999999999-state-000000007.npz").write_bytes(b"half")
    damaged = bytearray(state_files(run.checkpoints)[0].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    state_files(run.checkpoints)[0].write_bytes(damaged)
    with pytest.raises(SystemExit, match="143"):
        training.train(experiment, str(run.path), resume=True, callbacks=[SignalAt(2, signal.SIGTERM)])
    result = training.train(experiment, str(run.path), resume=True)
    assert result.outcome.best_epoch == finished.outcome.best_epoch
    assert run.metrics.read_bytes() == finished.run.metrics.read_bytes()
    for file in ("last", "best"):
        one, other = (load_model(getattr(r, file)).get_weights() for r in (run, finished.run))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_finished_run_is_not_trained_again(finished: training.TrainingResult) -> None:
    before = finished.run.last.stat().st_mtime_ns
    again = training.train(finished.run.experiment(), str(finished.run.path), resume=True)
    assert again.outcome == finished.outcome
    assert finished.run.last.stat().st_mtime_ns == before


def test_a_run_of_another_experiment_is_refused_with_the_keys_that_differ(finished: training.TrainingResult) -> None:
    experiment = finished.run.experiment()
    other = experiment.model_copy(update={"training": experiment.training.model_copy(update={"momentum": 0.5})})
    with pytest.raises(UserError, match="training.momentum: 0.9 in the run, 0.5 now"):
        training.train(other, str(finished.run.path), resume=True)




def test_two_processes_cannot_train_one_run(finished: training.TrainingResult) -> None:
    with finished.run.claimed(), pytest.raises(UserError, match="another process"), finished.run.claimed():
        pass


def test_resuming_needs_a_run_directory_or_an_empty_one(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--resume: needs the run"):
        training.train(experiment, resume=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(UserError, match="isn't a run directory"):
        training.train(experiment, str(tmp_path / "photos"), resume=True)
    killed_at_the_start = tmp_path / "run"
    killed_at_the_start.mkdir()
    (killed_at_the_start / "config.yaml").touch()
    short = experiment.model_copy(update={"training": experiment.training.model_copy(update={"epochs": 1})})
    assert training.train(short, str(killed_at_the_start), resume=True).outcome.epochs == 1


def test_a_damaged_state_is_never_read(tmp_path: Path, rng: np.random.Generator) -> None:
    """Whatever byte is flipped: the state is read as it was written, or the one before."""
    variables = [tf.Variable(rng.normal(size=(5, 7)).astype("float32")), tf.Variable(3)]
    old, new = TrainingState(step=1), TrainingState(step=2, totals=[0.1], rows=[{"loss": 1 / 3}], seconds=2.5)
    write_state(tmp_path, old, variables)
    write_state(tmp_path, new, variables)
    whole = state_files(tmp_path)[0].read_bytes()
    written = [variable.numpy() for variable in variables]
    fallen_back = 0
    for position in rng.choice(len(whole), 200, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        state_files(tmp_path)[0].write_bytes(damaged)
        for variable in variables:
            variable.assign(tf.zeros_like(variable))
        state = read_state(tmp_path, variables)
        fallen_back += state.step == 1
        assert state in (old, new)
        for variable, value in zip(variables, written, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value)
    assert fallen_back > 100
    for path in state_files(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(CheckFailed, match="every checkpoint is damaged"):
        read_state(tmp_path, variables)


def test_a_state_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="became NaN before step 4"):
        write_state(tmp_path, TrainingState(step=3), [tf.Variable(float("nan"))])
    assert not state_files(tmp_path)


def test_early_stopping_ends_the_run(experiment: Experiment, tmp_path: Path) -> None:
    patient = experiment.training.model_copy(update={"early_stopping": 1, "learning_rate": 1e-9, "epochs": 9})
    result = training.train(experiment.model_copy(update={"training": patient}), run_dir=str(tmp_path / "run"))
    assert result.outcome.epochs < 9
