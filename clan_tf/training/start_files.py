"""What a run writes before its first step: its config, its environment and its photos."""

from collections.abc import Mapping
from typing import Any

from clan_tf.config import Experiment
from clan_tf.data import Source
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline.samples import write_augmented_samples, write_samples
from clan_tf.environment import describe_environment
from clan_tf.run import RunDirectory
from clan_tf.run.splits import run_split, write_split
from clan_tf.taxonomy import Taxonomy


def write_start(
    experiment: Experiment,
    run: RunDirectory,
    source: Source,
    checked: Mapping[str, CheckedPhotos],
    start: Mapping[str, Any],
    taxonomy: Taxonomy | None,
) -> None:
    """Writes the files that are there from the start of a run.

    Args:
        experiment: the config, complete.
        run: the run.
        source: its photos.
        checked: those that it uses, by split.
        start: what is recorded of the weights that it starts from.
        taxonomy: groups of the classes.
    """
    split = run_split(experiment.data, source, checked)
    write_split(run.splits, split)
    facts: dict[str, Any] = {"splits_sha256": split.fingerprint(), "val_is_cut": split.val_is_cut}
    facts |= {"taxonomy": taxonomy.to_table()} if taxonomy else {}
    described = describe_data(experiment, source, checked) | facts
    run.write_start(experiment, describe_environment() | dict(start), described)
    write_samples(checked["train"], source.class_names, run.samples)
    write_augmented_samples(checked["train"], source.class_names, experiment, run.augmented)


def describe_data(experiment: Experiment, source: Source, checked: Mapping[str, CheckedPhotos]) -> dict[str, object]:
    """Returns plain values for `data.json`: counts of what was read, and a hash of the file list."""
    return {
        "source": experiment.data.source,
        "root": experiment.data.root,
        "photos": {split: len(photos.photos) for split, photos in checked.items()},
        "skipped": {split: list(photos.broken) for split, photos in checked.items() if photos.broken},
        "classes": len(source.class_names),
        "class_names": list(source.class_names),
        "file_list_sha256": source.fingerprint(),
    }
