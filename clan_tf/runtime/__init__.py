"""Exported files as other programs run them: in a process of their own, and `.tflite` files without TensorFlow.

Nothing in this room imports TensorFlow or Keras but the worker that serves SavedModels; NumPy, Pillow and ai-edge-litert
are enough for `.tflite` files.
"""
