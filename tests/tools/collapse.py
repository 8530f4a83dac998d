"""No recipe may collapse: trains each relation, activation and refinement for a few hundred steps on real photos.

`python tests/tools/collapse.py --root CUB --weights mobilenet.weights.h5` prints a table, and exits with 1 if
the loss of any of them isn't finite or doesn't fall, or if an attention map of validation photos is then even, open or
closed (`attention_maps.py`).
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from attention_maps import MapStatistics, map_statistics

from clan_tf.config import load_experiment
from clan_tf.data import read_source
from clan_tf.data.pipeline import evaluation_batches
from clan_tf.errors import CheckFailed
from clan_tf.progress import Progress
from clan_tf.training import TrainingData, prepare_data, train

RELATIONS = ("gaussian", "embedded_gaussian", "dot_product")
ACTIVATIONS = ("sigmoid", "linear")


def combinations() -> list[tuple[str, str, str]]:
    """Refinement, relation and activation; without refinement there is no relation."""
    refined = itertools.product(("clca", "non_local"), RELATIONS, ACTIVATIONS)
    return [*refined, *(("gap", "dot_product", activation) for activation in ACTIVATIONS)]


class Watch(keras.callbacks.Callback):
    """The loss of every step, and after `steps`, when it stops the training, the attention maps' statistics."""

    def __init__(self, steps: int, data: TrainingData) -> None:
        super().__init__()
        self.steps, self.data, self.losses = steps, data, []
        self.maps: dict[str, MapStatistics] = {}

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.losses.append(logs["loss"])
        if len(self.losses) == self.steps:
            labels = self.data.checked["val"].labels
            self.maps = map_statistics(
                self.model, evaluation_batches(self.data.readers["val"], labels, 32), len(labels)
            )
            raise StopIteration


def watched(overrides: list[str], steps: int, data: TrainingData | None) -> Watch:
    """Trains a run's first steps; the photos are those of the run before, if there was one."""
    experiment = load_experiment("resnet50", overrides)
    watch = Watch(steps, data or prepare_data(experiment, read_source(experiment.data), Progress()))
    with tempfile.TemporaryDirectory() as folder:
        try:
            train(experiment, f"{folder}/run", callbacks=[watch], data=watch.data)
        except StopIteration:
            pass
        except CheckFailed as error:
            print(error, file=sys.stderr)
            watch.losses.append(float("nan"))
    return watch


def _row(refinement: str, relation: str, activation: str, *numbers: str) -> str:
    return f"{refinement:11}{relation:18}{activation:11}" + "".join(f"{number:>10}" for number in numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--activation", choices=ACTIVATIONS, help="this one only")
    arguments = parser.parse_args()
    shared = [
        f"data.root={arguments.root}",
        "data.classes=null",
        f"data.image_size={arguments.image_size}",
        "data.resize_size=null",
        "data.cache=memory",
        "model.backbone=mobilenet",
        f"model.weights={arguments.weights}",
    ]
    failed, data = False, None
    print(_row("refinement", "relation", "activation", "first 10", "last 10", "largest", "map", "deviation", "seconds"))
    for refinement, relation, activation in combinations():
        if arguments.activation not in (None, activation):
            continue
        chosen = [f"model.mid_refinement={refinement}", f"model.relation={relation}"]
        started = time.perf_counter()
        watch = watched([*shared, *chosen, f"model.spatial_activation={activation}"], arguments.steps, data)
        data, losses = watch.data, watch.losses
        first, last = np.mean(losses[:10]), np.mean(losses[-10:])
        failed |= not last < first or not watch.maps or not all(each.is_alive for each in watch.maps.values())
        maps = [number for each in watch.maps.values() for number in (each.mean, each.deviation)]
        numbers = [f"{value:.3f}" for value in (first, last, max(losses), *maps)]
        seconds = f"{time.perf_counter() - started:.0f}"
        print(_row(refinement, "" if refinement == "gap" else relation, activation, *numbers, seconds), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
