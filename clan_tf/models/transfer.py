"""Weights of one model taken over by another, whatever the classes of the two."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import keras

from clan_tf.errors import UserError
from clan_tf.models.backbones import backbone_spec
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.ensemble import Ensemble

_NUMBER = re.compile(r"_\d+$")


@dataclass(frozen=True)
class Transfer:
    """What a model took over from another.

    Attributes:
        backbone: how many of the backbone's layers with weights, and how many it has.
        layers: names of the layers of the attention, and of those that normalise the heads' features.
        heads: branches whose heads know classes of the other model.
        classes: how many classes these heads took over, and how many they have.
        new: names of the layers and heads that start as in a new model.
    """

    backbone: tuple[int, int]
    layers: tuple[str, ...]
    heads: tuple[str, ...]
    classes: tuple[int, int]
    new: tuple[str, ...]

    def __str__(self) -> str:
        kept, all_classes = self.classes
        copied = [f"{self.backbone[0]} of {self.backbone[1]} layers of the backbone", *self.layers]
        copied += [f"{kept} of {all_classes} classes in the heads of {', '.join(self.heads)}"] if self.heads else []
        missing = all_classes - kept if self.heads else 0
        new = [*self.new, *([f"{missing} class{'es' if missing > 1 else ''}"] if missing else [])]
        return f"copied: {'; '.join(copied)}. New: {'; '.join(new) or 'nothing'}"


def copy_fitting(source: BranchClassifier, model: BranchClassifier) -> Transfer:
    """Copies all weights of `source` that have a place in `model`; the others stay as they are.

    Layers are found by name, and copied if all their weights have the same shapes and don't belong to other classes. In
    the heads, if their features are pooled and normalised alike, the weights of each class are copied that both models
    know by its name. The size of the photos may differ.

    Args:
        source: the trained model.
        model: a new one.

    Raises:
        UserError: if the models have other backbones, or mid-level maps of other layers, or the source is an ensemble.
    """
    _require_same_maps(source, model)
    inner = [pair for old, new in _backbone_pairs(source, model) for pair in _pairs(old, new)]
    copied = [_copy_layer(old, new) for new, old in inner]
    layers: dict[str, bool] = {}
    heads: dict[str, bool] = {}
    places = _common_places(source.class_names, model.class_names)
    branches = {f"logits_{branch}": branch for branch in model.branches}
    # Heads come after the layers that make their features.
    for new, old in sorted(_pairs(source, model), key=lambda pair: pair[0].name in branches):
        if new.name in branches:
            branch = branches[new.name]
            heads[branch] = (
                _pool_alike(source, model, branch)
                and all(layers.get(name, True) for name in model.head_layers(branch))
                and _copy_classes(old, new, places)
            )
        elif new not in model.backbones:
            branch = new.name.removeprefix("batch_norm_")
            if new.name in model.HEAD_LAYERS:
                is_alike = _are_alike(source, model, model.layer_arguments())
            else:
                is_alike = branch == new.name or _pool_alike(source, model, branch)
            layers[new.name] = (
                is_alike
                and (new.name not in model.CLASS_LAYERS or source.class_names == model.class_names)
                and _copy_layer(old, new)
            )
    for name, head in model.other_heads.items():
        heads[name] = _pool_alike(source, model, name) and _copy_classes(source.other_heads.get(name), head, places)
    model.prepared = frozenset(name for name, is_copied in layers.items() if is_copied and name in model.HEAD_LAYERS)
    return Transfer(
        backbone=(sum(copied), len(inner)),
        layers=tuple(name for name, is_copied in layers.items() if is_copied),
        heads=tuple(branch for branch, is_copied in heads.items() if is_copied),
        classes=(len(places), model.classes),
        new=(
            *(new.name for (new, _), is_copied in zip(inner, copied, strict=True) if not is_copied),
            *(name for name, is_copied in layers.items() if not is_copied),
            *(f"head of {branch}" for branch, is_copied in heads.items() if not is_copied),
        ),
    )


def _pool_alike(source: BranchClassifier, model: BranchClassifier, branch: str) -> bool:
    """Returns whether the head of a branch takes features of the same kind in both models."""
    return _are_alike(
        source, model, (*model.head_arguments(branch), *(["mid_pooling"] if branch.startswith("mid_") else []))
    )


def _are_alike(source: BranchClassifier, model: BranchClassifier, names: Sequence[str]) -> bool:
    """Returns whether two models have heads of the same kind, and the same values of some arguments."""
    kinds = [(each.HEAD_KIND, *(getattr(each, name, None) for name in names)) for each in (source, model)]
    return kinds[0] == kinds[1]


def _require_same_maps(source: BranchClassifier, model: BranchClassifier) -> None:
    if isinstance(source, Ensemble):
        raise UserError("it is an ensemble. Start from one of its members, such as the run of a fold")
    if source.backbone != model.backbone:
        raise UserError(
            f"it has the backbone {source.backbone}, and model.backbone is {model.backbone}. Use --set "
            f"model.backbone={source.backbone}, or start from another model"
        )
    aliases = backbone_spec(model.backbone).aliases
    mids = [[aliases.get(layer, layer) for layer in getattr(each, "mid", ())] for each in (source, model)]
    if all(mids) and mids[0] != mids[1]:
        own, other = ([*getattr(each, "mid", ())] for each in (model, source))
        raise UserError(
            f"its mid-level maps are {', '.join(other)}, and this model's are {', '.join(own)}. Use --set "
            f"'model.mid=[{', '.join(other)}]', or start from another model"
        )


def _backbone_pairs(source: BranchClassifier, model: BranchClassifier) -> list[tuple[keras.Model, keras.Model]]:
    """Returns each backbone of `model` with the one that it is copied from: its counterpart, or the classifying one."""
    counterparts = source.backbones if type(source) is type(model) else ()
    return list(zip_longest(counterparts[: len(model.backbones)], model.backbones, fillvalue=source.backbone_model))


def _pairs(source: keras.Model, model: keras.Model) -> list[tuple[keras.layers.Layer, keras.layers.Layer | None]]:
    """Returns the layers of `model` that have weights, each with its counterpart in `source` or `None`.

    Keras numbers layers without a name of their own anew in each process: those pair up in their order.
    """
    by_name = {layer.name: layer for layer in source.layers if layer.weights}
    own = [layer for layer in model.layers if layer.weights]
    left = [layer for name, layer in by_name.items() if name not in {each.name for each in own}]
    pairs: list[tuple[keras.layers.Layer, keras.layers.Layer | None]] = []
    for layer in own:
        other = by_name.get(layer.name)
        if other is None:
            other = next((each for each in left if type(each) is type(layer) and _is_numbered(layer, each)), None)
            left = [each for each in left if each is not other]
        pairs.append((layer, other))
    return pairs


def _is_numbered(layer: keras.layers.Layer, other: keras.layers.Layer) -> bool:
    """Checks whether two layers have the same name apart from a number at its end."""
    return _NUMBER.sub("", layer.name) == _NUMBER.sub("", other.name)


def _copy_layer(source: keras.layers.Layer | None, layer: keras.layers.Layer) -> bool:
    """Copies a layer's weights if all fit; returns whether they did."""
    if source is None or type(source) is not type(layer) or _shapes(source) != _shapes(layer):
        return False
    layer.set_weights(source.get_weights())
    return True


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _common_places(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Returns where the classes are that both lists name: the index in the old one and that in the new one."""
    at = {name: index for index, name in enumerate(old)}
    return [(at[name], index) for index, name in enumerate(new) if name in at]


def _copy_classes(
    source: keras.layers.Layer | None, head: keras.layers.Layer, places: Sequence[tuple[int, int]]
) -> bool:
    """Copies the weights of the classes at `places`, if the heads take the same features; returns whether they do."""
    if source is None or not places or source.kernel.shape[:-1] != head.kernel.shape[:-1]:
        return False
    old, new = (list(indices) for indices in zip(*places, strict=True))
    kernel, bias = head.get_weights()
    old_kernel, old_bias = source.get_weights()
    kernel[..., new], bias[new] = old_kernel[..., old], old_bias[old]
    head.set_weights([kernel, bias])
    return True
