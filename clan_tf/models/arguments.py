"""Checks of the values that models are made with, before anything is allocated."""

import numbers
from collections.abc import Mapping
from typing import Any, get_args

from clan_tf import limits
from clan_tf.choices import Combination, MidPooling, ResizeMode
from clan_tf.errors import shown

WHOLE_NUMBERS = {
    "classes": limits.CLASSES,
    "image_size": limits.IMAGE_SIZE,
    "resize_size": limits.RESIZE_SIZE,
    "embed_dim": limits.EMBED_DIM,
    "reduced_dim": limits.REDUCED_DIM,
    "sketch_dim": limits.SKETCH_DIM,
    "sketch_seed": limits.SEED,
    "projection_dim": limits.REDUCED_DIM,
    "rank": limits.RANK,
    "filters_per_class": limits.FILTERS,
    "attentions": limits.ATTENTIONS,
    "feature_dim": limits.EMBED_DIM,
    "reduction": limits.REDUCED_DIM,
    "embedding_grid": limits.EMBEDDING_GRID,
    "groups": limits.GROUPS,
    "crops": limits.CROPS,
    "crop_size": limits.IMAGE_SIZE,
    "proposal_grid": limits.EMBEDDING_GRID,
    "proposal_units": limits.EMBED_DIM,
    "attention_every": limits.EPOCHS,
    "parts": limits.PHOTO_PARTS,
    "sampled_size": limits.IMAGE_SIZE,
    "spatial_kernel_size": limits.KERNEL_SIZE,
}
"""Constructor arguments that are positive whole numbers, and their maxima."""
LEAST = {"attention_every": 2, "parts": 2}
"""Those that are more than 1, and their minima."""
SWITCHES = (
    "spatial_attention",
    "spatial_batch_norm",
    "head_batch_norm",
    "sqrt_features",
    "normalize_features",
    "normalize_maps",
)
LOSS_WEIGHTS = (
    "side_weight",
    "pair_loss_weight",
    "group_loss_weight",
    "auxiliary_weight",
    "distillation_weight",
    "ranking_weight",
    "compactness_weight",
    "diversity_weight",
)
"""Constructor arguments that aren't negative."""
OPTIONAL = ("resize_size", "embed_dim", "reduced_dim", "sampled_size", "crop_size")


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raises a `ValueError` for constructor arguments that no `BranchClassifier` can have."""
    check_whole_numbers(arguments)
    for name, values in (
        ("combination", get_args(Combination)),
        ("resize_mode", get_args(ResizeMode)),
        ("mid_pooling", get_args(MidPooling)),
    ):
        if arguments.get(name, values[0]) not in values:
            raise ValueError(f"`{name}` must be one of {', '.join(values)}. Received: {name}={shown(arguments[name])}")
    dropout = arguments["dropout"]
    if not (isinstance(dropout, numbers.Real) and 0 <= float(dropout) < 1):
        raise ValueError(f"`dropout` must be at least 0 and below 1. Received: dropout={shown(dropout)}")
    for name in ("feature_scale", "attention_scale", "distillation_temperature", "mask_slope", "attention_rate"):
        scale = arguments.get(name, 1.0)
        if not (isinstance(scale, numbers.Real) and 0 < float(scale) <= limits.FEATURE_SCALE):
            raise ValueError(
                f"`{name}` must be above 0 and at most {limits.FEATURE_SCALE:,.0f}. Received: {name}={shown(scale)}"
            )
    margin = arguments.get("ranking_margin", 0.0)
    if not (isinstance(margin, numbers.Real) and 0 <= float(margin) < 1):
        raise ValueError(f"`ranking_margin` must be at least 0 and below 1. Received: ranking_margin={shown(margin)}")
    for name in LOSS_WEIGHTS:
        weight = arguments.get(name, 0.0)
        if not (isinstance(weight, numbers.Real) and 0 <= float(weight) <= limits.LOSS_WEIGHT):
            raise ValueError(f"`{name}` must be from 0 to {limits.LOSS_WEIGHT:,.0f}. Received: {name}={shown(weight)}")
    for name in SWITCHES:
        if not isinstance(arguments.get(name, True), bool):
            raise ValueError(f"`{name}` must be true or false. Received: {name}={shown(arguments[name])}")
    resize_size = arguments["resize_size"]
    if resize_size is not None and resize_size < arguments["image_size"]:
        raise ValueError(
            f"`resize_size` must be at least image_size, {arguments['image_size']}. Received: resize_size={resize_size}"
        )
    _check_names(arguments)


def check_whole_numbers(arguments: Mapping[str, Any]) -> None:
    """Raises a `ValueError` unless the arguments that are positive whole numbers are, within their limits."""
    for name, most in WHOLE_NUMBERS.items():
        value = arguments.get(name)
        least = LEAST.get(name, 1)
        if name in arguments and not (value is None and name in OPTIONAL) and not _is_whole(value, least, most):
            rule = "positive number" if least == 1 else f"whole number from {least}"
            raise ValueError(f"`{name}` must be a {rule} up to {most:,}. Received: {name}={shown(value)}")


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and least <= int(value) <= most


def _check_names(arguments: Mapping[str, Any]) -> None:
    base = arguments.get("base")
    named = {"base": () if base is None else (base,), **{name: arguments.get(name) for name in ("class_names", "mid")}}
    for name, texts in named.items():
        for text in texts or ():
            if not isinstance(text, str) or len(text) > limits.NAME_LENGTH:
                raise ValueError(
                    f"`{name}` must hold texts of at most {limits.NAME_LENGTH:,} characters. Received: {shown(text)}"
                )
    names = arguments["class_names"]
    if names is not None and len(names) != arguments["classes"]:
        raise ValueError(f"`class_names` must have {arguments['classes']} names. Received: {len(names)} names")
    if len(arguments.get("mid", ())) > limits.TAPS:
        raise ValueError(f"`mid` must name at most {limits.TAPS} layers. Received: {len(arguments['mid'])} layers")
