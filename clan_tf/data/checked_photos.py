"""The check that every photo can be read before work starts, and its results."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from clan_tf.data.graph_decoding import is_same_in_graph
from clan_tf.data.sources import Box, Photo
from clan_tf.data.sources.content import read_content, read_or_refuse
from clan_tf.in_parallel import in_parallel
from clan_tf.photos import PhotoError, PhotoFacts, decode, examine, orientation
from clan_tf.photos.formats import format_of


@dataclass(frozen=True)
class CheckedPhotos:
    """Photos that can be read.

    Attributes:
        photos: the photos.
        orientations: the EXIF orientation of each, 1 (upright) to 8, int32 `(photos,)`.
        windows: top, left, height and width of the part of each that is used, in pixels of the photo as stored, int32
            `(photos, 4)`.
        facts: what each is.
        digests: SHA-256 of each encoded photo, in hexadecimal.
        broken: a line for each photo that can't be read, and isn't among these.
    """

    photos: Sequence[Photo]
    orientations: np.ndarray
    windows: np.ndarray
    facts: Sequence[PhotoFacts] = ()
    digests: Sequence[str] = ()
    broken: Sequence[str] = ()

    def subset(self, indices: Sequence[int]) -> "CheckedPhotos":
        """Returns some of the photos; none of them is broken."""
        return CheckedPhotos(
            [self.photos[index] for index in indices],
            self.orientations[list(indices)],
            self.windows[list(indices)],
            [self.facts[index] for index in indices],
            [self.digests[index] for index in indices],
        )

    @property
    def labels(self) -> np.ndarray:
        """The label of each photo, int32 `(photos,)`."""
        return np.array([photo.label for photo in self.photos], dtype="int32")

    @property
    def upright_sizes(self) -> np.ndarray:
        """Height and width of the used part of each photo once it is upright, int32 `(photos, 2)`."""
        sizes = self.windows[:, 2:]
        return np.where(self.orientations[:, None] > 4, sizes[:, ::-1], sizes)


def used_part(checked: CheckedPhotos, index: int) -> tf.Tensor:
    """Returns one whole photo, decoded, cut to its box and upright: uint8 RGB `(height, width, 3)`."""
    top, left, height, width = map(int, checked.windows[index])
    stored = decode(read_content(checked.photos[index])).stored
    part = stored[top : top + height, left : left + width]
    return tf.constant(orientation.upright(part, int(checked.orientations[index])))


def check_photos(photos: Sequence[Photo], on_photo: Callable[[], None] = lambda: None) -> CheckedPhotos:
    """Decodes every photo once, on all cores.

    Args:
        photos: the photos to check.
        on_photo: called after each photo, for progress.
    """
    good: list[tuple[Photo, PhotoFacts, tuple[int, ...], str]] = []
    problems = []
    for photo, check in zip(photos, in_parallel(_check, photos), strict=True):
        try:
            good.append((photo, *check.result()))
        except PhotoError as error:
            problems.append(f"{photo.name}: {error}")
        on_photo()
    return CheckedPhotos(
        [photo for photo, *_ in good],
        np.array([facts.orientation for _, facts, *_ in good], dtype="int32"),
        np.array([window for _, _, window, _ in good], dtype="int32").reshape(-1, 4),
        [facts for _, facts, *_ in good],
        [digest for *_, digest in good],
        problems,
    )


def probe(content: bytes) -> PhotoFacts:
    """Checks that an encoded photo can be decoded, and returns what it is.

    Raises:
        PhotoError: if it can't be used, with the reason.
    """
    if format_of(content) == "JPEG":
        return examine(content)
    picture = decode(content)
    same = picture.facts.same_in_graph and is_same_in_graph(content, picture.stored)
    return replace(picture.facts, same_in_graph=same)


def box_window(photo: Photo, height: int, width: int) -> tuple[int, int, int, int]:
    """Cuts a photo's box to the stored photo: top, left, height and width.

    Raises:
        PhotoError: if nothing of the box is in the photo.
    """
    box = photo.box or Box()
    left, top = max(box.left, 0), max(box.top, 0)
    right = min(box.right if box.right > 0 else width + box.right, width)
    bottom = min(box.bottom if box.bottom > 0 else height + box.bottom, height)
    if bottom <= top or right <= left:
        raise PhotoError(f"its box {tuple(box)} is outside the photo of {width} x {height} pixels")
    return top, left, bottom - top, right - left


def _check(photo: Photo) -> tuple[PhotoFacts, tuple[int, ...], str]:
    """Returns a photo's facts, the window of its box and its digest; a `PhotoError` if it can't be used."""
    content = read_or_refuse(photo)
    facts = probe(content)
    window = box_window(photo, facts.height, facts.width)
    return facts, window, hashlib.sha256(content).hexdigest()  # `photo.digest` may be of what was there before
