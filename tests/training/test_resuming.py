"""What a resume accepts, refuses and removes."""

import re
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from clan_tf.config import Experiment, TrainingConfig
from clan_tf.errors import UserError
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from clan_tf.run.checkpoints import state_files
from clan_tf.run.directory import START
from clan_tf.training import resuming, train
from clan_tf.training.best_epoch import ACCURACY
from clan_tf.training.failures import recording
from clan_tf.training.loop import TrainingLoop
from clan_tf.training.state import TrainingState, write_state


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
    assert note.startswith(f"{run.path / 'environment.json'}: is damaged") and note.endswith("is unknown.")


def loop_of(run: RunDirectory) -> TrainingLoop:
    """A loop of 4 epochs of 2 steps as far as resuming needs one, on a run with a model of its own."""
    loop = TrainingLoop.__new__(TrainingLoop)
    loop.run, loop.steps, loop.columns = run, 2, ["loss", "combined_accuracy"]
    loop.training, loop.labels = TrainingConfig(epochs=4), {"val": [0] * 10}
    return loop


def state_with(accuracies: list[float], step: int) -> TrainingState:
    rows = [{"loss": 1.0, "combined_accuracy": 0.5, ACCURACY: accuracy} for accuracy in accuracies]
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
