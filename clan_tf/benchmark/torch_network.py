"""A Keras model as a PyTorch module with the same weights, made from its graph, operation by operation."""

from typing import Any

import keras
import torch
from torch import fx, nn

from clan_tf.benchmark.torch_attention import TorchRefinement, TorchSpatialAttention
from clan_tf.benchmark.torch_layers import Translator, Untranslated, translate
from clan_tf.benchmark.torch_modules import InFloat32
from clan_tf.layers import CrossLayerContextAttention, CrossLayerSpatialAttention, NonLocalBlock


class TorchNetwork(nn.Module):
    """The same network, weight for weight.

    It takes photos as Keras does, `(batch, height, width, 3)`, and computes on `channels_last` maps.

    Args:
        model: a functional model with one input, whose outputs are a dict of vectors.

    Raises:
        Untranslated: if a layer has no translation.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        translator = Translator()
        self.graph = translate_graph(model, translator)
        self.weights = translator.weights
        self.names = [name for name, _ in sorted(model.output.items())]
        self.to(memory_format=torch.channels_last)

    def forward(self, photos: torch.Tensor) -> dict[str, torch.Tensor]:
        """Computes the model's outputs by name."""
        # A view: it is what a map in `channels_last` is in memory.
        outputs = self.graph(photos.permute(0, 3, 1, 2))
        return dict(zip(self.names, outputs, strict=True))


def translate_graph(model: keras.Model, translator: Translator) -> fx.GraphModule:
    """Translates a functional model to a module that returns a tuple of its outputs, in Keras' order.

    Raises:
        Untranslated: if a layer has no translation.
    """
    graph, modules = fx.Graph(), nn.ModuleDict()
    values = {id(tensor): graph.placeholder(f"input_{index}") for index, tensor in enumerate(model.inputs)}
    # Keras offers its graph only by names that begin with an underscore; this is the order in which it runs.
    by_depth = model._nodes_by_depth
    for node in (node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]):
        if all(id(tensor) in values for tensor in node.outputs):
            continue
        name = f"operation_{len(modules)}"
        modules[name] = _module_of(node, translator)
        result = graph.call_module(name, tuple(values[id(tensor)] for tensor in node.input_tensors))
        if len(node.outputs) == 1 and not isinstance(node.operation, keras.Model):
            values[id(node.outputs[0])] = result
        else:
            for index, tensor in enumerate(node.outputs):
                values[id(tensor)] = graph.call_function(_item, (result, index))
    graph.output(tuple(values[id(tensor)] for tensor in model.outputs))
    _work_in_place(graph, modules)
    return fx.GraphModule(dict(modules.items()), graph)


def _module_of(node: Any, translator: Translator) -> nn.Module:
    operation, inputs = node.operation, node.input_tensors
    sizes = [tuple(tensor.shape[1:3]) for tensor in inputs]
    if isinstance(operation, keras.Model):
        if not hasattr(operation, "_nodes_by_depth"):
            raise Untranslated(f"{operation.name} (a model without a graph)")
        return translate_graph(operation, translator)
    if type(operation) in (NonLocalBlock, CrossLayerContextAttention):
        return TorchRefinement(operation, translator, sizes[0], sizes[1] if len(sizes) > 1 else None)
    if type(operation) is CrossLayerSpatialAttention:
        return TorchSpatialAttention(operation, translator, *sizes)
    module = translate(operation, inputs, node.arguments.args, translator)
    in_float32 = isinstance(operation, keras.layers.Layer) and operation.compute_dtype == "float32"
    return InFloat32(module) if in_float32 and _has_half_precision(operation) else module


def _has_half_precision(layer: keras.layers.Layer) -> bool:
    """Checks whether a layer in float32 gets inputs of half precision."""
    return any(str(tensor.dtype) != "float32" for tensor in keras.tree.flatten(layer.input))


def _item(values: Any, index: int) -> torch.Tensor:
    return values[index]


def _work_in_place(graph: fx.Graph, modules: nn.ModuleDict) -> None:
    """Lets a ReLU overwrite a batch norm's output that nothing else needs, as PyTorch's own networks do."""
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], nn.ReLU | nn.ReLU6):
            continue
        source = node.args[0]
        if source.op == "call_module" and len(source.users) == 1:
            modules[node.target].inplace = isinstance(modules[source.target], nn.BatchNorm2d)
