"""Photos in memory: NumPy arrays and Pillow images become the pixels that the same photo has as a file."""

from typing import Any

import numpy as np
from PIL import Image

from clan_tf.errors import UserError
from clan_tf.photos.decoding import PhotoError, damaged, require_size
from clan_tf.photos.orientation import EXIF_PREFIX, orientation_in, upright
from clan_tf.photos.rgb import rgb_of_image, rgb_of_ink

ARRAY_RULE = (
    "a photo as an array is uint8 with values 0…255: (height, width, 3) in RGB, (height, width, 4) in RGBA, or "
    "(height, width) or (height, width, 1) in grey"
)
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I")
"""Pillow's modes that are converted, and those that begin with `I;16`."""


def is_photo_in_memory(value: Any) -> bool:
    """Checks whether a value is an array or a Pillow image, whatever it holds."""
    return isinstance(value, np.ndarray | Image.Image)


def require_photo(photo: np.ndarray | Image.Image, name: str) -> None:
    """Raises a `UserError` that begins with `name` unless a photo in memory is one that `rgb_in_memory` takes."""
    if isinstance(photo, Image.Image):
        if photo.mode not in _MODES and not photo.mode.startswith("I;16"):
            raise UserError(f"{name}: a Pillow image has whole numbers as colours; received the mode {photo.mode}.")
        if 0 in photo.size:
            raise UserError(f"{name}: must have at least one pixel; received {photo.width} x {photo.height}.")
        return
    channels = photo.shape[2] if photo.ndim == 3 else 1
    if photo.dtype == np.uint8 and photo.ndim in (2, 3) and channels in (1, 3, 4) and photo.size:
        return
    hint = " Floats in 0…1 become such by (255 * photo).round().astype('uint8')." if photo.dtype.kind == "f" else ""
    raise UserError(f"{name}: {ARRAY_RULE}; received {photo.dtype} {photo.shape}.{hint}")


def rgb_in_memory(photo: np.ndarray | Image.Image) -> np.ndarray:
    """Returns a photo's pixels, upright, uint8 RGB `(height, width, 3)`, by the rules for files.

    Transparency is dropped, of 16 bits the upper 8 are taken, and an image is turned by the EXIF data in its `info`,
    which Pillow keeps through `convert`, `resize` and `crop`. Of an animation it is the frame that the image is at, as
    Pillow shows it. Pillow doesn't tell where a first frame ends that is smaller than its canvas, and of several EXIF
    chunks in a PNG gives the last: such files should be given by their paths.

    Args:
        photo: one that `require_photo` accepts.

    Raises:
        PhotoError: if an image that Pillow opened from a file can't be read, or a photo is too large.
    """
    if isinstance(photo, Image.Image):
        return _rgb_of_picture(photo)
    height, width = photo.shape[:2]
    require_size(width, height)
    pixels = np.asarray(photo)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(height, width, 1), 3, axis=2)
    return np.ascontiguousarray(pixels[..., :3])


def _rgb_of_picture(image: Image.Image) -> np.ndarray:
    require_size(*image.size)
    try:
        image.load()  # which also reads what a PNG states after its pixels
        if image.mode == "CMYK":
            pixels = rgb_of_ink(np.asarray(image), image.format != "JPEG" or "adobe" in image.info)
        elif image.mode == "I" and not 0 <= np.asarray(image).min() <= np.asarray(image).max() < 2**16:
            raise PhotoError("an image of the mode I must have values of 16 bits, 0…65535")
        else:
            pixels = rgb_of_image(image)
    except PhotoError:
        raise
    except Exception as error:
        raise damaged(image.format or "Pillow image", error) from error
    exif = image.info.get("exif")
    if not isinstance(exif, bytes):
        return pixels
    if image.format == "PNG":  # Pillow puts the prefix of JPEGs before the data, even if it is there already.
        exif = exif.removeprefix(EXIF_PREFIX)
    return np.ascontiguousarray(upright(pixels, orientation_in(exif)))
