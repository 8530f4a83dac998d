"""Photo files: how they are listed, identified and decoded. Needs no TensorFlow."""

from clan_tf.photos.decoding import PhotoError, PhotoFacts, decode, examine
from clan_tf.photos.listing import list_photos
from clan_tf.photos.reading import read_photo
from clan_tf.photos.view import numpy_evaluation_view

__all__ = ["PhotoError", "PhotoFacts", "decode", "examine", "list_photos", "numpy_evaluation_view", "read_photo"]
