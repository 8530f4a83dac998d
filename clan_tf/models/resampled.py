"""The size of photos that a network makes of others."""

from clan_tf.errors import UserError

FEWEST_PIXELS = 96
"""Side of the photos that are resampled to their own size, by default."""
STEP = 32
"""Pixels of a photo for each position of a backbone's last map, along each side."""


def resampled_size(image_size: int, given: int | None, key: str) -> int:
    """Returns the side of resampled photos in pixels.

    If none is given, it is half of `image_size`, rounded down to a multiple of 32, but at least 96.

    Args:
        image_size: side of the photos that they are made of.
        given: the size that was given; not larger than `image_size`.
        key: the key of the config that gave it.

    Raises:
        UserError: if it is larger.
    """
    size = given or min(image_size, max(FEWEST_PIXELS, image_size // 2 // STEP * STEP))
    if size > image_size:
        raise UserError(
            f"{key}: {size} is larger than data.image_size, {image_size}. Use a smaller size, or larger photos."
        )
    return size
