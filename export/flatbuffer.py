"""Reading and writing `.tflite` files, which are FlatBuffers, as objects."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TFLITE_FORMAT = b"TFL3"


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
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=_TFLITE_FORMAT)
    return bytes(builder.Output())
