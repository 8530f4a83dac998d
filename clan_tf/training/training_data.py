"""The photos of a training run: listed, checked, and opened for reading."""

from collections.abc import Mapping
from dataclasses import dataclass

from clan_tf.config import DataConfig, Experiment
from clan_tf.data import Source, read_source
from clan_tf.data.check import check_splits, require_ready
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline import open_reader, training_view
from clan_tf.data.pipeline.cache import decide_cache
from clan_tf.data.pipeline.reading import Reader
from clan_tf.progress import Progress
from clan_tf.run import RunData, RunDirectory
from clan_tf.training.resuming import require_same_content, resumed_data

KEYS_OF_BATCHES = {"flip", "augmentation", "sampling", "repeats"}
"""Keys of `data` that only say how batches are made of the prepared photos."""


@dataclass(frozen=True)
class TrainingData:
    """The photos of a training run, checked and ready to be read; several runs may share them.

    Attributes:
        source: the data set.
        checked: the readable photos, by split.
        readers: readers of the train and validation photos.
        cache: where decoded photos are kept: `data.cache` with `auto` resolved.
    """

    source: Source
    checked: Mapping[str, CheckedPhotos]
    readers: Mapping[str, Reader]
    cache: str


def list_photos(
    experiment: Experiment, existing: RunDirectory | None, data: TrainingData | None, progress: Progress
) -> tuple[RunData | None, Source]:
    """Lists the photos, unless they are given; for a resumed run, also reads what it recorded about them, and notes it.

    Raises:
        UserError: for a mistake in the `data` section, or if the photos aren't those of the resumed run.
    """
    given = data.source if data else None
    if existing is None:
        return None, given or read_source(experiment.data)
    own = resumed_data(existing, experiment, given)
    for note in own.notes:
        if note not in own.source.notes:
            progress.note(f"note: {note}")
    return own, own.source


def prepare_data(experiment: Experiment, source: Source, progress: Progress) -> TrainingData:
    """Checks the photos of a source and opens them for training; decodes them first if they are cached.

    Raises:
        UserError: if photos can't be read, or don't fit into the requested cache.
    """
    config = experiment.data
    for note in source.notes:
        progress.note(f"note: {note}")
    checked = check_splits(source.splits, config, progress)
    # Evaluation at the end needs them.
    check_splits({"unknown": source.unknown}, config, progress)
    view, every_epoch = training_view(config), ("train", "val")
    looked_at = [checked[split] for split in every_epoch]
    cache = decide_cache(looked_at, view, config.cache, uses=experiment.training.epochs)
    readers = {split: open_reader(checked[split], view, cache, progress.track) for split in every_epoch}
    return TrainingData(source, checked, readers, cache)


def are_prepared_alike(one: DataConfig, other: DataConfig) -> bool:
    """Returns whether `prepare_data` does the same for two `data` sections, so that runs can share what it returns."""
    return one.model_dump(exclude=KEYS_OF_BATCHES) == other.model_dump(exclude=KEYS_OF_BATCHES)


def checked_data(
    experiment: Experiment, source: Source, own: RunData | None, data: TrainingData | None, progress: Progress
) -> TrainingData:
    """Prepares the photos unless this is already done; those of a resumed run must have the same content.

    Args:
        experiment: what is trained.
        source: its photos, as `list_photos` gave them.
        own: what the resumed run recorded about its photos; `None` for a new run.
        data: photos that have already been prepared; used if they are those of `source`.
        progress: where notes are shown.

    Raises:
        UserError: as `prepare_data`, or if photos have another content than in the resumed run.
    """
    if data is None or not _same_photos(data.source, source):
        data = prepare_data(experiment, source, progress)
    if own:
        require_same_content(own, data.checked, progress.note)
    require_ready(experiment, source, data.checked)
    return data


def _same_photos(one: Source, other: Source) -> bool:
    return {split: list(photos) for split, photos in one.splits.items() if photos} == {
        split: list(photos) for split, photos in other.splits.items() if photos
    }
