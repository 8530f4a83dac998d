"""The colours of a photo as RGB, whatever they are stored as."""

import numpy as np
from PIL import Image


def rgb_of_image(image: Image.Image) -> np.ndarray:
    """Returns uint8 RGB `(height, width, 3)` of an image in any mode; transparency is dropped."""
    if image.mode.startswith("I"):  # 16 bits: the upper 8
        grey = (np.asarray(image).astype("int32") >> 8).astype("uint8")
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "RGBA":
        return np.asarray(image)[..., :3]
    return np.asarray(image.convert("RGB"))


def rgb_of_ink(pixels: np.ndarray, has_adobe: bool) -> np.ndarray:
    """Converts CMYK to uint8 RGB, rounding down like TensorFlow; Pillow takes all CMYK as inverted, like Adobe's."""
    paper = (255 - pixels if has_adobe else pixels).astype("uint16")
    return (paper[..., :3] * paper[..., 3:] // 255).astype("uint8")
