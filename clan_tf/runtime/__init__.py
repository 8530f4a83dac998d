"""Exported files as other programs run them: in a process of their own, most of them without TensorFlow.

Nothing in this room imports TensorFlow or Keras but the process that runs SavedModels and `.keras` files; NumPy, Pillow
and ai-edge-litert are enough for `.tflite` files; NumPy, Pillow, onnx and onnxruntime for `.onnx` files.
"""
