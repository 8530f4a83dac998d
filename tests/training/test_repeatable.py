"""Steps from the same state give the same bits, whatever the threads do meanwhile."""

import hashlib
from collections.abc import Iterator
from itertools import repeat

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import load_experiment
from clan_tf.models.build import build_model
from clan_tf.training.repeatable import make_repeatable, ordered_gradients
from clan_tf.training.step import TrainStep


@pytest.fixture
def repeatable() -> Iterator[None]:
    make_repeatable()
    yield
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True})


def test_gradients_are_added_two_by_two() -> None:
    variable = tf.Variable([1.0, 2.0, 3.0])

    @tf.function(autograph=False)
    def step() -> list[tf.Tensor]:
        used_five_times = tf.exp(variable)
        total = tf.add_n([tf.reduce_sum(used_five_times**power) for power in range(1, 6)])
        return ordered_gradients(total, [variable])

    graph = step.get_concrete_function().graph
    sums = [operator for operator in graph.get_operations() if operator.type == "AddN" and "grad" in operator.name]
    assert sums and all(len(operator.inputs) == 2 for operator in sums)
    exponential = np.exp([1.0, 2.0, 3.0])
    expected = exponential * sum(power * exponential ** (power - 1) for power in range(1, 6))
    np.testing.assert_allclose(step()[0], expected, rtol=1e-6)


def test_steps_from_the_same_state_give_the_same_bits(repeatable: None) -> None:
    keras.utils.set_random_seed(0)
    experiment = load_experiment("fast", ["model.weights=none", "data.image_size=96", "training.batch_size=8"])
    model = build_model(experiment, 40)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    optimizer.build(model.trainable_variables)
    step = TrainStep(model, optimizer, tf.distribute.get_strategy(), experiment.training)
    rng = np.random.default_rng(0)
    photos = tf.constant(rng.uniform(0, 255, (8, 96, 96, 3)), tf.float32)
    batches = repeat((photos, tf.constant(rng.integers(0, 40, 8), tf.int32)))
    state = [*model.weights, *optimizer.variables]
    start = [np.array(variable) for variable in state]
    loss_weights = np.ones(len(model.branches), "float32")
    digests = set()
    for _ in range(4):
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        for _ in range(3):
            step(batches, loss_weights)
        digests.add(hashlib.sha256(b"".join(np.asarray(variable).tobytes() for variable in state)).hexdigest())
    assert len(digests) == 1
    graph = step._whole_step.get_concrete_function(*next(batches), tf.constant(loss_weights), tf.constant(0.0)).graph
    assert max(len(operator.inputs) for operator in graph.get_operations() if operator.type == "AddN") == 2
