"""The same work as the training pipeline's by PyTorch's `DataLoader` and Pillow: a peer for `clan-tf benchmark data`.

Its workers are new processes, which import this file; so it imports TensorFlow only for type checking.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageOps

from clan_tf.errors import CheckFailed

if TYPE_CHECKING:
    from clan_tf.config import Experiment
    from clan_tf.data.checked_photos import CheckedPhotos
    from clan_tf.data.pipeline import View


class RandomCrops(torch.utils.data.Dataset):
    """Photos decoded, cut to their boxes, turned upright, resized, cropped at random and flipped, as uint8 tensors.

    Args:
        contents: the encoded photos.
        windows: top, left, height and width of the part of each that is used.
        labels: their labels.
        view: to what they are resized, and how large the crop is.
        flip: whether every other photo is flipped.
    """

    def __init__(
        self, contents: list[bytes], windows: np.ndarray, labels: np.ndarray, view: "View", flip: bool
    ) -> None:
        self.contents, self.windows, self.labels = contents, windows, labels
        # Plain values, because a `View` would make every worker import TensorFlow.
        self.image_size, self.full_size, self.mode = view
        self.flip = flip

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        top, left, height, width = self.windows[index].tolist()
        with Image.open(BytesIO(self.contents[index])) as stored:
            part = stored.crop((left, top, left + width, top + height))
        image = ImageOps.exif_transpose(part).convert("RGB")
        image = image.resize(self._full_size(image), Image.Resampling.BILINEAR)
        left, top = (int(torch.randint(length - self.image_size + 1, ())) for length in image.size)
        image = image.crop((left, top, left + self.image_size, top + self.image_size))
        if self.flip and torch.rand(()) < 0.5:
            image = ImageOps.mirror(image)
        return torch.from_numpy(np.array(image)), int(self.labels[index])

    def _full_size(self, image: Image.Image) -> tuple[int, int]:
        if self.mode == "stretch":
            return self.full_size, self.full_size
        width, height = (round(length * self.full_size / min(image.size)) for length in image.size)
        return width, height


def _sizes(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[int]:
    try:
        for images, _ in batches:
            yield int(images.shape[0])
    except RuntimeError as error:  # a worker that was killed
        raise CheckFailed(f"PyTorch's DataLoader stopped: {str(error).splitlines()[0]} Measure again.") from error


@contextmanager
def torch_batches(checked: "CheckedPhotos", experiment: "Experiment", workers: int) -> Iterator[Iterator[int]]:
    """Yields an endless iterator that prepares batches in `workers` processes and yields each one's size."""
    from clan_tf.data.pipeline import training_view
    from clan_tf.data.sources.content import read_content

    view, flip = training_view(experiment.data), experiment.data.flip
    contents = [read_content(photo) for photo in checked.photos]
    dataset = RandomCrops(contents, checked.windows, checked.labels, view, flip)
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=experiment.training.batch_size,
        sampler=torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=10**8),
        num_workers=workers,
        multiprocessing_context="spawn",
    )
    batches = iter(loader)
    try:
        yield _sizes(batches)
    finally:
        # A worker may abort while it ends: PyTorch then raises, though nothing more was asked of it.
        with suppress(RuntimeError):
            batches._shutdown_workers()
