"""Initial weights of a backbone: ImageNet's from Keras or from a package, or those of a file."""

import os
import warnings
from pathlib import Path

import keras
import numpy as np

from clan_tf.errors import UserError
from clan_tf.models.archive import require_known_model, require_plain_weights
from clan_tf.models.backbones import BackboneSpec
from clan_tf.models.efficientnet_lite import assign_torch_weights
from clan_tf.models.packaged_weights import WeightsPackage


def build_with_weights(
    name: str,
    spec: BackboneSpec,
    input_shape: tuple[int, int, int],
    weights: str | None,
    size_key: str = "data.image_size",
) -> keras.Model:
    """Builds a whole backbone with its initial weights.

    Args:
        name: the backbone's name, for messages.
        spec: its row in the table.
        input_shape: `(height, width, 3)`.
        weights: `None` or `"none"`, `"imagenet"`, or the path of a weights file.
        size_key: the key of the config that gave the size, for messages.

    Raises:
        UserError: for a size that the backbone can't take, or weights that can't be loaded.
    """
    if weights == "imagenet":
        return _with_imagenet_weights(name, spec, input_shape, size_key)
    base = _build(spec, input_shape, size_key=size_key)
    if weights not in (None, "none"):
        _load_weights(base, name, Path(os.path.expanduser(weights)))
    return base


def _build(
    spec: BackboneSpec, input_shape: tuple[int, int, int], weights: str | None = None, size_key: str = "data.image_size"
) -> keras.Model:
    try:
        if not spec.is_application:
            return spec.build(input_shape)
        return spec.build(include_top=False, input_shape=input_shape, weights=weights)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{size_key}: {input_shape[0]} can't be used with this backbone: {reason}") from error


def _with_imagenet_weights(
    name: str, spec: BackboneSpec, input_shape: tuple[int, int, int], size_key: str
) -> keras.Model:
    if spec.imagenet is None:
        raise UserError(
            f"model.weights: there are no ImageNet weights for {name!r}. "
            "Give the path of a weights file, or `none` to start from random weights."
        )
    if isinstance(spec.imagenet, WeightsPackage):
        base = _build(spec, input_shape, size_key=size_key)
        assign_torch_weights(base, spec.imagenet.read(name))
        return base
    try:
        return _build(spec, input_shape, "imagenet", size_key)
    except Exception as error:
        # Keras raises a plain `Exception` for a failed download.
        if "URL fetch failure" not in str(error):
            raise
        url = next((word for word in str(error).split() if word.startswith("http")), "the file").rstrip(":")
        raise UserError(
            f"model.weights: the ImageNet weights of {name} couldn't be downloaded. Place {url.rsplit('/', 1)[-1]} "
            f"(from {url}) in {Path(os.environ.get('KERAS_HOME', '~/.keras')) / 'models'}, or give "
            "model.weights the path of a weights file, or `none`."
        ) from error


def _load_weights(base: keras.Model, name: str, path: Path) -> None:
    if not path.is_file():
        raise UserError(f"model.weights: there is no file {path}. Give a path, `imagenet` or `none`.")
    if path.suffix not in (".h5", ".keras"):
        raise UserError(f"model.weights: {path} must end in .weights.h5, .h5 or .keras.")
    try:
        # Keras only warns about layers that keep their random weights.
        with warnings.catch_warnings(action="error", category=UserWarning):
            if path.suffix == ".keras":
                require_known_model(path)
                _copy_weights(keras.saving.load_model(path, compile=False), base, name)
            else:
                require_plain_weights(path)
                base.load_weights(path)
    except Exception as error:  # Keras raises many types of errors for a damaged or foreign file.
        reason = str(error).splitlines()[0][:500] if str(error) else type(error).__name__
        raise UserError(f"model.weights: {path} doesn't fit the backbone {name}: {reason}") from error
    if not all(np.isfinite(values).all() for values in base.get_weights()):
        raise UserError(f"model.weights: {path} holds NaN or infinity; give another file, or `none`.")


def _copy_weights(source: keras.Model, base: keras.Model, name: str) -> None:
    """Copies weights by layer name, because a model with other taps may list the same layers in another order."""
    inner = [layer for layer in source.layers if layer.name == name and isinstance(layer, keras.Model)]
    source = inner[0] if inner else source
    for layer in base.layers:
        if layer.get_weights():
            layer.set_weights(source.get_layer(layer.name).get_weights())
