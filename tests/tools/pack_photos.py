"""Packs a config's photos, resized as for training, into one file for `compare_gpu.py`.

`python tests/tools/pack_photos.py CONFIG FILE.npz [--set KEY=VALUE …]`. Photos are JPEGs of quality 95 without chroma
subsampling, so they aren't the same bits as in training.
"""

import argparse
import os
from io import BytesIO
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from PIL import Image

from clan_tf.config import load_experiment
from clan_tf.data import read_source
from clan_tf.data.check import check_splits
from clan_tf.data.pipeline import PhotoReader, View, evaluation_batches
from clan_tf.progress import Progress


def jpeg(photo: np.ndarray) -> bytes:
    content = BytesIO()
    Image.fromarray(photo).save(content, "JPEG", quality=95, subsampling=0)
    return content.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("file", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    config = load_experiment(arguments.config, arguments.set).data
    source = read_source(config)
    view = View(config.full_size, config.full_size, config.resize_mode)
    photos: list[bytes] = []
    labels: list[int] = []
    splits: list[str] = []
    for split, checked in check_splits(source.splits, config, Progress()).items():
        for batch, own, _ in evaluation_batches(PhotoReader(checked, view), checked.labels, 1):
            photos.append(jpeg(batch[0].numpy()))
            labels.append(int(own[0]))
            splits.append(split)
    content = {"photos": np.frombuffer(b"".join(photos), "uint8"), "lengths": [len(photo) for photo in photos]}
    np.savez(arguments.file, **content, labels=labels, splits=splits, image_size=config.image_size)


if __name__ == "__main__":
    main()
