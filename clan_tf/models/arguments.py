"""Checks of the values that models are made with, before anything is allocated."""

import functools
import numbers
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, Concatenate, ParamSpec, TypeVar, get_args

import numpy as np

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
_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.-]*")
"""What TensorFlow accepts as the name of a model; with other names it fails only when the model is run."""
_Own = TypeVar("_Own")
_Given = ParamSpec("_Given")


def takes_numpy_numbers(
    constructor: Callable[Concatenate[_Own, _Given], None],
) -> Callable[Concatenate[_Own, _Given], None]:
    """Gives a constructor Python's numbers for NumPy's, which Keras' layers and saved configs don't take."""

    @functools.wraps(constructor)
    def construct(self: _Own, *args: _Given.args, **kwargs: _Given.kwargs) -> None:
        given: Any = {name: _plain_number(value) for name, value in kwargs.items()}
        constructor(self, *map(_plain_number, args), **given)

    return construct


def _plain_number(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raises a `ValueError` for constructor arguments that no `BranchClassifier` can have."""
    check_whole_numbers(arguments)
    for name, choices in (("combination", Combination), ("resize_mode", ResizeMode), ("mid_pooling", MidPooling)):
        if name in arguments:
            check_choice(name, arguments[name], choices)
    dropout = arguments["dropout"]
    if not (is_number(dropout) and 0 <= dropout < 1):
        raise ValueError(f"`dropout` must be at least 0 and below 1. Received: dropout={shown(dropout)}")
    for name in ("feature_scale", "attention_scale", "distillation_temperature", "mask_slope", "attention_rate"):
        scale = arguments.get(name, 1.0)
        if not (is_number(scale) and 0 < scale <= limits.FEATURE_SCALE):
            raise ValueError(
                f"`{name}` must be above 0 and at most {limits.FEATURE_SCALE:,.0f}. Received: {name}={shown(scale)}"
            )
    margin = arguments.get("ranking_margin", 0.0)
    if not (is_number(margin) and 0 <= margin < 1):
        raise ValueError(f"`ranking_margin` must be at least 0 and below 1. Received: ranking_margin={shown(margin)}")
    for name in LOSS_WEIGHTS:
        weight = arguments.get(name, 0.0)
        if not (is_number(weight) and 0 <= weight <= limits.LOSS_WEIGHT):
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


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raises a `ValueError` unless an argument is one of the values of its type, a `Literal`."""
    values = get_args(choices)
    if value not in values:
        raise ValueError(f"`{name}` must be one of {', '.join(values)}. Received: {name}={shown(value)}")


def as_list(name: str, value: Any, of: str) -> list[Any] | None:
    """Returns an argument that is a list of texts as one, `None` if it is left out.

    Args:
        name: that of the argument.
        value: what was given.
        of: what it lists, in words.

    Raises:
        ValueError: for one text, which would be taken for its letters, and for values without an order.
    """
    if value is None:
        return None
    if isinstance(value, str | bytes | Set) or not isinstance(value, Iterable):
        remedy = f". Write {name}=[{shown(value)}]" if isinstance(value, str) else ""
        raise ValueError(f"`{name}` must be a list of {of}. Received: {name}={shown(value)}{remedy}")
    return list(value)


def as_dict(name: str, value: Any) -> dict[str, Any]:
    """Returns an argument that has a value for some branches as a dict, empty if it is left out.

    Raises:
        ValueError: for something else.
    """
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"`{name}` must be a dict by branch. Received: {name}={shown(value)}")
    return dict(value or {})


def is_number(value: Any) -> bool:
    """Returns whether a value is a real number; true and false aren't."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_model_name(value: Any) -> bool:
    """Returns whether a model can have a name: letters, digits, dots, dashes and underscores."""
    return isinstance(value, str) and bool(_NAME.fullmatch(value))


def first_twice(names: Sequence[str]) -> str | None:
    """Returns the first name that is among those before it; `None` if all are different."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


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
    if (twice := first_twice(names or [])) is not None:
        raise ValueError(f"`class_names` must be different names. Received: {shown(twice)} twice")
    if len(arguments.get("mid", ())) > limits.TAPS:
        raise ValueError(f"`mid` must name at most {limits.TAPS} layers. Received: {len(arguments['mid'])} layers")
