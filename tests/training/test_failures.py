"""Runs that fail say why, and keep what can be used."""

import shlex
import shutil
from pathlib import Path
from typing import IO

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import Experiment, TrainingConfig
from clan_tf.errors import CheckFailed, UserError
from clan_tf.models import load_model
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from clan_tf.run.checkpoints import state_files
from clan_tf.training import disk, train
from clan_tf.training.failures import explained, how_to_resume, less_memory, recording, resumed_as_part


def test_a_disk_that_cannot_hold_the_checkpoints_is_refused_before_training(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(UserError, match="checkpoints need"):
        train(experiment, run_dir=str(tmp_path / "run"))
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
    with pytest.raises(CheckFailed, match="No space left on device.*Resume with: clan-tf train --run-dir .*--resume"):
        train(experiment, run_dir=str(tmp_path / "run"))
    run = RunDirectory(tmp_path / "run")
    assert load_model(run.best).class_names == ["blue, small", "grün", "red bird"]
    assert run.read_status()["status"] == "failed"
    assert [path.name for path in state_files(run.checkpoints)] == ["state-000000006.npz", "state-000000003.npz"]
    assert not list(run.path.rglob(".partial*"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device", "/run/state"), "/run/state: No space left on device. Way out"),
        (
            tf.errors.NotFoundError(None, None, "photo.jpg; No such file or directory [Op:IteratorGetNext]"),
            "photo can no longer be read: photo.jpg; No such file or directory. Way out",
        ),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), "Out of memory. Advice. Way out"),
        (
            tf.errors.ResourceExhaustedError(None, None, "/run/events.v2; No space left on device\n\tFailed to flush"),
            "^/run/events.v2: No space left on device. Way out$",
        ),
        (MemoryError(), "Out of memory"),
        (tf.errors.UnavailableError(None, None, "Socket closed"), "Another process of this run ended.*Way out"),
    ],
)
def test_failures_of_a_run_are_explained(error: Exception, expected: str) -> None:
    with pytest.raises(CheckFailed, match=expected), explained(True, lambda: " Way out", lambda: " Advice."):
        raise error


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "expected"),
    [
        (32, None, "in 2 parts: --set training.accumulation=2"),
        (32, 4, "in 8 parts: --set training.accumulation=8"),
        (6, 2, "training.batch_size"),
        ("auto", None, "accumulation=2"),
    ],
)
def test_what_needs_less_memory_follows_from_the_batches(
    batch_size: int | str, accumulation: int | None, expected: str
) -> None:
    assert expected in less_memory(TrainingConfig(batch_size=batch_size, accumulation=accumulation))


def test_an_error_of_the_network_is_not_laid_on_a_photo(experiment: Experiment, tmp_path: Path) -> None:
    class WrongProduct(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            tf.matmul(tf.zeros((2, 3)), tf.zeros((2, 3)))

    with pytest.raises(tf.errors.InvalidArgumentError, match="Matrix size-incompatible"):
        train(experiment, str(tmp_path / "run"), callbacks=[WrongProduct()])


def test_a_callback_that_needs_the_training_of_keras_is_refused(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="callbacks: ReduceLROnPlateau works in Keras' own.*training.schedule"):
        train(experiment, str(tmp_path / "run"), callbacks=[keras.callbacks.ReduceLROnPlateau()])
    assert not (tmp_path / "run").exists()


def test_scalars_that_cannot_be_written_end_the_run_with_their_own_error(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: str) -> None:
        raise OSError(30, "Read-only file system", folder)

    monkeypatch.setattr(tf.summary, "create_file_writer", refuse)
    with pytest.raises(CheckFailed, match="tensorboard: Read-only file system"):
        train(experiment, str(tmp_path / "run"))


def test_an_error_of_one_process_is_not_laid_on_others() -> None:
    with pytest.raises(tf.errors.UnavailableError), explained(False):
        raise tf.errors.UnavailableError(None, None, "gs://bucket")


@pytest.mark.parametrize(("kept", "is_new"), [("best.keras", True), ("metrics.csv", False)])
def test_a_run_with_results_or_of_another_time_is_never_removed(kept: str, is_new: bool, tmp_path: Path) -> None:
    (tmp_path / kept).touch()
    with pytest.raises(OSError), recording(RunDirectory(tmp_path), is_new, True, Progress()):
        raise OSError(28, "No space left on device")
    assert (tmp_path / kept).exists()
    assert RunDirectory(tmp_path).read_status()["status"] == "failed"


def test_the_command_that_resumes_a_run_can_be_pasted(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "a b")
    assert how_to_resume(run) == ""
    run.checkpoints.mkdir(parents=True)
    (run.checkpoints / "state-000000006.npz").touch()
    command = how_to_resume(run).removeprefix(" Resume with: ")
    assert shlex.split(command) == ["clan-tf", "train", "--run-dir", str(run.path), "--resume"]
    with resumed_as_part("The same command goes on."):
        assert how_to_resume(run) == " The same command goes on."
        with resumed_as_part(""):
            assert how_to_resume(run) == ""
    assert how_to_resume(run) == f" Resume with: {command}"


def test_photos_that_vanish_stop_the_training_with_the_command_that_goes_on(
    colour_folders: Path, experiment: Experiment, tmp_path: Path
) -> None:
    shutil.copytree(colour_folders, tmp_path / "photos")

    class Remove(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            shutil.rmtree(tmp_path / "photos")

    data = experiment.data.model_copy(update={"root": str(tmp_path / "photos"), "cache": "none"})
    with pytest.raises(CheckFailed, match="photo can no longer be read.*Resume with: clan-tf train .* --resume"):
        train(experiment.model_copy(update={"data": data}), str(tmp_path / "run"), callbacks=[Remove()])
    assert state_files(RunDirectory(tmp_path / "run").checkpoints)
