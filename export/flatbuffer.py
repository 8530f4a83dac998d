"""Reading and writing `.tflite` files, which are FlatBuffers, as objects, and what passes between their operators."""

from collections.abc import Iterator, Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from clan_tf.in_parallel import cores

_TFLITE_FORMAT = b"TFL3"
_TABLES = 1 << 16
"""Bytes for what isn't weights, so that a large file is written without being copied again and again."""


def read_tflite(file: bytes) -> schema.ModelT:
    """Reads a `.tflite` file; weights that its writer put after the FlatBuffer are taken into it."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(file, 0))
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(file, "uint8", buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def write_tflite(model: schema.ModelT) -> bytes:
    """Writes what `read_tflite` read; nothing but the FlatBuffer is in the file."""
    weights = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(weights + _TABLES)
    builder.Finish(model.Pack(builder), file_identifier=_TFLITE_FORMAT)
    return bytes(builder.Output())


def run_photos(file: bytes, photos: Sequence[np.ndarray], tensors: Sequence[int]) -> Iterator[list[np.ndarray]]:
    """Runs photos through a `.tflite` file one by one, and yields the values of some tensors for each.

    Args:
        file: a file with one input.
        photos: its input, `(input_size, input_size, 3)`.
        tensors: the tensors' numbers in the FlatBuffer, which the runtime keeps.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # Delegates run many operators as one, and keep what is between them to themselves.
    interpreter = Interpreter(
        model_content=file,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        num_threads=cores(),
    )
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    for photo in photos:
        interpreter.set_tensor(taken["index"], photo[None].astype(taken["dtype"]))
        interpreter.invoke()
        yield [interpreter.get_tensor(number) for number in tensors]


def activation_ranges(file: bytes, photos: Sequence[np.ndarray]) -> dict[str, tuple[float, float]]:
    """Returns the smallest and the largest value of what each operator of a float32 file outputs, by its name.

    Args:
        file: a file with one input.
        photos: its input, uint8 `(input_size, input_size, 3)`; its own range is 0 to 255 whatever they hold.
    """
    graph = read_tflite(file).subgraphs[0]
    numbers = [number for operator in graph.operators for number in operator.outputs]
    floats = [number for number in numbers if graph.tensors[number].type == schema.TensorType.FLOAT32]
    ranges = {graph.tensors[graph.inputs[0]].name.decode(): (0.0, 255.0)}
    for values in run_photos(file, photos, floats):
        for number, value in zip(floats, values, strict=True):
            name = graph.tensors[number].name.decode()
            least, most = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = min(least, float(value.min())), max(most, float(value.max()))
    return ranges


def input_dtype(file: bytes) -> str:
    """Returns the type of the photos that a `.tflite` file takes."""
    graph = read_tflite(file).subgraphs[0]
    return "uint8" if graph.tensors[graph.inputs[0]].type == schema.TensorType.UINT8 else "float32"
