"""The size of photos that a network makes of others."""

from clan_tf.errors import UserError

FEWEST_PIXELS = 96
"""Side of the photos that are resampled to their own size, by default."""


def resampled_size(image_size: int, given: int | None, key: str) -> int:
    """Returns the side of resampled photos in pixels: half of `image_size`, but at least 96, if none is given.

    Args:
        image_size: side of the photos that they are made of.
        given: the size that was given; not larger than `image_size`.
        key: the key of the config that gave it.

    Raises:
        UserError: if it is larger.
    """
    size = given or min(image_size, max(FEWEST_PIXELS, image_size // 2))
    if size > image_size:
        raise UserError(
            f"{key}: {size} is larger than data.image_size, {image_size}. Use a smaller size, or larger photos."
        )
    return size
