"""TFLite metadata: labels and preprocessing inside the file, so that MediaPipe Tasks and ML Kit accept it unchanged.

A `.tflite` file is a FlatBuffer; its metadata is another, in one of its buffers, and the files that the metadata names
are in a zip archive at the end. MediaPipe's writer of such metadata doesn't work in its wheel, so the few tables of
`metadata_schema.fbs` that an image classifier needs are written here by their field numbers.
"""

import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from clan_tf.export.flatbuffer import read_tflite, write_tflite
from clan_tf.rejection import Rejection
from clan_tf.runtime import Contract
from clan_tf.runtime.contract import CONTRACT_FILE, LABELS_FILE

_METADATA_NAME, _METADATA_FORMAT = "TFLITE_METADATA", b"M001"
_RGB, _IMAGE_PROPERTIES, _FEATURE_PROPERTIES, _TENSOR_AXIS_LABELS = 1, 2, 1, 2
_NORMALIZATION_OPTIONS, _SCORE_THRESHOLDING_OPTIONS = 1, 3
"""Values of the schema's enumerations and unions."""


def with_metadata(tflite: bytes, name: str, contract: Contract, description: str) -> bytes:
    """Adds metadata, labels and contract to a `.tflite` file.

    Args:
        tflite: a file with one input, a photo, and one output, probabilities.
        name: the model's name.
        contract: labels and preprocessing.
        description: a description for readers of the metadata.
    """
    model = read_tflite(tflite)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    takes_floats = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].type == schema.TensorType.FLOAT32
    buffer.data = list(_metadata(name, description, takes_floats, contract.rejection))
    model.buffers.append(buffer)
    entry.name, entry.buffer = _METADATA_NAME, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    file = BytesIO(write_tflite(model))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(LABELS_FILE, "\n".join(contract.class_names))
        archive.writestr(CONTRACT_FILE, contract.to_json())
    return file.getvalue()


def _metadata(name: str, description: str, takes_floats: bool, rejection: Rejection | None) -> bytes:
    builder = flatbuffers.Builder(1024)
    text = builder.CreateString

    image = _table(builder, {0: _Byte(_RGB)})
    image_content = _table(builder, {0: _Byte(_IMAGE_PROPERTIES), 1: image})
    photo = {0: text("photo"), 1: text("RGB, 0 to 255; all preprocessing is inside."), 3: image_content}
    if takes_floats:
        # MediaPipe needs to know how floats are normalised: not at all.
        options = _table(builder, {0: _floats(builder, [0.0]), 1: _floats(builder, [1.0])})
        photo[4] = _process_unit(builder, _NORMALIZATION_OPTIONS, options)
    inputs = _tables(builder, [_table(builder, photo)])

    labels = {0: text(LABELS_FILE), 1: text("The classes, one per line."), 2: _Byte(_TENSOR_AXIS_LABELS)}
    files = _tables(builder, [_table(builder, labels)])
    feature_content = _table(builder, {0: _Byte(_FEATURE_PROPERTIES), 1: _table(builder, {})})
    score = {0: text("probability"), 1: text("By class."), 3: feature_content, 6: files}
    if rejection:
        # MediaPipe has one threshold for all classes; with the highest it gives no answer that the model withholds, but
        # for classes that are never answered.
        options = _table(builder, {0: _Float(rejection.of_groups().thresholds[0])})
        score[4] = _process_unit(builder, _SCORE_THRESHOLDING_OPTIONS, options)
    outputs = _tables(builder, [_table(builder, score)])

    graph = _tables(builder, [_table(builder, {2: inputs, 3: outputs})])
    root = {0: text(name), 1: text(description), 2: text("1"), 3: graph, 7: text("1.0.0")}
    builder.Finish(_table(builder, root), file_identifier=_METADATA_FORMAT)
    return bytes(builder.Output())


def _process_unit(builder: flatbuffers.Builder, kind: int, options: int) -> int:
    """Returns a list of one step that MediaPipe takes with a tensor."""
    return _tables(builder, [_table(builder, {0: _Byte(kind), 1: options})])


class _Byte(int):
    """A value of an enumeration, which is stored in the table itself; other fields are offsets."""


class _Float(float):
    """A number, which is stored in the table itself."""


def _table(builder: flatbuffers.Builder, fields: Mapping[int, Any]) -> int:
    builder.StartObject(max(fields, default=-1) + 1)
    for number, value in fields.items():
        if isinstance(value, _Byte):
            builder.PrependInt8Slot(number, value, 0)
        elif isinstance(value, _Float):
            builder.PrependFloat32Slot(number, value, 0.0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, value, 0)
    return builder.EndObject()


def _tables(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _floats(builder: flatbuffers.Builder, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return builder.EndVector()
