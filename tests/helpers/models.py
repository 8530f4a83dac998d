"""Tiny models whose weights are random everywhere, and inputs for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from clan_tf.models import CLAN

Arrays = dict[str, np.ndarray]

BATCH = 2
CLASSES = 5
IMAGE_SIZE = 32
MID_SHAPE = (4, 4, 6)
TOP_SHAPE = (2, 2, 8)


@dataclass(frozen=True)
class Row:
    """A layer or a model, as a Keras model whose inputs and outputs have names.

    `gradient_tolerance` is for two devices beside one: the signed root of bilinear pooling magnifies what is near 0.
    """

    name: str
    build: Callable[[], keras.Model]
    takes_photos: bool = False
    gradient_tolerance: float = 1e-5


def clan(**settings: Any) -> Callable[[], keras.Model]:
    return lambda: CLAN("tiny", CLASSES, IMAGE_SIZE, **settings)


def build(row: Row, batch: int = BATCH) -> tuple[keras.Model, Arrays]:
    """The row's model with random weights where they start as constants, and inputs for it."""
    keras.utils.set_random_seed(1)
    model = row.build()
    rng = np.random.default_rng(1)
    for variable in model.weights:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "bias", "moving_mean"):
            variable.assign(rng.normal(0, 0.1, variable.shape))
        elif not np.any(keras.ops.convert_to_numpy(variable)):
            variable.assign(rng.normal(0, 0.3, variable.shape))
    if row.takes_photos:
        return model, {"photos": rng.integers(0, 256, (batch, IMAGE_SIZE, IMAGE_SIZE, 3)).astype("float32")}
    return model, {x.name: rng.normal(0, 0.7, (batch, *x.shape[1:])).astype("float32") for x in model.inputs}


def randomize_heads(model: Any) -> Any:
    """Gives a model's heads, which start at 0, random weights, so that its answers differ; returns the model."""
    rng = np.random.default_rng(0)
    for branch in model.branches:
        head = model.get_layer(f"logits_{branch}")
        if head.weights:
            head.kernel.assign(rng.normal(0, 0.5, head.kernel.shape))
    return model
