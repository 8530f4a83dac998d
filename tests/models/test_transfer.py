"""What a model takes over from another, judged by what both answer for the same photos."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from clan_tf.errors import UserError
from clan_tf.models import BCNN, CBP, CLAN, DFB, LRBP, BranchClassifier, Plain
from clan_tf.models.transfer import copy_fitting
from helpers import ROOT
from helpers.models import randomize_heads

OLD, NEW = ["crow", "gull", "wren"], ["wren", "owl", "crow", "tern"]
COMMON = {"wren": (2, 0), "crow": (0, 2)}
"""Where each class is that both know."""


def trained(model: BranchClassifier, rng: np.random.Generator) -> BranchClassifier:
    """Random weights everywhere, so that nothing is right by chance."""
    for variable in randomize_heads(model).weights:
        variable.assign(rng.uniform(0.01, 0.1, variable.shape))
    return model


def logits(model: BranchClassifier, photos: np.ndarray) -> dict[str, np.ndarray]:
    return {branch: np.array(values) for branch, values in model.logits_model()(photos).items()}


def test_classes_of_the_same_name_are_answered_as_before_and_new_ones_start_at_0(rng: np.random.Generator) -> None:
    old = trained(CLAN("tiny", 3, 32, class_names=OLD, scales=3), rng)
    new = CLAN("tiny", 4, 32, class_names=NEW, scales=3)
    transfer = copy_fitting(old, new)
    photos = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    before, after = logits(old, photos), logits(new, photos)
    assert all(np.isfinite(values).all() for values in before.values())
    for branch in new.branches:
        for was, now in COMMON.values():
            np.testing.assert_allclose(after[branch][:, now], before[branch][:, was], rtol=1e-4)
        np.testing.assert_array_equal(after[branch][:, [1, 3]], 0)
    assert transfer.backbone == (16, 16) and transfer.classes == (2, 4)
    heads = [f"batch_norm_{branch}" for branch in new.branches]
    assert sorted(transfer.layers) == sorted(["clca_mid_1", "clca_mid_2", "clsa_mid_1", "clsa_mid_2", *heads])
    assert "16 of 16 layers of the backbone" in str(transfer) and "New: 2 classes" in str(transfer)


@pytest.mark.parametrize(("source", "target"), [(Plain, CLAN), (CLAN, Plain)])
def test_between_architectures_the_backbone_and_the_head_on_it_are_kept(
    source: Any, target: Any, rng: np.random.Generator
) -> None:
    settings = {"class_names": OLD, "head_batch_norm": False}
    old, new = trained(source("tiny", 3, 32, **settings), rng), target("tiny", 3, 32, **settings)
    transfer = copy_fitting(old, new)
    photos = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(logits(new, photos)["top"], logits(old, photos)["top"], rtol=1e-4)
    assert transfer.heads == ("top",)
    assert ("head of mid_1" in transfer.new) == (target is CLAN)


def test_a_head_that_normalises_its_features_takes_over_none_that_does_not(rng: np.random.Generator) -> None:
    old = trained(Plain("tiny", 3, 32, class_names=OLD), rng)
    new = CLAN("tiny", 3, 32, class_names=OLD)
    transfer = copy_fitting(old, new)
    assert transfer.heads == () and {"head of top", "batch_norm_top"} <= set(transfer.new)
    assert not np.any(new.get_layer("logits_top").kernel)


def test_a_mid_level_head_on_means_takes_over_none_on_maxima(rng: np.random.Generator) -> None:
    old = trained(CLAN("tiny", 3, 32, class_names=OLD, mid_pooling="avg"), rng)
    transfer = copy_fitting(old, CLAN("tiny", 3, 32, class_names=OLD))
    assert transfer.heads == ("top", "refined_top")
    assert {"head of mid_1", "batch_norm_mid_1"} <= set(transfer.new) and "batch_norm_top" in transfer.layers


def test_a_layer_of_another_shape_starts_anew_as_a_whole_and_photos_may_have_another_size(
    rng: np.random.Generator,
) -> None:
    old = trained(CLAN("tiny", 3, 32, class_names=OLD, embed_dim=8, spatial_batch_norm=False), rng)
    new = CLAN("tiny", 3, 64, class_names=["a", "b", "c"], embed_dim=12, spatial_pooling="max")
    before = new.get_layer("clca_mid_1").get_weights()
    transfer = copy_fitting(old, new)
    for a, b in zip(before, new.get_layer("clca_mid_1").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not [name for name in transfer.layers if "batch_norm" not in name] and transfer.heads == ()
    assert {"clca_mid_1", "clsa_mid_1", "head of top"} <= set(transfer.new)


def test_layers_that_keras_numbers_are_found_whatever_their_number() -> None:
    # Late in the suite's process tracing Keras' LayerScale ends with a ResourceExhaustedError.
    code = "import test_transfer; test_transfer.require_numbered_layers_are_found()"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment, check=True)


def require_numbered_layers_are_found() -> None:
    """Checks ConvNeXt's last normalisation."""
    rng = np.random.default_rng(0)
    old, new = (Plain("convnext_tiny", 2, 32) for _ in range(2))
    names = [{layer.name for layer in model.backbone_model.layers} for model in (old, new)]
    assert names[0] != names[1]
    trained(old, rng)
    transfer = copy_fitting(old, new)
    assert transfer.backbone[0] == transfer.backbone[1] > 90
    for a, b in zip(old.backbone_model.weights, new.backbone_model.weights, strict=True):
        np.testing.assert_array_equal(np.array(a), np.array(b))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: Plain("mobilenet", 3, 32), "has the backbone tiny, and model.backbone is mobilenet. Use --set"),
        (
            lambda: CLAN("tiny", 3, 32, mid=["stage2_relu2"]),
            r"maps are stage3_relu2, and this model's are stage2_relu2. .*'model.mid=\[stage3_relu2\]'",
        ),
    ],
)
def test_another_backbone_or_other_maps_are_refused_with_both_values(model: Any, message: str) -> None:
    keras.utils.set_random_seed(0)
    with pytest.raises(UserError, match=message):
        copy_fitting(CLAN("tiny", 3, 32), model())


METHODS: list[tuple[Any, dict[str, Any]]] = [
    (BCNN, {"base": "stage2_relu2", "reduced_dim": 6}),
    (CBP, {"sketch_dim": 40, "reduced_dim": 6}),
    (LRBP, {"projection_dim": 9, "rank": 4}),
]


@pytest.mark.parametrize(("kind", "own"), METHODS, ids=["bcnn", "cbp", "lrbp"])
def test_the_bilinear_heads_keep_the_classes_that_both_know(
    kind: Any, own: dict[str, Any], rng: np.random.Generator
) -> None:
    old = trained(kind("tiny", 3, 32, class_names=OLD, **own), rng)
    new = kind("tiny", 4, 32, class_names=NEW, **own)
    transfer = copy_fitting(old, new)
    assert transfer.heads == ("top",) and transfer.classes == (2, 4)
    assert not new.needs_photos_to_start
    photos = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    before, after = logits(old, photos)["top"], logits(new, photos)["top"]
    for was, now in COMMON.values():
        np.testing.assert_allclose(after[:, now], before[:, was], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "own", "other"),
    [
        (CBP, {"sketch_dim": 40}, {"sketch_seed": 2}),
        (BCNN, {"base": "stage3_relu2", "reduced_dim": 6}, {"base": "stage2_relu2"}),
        (BCNN, {"reduced_dim": 6}, {"feature_scale": 3.0}),
        (LRBP, {"projection_dim": 9}, {"sqrt_features": False}),
        (LRBP, {"projection_dim": 9}, {"base": "stage2_relu2"}),
    ],
)
def test_heads_on_other_features_start_anew(
    kind: Any, own: dict[str, Any], other: dict[str, Any], rng: np.random.Generator
) -> None:
    old, new = trained(kind("tiny", 3, 32, **own), rng), kind("tiny", 3, 32, **{**own, **other})
    before = new.get_layer("logits_top").get_weights()
    transfer = copy_fitting(old, new)
    assert transfer.heads == () and "head of top" in transfer.new
    # What lies between takes other features, too: principal components are those of the new ones.
    assert not set(transfer.layers) & {"reduction", "projection"}
    assert new.needs_photos_to_start == (kind is LRBP)
    for old_values, values in zip(before, new.get_layer("logits_top").get_weights(), strict=True):
        np.testing.assert_array_equal(values, old_values)


@pytest.mark.parametrize("kind", [BCNN, CBP, LRBP])
def test_a_head_of_another_kind_starts_anew(kind: Any, rng: np.random.Generator) -> None:
    transfer = copy_fitting(trained(Plain("tiny", 3, 32), rng), kind("tiny", 3, 32))
    assert transfer.heads == () and transfer.backbone == (16, 16)


@pytest.mark.parametrize("names", [OLD, ["crow", "owl", "wren"]])
def test_the_filters_of_classes_are_kept_between_the_same_classes_alone(
    names: list[str], rng: np.random.Generator
) -> None:
    old = trained(DFB("tiny", 3, 32, filters_per_class=2, class_names=OLD), rng)
    new = DFB("tiny", 3, 32, filters_per_class=2, class_names=names)
    transfer = copy_fitting(old, new)
    same = names == OLD
    assert transfer.heads == (("global", "part") if same else ("global",))
    assert ("filter_bank" in transfer.layers) == ("batch_norm_bank" in transfer.layers) == same
    assert new.needs_photos_to_start == (not same)
    photos = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    before, after = logits(old, photos), logits(new, photos)
    np.testing.assert_allclose(after["global"][:, [0, 2]], before["global"][:, [0, 2]], rtol=1e-4)
    if same:
        np.testing.assert_allclose(after["side"], before["side"], rtol=1e-4)


def test_the_head_on_the_top_level_map_does_not_depend_on_the_filters(rng: np.random.Generator) -> None:
    old = trained(DFB("tiny", 3, 32, filters_per_class=2), rng)
    transfer = copy_fitting(old, DFB("tiny", 3, 32, filters_per_class=4, base="stage2_relu2"))
    assert transfer.heads == ("global",) and not transfer.layers
