"""Tiny TFDS data sets on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

Examples = Mapping[str, list[dict[str, Any]]]
KINDS = tfds.features


def pixels(seed: int, height: int = 12, width: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype="uint8")


def prepare(
    data_dir: Path, name: str, features: Mapping[str, Any], examples: Examples, file_format: str = "tfrecord"
) -> Path:
    """Writes a data set as TFDS does; returns its version folder."""
    tfds.disable_progress_bar()
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=KINDS.FeaturesDict(features),
        split_datasets={split: list(enumerate(rows)) for split, rows in examples.items()},
        data_dir=data_dir,
        file_format=file_format,
        disable_shuffling=True,
    )
    return Path(builder.data_dir)


def toy(data_dir: Path, splits: Mapping[str, int], names: bool = True, **more: Any) -> Path:
    """A data set with two classes in turn, `splits` saying how many photos there are."""
    label = KINDS.ClassLabel(names=["robin", "hawk/eagle"]) if names else KINDS.ClassLabel(num_classes=2)
    rows = {
        split: [{"image": pixels(number + 100 * place), "label": number % 2} for number in range(count)]
        for place, (split, count) in enumerate(splits.items())
    }
    return prepare(data_dir, "toy", {"image": KINDS.Image(), "label": label}, rows, **more)
