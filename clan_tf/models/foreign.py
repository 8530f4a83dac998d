"""The objects that another project's `.keras` file may name, if its backbone's weights are wanted.

Keras' safe mode refuses code. It doesn't refuse layers that read files, such as string lookups, or classes of other
modules; this list has what Keras Applications consist of.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from clan_tf.errors import shown

LAYERS = frozenset(
    "Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D Cropping2D Dense DepthwiseConv2D "
    "Dropout Flatten GlobalAveragePooling2D GlobalMaxPooling2D InputLayer LayerNormalization LeakyReLU MaxPooling2D "
    "Maximum Multiply Normalization PReLU ReLU Rescaling Reshape SeparableConv2D Softmax SpatialDropout2D Subtract "
    "UpSampling2D ZeroPadding2D".split()
)
INITIALIZERS = frozenset(
    "Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones RandomNormal RandomUniform "
    "TruncatedNormal VarianceScaling Zeros".split()
)
KNOWN: Mapping[str, frozenset[str]] = {
    "keras": frozenset({"DTypePolicy", "Functional", "Model", "Sequential"}),
    "keras.models": frozenset({"Functional", "Model", "Sequential"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.layers": LAYERS,
    "keras.initializers": INITIALIZERS,
    "keras.regularizers": frozenset({"L1", "L1L2", "L2"}),
    "keras.src.ops.numpy": frozenset({"Add", "GetItem", "Multiply", "Subtract"}),
    "keras.src.applications.convnext": frozenset({"LayerScale"}),
    "keras.src.applications.inception_resnet_v2": frozenset({"CustomScaleLayer"}),
}
"""Class names by module, as in `config.json`."""


def require_known_layers(config: Any) -> None:
    """Raises a `ValueError` for the first object in a model's config that isn't in `KNOWN`."""
    for described in _objects(config):
        name, module = described["class_name"], described.get("module")
        if name == "__keras_tensor__":
            continue
        if name == "function" and _is_activation(described.get("config")):
            continue
        own_name = described.get("registered_name") in (None, name)
        if not (own_name and isinstance(module, str) and isinstance(name, str) and name in KNOWN.get(module, ())):
            raise ValueError(
                f"it holds a {shown(name).strip(chr(39))} of {shown(module)}, but only the plain layers of Keras "
                "Applications are read from files. Save the weights alone: model.save_weights('x.weights.h5')"
            )


def _is_activation(name: Any) -> bool:
    return isinstance(name, str) and not name.startswith("_") and hasattr(keras.activations, name)


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yields every mapping with a `class_name`, from the outside in."""
    if isinstance(value, Mapping):
        if "class_name" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _objects(part)
