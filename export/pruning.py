"""The part of a model that its outputs need."""

from collections.abc import Sequence
from typing import Any

import keras

from clan_tf.choices import chosen_weights
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
    pruned = keras.Model(model.input, outputs, name=model.name)
    maps = {name: model.backbone_model.output[name] for name in _needed_maps(model, pruned)}
    backbone = keras.Model(model.backbone_model.input, maps, name=model.backbone_model.name)
    if folded:
        backbone = fold_batch_norm(backbone)

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer:
        return fold(layer) if folded else layer

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if layer is not model.backbone_model:
            return layer(*args, **kwargs)
        # Maps that no output needs have no value; nothing uses them.
        return {**dict.fromkeys(layer.output), **backbone(*args)}

    whole = keras.models.clone_model(pruned, clone_function=replace, call_function=call)
    return fold_batch_norm(whole) if folded else whole


def _combined(model: BranchClassifier, branches: Sequence[str]) -> Tensor:
    if tuple(branches) == model.branches:
        return model.features[COMBINED]
    if len(branches) == 1:
        return model.features[branches[0]]
    logits, probabilities = ([model.features[f"{kind}{name}"] for name in branches] for kind in ("logits_", ""))
    return combined_output(logits, probabilities, model.combination, chosen_weights(branches, model.branch_weights))


def _needed_maps(model: BranchClassifier, pruned: keras.Model) -> list[str]:
    """Returns the backbone's maps that the pruned model's other layers use."""
    others = [layer for layer in pruned.operations if layer is not model.backbone_model]
    taken = {id(tensor) for layer in others for tensor in keras.tree.flatten(layer.input)}
    return [name for name in model.backbone_model.output if id(model.features[f"backbone_{name}"]) in taken]
