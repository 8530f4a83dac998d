"""Data sets on disk for the tests of sources and packs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def no_leftovers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """TFDS makes a temporary folder for every builder that a test writes with, and doesn't remove it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture(scope="module")
def toy_dir(no_leftovers: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from helpers.records import toy

    folder = tmp_path_factory.mktemp("tfds")
    toy(folder, {"train": 8, "test": 4, "extra": 2})
    return folder


@pytest.fixture(scope="module")
def birds(no_leftovers: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CUB with the features, names and boxes that TFDS gives it: 200 numbered classes whose names stand beside."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.image_classification.caltech_birds import CaltechBirds2011

    from helpers.records import KINDS, pixels

    def examples(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        for number in range(count):
            yield (
                str(number),
                {
                    "image": pixels(number),
                    "image/filename": f"{number}.jpg",
                    "label": number % 200,
                    "label_name": f"bird {number % 200}",
                    "bbox": KINDS.BBox(ymin=0.25, xmin=0.1, ymax=1.0, xmax=0.8),
                    "segmentation_mask": np.zeros((12, 10, 1), "uint8"),
                },
            )

    folder = tmp_path_factory.mktemp("birds")
    tfds.disable_progress_bar()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            CaltechBirds2011, "_split_generators", lambda self, _: {"train": examples(200), "test": examples(3)}
        )
        CaltechBirds2011(data_dir=folder).download_and_prepare()
    return folder
