"""A process that fills the disk cache slowly and reads it back, for the cases about shared caches in `faults`.

cache.py NAME DELAY WAIT CONFIG PHOTOS FOLDER      waits for FOLDER/go once FOLDER/NAME.ready is made
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from clan_tf.config import load_experiment
from clan_tf.data import read_source
from clan_tf.data.checked_photos import check_photos
from clan_tf.data.pipeline import PhotoReader, open_reader, training_view
from clan_tf.data.pipeline.cache import CachedReader


def pixels(reader: CachedReader | PhotoReader, photos: int) -> list[np.ndarray]:
    """The centre of every photo."""
    return [reader.centre(tf.constant(index), tf.constant("")).numpy() for index in range(photos)]


def main() -> None:
    """Prints how many photos are wrong, at once and when others have had their time."""
    name, delay, wait, config, root, folder = sys.argv[1:]
    experiment = load_experiment(config, [f"data.root={root}"])
    checked = check_photos(read_source(experiment.data).photos("train"))
    view = training_view(experiment.data)

    @contextmanager
    def slowly(description: str, number: int) -> Iterator[Callable[..., None]]:
        yield lambda *arguments: time.sleep(float(delay))

    @contextmanager
    def quickly(description: str, number: int) -> Iterator[Callable[..., None]]:
        yield lambda *arguments: None

    right = pixels(open_reader(checked, view, "memory", quickly), len(checked.photos))
    Path(folder, f"{name}.ready").touch()
    while not Path(folder, "go").exists():
        time.sleep(0.01)
    time.sleep(float(wait))
    reader = open_reader(checked, view, "disk", slowly)

    def wrong() -> int:
        return sum(not np.array_equal(*pair) for pair in zip(pixels(reader, len(right)), right, strict=True))

    at_once = wrong()
    time.sleep(3)
    print(f"process {os.getpid()}: {at_once} wrong at once, {wrong()} later, of {len(right)}")


if __name__ == "__main__":
    main()
