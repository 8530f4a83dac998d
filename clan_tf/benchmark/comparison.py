"""Contenders must compute the same before they are timed: outputs, the loss and the gradient are compared."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from clan_tf.errors import CheckFailed
from clan_tf.models import BranchClassifier
from clan_tf.models.complexity import leaf_layers

OUTPUT_LIMIT = 1e-3
"""Largest difference of logits, relative to the largest logit: float32 rounding through a deep network."""
LOSS_LIMIT = 1e-3
GRADIENT_LIMIT = 0.1
"""Largest relative difference of a weight's gradient: rounding opens or shuts single ReLUs. With random weights, the
step's own operators and those of Keras differ by 0.035 in ResNet-50 on 8 photos of 64 pixels; a wrong derivative, by
about 1."""
PHOTOS = 8
"""At most so many photos are compared, unless their maps are small."""
VALUES = 32
"""So many values of each channel are compared at least, in the smallest map of all photos: batch norm over a few makes
rounding large."""
Named = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """How far a contender is from clan-tf.

    Attributes:
        contender: its name.
        of: "outputs", "loss" or "gradient".
        largest: the largest relative difference.
        where: of which output or weight.
        limit: what is allowed.
    """

    contender: str
    of: str
    largest: float
    where: str
    limit: float


def output_difference(contender: str, own: Named, theirs: Named) -> Difference:
    """Compares logits `(photos, classes)` by branch, relative to the branch's largest logit."""
    values = {name: _ratio(np.abs(theirs[name] - own[name]).max(), np.abs(own[name]).max()) for name in own}
    return _largest(contender, "outputs", values, OUTPUT_LIMIT)


def loss_difference(contender: str, own: float, theirs: float) -> Difference:
    """Compares the losses of a training step."""
    return _largest(contender, "loss", {"loss": _ratio(abs(theirs - own), abs(own))}, LOSS_LIMIT)


def gradient_difference(contender: str, own: Named, theirs: Named) -> Difference:
    """Compares each weight's gradient by the norm of the difference.

    It is relative to the gradient's own norm, but at least to a hundredth of the largest norm of any weight: the bias
    of a convolution before a batch norm has a gradient of 0 but for rounding.
    """
    least = 0.01 * max(float(np.linalg.norm(gradient)) for gradient in own.values())
    values = {
        name: _ratio(float(np.linalg.norm(theirs[name] - gradient)), max(float(np.linalg.norm(gradient)), least))
        for name, gradient in own.items()
    }
    return _largest(contender, "gradient", values, GRADIENT_LIMIT)


def require_same(differences: Sequence[Difference]) -> None:
    """Raises a `CheckFailed` that names the largest difference beyond its limit, if there is one."""
    beyond = [each for each in differences if not each.largest <= each.limit]
    if beyond:
        worst = max(beyond, key=lambda each: each.largest if np.isfinite(each.largest) else np.inf)
        raise CheckFailed(
            f"{worst.contender} doesn't compute what clan-tf computes, so nothing was measured: its {worst.of} differ"
            f"{'s' if worst.of != 'outputs' else ''} by {worst.largest:.1e} at {worst.where}; up to {worst.limit:.0e} "
            "is rounding."
        )


def photos_to_compare(model: BranchClassifier, batch_size: int) -> int:
    """Returns how many photos are compared: at most `PHOTOS`, or as many as small maps need, whatever the batch is."""
    maps = [tensor.shape for tensor in model.features.values() if len(tensor.shape) == 4]
    positions = min((shape[1] * shape[2] for shape in maps), default=1)
    return max(min(PHOTOS, batch_size), -(-VALUES // positions))


def random_batch(image_size: int, classes: int, photos: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws photos `(photos, image_size, image_size, 3)`, float32 in 0…255, and labels `(photos,)`, int32."""
    rng = np.random.default_rng(seed)
    noise = rng.random((photos, image_size, image_size, 3), dtype="float32") * np.float32(255)
    return noise, rng.integers(0, classes, photos, dtype="int32")


def settle(model: BranchClassifier, photos: np.ndarray) -> None:
    """Makes random weights fit for a comparison, in place.

    Weights that start at 0, as those of the heads, get random values, or no gradient would pass them. The moving
    statistics of batch norm become those of `photos`, or the maps of a deep network would overflow at inference.
    """
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if not np.any(keras.ops.convert_to_numpy(variable)):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    norms = [layer for layer in leaf_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        model.logits_model()(photos, training=True)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@contextmanager
def without_dropout(model: keras.Model) -> Iterator[None]:
    """Turns off the dropout of a model inside the block, for graphs that are traced there."""
    layers = [layer for layer in leaf_layers(model) if isinstance(layer, keras.layers.Dropout)]
    rates = [layer.rate for layer in layers]
    try:
        for layer in layers:
            layer.rate = 0.0
        yield
    finally:
        for layer, rate in zip(layers, rates, strict=True):
            layer.rate = rate


def _ratio(difference: float, size: float) -> float:
    return float(difference / size) if size else float(difference)


def _largest(contender: str, of: str, values: Mapping[str, float], limit: float) -> Difference:
    where = max(values, key=lambda name: values[name] if np.isfinite(values[name]) else np.inf)
    return Difference(contender, of, values[where], where, limit)
