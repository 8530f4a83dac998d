"""Photo files: which there are, what they are, and their pixels. Needs no TensorFlow."""
