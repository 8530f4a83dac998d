"""Times training steps in turns, each with its own operators and with the layers as Keras computes them.

`python tests/tools/training_operators.py clan:efficientnet_lite0 plain:mobilenet --size 224` prints photos per second
from the median of the steps, and how much faster the own operators are. Which operators TensorFlow itself has is
chosen by `ONEDNN_MAX_CPU_ISA` and `TF_ENABLE_ONEDNN_OPTS`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import repeat
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from clan_tf.config import load_experiment
from clan_tf.models.build import build_model
from clan_tf.training import step as module
from clan_tf.training.devices import precision_scope
from clan_tf.training.repeatable import make_repeatable
from clan_tf.training.step import TrainStep

CLASSES = 40
OPERATORS: dict[str, AbstractContextManager[object]] = {
    "own": nullcontext(),
    "Keras": mock.patch.object(module, "training_operators", lambda model, strategy: nullcontext()),
}


def make_step(network: str, arguments: argparse.Namespace) -> Callable[[], float]:
    """Returns a function that makes one training step on random photos and returns its seconds."""
    architecture, backbone = network.split(":")
    experiment = load_experiment(
        "fast",
        [
            *(f"model.architecture={architecture}", f"model.backbone={backbone}", "model.weights=none"),
            *(f"data.image_size={arguments.size}", f"training.batch_size={arguments.batch}"),
            f"training.precision={arguments.precision}",
        ],
    )
    with precision_scope(arguments.precision):
        model = build_model(experiment, CLASSES)
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    step = TrainStep(model, optimizer, tf.distribute.get_strategy(), experiment.training)
    optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(0)
    photos = tf.constant(rng.uniform(0, 255, (arguments.batch, arguments.size, arguments.size, 3)), tf.float32)
    batches = repeat((photos, tf.constant(rng.integers(0, CLASSES, arguments.batch), tf.int32)))
    weights = np.ones(len(model.branches), "float32")

    def run() -> float:
        start = time.perf_counter()
        step(batches, weights)
        return time.perf_counter() - start

    run()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+", metavar="ARCHITECTURE:BACKBONE")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--precision", default="float32")
    arguments = parser.parse_args()
    make_repeatable()
    keras.utils.set_random_seed(0)
    steps = {}
    for network in arguments.networks:
        for name, operators in OPERATORS.items():
            with operators:
                steps[network, name] = make_step(network, arguments)
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in steps}
    for _ in range(arguments.steps):
        for key, step in steps.items():
            seconds[key].append(step())
    for network in arguments.networks:
        own, keras_own = (statistics.median(seconds[network, name]) for name in OPERATORS)
        print(
            f"{network:28} {arguments.size} px, batch {arguments.batch}: {arguments.batch / own:6.1f} photos/s, "
            f"as Keras computes it {arguments.batch / keras_own:6.1f}, ratio {keras_own / own:.2f}"
        )


if __name__ == "__main__":
    main()
