"""The training graph's own operators against NumPy and float64, and against the layers as they are."""

from contextlib import nullcontext
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.models import CLAN
from clan_tf.training.operators import training_operators

ONE_DEVICE = tf.distribute.get_strategy()


def make_layers(policy: str = "float32") -> keras.Model:
    """A strided 1x1 convolution with a bias between two batch norms, one of them without scale and offset."""
    inputs = keras.Input((9, 8, 5), dtype="float64" if policy == "float64" else "float32")
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3, dtype=policy, name="norm")(inputs)
    x = keras.layers.Conv2D(7, 1, strides=2, padding="same", activation="relu", dtype=policy, name="pointwise")(x)
    x = keras.layers.BatchNormalization(scale=False, center=False, dtype=policy, name="bare_norm")(x)
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    model.get_layer("pointwise").bias.assign(np.linspace(-7, -3, 7))  # About half of its outputs are positive.
    return model


def photos(policy: str = "float32") -> np.ndarray:
    values = np.random.default_rng(1).normal(3, 2, (4, 9, 8, 5))
    return values.astype("float64" if policy == "float64" else "float32")


def run_step(model: keras.Model, batch: np.ndarray, own: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns a training pass's output, and the gradient of a weighted sum of it; the moving averages move."""

    @tf.function(autograph=False)
    def step(batch: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with training_operators(model, ONE_DEVICE) if own else nullcontext(), tf.GradientTape() as tape:
            outputs = [tf.cast(output, batch.dtype) for output in tf.nest.flatten(model(batch, training=True))]
            loss = tf.add_n(
                [tf.reduce_sum(output * tf.cos(tf.cast(_numbers_like(output), output.dtype))) for output in outputs]
            )
        return outputs[0], tape.gradient(loss, [weight.value for weight in model.trainable_variables])

    output, gradients = step(tf.constant(batch))
    return output.numpy(), [np.asarray(gradient) for gradient in gradients]


def _numbers_like(output: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.range(tf.size(output, tf.int64)), tf.shape(output))


def test_the_operators_compute_what_numpy_does() -> None:
    model, x = make_layers(), photos().astype("float64")
    gamma, beta, kernel, bias = (np.asarray(weight, "float64") for weight in model.trainable_variables)
    moving = {weight.path: np.asarray(weight, "float64") for weight in model.non_trainable_variables}
    output, _ = run_step(model, photos(), own=True)

    def normalized(x: np.ndarray, name: str, momentum: float) -> np.ndarray:
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        for statistic, value in (("mean", mean), ("variance", variance)):
            path = f"{name}/moving_{statistic}"
            moving[path] = momentum * moving[path] + (1 - momentum) * value
        return (x - mean) / np.sqrt(variance + 1e-3)

    x = gamma * normalized(x, "norm", 0.9) + beta
    x = np.maximum(np.einsum("bhwc,cd->bhwd", x[:, ::2, ::2], kernel[0, 0]) + bias, 0)
    expected = normalized(x, "bare_norm", 0.99)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    for weight in model.non_trainable_variables:
        np.testing.assert_allclose(np.asarray(weight), moving[weight.path], rtol=1e-5)


def test_gradients_are_those_of_the_layers_in_float64() -> None:
    _, expected = run_step(make_layers("float64"), photos("float64"), own=True)
    _, gradients = run_step(make_layers(), photos(), own=True)
    for gradient, exact in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, exact, rtol=1e-4, atol=1e-4 * np.abs(exact).max())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_maps_are_not_copied_to_float32(policy: str) -> None:
    model = make_layers(policy)

    @tf.function(autograph=False)
    def step(batch: tf.Tensor) -> tf.Tensor:
        with training_operators(model, ONE_DEVICE):
            return model(batch, training=True)

    graph = step.get_concrete_function(tf.constant(photos())).graph
    casts = [operator.outputs[0] for operator in graph.get_operations() if operator.type == "Cast"]
    assert not [x.name for x in casts if x.dtype == tf.float32 and x.shape.rank == 4]
    exact, _ = run_step(make_layers("float64"), photos("float64"), own=False)
    output = step(tf.constant(photos())).numpy().astype("float64")
    assert np.abs(output - exact).mean() < (0.02 if policy == "mixed_bfloat16" else 0.003)


def test_a_whole_network_learns_the_same() -> None:
    def make() -> keras.Model:
        keras.utils.set_random_seed(0)
        model = CLAN("efficientnet_lite0", 3, image_size=32, weights=None, spatial_batch_norm=True)
        rng = np.random.default_rng(2)
        for weight in model.trainable_variables:
            if not np.any(weight):  # Heads and the last norms start from zero.
                weight.assign(rng.normal(0, 0.1, weight.shape))
        return model

    batch = np.random.default_rng(0).uniform(0, 255, (6, 32, 32, 3)).astype("float32")
    own, plain = make(), make()
    output, gradients = run_step(own.logits_model(), batch, own=True)
    expected, exact = run_step(plain.logits_model(), batch, own=False)
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-4)
    difference = np.concatenate([(a - b).ravel() for a, b in zip(gradients, exact, strict=True)])
    assert np.linalg.norm(difference) < 1e-3 * np.linalg.norm(np.concatenate([x.ravel() for x in exact]))
    for weight, other in zip(own.non_trainable_variables, plain.non_trainable_variables, strict=True):
        np.testing.assert_allclose(np.asarray(weight), np.asarray(other), rtol=1e-3, atol=1e-4)


def test_the_layers_are_as_before_afterwards() -> None:
    model = make_layers()
    before = [dict(vars(layer)) for layer in model.layers]
    with pytest.raises(RuntimeError), training_operators(model, ONE_DEVICE):
        assert "call" in vars(model.get_layer("norm"))
        raise RuntimeError
    assert [vars(layer) for layer in model.layers] == before
    model.get_layer("norm").trainable = False
    run_step(model, photos(), own=True)
    assert model.get_layer("norm").moving_mean.numpy().min() >= 0.5, "frozen: the moving averages stay"


def test_the_sizes_of_maps_stay_known_without_that_of_the_batch() -> None:
    """The attention is built by them."""
    model = make_layers()

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, 9, 8, 5))])
    def step(batch: tf.Tensor) -> tf.Tensor:
        with training_operators(model, ONE_DEVICE):
            return model(batch, training=True)

    assert step.get_concrete_function().structured_outputs.shape == (None, 5, 4, 7)


def test_batch_norm_of_older_versions_of_keras_is_one_operator() -> None:
    """Before pull request 22047, January 2026, Keras 3 had no `renorm`."""
    model = make_layers()
    vars(model.get_layer("norm")).pop("renorm", None)
    with training_operators(model, ONE_DEVICE):
        assert "call" in vars(model.get_layer("norm"))


def test_gpus_keep_their_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [f"{kind}:0"])
    model = make_layers()
    with training_operators(model, ONE_DEVICE):
        assert "convolution_op" not in vars(model.get_layer("pointwise"))
        assert "call" in vars(model.get_layer("norm"))


def test_several_devices_keep_keras_batch_norm() -> None:
    model = make_layers()
    two = SimpleNamespace(num_replicas_in_sync=2)
    with training_operators(model, two):  # type: ignore[arg-type]
        assert "call" not in vars(model.get_layer("norm"))
        assert model.get_layer("norm").synchronized
    assert not model.get_layer("norm").synchronized
