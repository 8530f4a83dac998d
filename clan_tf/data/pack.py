"""Packs an experiment's photos, resized, into shards that are read fast from any disk."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from clan_tf.config import DataConfig
from clan_tf.data import read_source
from clan_tf.data.check import check_splits
from clan_tf.data.checked_photos import CheckedPhotos, used_part
from clan_tf.data.pipeline import PhotoReader, training_view
from clan_tf.data.pipeline.reading import without_autograph
from clan_tf.data.pipeline.resizing import resize_photo
from clan_tf.data.sources.pack_facts import PackFacts
from clan_tf.data.sources.source import relative_name
from clan_tf.data.sources.tfds_builders import quiet_tfds
from clan_tf.errors import CheckFailed
from clan_tf.files import new_folder, writing_error
from clan_tf.progress import Progress
from clan_tf.text import data_size

NAME = "clan_tf_records"
CHUNK = 64
"""Photos written at a time."""


@dataclass(frozen=True)
class PackFormat:
    """How photos are stored.

    Attributes:
        quality: of the JPEGs, 1 to 100; `None` stores PNGs, which are exactly the resized photos.
        shard_megabytes: about how large a file is.
    """

    quality: int | None = 95
    shard_megabytes: float = 256

    @property
    def encoding(self) -> str:
        """As TFDS names it."""
        return "png" if self.quality is None else "jpeg"

    def encode(self, image: tf.Tensor) -> tf.Tensor:
        """Returns a uint8 RGB photo as bytes, a scalar string."""
        if self.quality is None:
            return tf.io.encode_png(image, compression=1)  # a tenth of the time, and a tenth larger
        return tf.io.encode_jpeg(image, quality=self.quality)


@dataclass(frozen=True)
class Pack:
    """What was written.

    Attributes:
        folder: where.
        facts: how the photos were prepared.
        photos: their number by split.
        shards: number of files with photos.
        size: bytes of these files.
        notes: what a user should know of the data.
    """

    folder: Path
    facts: PackFacts
    photos: Mapping[str, int]
    shards: int
    size: int
    notes: tuple[str, ...]


def pack(
    config: DataConfig, folder: Path, storage: PackFormat = PackFormat(), progress: Progress | None = None
) -> Pack:
    """Writes the photos of every split, upright, cut to their boxes and resized to `full_size`, as a TFDS data set.

    Training from it, `source: records` with `root: FOLDER`, resizes nothing. The photos keep their splits and order.

    Args:
        config: whose photos.
        folder: a new folder. It appears when everything is in it.
        storage: how photos are stored.
        progress: where progress is shown.

    Raises:
        UserError: if `folder` exists, or for photos that can't be read, unless they are skipped.
        CheckFailed: if the files can't be written.
    """
    progress = progress or Progress()
    with new_folder(folder) as temporary, quiet_tfds() as tfds:
        source = read_source(config)
        checked = check_splits(source.splits, config, progress)
        facts = PackFacts(
            list(source.class_names), config.full_size, config.resize_mode, config.crop_to_box, source.val_is_cut
        )
        mean_size = _mean_size(checked["train"], config, storage)
        _require_room(temporary, mean_size * sum(len(photos.photos) for photos in checked.values()))
        try:
            _write(_writer(tfds, temporary, facts, storage, mean_size), checked, config, storage, progress)
        except tf.errors.OpError as error:
            reason = found.strerror if (found := writing_error(error)) else error.message
            raise CheckFailed(f"{folder}: can't be written: {reason}") from error
        shards = [file.stat().st_size for file in temporary.glob("*.tfrecord-*")]
    counts = {split: len(photos.photos) for split, photos in checked.items()}
    return Pack(folder, facts, counts, len(shards), sum(shards), source.notes)


def _writer(tfds: ModuleType, folder: Path, facts: PackFacts, storage: PackFormat, mean_size: float) -> Any:
    kinds, core = tfds.features, tfds.core
    identity = core.dataset_info.DatasetIdentity(NAME, core.Version("1.0.0"), str(folder), module_name="clan_tf")
    features = {
        "image": kinds.Image(encoding_format=storage.encoding),
        "label": kinds.ClassLabel(names=_one_line_each(facts.class_names)),
        "name": kinds.Text(),
    }
    info = core.DatasetInfo(
        builder=identity,
        description="Photos packed by clan-tf: upright, cut to their boxes and resized.",
        features=kinds.FeaturesDict(features),
        supervised_keys=("image", "label"),
        metadata=core.MetadataDict(facts.metadata()),
        disable_shuffling=True,
    )
    per_shard = max(1, int(storage.shard_megabytes * 1e6 / mean_size))
    return core.SequentialWriter(ds_info=info, max_examples_per_shard=per_shard)


def _write(
    writer: Any, checked: Mapping[str, CheckedPhotos], config: DataConfig, storage: PackFormat, progress: Progress
) -> None:
    root = config.root or (config.csv and config.csv.resolve().parent)
    writer.initialize_splits(list(checked))
    with progress.track("packing photos", sum(len(photos.photos) for photos in checked.values())) as advance:
        for split, photos in checked.items():
            chunk: list[dict[str, Any]] = []
            for photo, content in zip(photos.photos, _encoded(photos, config, storage), strict=True):
                name = relative_name(photo.name, root).encode(errors="surrogateescape")
                chunk.append({"image": content, "label": photo.label, "name": name})
                if len(chunk) == CHUNK:
                    writer.add_examples({split: chunk})
                    chunk = []
                advance()
            writer.add_examples({split: chunk})
    writer.close_all()


def _require_room(folder: Path, needed: float) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CheckFailed(
            f"{folder.parent}: the pack needs about {data_size(needed)}; {data_size(free)} are free. Make room, or "
            "name a folder on another disk."
        )


def _encoded(checked: CheckedPhotos, config: DataConfig, storage: PackFormat) -> Iterator[bytes]:
    """Returns every photo, resized and encoded on all cores, in order."""
    reader = PhotoReader(checked, training_view(config))
    return reader.wholes().map(without_autograph(storage.encode), tf.data.AUTOTUNE).prefetch(CHUNK).as_numpy_iterator()


def _mean_size(checked: CheckedPhotos, config: DataConfig, storage: PackFormat, sample: int = 16) -> float:
    """Estimates the mean size of an encoded photo, in bytes, from a sample."""
    indices = range(0, len(checked.photos), -(-len(checked.photos) // sample))
    images = (resize_photo(used_part(checked, index), config.full_size, config.resize_mode) for index in indices)
    return float(np.mean([len(storage.encode(image).numpy()) for image in images]))


def _one_line_each(class_names: Sequence[str]) -> list[str]:
    """Returns names as TFDS can store them: it reads its list line by line and trims each; most stay unchanged."""
    return [
        name if name.strip() == name != "" and name.isprintable() else f"{label} {json.dumps(name)}"
        for label, name in enumerate(class_names)
    ]
