"""Runs: what they leave behind, how they end, and how they go on."""

import csv
import json
import os
import re
import shutil
import signal
import zipfile
from io import BytesIO
from pathlib import Path
from typing import IO

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import Experiment, TrainingConfig, load_experiment
from clan_tf.environment import describe_computing
from clan_tf.errors import CheckFailed, UserError
from clan_tf.models import load_model
from clan_tf.models.files import damage_in_model
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from clan_tf.run.directory import START
from clan_tf.training import TrainingResult, disk, resuming, train
from clan_tf.training.callbacks import MONITOR
from clan_tf.training.failures import explained, recording
from clan_tf.training.loop import TrainingLoop
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
def finished(colour_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return train(
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
    best = max(range(4), key=lambda index: float(rows[index]["val_combined_accuracy"]))
    assert finished.outcome.best_epoch == best + 1


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
    with pytest.raises(CheckFailed, match="No space left on device.*Go on with: clan-tf train --run-dir .*--resume"):
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
    with pytest.raises(OSError), recording(RunDirectory(tmp_path), is_new, True, Progress()):
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
        train(experiment.model_copy(update={"data": data}), str(tmp_path / "run"), callbacks=[Remove()])
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
    finished: TrainingResult, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    experiment = finished.run.experiment()
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
    result = train(experiment, str(run.path), resume=True)
    assert result.outcome.best_epoch == finished.outcome.best_epoch
    assert run.metrics.read_bytes() == finished.run.metrics.read_bytes()
    for file in ("last", "best"):
        one, other = (load_model(getattr(r, file)).get_weights() for r in (run, finished.run))
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
    with finished.run.claimed(), pytest.raises(UserError, match="another process"), finished.run.claimed():
        pass


def test_resuming_needs_a_run_directory_or_an_empty_one(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--resume: needs the run"):
        train(experiment, resume=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(UserError, match="isn't a run directory"):
        train(experiment, str(tmp_path / "photos"), resume=True)
    killed_at_the_start = RunDirectory(tmp_path / "run")
    killed_at_the_start.path.mkdir()
    killed_at_the_start.mark_start()
    killed_at_the_start.config.touch()
    short = experiment.model_copy(update={"training": experiment.training.model_copy(update={"epochs": 1})})
    assert train(short, str(killed_at_the_start.path), resume=True).outcome.epochs == 1
    assert not (killed_at_the_start.path / START).exists()


@pytest.mark.parametrize("name", [".env", ".git/config", "config.yaml", "checkpoints/mine.npz", "best.keras", "a b"])
def test_a_folder_with_anything_of_the_users_is_no_place_for_a_run(
    name: str, experiment: Experiment, tmp_path: Path
) -> None:
    path = tmp_path / "folder" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=f"--run-dir: .*holds '{name.split('/')[0]}'. Give a folder that doesn't"):
        train(experiment, str(tmp_path / "folder"), resume=True)
    assert [file for file in (tmp_path / "folder").rglob("*") if file.is_file()] == [path]


def test_a_killed_start_to_which_the_user_added_something_is_left_alone(experiment: Experiment, tmp_path: Path) -> None:
    RunDirectory(tmp_path).mark_start()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="holds 'notes.txt'"):
        train(experiment, str(tmp_path), resume=True)


@pytest.mark.parametrize("is_made", [False, True])
def test_a_failed_start_removes_what_it_wrote_and_nothing_else(
    is_made: bool, trained_run: RunDirectory, tmp_path: Path
) -> None:
    """Also what the user put into the folder, or into its folders, while the training ran."""
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(trained_run.path, run.path, ignore=shutil.ignore_patterns("*.keras", "evaluation"))
    write_state(run.checkpoints, TrainingState(step=1), [tf.Variable(1.0)])
    state_files(run.checkpoints)[0].rename(run.checkpoints / "state-000000001.damaged")
    foreign = [run.path / "notes.txt", run.checkpoints / "state-copy.npz", run.tensorboard / "notes.txt"]
    for path in foreign:
        path.write_text("mine", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), recording(run, True, is_made, Progress()):
        raise ZeroDivisionError
    assert sorted(path for path in run.path.rglob("*") if path.is_file()) == sorted(foreign)
    for path in foreign:
        path.unlink()
    with pytest.raises(ZeroDivisionError), recording(run, True, is_made, Progress()):
        raise ZeroDivisionError
    assert run.path.exists() != is_made and not run.checkpoints.exists()


def test_a_kill_between_the_end_and_the_removal_of_checkpoints_leaves_none_after_a_resume(
    trained_run: RunDirectory, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(trained_run.path, run.path)
    write_state(run.checkpoints, TrainingState(step=1), [tf.Variable(1.0)])
    assert train(run.experiment(), str(run.path), resume=True).outcome == trained_run.outcome()
    assert not run.checkpoints.exists()


SMALL_FILES = ("status.json", "data.json", "environment.json", "metrics.csv", "config.yaml")


@pytest.mark.parametrize("name", SMALL_FILES)
@pytest.mark.parametrize("damage", ["empty", "half", "not text", "another type"])
def test_a_damaged_file_of_a_run_is_named(name: str, damage: str, trained_run: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(trained_run.path, run.path)
    whole = (run.path / name).read_bytes()
    contents = {"empty": b"", "half": whole[: len(whole) // 2], "not text": b"\xff\xfe" + whole}
    (run.path / name).write_bytes(contents.get(damage, b"[1, 2]"))
    readers = (run.read_status, run.read_data, run.read_environment, run.read_metrics, run.experiment)
    with pytest.raises(UserError, match=re.escape(str(run.path / name))):
        dict(zip(SMALL_FILES, readers, strict=True))[name]()


def test_another_number_of_threads_or_another_version_is_noted_on_resume(
    trained_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path)
    began = trained_run.read_environment()
    run.write_environment(began)

    def notes(**now: str) -> list[str]:
        heard: list[str] = []
        monkeypatch.setattr(resuming, "describe_computing", lambda: {**began["computing"], **now})
        resuming.note_other_computing(run, heard.append)
        return heard

    assert notes() == []
    first, second = notes(threads="99", keras="4.0")
    assert first.startswith("threads: 99 now, ") and first.endswith("not bit for bit the same.")
    assert second.startswith("keras: 4.0 now, ")
    assert notes() == ["An earlier resume had other keras, threads than when the run began. " + resuming._NOT_THE_SAME]
    (run.path / "environment.json").write_text("{", encoding="utf-8")
    (note,) = notes()
    assert note.startswith(f"{run.path / 'environment.json'}: is damaged") and note.endswith("can't be told.")


def test_what_the_last_digits_depend_on_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    described = describe_computing()
    assert described["settings"] == "ONEDNN_MAX_CPU_ISA=AVX2"
    assert int(described["threads"]) >= 1 and described["tensorflow"] == tf.__version__ and described["processor"]


def loop_of(run: RunDirectory) -> TrainingLoop:
    """A loop of 4 epochs of 2 steps as far as resuming needs one, on a run with a model of its own."""
    loop = TrainingLoop.__new__(TrainingLoop)
    loop.run, loop.steps, loop.columns = run, 2, ["loss", "combined_accuracy"]
    loop.training = TrainingConfig(epochs=4)
    return loop


def state_with(accuracies: list[float], step: int) -> TrainingState:
    rows = [{"loss": 1.0, "combined_accuracy": 0.5, MONITOR: accuracy} for accuracy in accuracies]
    return TrainingState(step=step, rows=rows)


def test_a_state_whose_best_model_is_damaged_cannot_be_used_unless_it_holds_that_model(
    trained_run: RunDirectory, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path)
    run.checkpoints.mkdir()
    loop = loop_of(run)
    shutil.copy(trained_run.best, run.best)
    assert loop._problem_with(state_with([0.2, 0.1], 4)) is None
    run.candidate(1).write_bytes(trained_run.best.read_bytes()[:9000])
    assert "best-1.keras is damaged" in loop._problem_with(state_with([0.2, 0.1], 4))
    assert loop._problem_with(state_with([0.2], 2)) is None, "right after the epoch the state holds the weights"
    run.candidate(1).unlink()
    run.best.unlink()
    assert "best.keras is missing" in loop._problem_with(state_with([0.2, 0.1], 4))
    assert loop._problem_with(state_with([], 1)) is None


@pytest.mark.parametrize(
    "state",
    [
        TrainingState(step=3),
        state_with([0.1, 0.2], 3),
        state_with([0.1] * 5, 10),
        TrainingState(step=2, rows=[{"loss": 1.0}]),
        TrainingState(step=1, totals=[1.0]),
    ],
)
def test_a_state_that_contradicts_itself_is_not_resumed(state: TrainingState, tmp_path: Path) -> None:
    assert loop_of(RunDirectory(tmp_path))._problem_with(state)


def test_a_state_that_declares_a_huge_array_is_refused_without_taking_memory(tmp_path: Path) -> None:
    variable = tf.Variable([1.0, 2.0])
    write_state(tmp_path, TrainingState(step=1), [variable])
    write_state(tmp_path, TrainingState(step=2), [variable])
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**10)})
    with zipfile.ZipFile(state_files(tmp_path)[0], "r") as archive:
        state = archive.read("state.npy")
    with zipfile.ZipFile(state_files(tmp_path)[0], "w") as archive:
        archive.writestr("state.npy", state)
        archive.writestr("variable_0.npy", header.getvalue())
    notes: list[str] = []
    assert read_state(tmp_path, [variable], notes.append).step == 1
    assert "variable_0 is (1099511627776, 1024) float32 and not (2,) float32" in notes[0]


def test_an_archive_that_points_before_its_beginning_is_damaged(tmp_path: Path) -> None:
    """Reading it fails as a disk does, by an `OSError`."""
    write_state(tmp_path, TrainingState(step=1), [])
    (state,) = state_files(tmp_path)
    model = tmp_path / "a.keras"
    with zipfile.ZipFile(model, "w") as archive:
        for name in ("config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    for path in (state, model):
        content = bytearray(path.read_bytes())
        place = content.rindex(b"PK\5\6") + 16
        content[place : place + 4] = (int.from_bytes(content[place : place + 4], "little") + 1000).to_bytes(4, "little")
        path.write_bytes(content)
    assert damage_in_model(model)
    notes: list[str] = []
    with pytest.raises(CheckFailed, match="every checkpoint is damaged"):
        read_state(tmp_path, [], notes.append)
    assert "not a whole zip archive" in notes[0]


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
    result = train(experiment.model_copy(update={"training": patient}), run_dir=str(tmp_path / "run"))
    assert result.outcome.epochs < 9
