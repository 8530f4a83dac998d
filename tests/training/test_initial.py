"""Runs that start from a trained model."""

import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from clan_tf.config import Experiment, with_values
from clan_tf.errors import UserError
from clan_tf.models import load_model
from clan_tf.run import RunDirectory
from clan_tf.run.checkpoints import state_files
from clan_tf.training import train
from clan_tf.training.plan import plan_training
from helpers.notes import Notes
from helpers.photos import write_photo


class Snapshot(keras.callbacks.Callback):
    """Copies the run directory before the first step, as a kill would leave it there."""

    def __init__(self, run: Path, copy: Path) -> None:
        super().__init__()
        self.run, self.copy = run, copy

    def on_train_begin(self, logs: object = None) -> None:
        shutil.copytree(self.run, self.copy)


@pytest.fixture
def other_classes(experiment: Experiment, tmp_path: Path) -> Experiment:
    """Two of the three colours, and a new one before them."""
    root = tmp_path / "photos"
    for name in ("grün", "red bird"):
        shutil.copytree(Path(experiment.data.root or "") / "train" / name, root / name)
    for index in range(12):
        write_photo(root / "a grey one" / f"{index}.jpg", (128, 128, 128))
    values = {"data.root": str(root), "training.epochs": 1, "model.weights": "nowhere.h5", "model.architecture": "clan"}
    return with_values(experiment, values)


def test_a_run_from_another_is_resumed_without_it(
    other_classes: Experiment, trained_run: RunDirectory, tmp_path: Path
) -> None:
    """Also if it was killed before its first step; `model.weights`, a file that doesn't exist, isn't read."""
    old, run, killed = (RunDirectory(tmp_path / name) for name in ("old", "run", "killed"))
    shutil.copytree(trained_run.path, old.path)
    experiment = with_values(other_classes, {"model.init": str(old.path)})
    plan = plan_training(experiment, None)
    assert plan.rows["starts from"].startswith(f"{old.best}; copied: 16 of 16 layers of the backbone; clca_mid_1")
    assert "2 of 3 classes in the heads" in plan.rows["starts from"]
    progress = Notes()
    train(experiment, str(run.path), progress=progress, callbacks=[Snapshot(run.path, killed.path)])
    (note,) = (text for text in progress.notes if text.startswith("starts from "))
    assert "2 of 3 classes in the heads of mid_1, top, refined_top" in note and note.endswith("New: 1 class")
    assert run.experiment().model.init == str(old.path)
    assert run.read_environment()["init"]["file"] == str(old.best)
    first = state_files(killed.path / "checkpoints")
    assert [path.name for path in first] == ["state-000000000.npz"]
    begun, source = np.load(first[0]), load_model(old.best)
    kernels = [begun[name] for name in begun.files if begun[name].shape == (3, 3, 3, 24)]
    np.testing.assert_array_equal(kernels[0], source.backbone_model.get_layer("stage1_conv1").get_weights()[0])
    shutil.rmtree(old.path)
    train(experiment, str(killed.path), resume=True)
    for a, b in zip(*(load_model(each.last).get_weights() for each in (run, killed)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_its_first_checkpoint_such_a_run_does_not_go_on_from_random_weights(
    other_classes: Experiment, trained_run: RunDirectory, tmp_path: Path
) -> None:
    experiment = with_values(other_classes, {"model.init": str(trained_run.best)})
    killed = RunDirectory(tmp_path / "killed")
    train(experiment, str(tmp_path / "run"), callbacks=[Snapshot(tmp_path / "run", killed.path)])
    killed.remove_checkpoints()
    with pytest.raises(UserError, match="killed: has no checkpoint left to resume, and started from another model"):
        train(experiment, str(killed.path), resume=True)


def test_a_model_that_cannot_be_the_start_is_refused_by_key_before_a_folder_is_made(
    experiment: Experiment, trained_run: RunDirectory, tmp_path: Path
) -> None:
    foreign, damaged = tmp_path / "foreign.keras", tmp_path / "damaged.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(foreign)
    damaged.write_bytes(trained_run.best.read_bytes()[:9000])
    for path, message in (
        (tmp_path / "nothing", "no such file or folder"),
        (foreign, "not a model of clan-tf"),
        (damaged, "damaged"),
        (tmp_path, "not a run directory"),
    ):
        for start in (train, plan_training):
            with pytest.raises(UserError, match=f"^model.init: {re.escape(str(path))}: .*{message}"):
                start(with_values(experiment, {"model.init": str(path)}), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
