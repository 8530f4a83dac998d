"""Exported files as other programs run them: in a process of their own, most of them without TensorFlow.

Nothing in this room imports TensorFlow or Keras but the process that runs SavedModels and `.keras` files; NumPy, Pillow
and ai-edge-litert are enough for `.tflite` files; NumPy, Pillow, onnx and onnxruntime for `.onnx` files.
"""

from clan_tf.runtime.contract import Contract, read_contract
from clan_tf.runtime.exported import ExportedModel, Speed
from clan_tf.runtime.ranking import are_in_top, ranked_labels

__all__ = ["Contract", "ExportedModel", "Speed", "are_in_top", "ranked_labels", "read_contract"]
