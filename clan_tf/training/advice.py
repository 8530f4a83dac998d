"""Notes before training on what will probably disappoint, with the key that changes it."""

from collections import Counter
from collections.abc import Iterator

from clan_tf.config import Experiment
from clan_tf.config.section import AUTO
from clan_tf.data import Source
from clan_tf.models import BACKBONES

LOPSIDED = 5
"""From this ratio of the largest class to the smallest on, classes are called lopsided."""
LEAST_AT_A_TIME = 8
"""With fewer photos at a time, the statistics of a head's batch norm, of one vector for each photo, are called poor."""


def advice(experiment: Experiment, source: Source) -> Iterator[str]:
    """Yields notes: lopsided classes, few photos for the heads' batch norm, random weights where there are others."""
    counts = Counter(photo.label for photo in source.photos("train"))
    if counts and experiment.data.sampling == "shuffle":
        (most, many), (least, few) = counts.most_common(1)[0], counts.most_common()[-1]
        if many >= LOPSIDED * few:
            yield (
                f"the classes are lopsided: {source.class_names[most]!r} has {many:,} train photos, "
                f"{source.class_names[least]!r} has {few:,}. data.sampling=class_balanced shows all equally often."
            )
    model, training = experiment.model, experiment.training
    photos = LEAST_AT_A_TIME if training.batch_size == AUTO else training.batch_size // training.parts
    if model.heads_are_normalised and photos < LEAST_AT_A_TIME:
        yield (
            f"the heads normalise their features over the {photos} photos that are computed at a time, which is few. "
            "model.head_batch_norm=false doesn't normalise them."
        )
    if model.weights is None and model.init is None and BACKBONES[model.backbone].imagenet:
        yield (
            f"{model.backbone} starts from random weights, which takes many photos and epochs. "
            "model.weights=imagenet starts from pretrained ones."
        )
