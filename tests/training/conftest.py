"""A small experiment on photos of three colours."""

from pathlib import Path

import pytest

from clan_tf.config import Experiment, load_experiment


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
