"""Training steps and predictions of a translated network by PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import torch
from torch import nn
from torch.nn import functional as F

from clan_tf.benchmark.prepared import Prepared
from clan_tf.benchmark.torch_modules import DropPhotos
from clan_tf.benchmark.torch_network import TorchNetwork
from clan_tf.in_parallel import cores
from clan_tf.models import COMBINED


class TorchPeer:
    """A network with the weights of a Keras model, in PyTorch.

    It runs on the first GPU where TensorFlow sees one, and on all cores otherwise.

    Args:
        prepared: the model and its experiment.
        training: whether it is trained, and so computes logits, or predicts, and so computes `combined`, too.

    Raises:
        Untranslated: if a layer has no translation.
    """

    def __init__(self, prepared: Prepared, training: bool) -> None:
        model, self.recipe = prepared.model, prepared.experiment.training
        self.device = "cuda" if tf.config.list_logical_devices("GPU") else "cpu"
        if self.device == "cpu":
            torch.set_num_threads(cores())
        self.branches = model.branches
        names = [f"logits_{branch}" for branch in self.branches]
        self.network = TorchNetwork(model.with_outputs(names if training else [*names, COMBINED])).to(self.device)
        self.loss_weights = prepared.loss_weights.tolist()
        self.in_bfloat16 = prepared.dtype == "bfloat16"

    def outputs(self, photos: np.ndarray) -> dict[str, np.ndarray]:
        """Computes logits by `logits_BRANCH`, and perhaps `combined`, at inference in float32."""
        self.network.eval()
        with torch.inference_mode():
            outputs = self.network(self._tensor(photos))
        return {name: values.numpy(force=True) for name, values in outputs.items()}

    def loss_and_gradients(self, photos: np.ndarray, labels: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """Computes the loss of a training step in float32 without dropout, and its gradients by Keras' paths."""
        self.network.train()
        for module in self.network.modules():
            if isinstance(module, nn.Dropout | DropPhotos):
                module.eval()
        self.network.zero_grad()
        loss = self._loss(self.network(self._tensor(photos)), self._tensor(labels).long())
        loss.backward()
        trained = [weight for weight in self.network.weights if weight.parameter.requires_grad]
        gradients = {weight.path: weight.gradient() for weight in trained}
        self.network.zero_grad()
        return loss.item(), gradients

    def make_step(self, photos: np.ndarray, labels: np.ndarray, learning_rate: float) -> Callable[[], float]:
        """Returns a function that makes a training step on a batch and returns the loss."""
        network, recipe = self.network, self.recipe
        inputs, targets = self._tensor(photos), self._tensor(labels).long()
        optimizer = self._optimizer(learning_rate)
        network.train()

        def step() -> float:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device, torch.bfloat16, enabled=self.in_bfloat16):
                outputs = network(inputs)
            loss = self._loss(outputs, targets)
            loss.backward()
            if recipe.clipnorm:
                nn.utils.clip_grad_norm_(network.parameters(), recipe.clipnorm)
            optimizer.step()
            return loss.item()

        return step

    def make_prediction(self, photos: np.ndarray, compiled: bool = False) -> Callable[[], np.ndarray]:
        """Returns a function that computes `combined` of a batch in float32.

        Raises:
            RuntimeError: if `compiled`, and `torch.compile` doesn't work here.
        """
        network: Any = self.network.eval()
        if compiled:
            network = torch.compile(network, dynamic=False)
        inputs = self._tensor(photos)

        def predict() -> np.ndarray:
            with torch.inference_mode():
                return network(inputs)[COMBINED].numpy(force=True)

        if compiled:
            predict()
        return predict

    def _loss(self, outputs: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        losses = [
            weight
            * F.cross_entropy(outputs[f"logits_{branch}"].float(), targets, label_smoothing=self.recipe.label_smoothing)
            for branch, weight in zip(self.branches, self.loss_weights, strict=True)
        ]
        return torch.stack(losses).sum()

    def _optimizer(self, learning_rate: float) -> torch.optim.Optimizer:
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        groups: list[dict[str, Any]] = [{"params": trained}]
        if self.recipe.weight_decay_on == "kernels":
            vectors = [parameter for parameter in trained if parameter.ndim < 2]
            kernels = [parameter for parameter in trained if parameter.ndim >= 2]
            groups = [{"params": kernels}, {"params": vectors, "weight_decay": 0.0}]
        decay = self.recipe.weight_decay
        if self.recipe.optimizer == "adamw":
            return torch.optim.AdamW(groups, learning_rate, weight_decay=decay)
        return torch.optim.SGD(groups, learning_rate, self.recipe.momentum, weight_decay=decay)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)
