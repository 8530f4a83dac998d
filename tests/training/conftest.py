"""A small experiment on photos of three colours."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clan_tf.config import Experiment, load_experiment
from helpers import TINY_DEMO
from helpers.pictures import without_pictures


@pytest.fixture(autouse=True)
def no_pictures() -> Iterator[None]:
    """For what single tests train; runs that several share have their pictures."""
    with without_pictures():
        yield


@pytest.fixture
def experiment(colour_folders: Path) -> Experiment:
    return load_experiment(
        TINY_DEMO,
        [
            "data={source: folders, image_size: 32, resize_size: null, validation_fraction: 0.25}",
            f"data.root={colour_folders}",
            "model.architecture=plain",
            "training.batch_size=9",
            "training.epochs=3",
        ],
    )
