"""The published sizes of the bilinear methods, and what their models tap."""

import keras
import numpy as np
import pytest

from clan_tf.models import BCNN, CBP, LRBP, complexity
from helpers.models import CLASSES, IMAGE_SIZE


@pytest.mark.parametrize(
    ("kind", "features", "head"), [(BCNN, 262_144, 52_429_000), (CBP, 8_192, 1_638_600)], ids=["bcnn", "cbp"]
)
def test_sizes_are_the_published_ones(kind: type[keras.Model], features: int, head: int) -> None:
    model = kind("vgg16", 200, 448)
    assert model.features["pooled"].shape == (None, features)
    assert model.get_layer("logits_top").count_params() == head
    # 28 x 28 positions of 512 channels: before the last max pooling.
    assert model.features["backbone_top"].shape == (None, 28, 28, 512)
    cost = complexity(model)
    assert [each.macs for each in cost.relations.values()] == [784 * 512 * 512]
    assert cost.parameters["heads"] == head


def test_low_rank_weights_are_the_published_ones() -> None:
    model = LRBP("vgg16", 200, 448)
    kernels = [model.get_layer(name).kernel for name in ("projection", "logits_top")]
    assert sum(int(np.prod(kernel.shape)) for kernel in kernels) == 211_200
    macs = complexity(model).macs["heads"]
    assert macs == 784 * (512 * 100 + 100 * 8 * 200)


def test_a_wide_map_is_reduced_and_a_narrow_one_is_not() -> None:
    assert BCNN("mobilenet", CLASSES, 64).features["pooled"].shape == (None, 128**2)
    assert BCNN("mobilenet", CLASSES, 64, reduced_dim=16).features["pooled"].shape == (None, 256)
    assert [layer.name for layer in CBP("mobilenet", CLASSES, 64).layers].count("reduction") == 1
    assert CBP("mobilenet", CLASSES, 64).get_layer("reduction").filters == 512
    tiny = BCNN("tiny", CLASSES, IMAGE_SIZE)
    assert tiny.features["pooled"].shape == (None, tiny.features["backbone_top"].shape[-1] ** 2)


def test_the_reduction_starts_orthogonal() -> None:
    kernel = BCNN("mobilenet", CLASSES, 64, reduced_dim=16).get_layer("reduction").kernel.numpy()[0, 0]
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(16), atol=1e-5)


def test_the_feature_scale_multiplies_the_logits() -> None:
    photos = np.random.default_rng(0).integers(0, 256, (2, IMAGE_SIZE, IMAGE_SIZE, 3)).astype("uint8")
    logits = []
    for scale in (1.0, 10.0):
        keras.utils.set_random_seed(0)
        model = CBP("tiny", CLASSES, IMAGE_SIZE, sketch_dim=32, feature_scale=scale)
        head = model.get_layer("logits_top")
        head.kernel.assign(np.random.default_rng(1).normal(size=head.kernel.shape))
        logits.append(model.with_outputs(["logits_top"]).predict(photos, verbose=0)["logits_top"])
    np.testing.assert_allclose(logits[1], 10 * logits[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("argument", "value"), [("reduced_dim", 5000), ("feature_scale", 0), ("feature_scale", "a")])
def test_wrong_arguments_are_refused(argument: str, value: object) -> None:
    with pytest.raises(ValueError, match=argument):
        BCNN("tiny", CLASSES, IMAGE_SIZE, **{argument: value})
