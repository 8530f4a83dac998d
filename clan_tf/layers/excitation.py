"""Several attentions over the channels of one map, each of which is to see another part."""

from typing import Any

import keras
from keras import ops

from clan_tf.layers.non_local import Shape, require_map
from clan_tf.layers.relation import Tensor


@keras.saving.register_keras_serializable(package="clan_tf")
class OneSqueezeMultiExcitation(keras.layers.Layer):
    """Weights the channels of a map in several ways, each computed from the channels' means (OSME).

    `S_p = sigmoid(relu(z W1_p + c_p) W2_p + d_p) X`, where `z` are the means of `X` over its positions: the gate of a
    squeeze-and-excitation block, once for every attention `p`.

    Args:
        attentions: how many there are.
        reduction: how many times fewer numbers than channels a gate has inside.

    Call arguments:
        maps: `(batch, height, width, channels)`.

    Returns:
        A tuple of as many maps as there are attentions, each of the shape of `maps`.

    Raises:
        ValueError: if an argument is invalid, or the input isn't a map with a known number of channels.

    Reference:
        Sun, Yuan, Zhou and Ding, Multi-Attention Multi-Class Constraint for Fine-grained Image Recognition, ECCV 2018.
    """

    def __init__(self, attentions: int = 2, reduction: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("attentions", attentions), ("reduction", reduction)):
            if value < 1:
                raise ValueError(f"`{name}` must be a positive number. Received: {name}={value!r}")
        self.attentions = attentions
        self.reduction = reduction

    def build(self, shape: Shape) -> None:
        """Creates the gates, from the shape of `maps`."""
        require_map("maps", shape)
        channels = shape[-1]
        inside = max(1, channels // self.reduction)
        self.gates = []
        for number in range(1, self.attentions + 1):
            squeeze = keras.layers.Dense(inside, activation="relu", dtype=self.dtype_policy, name=f"squeeze_{number}")
            excite = keras.layers.Dense(
                channels, activation="sigmoid", dtype=self.dtype_policy, name=f"excite_{number}"
            )
            squeeze.build((shape[0], channels))
            excite.build((shape[0], inside))
            self.gates.append((squeeze, excite))

    def call(self, maps):
        """Weights the channels of `maps`."""
        means = ops.mean(maps, axis=(1, 2))
        return tuple(maps * excite(squeeze(means))[:, None, None, :] for squeeze, excite in self.gates)

    def working_bytes(self, shape: Shape) -> int:
        """Counts the float32 bytes of the weighted maps of one photo, which training keeps."""
        return 4 * self.attentions * shape[1] * shape[2] * shape[3]

    @property
    def sublayers(self) -> list[keras.layers.Layer]:
        """The layers with parameters inside this one, available once it is built."""
        return [layer for gate in self.gates for layer in gate]

    def compute_output_shape(self, shape: Shape) -> tuple[Shape, ...]:
        """Returns the shape of `maps` for each attention."""
        return (shape,) * self.attentions

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "attentions": self.attentions, "reduction": self.reduction}


@keras.saving.register_keras_serializable(package="clan_tf")
class MeanAttention(keras.layers.Layer):
    """How strong a map is at each position, for people to look at: the mean over its channels, from 0 to 1.

    Negative means count as 0, and the largest value of each photo is 1.

    Call arguments:
        maps: `(batch, height, width, channels)`.

    Returns:
        `(batch, height, width, 1)`.
    """

    def call(self, maps):
        """Averages `maps` over the channels."""
        return as_shown(ops.mean(maps, axis=-1, keepdims=True))

    def compute_output_shape(self, shape: Shape) -> Shape:
        """Returns `(batch, height, width, 1)`."""
        return (*shape[:3], 1)


def as_shown(strength: Tensor) -> Tensor:
    """Cuts maps `(batch, height, width, 1)` at 0 and divides each by its largest value; maps of 0 stay so."""
    positive = ops.relu(strength)
    return positive / ops.maximum(ops.max(positive, axis=(1, 2), keepdims=True), keras.config.epsilon())
