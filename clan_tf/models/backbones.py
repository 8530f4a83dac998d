"""The table of backbones, with the maps that CLAN taps and the preprocessing that their weights expect."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from keras import applications, ops

from clan_tf.errors import UserError, nearest, shown
from clan_tf.models import small_backbones

Preprocessing = Literal["caffe", "torch", "tf", "none"]
"""Preprocessing of photos, RGB in 0…255: Keras' names, and `"none"` if the backbone does it itself."""
_CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68], "float32")


BATCH_NORM_MOMENTUM = 0.9
"""PyTorch's default, as in the paper. Keras' 0.99 takes hundreds of steps to follow a finetuned backbone, and until
then validation sees different features than training."""


@dataclass(frozen=True)
class BackboneSpec:
    """One row of the table. The top-level map is always the backbone's output.

    Attributes:
        build: makes the backbone from `input_shape` and, for Keras Applications, `weights`.
        preprocessing: the preprocessing that its weights expect.
        mid: the mid-level layers or aliases for 2 and 3 scales, from shallow to deep.
        aliases: common names of maps, such as `conv4_x`, and their layers. `LAYER:input` is a layer's input.
        has_imagenet: whether Keras offers ImageNet weights.
    """

    build: Callable[..., keras.Model]
    preprocessing: Preprocessing
    mid: Mapping[int, tuple[str, ...]]
    aliases: Mapping[str, str] = field(default_factory=dict)
    has_imagenet: bool = True


def _vgg_aliases(blocks: tuple[int, ...], layer: str = "conv") -> dict[str, str]:
    return {
        f"conv{block}_{index}": f"block{block}_{layer}{index}"
        for block, convolutions in enumerate(blocks, start=1)
        for index in range(1, convolutions + 1)
    }


def _resnet(factory: Callable[..., keras.Model], conv3_blocks: int, conv4_blocks: int) -> BackboneSpec:
    aliases = {
        "conv2_x": "conv2_block3_out",
        "conv3_x": f"conv3_block{conv3_blocks}_out",
        "conv4_x": f"conv4_block{conv4_blocks}_out",
        "conv5_x": "conv5_block3_out",
    }
    return BackboneSpec(factory, "caffe", {2: ("conv4_x",), 3: ("conv3_x", "conv4_x")}, aliases)


def _efficientnet(factory: Callable[..., keras.Model], stage3: str, stage5: str) -> BackboneSpec:
    return BackboneSpec(factory, "none", {2: (stage5,), 3: (stage3, stage5)})


_VGG16_BLOCKS, _VGG19_BLOCKS = (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
_VGG_MID = {2: ("conv5_2",), 3: ("conv4_3", "conv5_2")}

BACKBONES: dict[str, BackboneSpec] = {
    "tiny": BackboneSpec(
        small_backbones.tiny,
        "tf",
        {2: ("stage3_relu2",), 3: ("stage2_relu2", "stage3_relu2")},
        has_imagenet=False,
    ),
    "vgg16_bn": BackboneSpec(
        small_backbones.vgg16_bn, "torch", _VGG_MID, _vgg_aliases(_VGG16_BLOCKS, "relu"), has_imagenet=False
    ),
    "vgg16": BackboneSpec(applications.VGG16, "caffe", _VGG_MID, _vgg_aliases(_VGG16_BLOCKS)),
    "vgg19": BackboneSpec(applications.VGG19, "caffe", _VGG_MID, _vgg_aliases(_VGG19_BLOCKS)),
    "resnet50": _resnet(applications.ResNet50, 4, 6),
    "resnet101": _resnet(applications.ResNet101, 4, 23),
    "resnet152": _resnet(applications.ResNet152, 8, 36),
    "mobilenet": BackboneSpec(
        applications.MobileNet, "tf", {2: ("conv_pw_11_relu",), 3: ("conv_pw_5_relu", "conv_pw_11_relu")}
    ),
    "mobilenet_v2": BackboneSpec(
        applications.MobileNetV2, "tf", {2: ("block_12_add",), 3: ("block_5_add", "block_12_add")}
    ),
    "mobilenet_v3_large": BackboneSpec(
        applications.MobileNetV3Large,
        "none",
        {2: ("expanded_conv_11_add",), 3: ("expanded_conv_5_add", "expanded_conv_11_add")},
    ),
    "efficientnet_v2_b0": _efficientnet(applications.EfficientNetV2B0, "block3b_add", "block5e_add"),
    "efficientnet_v2_b1": _efficientnet(applications.EfficientNetV2B1, "block3c_add", "block5f_add"),
    "efficientnet_v2_b2": _efficientnet(applications.EfficientNetV2B2, "block3c_add", "block5f_add"),
    "efficientnet_v2_b3": _efficientnet(applications.EfficientNetV2B3, "block3c_add", "block5g_add"),
    "convnext_tiny": BackboneSpec(
        applications.ConvNeXtTiny,
        "none",
        {2: ("stage_2",), 3: ("stage_1", "stage_2")},
        {f"stage_{stage}": f"convnext_tiny_downsampling_block_{stage}:input" for stage in range(3)},
    ),
}


def backbone_spec(name: str) -> BackboneSpec:
    """Returns the row of a backbone; raises a `UserError` with the valid names if there is none."""
    if not isinstance(name, str) or name not in BACKBONES:
        raise UserError(
            f"model.backbone: unknown backbone {shown(name)}.{nearest(str(name), list(BACKBONES))} "
            f"There are: {', '.join(BACKBONES)}."
        )
    return BACKBONES[name]


def build_backbone(name: str, image_size: int, mid: Sequence[str] = (), weights: str | None = None) -> keras.Model:
    """Builds a backbone that outputs its tapped maps.

    Args:
        name: a row of `BACKBONES`.
        image_size: side of the square photos in pixels.
        mid: the mid-level layers or aliases, from shallow to deep.
        weights: `None` or `"none"`, `"imagenet"`, or the path of a `.weights.h5`, `.h5` or `.keras` file.

    Returns:
        A model from preprocessed photos `(batch, image_size, image_size, 3)` to a dict of the maps `mid_1` … and `top`.

    Raises:
        UserError: for an unknown backbone or layer, a map that can't be used, or weights that can't be loaded.
    """
    spec = backbone_spec(name)
    base = _with_weights(name, spec, (image_size, image_size, 3), weights)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    maps = {f"mid_{index}": tap(base, spec, layer) for index, layer in enumerate(mid, start=1)}
    top = base.output
    for layer, tensor in zip(mid, maps.values(), strict=True):
        if len(tensor.shape) != 4 or tensor.shape[1] < top.shape[1] or tensor.shape[1] == 1:
            raise UserError(
                f"model.mid: {layer!r} of {name} has shape {tensor.shape[1:]}; a mid-level map must be at least as "
                f"fine as the top-level map, {top.shape[1:]}. The defaults are {', '.join(spec.mid[3])}."
            )
    return keras.Model(base.input, {**maps, "top": top}, name=name)


def tap(base: keras.Model, spec: BackboneSpec, layer: str) -> Any:
    """Returns the symbolic output of a layer given by name or alias (an alias may stand for a layer's input)."""
    name, _, is_input = spec.aliases.get(layer, layer.replace(":", "")).partition(":")
    operations = base.operations
    names = [operation.name for operation in operations]
    if name not in names:
        maps = [op.name for op in operations if len(getattr(op.output, "shape", ())) == 4]
        raise UserError(
            f"model.mid: {base.name} has no layer {layer!r}.{nearest(layer, [*spec.aliases, *maps])} "
            f"Aliases: {', '.join(spec.aliases) or 'none'}. Layers with maps: {', '.join(maps)}."
        )
    # Only aliases end in `:input`; each of their layers directly follows the map that it takes.
    return operations[names.index(name) - 1].output if is_input else operations[names.index(name)].output


def preprocess(photos: Any, mode: Preprocessing) -> Any:
    """Converts symbolic photos, RGB in 0…255, to the input that a backbone's weights expect."""
    if mode == "none":
        return photos
    if mode == "caffe":
        # As in Keras, but without stacking channels: TFLite would then quantize photos as if they went below 0.
        return ops.subtract(photos[..., ::-1], _CAFFE_MEAN_BGR)
    return applications.imagenet_utils.preprocess_input(photos, data_format="channels_last", mode=mode)


def _with_weights(name: str, spec: BackboneSpec, input_shape: tuple[int, int, int], weights: str | None) -> keras.Model:
    if weights == "imagenet":
        return _with_imagenet_weights(name, spec, input_shape)
    base = _build(spec, input_shape)
    if weights not in (None, "none"):
        _load_weights(base, name, Path(os.path.expanduser(weights)))
    return base


def _build(spec: BackboneSpec, input_shape: tuple[int, int, int], weights: str | None = None) -> keras.Model:
    try:
        if spec.build.__module__ == small_backbones.__name__:
            return spec.build(input_shape)
        return spec.build(include_top=False, input_shape=input_shape, weights=weights)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"data.image_size: {input_shape[0]} can't be used with this backbone: {reason}") from error


def _with_imagenet_weights(name: str, spec: BackboneSpec, input_shape: tuple[int, int, int]) -> keras.Model:
    if not spec.has_imagenet:
        raise UserError(
            f"model.weights: there are no ImageNet weights for {name!r}. "
            "Give the path of a weights file, or `none` to start from random weights."
        )
    try:
        return _build(spec, input_shape, "imagenet")
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
    # `archive` imports the models, which import this module.
    from clan_tf.models.archive import require_known_model, require_plain_weights

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
