"""A report's example photos and heat maps, small enough to embed in the page."""

import base64
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from clan_tf.data import Photo, Source
from clan_tf.data.checked_photos import check_photos, used_part
from clan_tf.explain import Explainer
from clan_tf.explain.drawing import Picture
from clan_tf.in_parallel import in_parallel
from clan_tf.models import BranchClassifier

THUMBNAIL = 240
"""Longest side in pixels."""
_BATCH_PIXELS = 8 * 448**2
"""How many pixels are explained at a time: the maps of all layers are kept for the gradient."""


class Examples:
    """Thumbnails of a split's photos, and heat maps over them, as `data:` URLs.

    Args:
        source: the photos.
        model: the model to explain; `None` gives photos without heat maps.
    """

    def __init__(self, source: Source, model: BranchClassifier | None) -> None:
        self._photos = {photo.name: photo for split in source.splits.values() for photo in split}
        self._model = model
        self._explainer = Explainer(model) if model else None
        self._pixels: dict[str, np.ndarray] = {}
        self._evidence: dict[tuple[str, int], str] = {}

    def prepare(self, wanted: Iterable[tuple[str, int]]) -> int:
        """Reads photos by name, and explains a class in each; returns how many photos can't be read."""
        wanted = list(dict.fromkeys(wanted))
        names = list(dict.fromkeys(name for name, _ in wanted))
        known = [self._photos[name] for name in names if name in self._photos]
        checked = check_photos(known)
        for index, photo in enumerate(checked.photos):
            self._pixels[photo.name] = used_part(checked, index).numpy()
        readable = [(name, label) for name, label in wanted if name in self._pixels]
        if self._explainer:
            batch = max(1, _BATCH_PIXELS // self._explainer.model.image_size**2)
            for start in range(0, len(readable), batch):
                self._explain(self._explainer, readable[start : start + batch])
        return len(names) - len(self._pixels)

    def photo(self, name: str) -> str | None:
        """Returns a photo; `None` if it can't be read."""
        pixels = self._pixels.get(name)
        return None if pixels is None else _data_address(_small(pixels))

    def evidence(self, name: str, label: int) -> str | None:
        """Returns a photo with the evidence for a class; `None` if there is none."""
        return self._evidence.get((name, label))

    def _explain(self, explainer: Explainer, wanted: Sequence[tuple[str, int]]) -> None:
        photos = [self._pixels[name] for name, _ in wanted]
        explanations = explainer.explain_whole(photos, [label for _, label in wanted])
        for key, photo, explanation in zip(wanted, photos, explanations, strict=True):
            picture = Picture.of(photo, explanation, THUMBNAIL)
            self._evidence[key] = _data_address(picture.with_evidence(explanation.summary()))


def thumbnails(photos: Sequence[Photo], on_photo: Callable[[], None] = lambda: None) -> list[str | None]:
    """Returns small photos as `data:` URLs, `None` for those that can't be read; few whole photos are kept at a time.

    Args:
        photos: the photos.
        on_photo: called after each photo, for progress.
    """
    found = []
    for done in in_parallel(_thumbnail, photos):
        found.append(done.result())
        on_photo()
    return found


def _thumbnail(photo: Photo) -> str | None:
    checked = check_photos([photo])
    return _data_address(_small(used_part(checked, 0).numpy())) if checked.photos else None


def _small(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _data_address(pixels: np.ndarray) -> str:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
