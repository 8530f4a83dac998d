"""The arithmetic floor: how long a network's multiply-accumulates would take at the speed of a large matrix product."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from clan_tf.benchmark.rounds import Seconds, Spread
from clan_tf.models import BranchClassifier, complexity

MATRIX_PRODUCT = "matrix product"
SIDE = 2048
"""Side of the matrices: 17 MB each in float32, more than caches near a core hold."""
TRAINING_PASSES = 3
"""Forward, the gradient of the inputs, and the gradient of the weights: each takes the forward pass's operations."""


@dataclass(frozen=True)
class Floor:
    """What arithmetic alone would take.

    Attributes:
        gflops: billions of operations per second of a `SIDE x SIDE` matrix product in the same rounds.
        operations: floating-point operations of a call: 2 for each multiply-accumulate.
        seconds: the floor, by the median product.
        reached: the floor divided by the seconds of the measured call, over the rounds.
    """

    gflops: Spread
    operations: int
    seconds: float
    reached: Spread

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {
            "matrix_product_gflops": self.gflops.to_json(),
            "operations": self.operations,
            "seconds": self.seconds,
            "share_reached": self.reached.to_json(),
        }


def make_product(dtype: str) -> Callable[[], Any]:
    """Returns a function that multiplies two random square matrices of `SIDE`, in float32 or half precision."""
    matrices = [tf.cast(tf.random.stateless_uniform([SIDE, SIDE], [0, index]), dtype) for index in range(2)]

    @tf.function(autograph=False)
    def product(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        return (left @ right)[0, 0]

    return lambda: product(*matrices).numpy()


def operations_of(model: BranchClassifier, photos: int, training: bool) -> int:
    """Counts the floating-point operations of a batch of `photos`, the relations' matrix products included."""
    cost = complexity(model)
    macs = cost.all_macs
    return 2 * macs * photos * (TRAINING_PASSES if training else 1)


def floor_of(seconds: Seconds, name: str, operations: int) -> Floor:
    """Compares a contender's seconds with those of `MATRIX_PRODUCT` in the same rounds."""
    rates = [2 * SIDE**3 / value for value in seconds[MATRIX_PRODUCT]]
    reached = [operations / rate / value for rate, value in zip(rates, seconds[name], strict=True)]
    rate = Spread.of(rates)
    gflops = Spread(rate.median / 1e9, rate.lowest / 1e9, rate.highest / 1e9)
    return Floor(gflops, operations, operations / rate.median, Spread.of(reached))
