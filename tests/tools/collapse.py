"""No recipe may collapse: trains each relation, activation and refinement for a few hundred steps on real photos.

`python tests/tools/collapse.py --root CUB --weights mobilenet.weights.h5` prints a table, and exits with 1 if
the loss of any of them isn't finite or doesn't fall.
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

from clan_tf.config import load_experiment
from clan_tf.data import read_source
from clan_tf.errors import CheckFailed
from clan_tf.progress import Progress
from clan_tf.training import TrainingData, prepare_data, train

RELATIONS = ("gaussian", "embedded_gaussian", "dot_product")
ACTIVATIONS = ("sigmoid", "linear")


def combinations() -> list[tuple[str, str, str]]:
    """Refinement, relation and activation; without refinement there is no relation."""
    refined = itertools.product(("clca", "non_local"), RELATIONS, ACTIVATIONS)
    return [*refined, *(("gap", "dot_product", activation) for activation in ACTIVATIONS)]


class Losses(keras.callbacks.Callback):
    """The loss of every step; stops the training after `steps`."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.losses = steps, []

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.losses.append(logs["loss"])
        if len(self.losses) == self.steps:
            raise StopIteration


def losses_of(overrides: list[str], steps: int, data: TrainingData | None) -> tuple[list[float], TrainingData]:
    """The losses of a run's first steps, and its photos for the next one."""
    experiment = load_experiment("resnet50", overrides)
    data = data or prepare_data(experiment, read_source(experiment.data), Progress())
    losses = Losses(steps)
    with tempfile.TemporaryDirectory() as folder:
        try:
            train(experiment, f"{folder}/run", callbacks=[losses], data=data)
        except StopIteration:
            pass
        except CheckFailed as error:
            print(error, file=sys.stderr)
            losses.losses.append(float("nan"))
    return losses.losses, data


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
    print(_row("refinement", "relation", "activation", "first 10", "last 10", "largest", "seconds"))
    for refinement, relation, activation in combinations():
        if arguments.activation not in (None, activation):
            continue
        chosen = [f"model.mid_refinement={refinement}", f"model.relation={relation}"]
        started = time.perf_counter()
        losses, data = losses_of([*shared, *chosen, f"model.spatial_activation={activation}"], arguments.steps, data)
        first, last = np.mean(losses[:10]), np.mean(losses[-10:])
        failed |= not last < first
        numbers = [f"{value:.3f}" for value in (first, last, max(losses))]
        seconds = f"{time.perf_counter() - started:.0f}"
        print(_row(refinement, "" if refinement == "gap" else relation, activation, *numbers, seconds), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
