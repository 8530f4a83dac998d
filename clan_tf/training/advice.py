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
    training = experiment.training
    is_corrected = training.class_weights != "none" or training.logit_adjustment > 0
    if counts and experiment.sampling == "shuffle" and not is_corrected:
        (most, many), (least, few) = counts.most_common(1)[0], counts.most_common()[-1]
        if many >= LOPSIDED * few:
            yield (
                f"the classes are lopsided: {source.class_names[most]!r} has {many:,} train photos, "
                f"{source.class_names[least]!r} has {few:,}. data.sampling=class_balanced shows all equally often, and "
                "training.logit_adjustment=1 or training.class_weights=balanced corrects the loss."
            )
    model = experiment.model
    if model.weights is None and model.init is None and BACKBONES[model.backbone].imagenet:
        yield (
            f"{model.backbone} starts from random weights, which takes many photos and epochs. "
            "model.weights=imagenet starts from pretrained ones."
        )
