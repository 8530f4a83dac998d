"""A dry run refuses what training would refuse before it opens the photos, and counts the same devices."""

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from clan_tf.config import Experiment, with_values
from clan_tf.data import read_source
from clan_tf.errors import UserError
from clan_tf.run import RunDirectory
from clan_tf.training import disk, memory, train
from clan_tf.training.checking import check_alone
from clan_tf.training.devices import choose_devices
from clan_tf.training.plan import plan_training


class Full:
    """A disk with nearly no room."""

    free = 1000


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["first", "second"] if kind == "GPU" else [])
    monkeypatch.setattr(memory, "_gpu_memory", lambda count: None)


def refused_by_both(experiment: Experiment, run_dir: Path, message: str) -> None:
    for start in (train, plan_training):
        with pytest.raises(UserError, match=message):
            start(experiment, str(run_dir))
        assert not run_dir.exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training.device": "gpu"}, "training.device: is gpu, but TensorFlow sees no GPU"),
        ({"model.weights": "imagenet"}, "there are no ImageNet weights for 'tiny'"),
        ({"model.weights": "absent.h5"}, "there is no file .*absent.h5"),
        ({"data.taxonomy": "absent.csv"}, "absent.csv"),
    ],
)
def test_a_dry_run_refuses_what_training_refuses(
    values: dict[str, Any], message: str, experiment: Experiment, tmp_path: Path
) -> None:
    refused_by_both(with_values(experiment, values), tmp_path / "run", message)


def test_a_dry_run_refuses_a_broken_list_of_processes(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", '{"x":1}')
    refused_by_both(experiment, tmp_path / "run", "TF_CONFIG: must be like")


def test_a_dry_run_refuses_a_disk_without_room(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: Full)
    refused_by_both(experiment, tmp_path / "run", "checkpoints need")


def test_a_plan_of_several_processes_waits_for_none(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = {"cluster": {"worker": ["a:1", "b:1", "c:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(worker))
    assert "on each of 3 devices" in plan_training(experiment, str(tmp_path / "run")).rows["memory"]
    with pytest.raises(UserError, match="--run-dir: is required when several processes train"):
        plan_training(experiment, None)
    with pytest.raises(UserError, match="10 can't be divided among 3 devices"):
        plan_training(with_values(experiment, {"training.batch_size": 10}), str(tmp_path / "run"))


@pytest.mark.usefixtures("two_gpus")
def test_a_plan_counts_all_gpus(experiment: Experiment) -> None:
    def rows(values: dict[str, Any]) -> dict[str, str]:
        return plan_training(with_values(experiment, {"training.precision": "float32", **values}), None).rows

    assert "on each of 2 devices" in rows({"training.batch_size": 8})["memory"]
    with pytest.raises(UserError, match="9 can't be divided among 2 devices"):
        rows({"training.batch_size": 9})
    with pytest.raises(UserError, match="auto needs at least 40 train photos for the devices and parts"):
        rows({"training.batch_size": "auto", "training.accumulation": 20})
    with pytest.raises(UserError, match="6 on 2 devices divides a pair"):
        rows({"training.batch_size": 6, "data.sampling": "pairs"})


def test_devices_are_counted_as_the_strategy_counts_them(experiment: Experiment) -> None:
    assert choose_devices(experiment.training) == tf.distribute.get_strategy().num_replicas_in_sync


def test_a_plan_is_of_new_runs_only(experiment: Experiment, trained_run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="never overwritten"):
        plan_training(experiment, str(trained_run.path))
    with pytest.raises(UserError, match="--dry-run: shows what a new run would do, and .* is a run"):
        plan_training(experiment, str(trained_run.path), resume=True)
    assert plan_training(experiment, str(tmp_path), resume=True).files[0] == f"{tmp_path}/config.yaml"


def test_the_checks_decide_the_precision_and_write_nothing(experiment: Experiment, tmp_path: Path) -> None:
    notes: list[str] = []
    start = check_alone(experiment, read_source(experiment.data), 1, str(tmp_path / "runs"), notes.append)
    assert start.experiment.training.precision != "auto" and start.facts == {} and notes == []
    assert not list(tmp_path.iterdir())
