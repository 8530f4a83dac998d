"""Photo files: how they are listed, identified and decoded. Needs no TensorFlow."""

from clan_tf.photos.decoding import PhotoError, PhotoFacts, decode, examine
from clan_tf.photos.files import read_photo_file
from clan_tf.photos.in_memory import is_photo_in_memory, require_photo, rgb_in_memory
from clan_tf.photos.listing import list_photos
from clan_tf.photos.reading import read_photo
from clan_tf.photos.view import numpy_evaluation_view

__all__ = [
    "PhotoError",
    "PhotoFacts",
    "decode",
    "examine",
    "is_photo_in_memory",
    "list_photos",
    "numpy_evaluation_view",
    "read_photo",
    "read_photo_file",
    "require_photo",
    "rgb_in_memory",
]
