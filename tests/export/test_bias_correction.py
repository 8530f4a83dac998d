"""The rounding of weights to integers doesn't shift the outputs of convolutions and dense layers on average."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from clan_tf.export.bias_correction import BiasCorrection, inputs_of_linear
from clan_tf.export.flatbuffer import read_tflite
from clan_tf.export.observed import observe
from clan_tf.export.tflite import classifier_to_tflite

SIZE = 9
PHOTOS = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3), dtype="uint8")
INTEGERS = {schema.TensorType.INT8: "int8", schema.TensorType.INT32: "int32", schema.TensorType.INT64: "int64"}
QUANTIZATIONS = ("dynamic", "int8", "int16x8")


def network(rng: np.random.Generator) -> keras.Model:
    """Linear layers of every kind, each large enough for its weights to be stored as integers."""
    photos = keras.Input((SIZE, SIZE, 3), name="photos")
    x = layers.Conv2D(48, 3, strides=2, padding="same", use_bias=False, name="strided")(keras.ops.abs(photos - 100.0))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=3, name="deep")(layers.ReLU()(x))
    x = layers.Conv2D(24, 3, padding="valid", dilation_rate=2, use_bias=False, name="wide")(layers.ReLU()(x))
    x = layers.Conv2D(24, 1, use_bias=False, name="pointwise")(layers.ReLU()(x))
    x = layers.Dense(64, name="dense")(layers.Flatten()(layers.ReLU()(x)))
    model = keras.Model(photos, {"probabilities": layers.Softmax()(x)})
    for variable in model.trainable_variables:
        # Not centred: with a positive mean of the weights' rounding, outputs of positive inputs shift.
        variable.assign(rng.normal(0.02, 0.2, variable.shape) ** 3)
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network(np.random.default_rng(1))


@pytest.fixture(scope="module")
def float_file(model: keras.Model) -> bytes:
    return classifier_to_tflite(model, SIZE)


@pytest.fixture(scope="module")
def correction(float_file: bytes) -> BiasCorrection:
    return BiasCorrection(float_file, observe(float_file, PHOTOS, inputs_of_linear(float_file)))


def linear_parts(file: bytes) -> dict[str, tuple[np.ndarray, np.ndarray, bool]]:
    """Weights, bias and whether they are integers of the operator that each layer became, by the layer's name."""
    content = read_tflite(file)
    (graph,) = content.subgraphs

    def values(number: int) -> np.ndarray:
        tensor = graph.tensors[number]
        stored = bytes(content.buffers[tensor.buffer].data)
        if tensor.type == schema.TensorType.FLOAT32:
            return np.frombuffer(stored, "float32").reshape(tensor.shape)
        scales = np.asarray(tensor.quantization.scale)
        shape = np.ones(len(tensor.shape), int)
        shape[tensor.quantization.quantizedDimension] = -1
        return np.frombuffer(stored, INTEGERS[tensor.type]).reshape(tensor.shape) * scales.reshape(shape)

    found = {}
    for operator in graph.operators:
        name = graph.tensors[operator.outputs[0]].name.decode()
        for layer in ("strided", "deep", "wide", "pointwise", "dense"):
            if f"/{layer}_1/" in name and len(operator.inputs) == 3:
                is_integer = graph.tensors[operator.inputs[1]].type == schema.TensorType.INT8
                found[layer] = values(operator.inputs[1]), values(operator.inputs[2]), is_integer
    return found


def output_of(model: keras.Model, name: str, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """What a layer with these weights makes of the inputs that it has in the model."""
    layer = model.get_layer(name)
    inputs = keras.Model(model.input, layer.input)(PHOTOS.astype("float32"))
    clone = type(layer).from_config(layer.get_config() | {"use_bias": True})
    clone.build(layer.input.shape)
    kernel = {
        layers.Conv2D: lambda: weights.transpose(1, 2, 3, 0),
        layers.DepthwiseConv2D: lambda: weights.reshape(clone.kernel.shape),
        layers.Dense: lambda: weights.T,
    }[type(layer)]()
    clone.set_weights([kernel, bias])
    return np.asarray(clone(inputs), "float64")


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_the_mean_of_every_channel_is_that_of_the_float_file(
    model: keras.Model, float_file: bytes, correction: BiasCorrection, quantization: str
) -> None:
    file = classifier_to_tflite(model, SIZE, quantization, calibration=list(PHOTOS))
    exact, rounded, corrected = (linear_parts(each) for each in (float_file, file, correction.correct(file)))
    # Layers without a bias have zeros, which the converter stores once for all of one length, and each gets its own.
    assert len({parts[1].tobytes() for parts in rounded.values()}) < len(rounded)
    assert set(corrected) == set(exact) == {"strided", "deep", "wide", "pointwise", "dense"}
    integers = {name for name, (_, _, is_integer) in corrected.items() if is_integer}
    # The converter leaves weights of few numbers as they are where it stores weights alone.
    assert integers == set(exact) if quantization != "dynamic" else integers >= {"deep", "wide", "dense"}
    for name in integers:
        expected = output_of(model, name, *exact[name][:2])
        means = [
            output_of(model, name, *parts[name][:2]).reshape(-1, expected.shape[-1]).mean(axis=0)
            for parts in (rounded, corrected)
        ]
        before, after = (np.abs(each - expected.reshape(-1, expected.shape[-1]).mean(axis=0)) for each in means)
        assert after.max() < 1e-3 * np.abs(expected).max() and after.max() < before.max() / 20, name
    for name in set(exact) - integers:
        np.testing.assert_array_equal(corrected[name][1], rounded[name][1])


def test_a_file_with_floats_alone_stays_as_it_is(float_file: bytes, correction: BiasCorrection) -> None:
    before, after = linear_parts(float_file), linear_parts(correction.correct(float_file))
    for name, parts in before.items():
        for one, other in zip(parts, after[name], strict=True):
            np.testing.assert_array_equal(one, other)


def test_ranges_are_over_all_photos(model: keras.Model, float_file: bytes) -> None:
    """A moving average, as ai-edge-quantizer's own calibration has it, would cut off what few photos reach."""
    dark = np.concatenate([PHOTOS[:1], PHOTOS[1:] // 8])
    observed = observe(float_file, dark)
    outputs = np.asarray(keras.Model(model.input, model.get_layer("deep").output)(dark.astype("float32")))
    expected = max(outputs.min(), 0), outputs.max()  # its ReLU is part of the operator
    assert any(np.allclose(found, expected, rtol=1e-4) for found in observed.ranges.values())
    assert observed.ranges["serving_default_photos:0"] == (0, 255) and observed.means == {}
