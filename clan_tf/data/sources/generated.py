"""The demo's photos: drawn birds whose classes differ only in three small parts.

Beak (short or long), eye (plain or ringed) and wing (one or two bars) make eight classes. Colours, plumage, pose, size,
place, light and background are random and independent of the class, so that the average colour says nothing.
"""

import math
import zlib
from functools import lru_cache
from io import BytesIO
from itertools import product

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from clan_tf.config import DataConfig
from clan_tf.data.sources.source import Photo, Source
from clan_tf.in_parallel import in_parallel

BEAKS, EYES, WINGS = ("short beak", "long beak"), ("plain eye", "eye ring"), ("one wing bar", "two wing bars")
CLASS_NAMES: tuple[str, ...] = tuple(", ".join(parts) for parts in product(BEAKS, EYES, WINGS))

_SUPERSAMPLING = 3
_CIRCLE = np.array([(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * math.pi, 28, endpoint=False)])
Color = tuple[int, int, int]


def read_generated(config: DataConfig) -> Source:
    """Draws the photos of each split at the size to which photos are resized; nothing is read from disk."""
    splits: dict[str, list[Photo]] = {
        split: list(_draw_split(split, count, config.full_size, config.split_seed))
        for split, count in config.generated_photos.items()
    }
    return Source(CLASS_NAMES, splits)


@lru_cache(maxsize=3)
def _draw_split(split: str, count: int, size: int, seed: int) -> tuple[Photo, ...]:
    """Draws the photos of a split; the last ones drawn are kept, as training, evaluation and report read the same."""
    drawn = in_parallel(lambda index: _photo(split, index, size, seed), range(count))
    return tuple(photo.result() for photo in drawn)


def draw_photo(label: int, rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws one photo of a class.

    Args:
        label: index in `CLASS_NAMES`.
        rng: chooses everything that isn't the class.
        size: side in pixels.

    Returns:
        Uint8 RGB `(size, size, 3)`.
    """
    large = size * _SUPERSAMPLING
    image = _background(rng, large)
    _Bird(ImageDraw.Draw(image), rng, large).draw(long_beak=label >= 4, ring=label % 4 >= 2, bars=1 + label % 2)
    photo = np.asarray(image.resize((size, size), Image.Resampling.BOX), dtype="float32")
    light = rng.uniform(0.75, 1.15) * rng.uniform(0.95, 1.05, size=3)
    noise = rng.normal(0, rng.uniform(2, 6), size=photo.shape)
    return np.clip(photo * light + noise, 0, 255).astype("uint8")


def _photo(split: str, index: int, size: int, seed: int) -> Photo:
    """Draws a photo that depends on the seed, the split and the index alone, so that splits share nothing."""
    label = index % len(CLASS_NAMES)
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index])
    encoded = BytesIO()
    Image.fromarray(draw_photo(label, rng, size)).save(encoded, "PNG", compress_level=0)
    return Photo(f"{split}/{index:05d}.png", label, encoded.getvalue())


def _background(rng: np.random.Generator, size: int) -> Image.Image:
    """Draws a sky-to-ground gradient with blurred foliage and branches."""
    top, bottom = rng.uniform((110, 130, 130), (190, 200, 215), size=(2, 3))
    ramp = np.linspace(0, 1, 8)[:, None, None]
    gradient = np.broadcast_to(top * (1 - ramp) + bottom * ramp, (8, 8, 3))
    image = Image.fromarray(gradient.astype("uint8")).resize((size, size), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(3, 9)):
        x, y = rng.uniform(0, size, 2)
        width, height = rng.uniform(0.03, 0.2, 2) * size
        draw.ellipse((x - width, y - height, x + width, y + height), fill=_muted(rng, 70, 170))
    for _ in range(rng.integers(0, 3)):
        ends = rng.uniform(0, size, 4)
        draw.line(tuple(ends), fill=_muted(rng, 50, 110), width=int(rng.uniform(0.008, 0.03) * size))
    return image


class _Bird:
    """Draws one bird. Its own coordinates have the body at the origin, the head to the right, y down, body length 1."""

    def __init__(self, draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int) -> None:
        self.draw_on, self.rng = draw, rng
        self.scale = size * rng.uniform(0.36, 0.48)
        angle = math.radians(rng.uniform(-25, 25))
        self.cosine, self.sine = math.cos(angle), math.sin(angle)
        self.mirror = rng.choice((-1, 1))
        # The head sticks out further than the tail.
        place = rng.uniform(0.45, 0.55, 2) - np.array((0.06 * self.mirror, 0.0))
        self.center = size * place

    def draw(self, long_beak: bool, ring: bool, bars: int) -> None:
        rng = self.rng
        body, wing, head = _muted(rng, 90, 180), _muted(rng, 25, 95), _muted(rng, 45, 120)
        tail = rng.uniform(0.25, 0.4)
        self._polygon([(-0.35, -0.08), (-0.45 - tail, -0.02), (-0.43 - tail, 0.12), (-0.3, 0.1)], wing)
        self._ellipse(0, 0, 0.5, rng.uniform(0.27, 0.33), body)
        self._legs()
        self._ellipse(0.48, -0.3, 0.25, 0.24, head)
        self._wing(wing, bars)
        self._beak(long_beak)
        self._eye(ring)

    def _legs(self) -> None:
        color = _muted(self.rng, 30, 90)
        for x in (-0.05, 0.08):
            self._polygon([(x, 0.25), (x + 0.025, 0.25), (x + 0.03, 0.5), (x + 0.005, 0.5)], color)

    def _wing(self, color: Color, bars: int) -> None:
        wing_x = self.rng.uniform(-0.14, -0.08)
        self._ellipse(wing_x, 0.0, 0.34, 0.2, color)
        bar = _muted(self.rng, 160, 245)
        # The same area for one bar and for two, so that counting bars is the only way to tell.
        width = 0.16 if bars == 1 else 0.08
        middle = wing_x + self.rng.uniform(-0.03, 0.06)
        for x in (middle - 0.08,) if bars == 1 else (middle - 0.15, middle + 0.05):
            half = 0.15
            self._polygon([(x, -half), (x + width, -half), (x + width - 0.05, half), (x - 0.05, half)], bar)

    def _beak(self, is_long: bool) -> None:
        length = self.rng.uniform(0.36, 0.42) if is_long else self.rng.uniform(0.11, 0.15)
        red, green, blue = self.rng.uniform((180, 50, 10), (240, 120, 50))
        self._polygon([(0.68, -0.38), (0.71 + length, -0.25), (0.68, -0.22)], (int(red), int(green), int(blue)))

    def _eye(self, ring: bool) -> None:
        x, y = 0.53, -0.34
        if ring:
            self._ellipse(x, y, 0.1, 0.1, _muted(self.rng, 200, 245))
        self._ellipse(x, y, 0.05, 0.05, (15, 15, 20))

    def _ellipse(self, x: float, y: float, half_width: float, half_height: float, color: Color) -> None:
        self._polygon((x, y) + (half_width, half_height) * _CIRCLE, color)

    def _polygon(self, points: ArrayLike, color: Color) -> None:
        x, y = np.asarray(points).T
        turned_x, turned_y = x * self.cosine - y * self.sine, x * self.sine + y * self.cosine
        placed = self.center[0] + self.mirror * self.scale * turned_x, self.center[1] + self.scale * turned_y
        self.draw_on.polygon(np.stack(placed, axis=1).ravel().tolist(), fill=color)


def _muted(rng: np.random.Generator, low: int, high: int) -> Color:
    """Returns a natural colour: a random brightness with a slight tint."""
    red, green, blue = np.clip(rng.uniform(low, high) + rng.normal(0, 18, 3), 0, 255)
    return int(red), int(green), int(blue)
