"""Shared fixtures. Four logical CPU devices stand for several GPUs; TensorFlow only allows that before it starts."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import TINY_DEMO
from helpers.photos import write_photo

LONG_FILES = (
    "test_processes.py",
    "test_search.py",
    "test_methods.py",
    "test_conformance.py",
    "test_export.py",
    "test_reproduce.py",
    "test_train.py",
    "test_calibration.py",
)
"""Begun first and in this order, so that no worker of pytest-xdist ends alone with one of them."""


def pytest_configure(config: pytest.Config) -> None:
    """Starts TensorFlow where tests are run, but not in the process that leaves them to the workers of pytest-xdist."""
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        return
    gc.disable()  # until the tests are collected: a third of the time that the imports take
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the longest files to the front; within files, and among the others, the order stays."""
    items.sort(key=lambda item: (*LONG_FILES, item.path.name).index(item.path.name))


def pytest_collection_finish() -> None:
    """Leaves TensorFlow's modules and the tests out of garbage collections, of which a training makes many."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def colour_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with a train and a test split; the three classes are colours, so that a few steps learn them."""
    root = tmp_path_factory.mktemp("colours")
    colors = {"red bird": (200, 60, 60), "grün": (60, 200, 60), "blue, small": (60, 60, 200)}
    for split, count in (("train", 12), ("test", 5)):
        for name, color in colors.items():
            for index in range(count):
                write_photo(root / split / name / f"{index}.jpg", color)
    return root


@pytest.fixture(scope="session")
def trained_run(colour_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of one epoch on the colours; its directory isn't to be changed, only evaluated."""
    from clan_tf import training
    from clan_tf.config import load_experiment

    overrides = [
        "data={source: folders, image_size: 32, resize_size: null, validation_fraction: 0.25}",
        f"data.root={colour_folders}",
        "training.batch_size=9",
        "training.epochs=1",
    ]
    return training.train(load_experiment(TINY_DEMO, overrides), runs_root=str(tmp_path_factory.mktemp("runs"))).run
