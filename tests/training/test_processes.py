"""Trainings as real processes: the same numbers on any devices, and after any signal."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from clan_tf.config import load_experiment
from clan_tf.models import load_model
from clan_tf.run import RunDirectory
from clan_tf.run.checkpoints import state_files
from clan_tf.training import train
from helpers import ROOT, TOOLS
from helpers.pictures import without_pictures

SAME_EVERYWHERE = [
    "model.architecture=plain",
    "training.loss_weight_schedules={}",
    "data.augmentation.mixup=0",
    "model.dropout=0",
    "training.epochs=3",
    "training.accumulation=1",
    "training.freeze_epochs=0",
    "training.early_stopping=null",
    "training.learning_rate=0.002",
]
"""A network that is traced soon, for 3 epochs of 4 steps; the last of the validation batches of 16 is half full.
Dropout is off, because it draws for each device anew. At a learning rate of 0.05 this network is chaotic: a change of
one layer by 1e-7 grows to 0.1 in 20 steps.
"""


def start(
    run_dir: Path, devices: int = 1, worker: tuple[int, list[int]] | None = None, overrides: Sequence[str] = ()
) -> subprocess.Popen:
    """A training process, alone or as worker `index` of those at the ports."""
    environment = dict(os.environ)
    if worker:
        index, ports = worker
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    command = [
        sys.executable,
        str(TOOLS / "training_process.py"),
        str(run_dir),
        str(devices),
        *SAME_EVERYWHERE,
        *overrides,
    ]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start_workers(run_dir: Path, count: int = 2) -> list[subprocess.Popen]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return [start(run_dir, worker=(index, ports)) for index in range(count)]


def finish(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors[-2000:]


def wait_for_state(run_dir: Path, process: subprocess.Popen, earlier: Sequence[Path] = ()) -> None:
    """Until there are two checkpoints, none of them an earlier one."""
    deadline = time.monotonic() + 300
    while len({*state_files(RunDirectory(run_dir).checkpoints)} - {*earlier}) < 2:
        assert process.poll() is None, process.communicate()[1][-2000:]
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.05)


def assert_same_weights(run_dir: Path, other: Path) -> None:
    one, two = (load_model(RunDirectory(path).last).get_weights() for path in (run_dir, other))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training in this process."""
    run_dir = tmp_path_factory.mktemp("runs") / "one"
    train_here(run_dir)
    return run_dir


def train_here(run_dir: Path) -> None:
    """Begins or resumes the training in this process."""
    with without_pictures():
        experiment = load_experiment(ROOT / "tests" / "helpers" / "everything.yaml", SAME_EVERYWHERE)
        train(experiment, str(run_dir), resume=True)


@pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.soak)])
def test_several_devices_train_like_one(devices: int, one_device: Path, tmp_path: Path) -> None:
    # In a process of their own: TensorFlow confuses sums over several numbers of devices in one.
    finish([start(tmp_path / "run", devices)])
    assert_same_weights(tmp_path / "run", one_device)


@pytest.mark.soak  # a minute
def test_two_devices_choose_a_learning_rate_and_train_on_as_with_that_number(tmp_path: Path) -> None:
    chosen, given = RunDirectory(tmp_path / "chosen"), RunDirectory(tmp_path / "given")
    others = ("training.epochs=1", "training.accumulation=2", "training.freeze_epochs=1")
    finish([start(chosen.path, 2, overrides=(*others, "training.learning_rate=auto"))])
    rate = chosen.experiment().training.learning_rate
    assert len(chosen.range_test("csv").read_text(encoding="utf-8").splitlines()) > 10
    finish([start(given.path, 2, overrides=(*others, f"training.learning_rate={rate}"))])
    for a, b in zip(*(load_model(run.last).get_weights() for run in (chosen, given)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_processes_of_which_one_is_killed_or_stopped_go_on_like_one_device(
    one_device: Path, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    workers = start_workers(run.path)
    wait_for_state(run.path, workers[0])
    workers[1].kill()
    killed = time.monotonic()
    _, errors = workers[0].communicate(timeout=60)
    assert workers[0].returncode == 1
    assert "Another process of this run ended" in errors
    assert "--resume" in errors
    assert time.monotonic() - killed < 30
    workers[1].communicate()
    # The processes go on; a signal to one stops all after the same step.
    workers = start_workers(run.path)
    wait_for_state(run.path, workers[0], state_files(run.checkpoints))
    workers[1].send_signal(signal.SIGTERM)
    for worker in workers:
        worker.communicate(timeout=60)
        assert worker.returncode == 143
    assert run.read_status()["status"] == "stopped"
    train_here(run.path)
    assert_same_weights(run.path, one_device)


def soak(folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(TOOLS / "soak.py"), str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


@pytest.mark.soak  # others are killed at chosen moments
def test_a_run_killed_at_random_moments_ends_as_one_left_in_peace(tmp_path: Path) -> None:
    assert "differences: none" in soak(tmp_path, "--kills", "1", "training.epochs=3", "training.freeze_epochs=0")


@pytest.mark.soak
@pytest.mark.parametrize("devices", ["1", "2"])
def test_ten_kills_change_nothing(devices: str, tmp_path: Path) -> None:
    assert "differences: none" in soak(tmp_path, "--kills", "10", "--devices", devices)
