"""The network in PyTorch is the same, weight for weight: outputs, loss and gradients."""

from typing import Any

import keras
import numpy as np
import pytest

pytest.importorskip("torch")

from clan_tf.benchmark import peer as peers
from clan_tf.benchmark.comparison import require_same
from clan_tf.benchmark.inference import compare_predictions
from clan_tf.benchmark.prepared import Prepared, prepare
from clan_tf.benchmark.result import TORCH
from clan_tf.benchmark.torch_layers import Untranslated, same_padding
from clan_tf.benchmark.torch_network import TorchNetwork
from clan_tf.benchmark.train import LEARNING_RATE, compare_steps
from clan_tf.config import load_experiment
from clan_tf.errors import CheckFailed
from clan_tf.progress import Progress
from helpers import TINY_DEMO


def prepared(*overrides: str) -> Prepared:
    given = ("data.image_size=64", "data.resize_size=null", "training.batch_size=8", *overrides)
    return prepare(load_experiment(TINY_DEMO, given), Progress(), is_training=True)


def opened(given: Prepared, training: bool = True) -> Any:
    peer, note = peers.open_peer(given, training)
    assert note is None, note
    return peer


@pytest.mark.parametrize(
    "network",
    [
        ("model.architecture=plain", "model.backbone=mobilenet"),
        ("model.backbone=mobilenet", "model.spatial_batch_norm=true", "model.dropout=0.3"),
        ("model.architecture=plain", "model.backbone=resnet50"),
        ("model.backbone=efficientnet_lite0", "training.label_smoothing=0.1"),
        ("model.scales=3", "model.relation=embedded_gaussian", "model.spatial_activation=linear"),
        ("model.mid_refinement=non_local", "model.relation=gaussian", "data.image_size=50"),
    ],
    ids=["plain mobilenet", "mobilenet", "plain resnet50", "efficientnet_lite0", "three scales", "non-local, 50 px"],
)
def test_outputs_loss_and_gradients_are_those_of_keras(network: tuple[str, ...]) -> None:
    given = prepared(*network)
    differences = compare_steps(given, opened(given))
    require_same(differences)
    assert [each.of for each in differences if each.contender == TORCH] == ["outputs", "loss", "gradient"]
    require_same(compare_predictions(given, opened(given, training=False)))


def test_a_changed_weight_is_found() -> None:
    import torch

    given = prepared()
    peer = opened(given)
    (weight,) = [each for each in peer.network.weights if each.path.endswith("stage3_conv1/kernel")]
    with torch.no_grad():
        weight.parameter[5, 7, 1, 1] += 1.0
    with pytest.raises(CheckFailed, match=r"PyTorch doesn't compute what clan-tf computes.* at (logits_|.*stage|clca)"):
        require_same(compare_steps(given, peer))


def test_a_layer_without_a_translation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = keras.Input((8, 8, 3))
    odd = keras.Model(inputs, {"top": keras.layers.UnitNormalization(name="odd")(inputs)})
    with pytest.raises(Untranslated, match=r"odd \(UnitNormalization\)"):
        TorchNetwork(odd)
    given = prepared()
    monkeypatch.setattr(type(given.model), "with_outputs", lambda self, names: odd)
    peer, note = peers.open_peer(given, training=False)
    assert peer is None and note == "PyTorch isn't measured: it has no translation of odd (UnitNormalization)."


def test_a_recipe_that_pytorch_would_not_follow_is_not_measured() -> None:
    assert "training.ema" in str(peers.why_no_peer(prepared("training.ema=0.99"), training=True))
    assert peers.why_no_peer(prepared("training.ema=0.99"), training=False) is None


@pytest.mark.parametrize("recipe", ["sgd", "adamw"])
def test_a_step_changes_the_weights_as_the_recipe_says(recipe: str) -> None:
    given = prepared(f"training.optimizer={recipe}", "training.weight_decay_on=kernels", "training.clipnorm=1")
    peer = opened(given)
    before = [weight.parameter.detach().clone() for weight in peer.network.weights]
    rng = np.random.default_rng(0)
    photos = rng.uniform(0, 255, (8, 64, 64, 3)).astype("float32")
    step = peer.make_step(photos, np.arange(8, dtype="int32") % given.model.classes, LEARNING_RATE)
    assert np.isfinite(step()) and np.isfinite(step())
    assert any((weight.parameter != old).any() for weight, old in zip(peer.network.weights, before, strict=True))


def test_half_precision_trains() -> None:
    given = prepared("training.precision=mixed_bfloat16")
    peer = opened(given)
    require_same(compare_steps(given, peer))
    photos = np.random.default_rng(0).uniform(0, 255, (8, 64, 64, 3)).astype("float32")
    assert np.isfinite(peer.make_step(photos, np.zeros(8, "int32"), LEARNING_RATE)())


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(8, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (8, 3, 1, (1, 1)), (7, 1, 2, (0, 0))],
)
def test_padding_is_tensorflows(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    assert same_padding([size], [kernel], [stride], [1]) == [expected]
