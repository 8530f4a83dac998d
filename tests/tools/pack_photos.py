"""Packs the photo files that a config names, as they are, into one file for `compare_gpu.py`.

`python tests/tools/pack_photos.py CONFIG FILE.npz [--set KEY=VALUE …]`.
"""

import argparse
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

from clan_tf.config import load_experiment
from clan_tf.data import read_source
from clan_tf.data.check import check_splits
from clan_tf.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("file", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    config = load_experiment(arguments.config, arguments.set).data
    source = read_source(config)
    photos: list[bytes] = []
    labels: list[int] = []
    splits: list[str] = []
    for split, checked in check_splits(source.splits, config, Progress()).items():
        photos += [Path(photo.name).read_bytes() for photo in checked.photos]
        labels += checked.labels.tolist()
        splits += [split] * len(checked.photos)
    content = {"photos": np.frombuffer(b"".join(photos), "uint8"), "lengths": [len(photo) for photo in photos]}
    np.savez(arguments.file, **content, labels=labels, splits=splits)


if __name__ == "__main__":
    main()
