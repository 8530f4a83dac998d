"""Exported files as other programs run them: in a process of their own, and `.tflite` files without TensorFlow.

Nothing in this room imports TensorFlow or Keras but the process that runs SavedModels and `.keras` files; NumPy, Pillow
and ai-edge-litert are enough for `.tflite` files.
"""
