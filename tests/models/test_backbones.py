"""The table of backbones: every tap exists, weights load by every way, mistakes are named."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from clan_tf.config.backbones import known_backbones
from clan_tf.errors import UserError
from clan_tf.models import BACKBONES, CLAN, Plain
from clan_tf.models.backbones import build_backbone, preprocess
from helpers import ROOT
from tools.write_backbones import facts, parameters

HEAVY = {
    "resnet152",
    "resnet101",
    "resnet101_v2",
    "resnet152_v2",
    "vgg19",
    "densenet169",
    "densenet201",
    "efficientnet_v2_b3",
    "efficientnet_v2_m",
    "efficientnet_v2_l",
    "convnext_tiny",
    "convnext_small",
    "convnext_base",
    "convnext_large",
}
"""Their taps and sizes are checked by `pytest -m soak`; they take a minute together."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.soak if name in HEAVY else ()) for name in BACKBONES]
)
def test_default_taps_are_finer_than_the_top_or_equal(name: str) -> None:
    if name.startswith("convnext"):
        # Late in the suite's process tracing Keras' LayerScale ends with a ResourceExhaustedError.
        code = f"import test_backbones; test_backbones.require_finer_taps({name!r})"
        environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment, check=True)
    else:
        require_finer_taps(name)


def require_finer_taps(name: str) -> None:
    model = build_backbone(name, 64, BACKBONES[name].mid[3])
    assert parameters(model) == known_backbones()[name].parameters, "run tests/tools/write_backbones.py"
    sides = [model.output[key].shape[1] for key in ("mid_1", "mid_2", "top")]
    assert sides[0] == 2 * sides[1] == 4 * sides[2]


def test_the_aliases_of_the_deep_resnets_name_the_last_block_of_each_group() -> None:
    for name in ("resnet101", "resnet152"):
        application = getattr(keras.applications, name.replace("resnet", "ResNet"))
        model = application(include_top=False, weights=None, input_shape=(32, 32, 3))
        assert parameters(model) == known_backbones()[name].parameters
        layers = {layer.name for layer in model.layers}
        for alias, layer in BACKBONES[name].aliases.items():
            group, block = layer.split("_block")
            following = f"{group}_block{int(block.split('_')[0]) + 1}_out"
            assert layer in layers and following not in layers, alias


def test_what_is_listed_of_backbones_is_what_their_table_says() -> None:
    listed = {
        name: (row.imagenet, row.preprocessing, *(" ".join(row.mid[scales]) for scales in (2, 3)))
        for name, row in known_backbones().items()
    }
    assert listed == {name: facts(spec) for name, spec in BACKBONES.items()}, "run tests/tools/write_backbones.py"


def test_vgg16_bn_has_the_papers_parameters() -> None:
    model = build_backbone("vgg16_bn", 32)
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == 14_723_136


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_preprocessing_in_the_graph_equals_the_arithmetic(mode: str, rng: np.random.Generator) -> None:
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, preprocess(inputs, mode))
    photos = rng.uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    if mode == "tf":
        expected = photos / 127.5 - 1
    elif mode == "torch":
        expected = (photos / 255 - (0.485, 0.456, 0.406)) / np.array((0.229, 0.224, 0.225))
    else:
        expected = photos[..., ::-1] - np.array((103.939, 116.779, 123.68))
    np.testing.assert_allclose(np.array(model(photos)), expected, atol=1e-4)


def test_weights_load_from_every_kind_of_file(tmp_path: Path) -> None:
    source = build_backbone("tiny", 32, ("stage3_relu2",))
    source.save_weights(tmp_path / "tiny.weights.h5")
    source.save(tmp_path / "tiny.keras")
    clan = CLAN("tiny", 3, image_size=32)
    clan.save(tmp_path / "clan.keras")
    for file, expected in (("tiny.weights.h5", source), ("tiny.keras", source), ("clan.keras", clan.backbone_model)):
        loaded = Plain("tiny", 5, image_size=32, weights=str(tmp_path / file)).backbone_model
        for layer in (layer for layer in expected.layers if layer.weights):
            for a, b in zip(layer.get_weights(), loaded.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    build_backbone("tiny", 32).save_weights(tmp_path / "tiny.weights.h5")
    (tmp_path / "junk.h5").write_text("junk", encoding="utf-8")
    for weights, expected in (
        (str(tmp_path / "none.h5"), "there is no file"),
        (str(tmp_path / "junk.h5"), "doesn't fit"),
        (str(tmp_path / "tiny.weights.h5"), "doesn't fit"),
        (str(tmp_path), "there is no file"),
        ("imagenet", "no ImageNet weights"),
    ):
        with pytest.raises(UserError, match=expected):
            build_backbone("vgg16_bn", 32, weights=weights)


def test_imagenet_without_a_network_says_what_to_place_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"Place mobilenet_1_0_224_tf_no_top.h5 .* in .*models"):
        build_backbone("mobilenet", 224, weights="imagenet")


@pytest.mark.parametrize(
    ("mid", "expected"),
    [(["stage3_rleu2"], "Did you mean stage3_relu2"), (["stage4_conv1x"], "no layer")],
)
def test_a_tap_that_does_not_exist_is_refused_with_the_right_ones(mid: list[str], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        CLAN("tiny", 3, image_size=32, mid=mid)


def test_a_map_coarser_than_the_top_is_refused() -> None:
    with pytest.raises(UserError, match="efficientnet_v2_b0 has shape"):
        build_backbone("efficientnet_v2_b0", 64, ("block6a_se_expand",))


def test_loading_a_saved_model_never_asks_for_weights(tmp_path: Path) -> None:
    build_backbone("tiny", 32).save_weights(tmp_path / "tiny.weights.h5")
    model = CLAN("tiny", 3, image_size=32, weights=str(tmp_path / "tiny.weights.h5"))
    (tmp_path / "tiny.weights.h5").unlink()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert "weights" not in model.get_config()


def test_features_are_reachable_by_name_in_any_number_of_scales(rng: np.random.Generator) -> None:
    model = CLAN("tiny", 3, image_size=32, mid=["stage1_relu2", "stage2_relu2", "stage3_relu2"])
    assert model.branches == ("mid_1", "mid_2", "mid_3", "top", "refined_top")
    photos = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    answers = model.with_outputs(["attention_mid_1", "refined_mid_3", "backbone_top"])(photos)
    assert answers["attention_mid_1"].shape == (2, 16, 16, 1)
    assert answers["refined_mid_3"].shape == (2, 4, 4, 96)
    with pytest.raises(ValueError, match="attention_mid_1"):
        model.with_outputs(["attention_mid_9"])


def test_photos_that_are_too_small_are_named_with_the_size_that_serves() -> None:
    with pytest.raises(UserError, match=r"data.image_size: 16 is too small for efficientnet_lite0.*Use 32 or more"):
        CLAN("efficientnet_lite0", 5, 16, weights=None)
    CLAN("efficientnet_lite0", 5, 32, weights=None)
