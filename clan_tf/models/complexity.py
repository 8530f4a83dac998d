"""Parameters, multiply-accumulates and activation memory of a model, by part.

The convention is that of the paper's Table 5: multiply-accumulates of convolutions and dense layers, plus one per bias,
two per batch-norm output, one per ReLU output and one per max-pool input. It excludes products of positions (relations)
and of channels (bilinear pooling); they are real work, and counted separately.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import keras

from clan_tf.layers import CrossLayerContextAttention, CrossLayerSpatialAttention, NonLocalBlock
from clan_tf.layers.bilinear import SecondOrderPooling
from clan_tf.layers.group_bilinear import GroupBilinear
from clan_tf.layers.part_attention import PartAttention
from clan_tf.layers.trilinear_attention import TrilinearAttention
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.ensemble import Ensemble

PARTS = ("backbone", "clca", "non_local", "clsa", "heads")
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class RelationCost:
    """Cost of a layer's products for one photo: multiply-accumulates and bytes of the largest intermediate."""

    macs: int
    bytes: int


@dataclass
class Complexity:
    """Cost of a model for one photo.

    Attributes:
        parameters: parameters by part, without those that aren't trained (batch-norm statistics), as in Table 5; those
            of all branches, but not of heads that only a loss takes.
        macs: multiply-accumulates by part, without the relations' matrix products, each layer once.
        relations: the products of positions or channels in each refinement layer and bilinear pooling.
        activation_bytes: float32 bytes of all layers' outputs, which training keeps for the backward pass.
        variables: the number of all values in a checkpoint, batch-norm statistics included.
    """

    parameters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    macs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    relations: dict[str, RelationCost] = field(default_factory=dict)
    activation_bytes: int = 0
    variables: int = 0

    @property
    def all_macs(self) -> int:
        """All multiply-accumulates, those of the products included."""
        return sum(self.macs.values()) + sum(product.macs for product in self.relations.values())

    def training_bytes(self, batch_size: int, optimizer_numbers: int = 1) -> int:
        """Estimates a training step's memory in float32, roughly: activations, weights, gradients and optimizer.

        Args:
            batch_size: how many photos are computed at a time.
            optimizer_numbers: how many numbers the optimizer keeps for each weight: 1 for momentum.
        """
        return batch_size * self.activation_bytes + (2 + optimizer_numbers) * 4 * self.variables


def complexity(model: BranchClassifier) -> Complexity:
    """Counts a model's parameters and operations, without running it."""
    cost = Complexity(variables=model.count_params())
    for layer, owner, prefix in _layers(model):
        part = _part(layer)
        calls = owner.calls_in_training(layer) if isinstance(owner, BranchClassifier) else 1
        for leaf in leaf_layers(layer):
            cost.parameters[part] += sum(prod(weight.shape) for weight in leaf.trainable_weights)
            cost.macs[part] += _macs(leaf)
            cost.activation_bytes += calls * 4 * _size(_output_shape(leaf))
            if hasattr(leaf, "working_bytes"):
                cost.activation_bytes += leaf.working_bytes(_input_shape(leaf))
        if hasattr(layer, "working_bytes") and hasattr(layer, "sublayers"):
            cost.activation_bytes += layer.working_bytes(_input_shape(layer))
        if isinstance(layer, NonLocalBlock | SecondOrderPooling | GroupBilinear | TrilinearAttention | PartAttention):
            # A refined map has the shape of the map that it is made of.
            shape = layer.output.shape if isinstance(layer, NonLocalBlock) else layer.input.shape
            macs, size = layer.product_cost(shape)
            cost.relations[prefix + layer.name] = RelationCost(macs, size)
            cost.activation_bytes += size
    return cost


def _layers(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, keras.Model, str]]:
    """Yields a model's layers, each with the model that it is of, an ensemble's members, and a prefix of its name."""
    if isinstance(model, Ensemble):
        for member in model.members:
            yield from ((layer, member.model, f"{member.network.name}/") for layer in member.network.layers)
    else:
        yield from ((layer, model, "") for layer in model.layers)


def _part(layer: keras.layers.Layer) -> str:
    if isinstance(layer, CrossLayerContextAttention):
        return "clca"
    if isinstance(layer, NonLocalBlock):
        return "non_local"
    if isinstance(layer, CrossLayerSpatialAttention):
        return "clsa"
    return "backbone" if isinstance(layer, keras.Model) else "heads"


def leaf_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yields the layers that do the work: those inside models and inside CLAN's own layers, or the layer itself."""
    children = layer.layers if isinstance(layer, keras.Model) else getattr(layer, "sublayers", ())
    if not children:
        yield layer
    for child in children:
        yield from leaf_layers(child)


def _macs(layer: keras.layers.Layer) -> int:
    own = getattr(layer, "multiply_accumulates", None)
    if own:
        return own(_input_shape(layer))
    output = _size(_output_shape(layer))
    if isinstance(layer, keras.layers.MaxPooling2D):
        return _size(_input_shape(layer))
    if isinstance(layer, keras.layers.BatchNormalization):
        return 2 * output
    if isinstance(layer, keras.layers.ReLU):
        return output
    # Each output of a convolution or dense layer takes one product per weight of its filter.
    kernel = getattr(layer, "kernel", None)
    macs = 0
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        macs = output * prod(layer.kernel.shape[:2])
    elif kernel is not None:
        macs = output * prod(kernel.shape[:-1])
    if kernel is not None and layer.use_bias:
        macs += output
    return macs + (output if _ends_in_relu(layer) else 0)


def _ends_in_relu(layer: keras.layers.Layer) -> bool:
    return getattr(layer, "activation", None) in (keras.activations.relu, keras.activations.relu6)


def _input_shape(layer: keras.layers.Layer) -> Shape:
    """Returns the first input's shape from the graph or, for layers inside other layers, from the build."""
    try:
        tensor = next(iter(keras.tree.flatten(layer.input)), None)
    except (AttributeError, ValueError):
        return layer.get_build_config()["input_shape"]
    return getattr(tensor, "shape", ())


def _output_shape(layer: keras.layers.Layer) -> Shape:
    try:
        tensor = layer.output
    except (AttributeError, ValueError):
        return layer.compute_output_shape(_input_shape(layer))
    return getattr(tensor, "shape", ())


def _size(shape: Shape) -> int:
    """Returns the number of values in one photo's part of a tensor."""
    return prod(dimension for dimension in shape[1:] if dimension) if len(shape) > 1 else 0
