"""What a caller gives to `predict`: paths of photos and folders, arrays and Pillow images, in any mixture."""

import os
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from clan_tf.errors import UserError, shown
from clan_tf.inference.predictor import Predictor
from clan_tf.photos import is_photo_in_memory, list_photos, require_photo, rgb_in_memory

PhotoInput = str | os.PathLike[str] | np.ndarray | Image.Image
"""A path of a photo or folder, or a photo in memory."""
_LOADING = Lock()


@dataclass(frozen=True)
class GivenPhoto:
    """A photo to predict.

    Attributes:
        photo: its file, or its pixels.
        index: the place of a photo in memory among what the caller gave; `None` for files.
    """

    photo: Path | np.ndarray | Image.Image
    index: int | None = None

    @property
    def name(self) -> dict[str, Any]:
        """The keys of a result that say which photo it is of."""
        return {"path": str(self.photo)} if isinstance(self.photo, Path) else {"path": None, "index": self.index}

    def view(self, predictor: Predictor) -> np.ndarray:
        """Prepares it as model input; raises a `PhotoError` if it can't be read."""
        if isinstance(self.photo, Path):
            return predictor.read(self.photo)
        # The same image may be given twice, and Pillow loads its pixels when they are first needed.
        with _LOADING if isinstance(self.photo, Image.Image) else nullcontext():
            pixels = rgb_in_memory(self.photo)
        return predictor.view(pixels)


def given_photos(
    paths: PhotoInput | Iterable[PhotoInput], note: Callable[[str], None] = lambda text: None
) -> list[GivenPhoto]:
    """Lists the photos that a caller gave, those in folders among them, in order.

    Args:
        paths: one path, array or image, an iterable of them, or a batch of photos, `(photos, height, width, channels)`.
        note: called with what is left out of folders.

    Raises:
        UserError: for something else, or a folder without photos.
    """
    if isinstance(paths, np.ndarray) and paths.ndim == 4:
        named = [(f"paths[{index}]", photo) for index, photo in enumerate(paths)]
    elif isinstance(paths, str | os.PathLike) or is_photo_in_memory(paths):
        named = [("paths", paths)]
    elif isinstance(paths, Iterable) and not isinstance(paths, bytes):
        named = [(f"paths[{index}]", photo) for index, photo in enumerate(paths)]
    else:
        named = [("paths", paths)]
    for name, photo in named:
        _require_photo(name, photo)
    photos = []
    for is_in_memory, group in groupby(enumerate(named), key=lambda item: is_photo_in_memory(item[1][1])):
        items = [(index, photo) for index, (_, photo) in group]
        if is_in_memory:
            photos += [GivenPhoto(photo, index) for index, photo in items]
        else:
            listed = list_photos([os.fspath(path) for _, path in items], note)
            photos += [GivenPhoto(path) for path in listed]
    return photos


def _require_photo(name: str, photo: Any) -> None:
    if is_photo_in_memory(photo):
        require_photo(photo, name)
    elif not (isinstance(photo, str | os.PathLike) and isinstance(os.fspath(photo), str)):
        raise UserError(
            f"{name}: must be a path, a NumPy array or a Pillow image; received {type(photo).__name__} {shown(photo)}."
        )
