"""The rounding of weights to integers doesn't shift the outputs of convolutions and dense layers on average."""

import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from clan_tf.errors import UserError
from clan_tf.export.bias_correction import BiasCorrection
from clan_tf.export.flatbuffer import activation_ranges, read_tflite
from clan_tf.export.options import ExportOptions
from clan_tf.export.selective import SelectiveQuantizer
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.export.writer import ExportWriter

SIZE = 9
PHOTOS = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3), dtype="uint8")
LAYERS = {"strided", "deep", "wide", "pointwise", "grouped", "positions", "dense"}
INTEGERS = {schema.TensorType.INT8: "int8", schema.TensorType.INT32: "int32", schema.TensorType.INT64: "int64"}


def network(rng: np.random.Generator) -> keras.Model:
    """Linear layers of every kind, each large enough for its weights to be stored as integers."""
    photos = keras.Input((SIZE, SIZE, 3), name="photos")
    x = layers.Conv2D(48, 3, strides=2, padding="same", use_bias=False, name="strided")(keras.ops.abs(photos - 100.0))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=3, name="deep")(layers.ReLU()(x))
    x = layers.Conv2D(24, 3, padding="valid", dilation_rate=2, use_bias=False, name="wide")(layers.ReLU()(x))
    x = layers.Conv2D(24, 1, use_bias=False, name="pointwise")(layers.ReLU()(x))
    x = layers.Conv2D(48, 1, groups=3, name="grouped")(layers.ReLU()(x))
    x = layers.Dense(32, use_bias=False, name="positions")(layers.Reshape((-1, 48))(layers.ReLU()(x)))
    x = layers.Dense(64, name="dense")(layers.Flatten()(layers.ReLU()(x)))
    model = keras.Model(photos, {"probabilities": layers.Softmax()(x)})
    for variable in model.trainable_variables:
        # Not centred: with a positive mean of the weights' rounding, outputs of positive inputs shift.
        variable.assign(rng.normal(0.02, 0.2, variable.shape) ** 3)
    # A channel that has died: in steps as small as its weights, no bias fits into an integer.
    kernel, bias = model.get_layer("grouped").get_weights()
    kernel[..., 5], bias[5] = 1e-13, 0.5
    model.get_layer("grouped").set_weights([kernel, bias])
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network(np.random.default_rng(1))


@pytest.fixture(scope="module")
def float_file(model: keras.Model) -> bytes:
    return classifier_to_tflite(model, SIZE)


@pytest.fixture(scope="module")
def correction(float_file: bytes) -> BiasCorrection:
    return BiasCorrection(float_file, PHOTOS)


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
        for layer in LAYERS:
            if re.search(rf"/{layer}(_\d+)?/", name) and len(operator.inputs) == 3:
                weights, bias = operator.inputs[1:]
                is_integer = graph.tensors[weights].type == schema.TensorType.INT8
                found[layer] = values(weights), values(bias) if bias >= 0 else np.zeros(1), is_integer
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
    clone.set_weights([kernel, np.broadcast_to(bias, clone.bias.shape)])
    return np.asarray(clone(inputs), "float64")


def means_of(model: keras.Model, name: str, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    outputs = output_of(model, name, weights, bias)
    return outputs.reshape(-1, outputs.shape[-1]).mean(axis=0)


@pytest.mark.parametrize("quantization", ["dynamic", "int8", "int16x8", "int8 by ai-edge-quantizer"])
def test_the_mean_of_every_channel_is_that_of_the_float_file(
    model: keras.Model, float_file: bytes, correction: BiasCorrection, quantization: str
) -> None:
    if quantization in ("dynamic", "int8", "int16x8"):
        file = classifier_to_tflite(model, SIZE, quantization, calibration=list(PHOTOS))
        exact, rounded, corrected = (linear_parts(each) for each in (float_file, file, correction.correct(file)))
    else:
        pytest.importorskip("ai_edge_quantizer")
        files = [
            SelectiveQuantizer(float_file, model, None, "int8", PHOTOS, each).quantize([])
            for each in (None, correction)
        ]
        exact, rounded, corrected = (linear_parts(each) for each in (float_file, *files))
    assert set(corrected) == set(exact) == LAYERS
    integers = {name for name, (_, _, is_integer) in corrected.items() if is_integer}
    # The converter leaves weights of few numbers as they are where it stores weights alone.
    assert integers == LAYERS if quantization != "dynamic" else integers >= {"deep", "wide", "positions", "dense"}
    for name in LAYERS:
        weights, bias, _ = exact[name]
        size = np.abs(output_of(model, name, weights, bias)).max()
        alive = np.arange(weights.shape[3 if name == "deep" else 0]) != (5 if name == "grouped" else -1)
        before, after = (
            np.abs(means_of(model, name, *parts[name][:2]) - means_of(model, name, weights, bias))[alive].max()
            for parts in (rounded, corrected)
        )
        assert after < 1e-3 * size and after <= before / 20 or name not in integers and after == before, name
    # What can't be stored is as near as it gets, with its sign: ai-edge-quantizer makes the most negative number of it.
    assert 0 <= corrected["grouped"][1][5] <= 0.5


def test_a_file_with_floats_alone_stays_as_it_is(float_file: bytes, correction: BiasCorrection) -> None:
    before, after = linear_parts(float_file), linear_parts(correction.correct(float_file))
    for name, parts in before.items():
        for one, other in zip(parts, after[name], strict=True):
            np.testing.assert_array_equal(one, other)


def test_ranges_are_over_all_photos(model: keras.Model, float_file: bytes) -> None:
    """A moving average, as ai-edge-quantizer's own calibration has it, would cut off what few photos reach."""
    pytest.importorskip("ai_edge_quantizer")
    photos = np.concatenate([PHOTOS[:1], PHOTOS[1:] // 8])
    ranges = activation_ranges(float_file, photos)
    outputs = np.asarray(keras.Model(model.input, model.get_layer("deep").output)(photos.astype("float32")))
    (name,) = (name for name in ranges if re.search(r"/deep(_\d+)?/", name))
    np.testing.assert_allclose(ranges[name], (0, outputs.max()), rtol=1e-4)  # its ReLU is part of the operator
    assert ranges["serving_default_photos:0"] == (0, 255)
    calibration = SelectiveQuantizer(float_file, model, None, "int8", photos)._calibration
    assert calibration[name]["max"].item() == pytest.approx(outputs.max(), rel=1e-4)


def test_weights_that_are_not_the_rounded_ones_are_left_alone(model: keras.Model, correction: BiasCorrection) -> None:
    """Names are all that operators of two files are matched by."""
    other = network(np.random.default_rng(2))
    file = classifier_to_tflite(other, SIZE, "dynamic")
    for name, (weights, bias, _) in linear_parts(correction.correct(file)).items():
        np.testing.assert_array_equal(weights, linear_parts(file)[name][0])
        np.testing.assert_array_equal(bias, linear_parts(file)[name][1])


def test_without_train_photos_weights_alone_can_be_integers() -> None:
    notes: list[str] = []

    def no_photos(split: str, count: int) -> None:
        raise UserError(f"The data has no photos in the split {split!r}.")

    source = SimpleNamespace(model=None, sample=no_photos, progress=SimpleNamespace(note=notes.append))
    writer, contract = ExportWriter(source), SimpleNamespace(input_size=SIZE)
    assert writer._correction(None, ExportOptions("tflite", "float16"), contract) is None and notes == []
    assert writer._correction(None, ExportOptions("tflite", "dynamic"), contract) is None
    (note,) = notes
    assert note.startswith("tflite-dynamic: the rounding of weights isn't corrected in biases. The data has no photos")
    with pytest.raises(UserError, match="no photos in the split 'train'"):
        writer._correction(None, ExportOptions("tflite", "int8"), contract)
