"""The same work as the training pipeline's by PyTorch's `DataLoader` and Pillow: a peer for `clan-tf benchmark data`.

Its workers are new processes, which import this file; so it imports TensorFlow only for type checking.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageOps

from clan_tf.errors import CheckFailed

if TYPE_CHECKING:
    from clan_tf.config import Experiment
    from clan_tf.data.photos import CheckedPhotos


class RandomCrops(torch.utils.data.Dataset):
    """Photos decoded, turned upright, resized, cropped at random and flipped, as uint8 tensors.

    Args:
        contents: the encoded photos.
        labels: their labels.
        full_size: side that photos are stretched to.
        image_size: side of the crop.
        flip: whether every other photo is flipped.
    """

    def __init__(self, contents: list[bytes], labels: np.ndarray, full_size: int, image_size: int, flip: bool) -> None:
        self.contents, self.labels = contents, labels
        self.full_size, self.image_size, self.flip = full_size, image_size, flip

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(BytesIO(self.contents[index])) as stored:
            image = ImageOps.exif_transpose(stored).convert("RGB")
        image = image.resize((self.full_size, self.full_size), Image.Resampling.BILINEAR)
        left, top = torch.randint(self.full_size - self.image_size + 1, (2,)).tolist()
        image = image.crop((left, top, left + self.image_size, top + self.image_size))
        if self.flip and torch.rand(()) < 0.5:
            image = ImageOps.mirror(image)
        return torch.from_numpy(np.array(image)), int(self.labels[index])


def _sizes(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[int]:
    try:
        for images, _ in batches:
            yield int(images.shape[0])
    except RuntimeError as error:  # a worker that was killed
        raise CheckFailed(f"PyTorch's DataLoader stopped: {str(error).splitlines()[0]} Measure again.") from error


@contextmanager
def torch_batches(checked: "CheckedPhotos", experiment: "Experiment", workers: int) -> Iterator[Iterator[int]]:
    """An endless iterator that prepares batches in `workers` processes and says how many photos each holds."""
    from clan_tf.data.photos import read_content

    data = experiment.data
    contents = [read_content(photo) for photo in checked.photos]
    dataset = RandomCrops(contents, checked.labels, data.full_size, data.image_size, data.flip)
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
        batches._shutdown_workers()
