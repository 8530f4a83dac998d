"""Photos that tests write."""

from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image


def write_photo(path: Path, color: tuple[int, int, int], size: tuple[int, int] = (40, 32)) -> None:
    """A noisy photo of one colour, like no other by its name and folder; the format follows the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(crc32("/".join(path.parts[-3:]).encode())).normal(0, 20, (size[1], size[0], 3))
    Image.fromarray(np.clip(noise + color, 0, 255).astype("uint8")).save(path)
