"""What a pretrained backbone, unchanged, sees in photos."""

from collections.abc import Mapping

import keras
import numpy as np

from clan_tf.config import Experiment
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline import PhotoReader, evaluation_batches, training_view
from clan_tf.models.backbones import backbone_spec, build_backbone, preprocess
from clan_tf.progress import Progress

BATCH_SIZE = 32


def pooled_features(checked: Mapping[str, CheckedPhotos], experiment: Experiment, progress: Progress) -> np.ndarray:
    """Returns the means of the last map of an experiment's backbone over its positions.

    Photos are prepared as for evaluation: resized and cropped at the centre, not augmented.

    Args:
        checked: the photos of one or several splits.
        experiment: whose backbone, weights and photo sizes are used.
        progress: where progress is shown.

    Returns:
        Float32 `(photos, channels)`, one split after the other.

    Raises:
        UserError: for an unknown backbone, a size that it can't take, or weights that can't be loaded.
    """
    network = _network(experiment)
    view = training_view(experiment.data)
    steps = sum(-(-len(photos.photos) // BATCH_SIZE) for photos in checked.values())
    found = []
    with progress.track("computing features", steps) as advance:
        for photos in checked.values():
            for batch, _, weights in evaluation_batches(PhotoReader(photos, view), photos.labels, BATCH_SIZE):
                found.append(network.predict_on_batch(batch)[weights.numpy() > 0])
                advance()
    return np.concatenate(found).astype("float32")


def _network(experiment: Experiment) -> keras.Model:
    """Returns the backbone, from photos RGB in 0…255 to `(batch, channels)`."""
    name, size = experiment.model.backbone, experiment.data.image_size
    keras.utils.set_random_seed(experiment.training.seed)  # random weights are the same each time, too
    backbone = build_backbone(name, size, weights=experiment.model.weights)
    photos = keras.Input((size, size, 3))
    maps = backbone(preprocess(photos, backbone_spec(name).preprocessing), training=False)
    return keras.Model(photos, keras.layers.GlobalAveragePooling2D()(maps["top"]))
