"""Layers with random weights, maps for them, and their gradients against finite differences."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from clan_tf.layers import CrossLayerContextAttention, NonLocalBlock
from clan_tf.layers.relation import RELATIONS
from helpers.layer_loops import Arrays, context_attention_loop, non_local_loop

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
needs_tensorflow = pytest.mark.skipif(not ON_TENSORFLOW, reason="looks at TensorFlow itself")
MID_SHAPE = (2, 4, 3, 4)
TOP_SHAPE = (2, 2, 2, 3)
POOLINGS = ("avg", "max", "avg_max")
ACTIVATIONS = ("sigmoid", "linear")
# How the batch is normalised and the relation is computed: as in inference, and as in training with blocks of queries
# that don't divide the number of positions.
MODES = {"inference": (False, None), "training": (True, None), "training in blocks": (True, 5)}


def key_of(variable: keras.Variable) -> str:
    return "/".join(variable.path.split("/")[-2:])


def weights_of(layer: keras.layers.Layer) -> Arrays:
    return {key_of(v): keras.ops.convert_to_numpy(v.value).astype("float64") for v in layer.weights}


def random_map(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0, 0.7, shape).astype("float32")


def randomize(layer: keras.layers.Layer, rng: np.random.Generator) -> None:
    """Random weights everywhere, so that nothing hides behind a zero or a one."""
    for variable in layer.weights:
        positive = key_of(variable).endswith(("gamma", "moving_variance"))
        values = rng.uniform(0.5, 1.5, variable.shape) if positive else rng.normal(0, 0.4, variable.shape)
        variable.assign(values.astype("float32"))


def make_refinement(
    kind: type[NonLocalBlock], relation: str, rng: np.random.Generator, **arguments: Any
) -> tuple[NonLocalBlock, list[np.ndarray], Callable[..., np.ndarray]]:
    """A layer with random weights, its inputs, and its NumPy counterpart."""
    layer = kind(relation, **arguments)
    is_cross_layer = kind is CrossLayerContextAttention
    maps = [random_map(rng, shape) for shape in ((MID_SHAPE, TOP_SHAPE) if is_cross_layer else (MID_SHAPE,))]
    layer.build(*(x.shape for x in maps))
    randomize(layer, rng)
    return layer, maps, context_attention_loop if is_cross_layer else non_local_loop


def call(layer: keras.layers.Layer, *maps: np.ndarray, **arguments: Any) -> np.ndarray:
    return ops.convert_to_numpy(layer(*map(ops.convert_to_tensor, maps), **arguments))


def float64(maps: list[np.ndarray]) -> list[np.ndarray]:
    return [x.astype("float64") for x in maps]


def assert_slopes_match(
    loss: Callable[[Arrays], float], at: Arrays, gradients: Arrays, rng: np.random.Generator, directions: int = 2
) -> None:
    """d/de loss(x + e v) by central differences in float64 equals gradient · v, for every array and random v."""
    for name, gradient in gradients.items():
        for _ in range(directions):
            direction = rng.normal(size=at[name].shape)
            step = 1e-5
            ends = [loss({**at, name: at[name] + sign * step * direction}) for sign in (1, -1)]
            expected = (ends[0] - ends[1]) / (2 * step)
            terms = gradient.astype("float64") * direction
            tolerance = 1e-5 * np.abs(terms).sum() + 2e-6
            assert abs(terms.sum() - expected) < tolerance, f"{name}: {terms.sum()} instead of {expected}"


refinements = pytest.mark.parametrize("kind", [CrossLayerContextAttention, NonLocalBlock])
relations = pytest.mark.parametrize("relation", RELATIONS)
modes = pytest.mark.parametrize("mode", MODES)
