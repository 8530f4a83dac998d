"""The part of a model that its outputs need."""

from collections.abc import Sequence
from typing import Any

import keras

from clan_tf.choices import chosen_weights, temperature_of
from clan_tf.export.batch_norm import fold_batch_norm
from clan_tf.export.folding import fold
from clan_tf.layers.relation import Tensor
from clan_tf.models import COMBINED, BranchClassifier
from clan_tf.models.combination import combined_output
from clan_tf.runtime.exported import PROBABILITIES


def inference_model(
    model: BranchClassifier,
    branches: Sequence[str],
    per_branch: bool = False,
    features: Sequence[str] = (),
    folded: bool = True,
) -> keras.Model:
    """Builds a model that computes only what its outputs need.

    Args:
        model: the trained model.
        branches: the branches whose predictions are combined in the output `probabilities`.
        per_branch: whether the probabilities of each of these branches are outputs, too: `probabilities_BRANCH`.
        features: further features of the model to output, such as `attention_mid_1`.
        folded: whether chains of linear layers are folded into one: of CLAN's own layers, the backbone's convolutions
            with the padding before and the batch normalisation after them, and the heads with theirs.

    Returns:
        A model from photos, RGB in 0…255 `(batch, image_size, image_size, 3)`, to a dict of outputs.
    """
    outputs = {PROBABILITIES: _combined(model, branches)}
    if per_branch:
        outputs |= {f"{PROBABILITIES}_{branch}": model.features[branch] for branch in branches}
    outputs |= {name: model.features[name] for name in features}
    return _serving(keras.Model(model.input, outputs, name=model.name), model, folded)


def _serving(pruned: keras.Model, model: BranchClassifier, folded: bool) -> keras.Model:
    """Returns a part of a model with what serves in the place of its backbones and, in an ensemble, of its members."""
    backbones = {id(each): _with_maps(each, _needed_maps(each, model, pruned), folded) for each in model.backbones}
    members = {
        id(each.network): _serving(each.network, each.model, folded)
        for each in getattr(model, "members", ())
        if each.network in pruned.layers
    }

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer:
        return fold(layer) if folded else layer

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if id(layer) in members:
            return members[id(layer)](*args)
        if id(layer) not in backbones:
            return layer(*args, **kwargs)
        # Maps that no output needs have no value; nothing uses them.
        return {**dict.fromkeys(layer.output), **backbones[id(layer)](*args)}

    whole = keras.models.clone_model(pruned, clone_function=replace, call_function=call)
    return fold_batch_norm(whole) if folded else whole


def _combined(model: BranchClassifier, branches: Sequence[str]) -> Tensor:
    if tuple(branches) == model.branches:
        return model.features[COMBINED]
    if len(branches) == 1:
        return model.features[branches[0]]
    logits = [model.features[f"logits_{name}"] for name in branches]
    weights = chosen_weights(branches, model.branch_weights)
    temperature = temperature_of(branches, model.temperatures) if model.is_calibrated else None
    return combined_output(logits, model.combination, weights, temperature=temperature)


def _with_maps(backbone: keras.Model, names: Sequence[str], folded: bool) -> keras.Model:
    """Returns the part of a backbone that computes some of its maps; the backbone itself if none is needed."""
    if not names:
        return backbone
    part = keras.Model(backbone.input, {name: backbone.output[name] for name in names}, name=backbone.name)
    return fold_batch_norm(part) if folded else part


def _needed_maps(backbone: keras.Model, model: BranchClassifier, pruned: keras.Model) -> list[str]:
    """Returns the backbone's maps that the pruned model's other layers use."""
    others = [layer for layer in pruned.operations if layer not in model.backbones]
    names = keras.tree.flatten({name: name for name in backbone.output})
    taken = [tensor._keras_history for layer in others for tensor in keras.tree.flatten(layer.input)]
    return list(dict.fromkeys(names[each.tensor_index] for each in taken if each.operation is backbone))
