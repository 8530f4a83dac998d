"""Notes before training on what will probably disappoint, with the key that changes it."""

from collections import Counter
from collections.abc import Iterator

from clan_tf.config import Experiment
from clan_tf.data import Source
from clan_tf.models import BACKBONES

LOPSIDED = 5
"""From this ratio of the largest class to the smallest on, classes are called lopsided."""


def advice(experiment: Experiment, source: Source) -> Iterator[str]:
    """Yields a note for lopsided classes, and one for random weights where pretrained ones exist."""
    counts = Counter(photo.label for photo in source.photos("train"))
    if counts and experiment.sampling == "shuffle":
        (most, many), (least, few) = counts.most_common(1)[0], counts.most_common()[-1]
        if many >= LOPSIDED * few:
            yield (
                f"the classes are lopsided: {source.class_names[most]!r} has {many:,} train photos, "
                f"{source.class_names[least]!r} has {few:,}. data.sampling=class_balanced shows all equally often."
            )
    model = experiment.model
    if model.weights is None and model.init is None and BACKBONES[model.backbone].imagenet:
        yield (
            f"{model.backbone} starts from random weights, which takes many photos and epochs. "
            "model.weights=imagenet starts from pretrained ones."
        )
