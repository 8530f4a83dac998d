"""DFB: published sizes, its branches against loops, what its filters start as, and the combination by weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.errors import CheckFailed
from clan_tf.export.pruning import inference_model
from clan_tf.models import DFB, combine, complexity
from clan_tf.models.filter_bank import POSITIONS_OF_A_PHOTO, centres, strongest_vectors
from helpers.layer_loops import Arrays
from helpers.layers import assert_slopes_match

CLASSES, FILTERS = 3, 2


@pytest.fixture
def photos(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (6, 32, 32, 3)).astype("uint8")


def make(**settings: object) -> DFB:
    return DFB("tiny", CLASSES, 32, filters_per_class=FILTERS, **settings)


@pytest.mark.parametrize(
    ("backbone", "tapped", "weights"), [("vgg16", (56, 512), 1_026_000), ("resnet50", (28, 1024), 2_050_000)]
)
def test_sizes_are_the_published_ones(backbone: str, tapped: tuple[int, int], weights: int) -> None:
    model = DFB(backbone, 200, 448)
    side, channels = tapped
    assert model.features["backbone_mid_1"].shape == (None, side, side, channels)
    assert model.features["part_maxima"].shape == (None, 2000)
    assert model.get_layer("filter_bank").count_params() == weights
    assert model.get_layer("logits_part").count_params() == 400_200
    # The bank is work that every position takes: a product per weight, and what normalises and cuts its responses.
    assert complexity(model).macs["heads"] > side * side * weights


def loss_of_loops(arrays: Arrays, labels: list[int]) -> float:
    """The branches' losses, from the tapped map and the weights, by loops over photos, classes and filters."""
    total = 0.0
    for values, label in zip(arrays["maps"], labels, strict=True):
        responses = values.reshape(-1, values.shape[-1]) @ arrays["kernel"] + arrays["bias"]
        maxima = responses.max(axis=0)
        side = np.zeros(CLASSES)
        for each in range(CLASSES):
            for number in range(FILTERS):
                side[each] += maxima[each * FILTERS + number] / FILTERS
        part = maxima @ arrays["part"]
        for weight, logits in ((1.0, part), (0.1, side)):
            total += weight * (np.log(np.exp(logits).sum()) - logits[label])
    return total


def test_losses_and_gradients_are_those_of_loops(photos: np.ndarray, rng: np.random.Generator) -> None:
    keras.utils.set_random_seed(0)  # with some weights two positions are nearly equal, and a difference has a kink
    model, labels = make(filter_activation="none"), [0, 2, 1, 1, 0, 2]
    bank, head = model.get_layer("filter_bank"), model.get_layer("logits_part")
    head.kernel.assign(rng.normal(0, 0.5, head.kernel.shape))
    variables = {"kernel": bank.kernel.value, "bias": bank.bias.value, "part": head.kernel.value}
    network = model.with_outputs(["backbone_mid_1", "logits_part", "logits_side"])
    with tf.GradientTape() as tape:
        outputs = network(photos, training=False)
        loss = sum(
            weight * tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs[f"logits_{name}"]))
            for name, weight in (("part", 1.0), ("side", 0.1))
        )
    found = tape.gradient(loss, variables)
    at = {name: value.numpy().astype("float64") for name, value in variables.items()}
    at |= {"kernel": at["kernel"][0, 0], "maps": outputs["backbone_mid_1"].numpy().astype("float64")}
    np.testing.assert_allclose(loss, loss_of_loops(at, labels), rtol=1e-5)
    slopes = {name: gradient.numpy() for name, gradient in found.items()}
    slopes["kernel"] = slopes["kernel"][0, 0]
    assert_slopes_match(lambda arrays: loss_of_loops(arrays, labels), at, slopes, rng)


def test_moving_the_positions_leaves_the_answer(photos: np.ndarray, rng: np.random.Generator) -> None:
    model = make()
    tail = keras.Model(model.features["backbone_mid_1"], model.features["part_maxima"])
    maps = np.array(model.with_outputs(["backbone_mid_1"])(photos)["backbone_mid_1"])
    moved = maps.reshape(6, -1, maps.shape[-1])[:, rng.permutation(maps.shape[1] * maps.shape[2])].reshape(maps.shape)
    np.testing.assert_allclose(tail(moved), tail(maps), rtol=1e-5)


def test_filters_start_as_the_centres_of_planted_clusters(rng: np.random.Generator) -> None:
    planted = np.linalg.qr(rng.normal(size=(CLASSES * FILTERS, 16)).T)[0].T.astype("float32")
    noisy = np.repeat(planted, 30, axis=0) + rng.normal(0, 0.02, (30 * len(planted), 16))
    for label in range(CLASSES):
        own = slice(30 * FILTERS * label, 30 * FILTERS * (label + 1))
        found = centres(noisy[own], FILTERS)
        closest = found @ planted[label * FILTERS : (label + 1) * FILTERS].T
        np.testing.assert_allclose(closest.max(axis=1), 1, atol=0.01)
        assert sorted(closest.argmax(axis=1)) == list(range(FILTERS))
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_the_strongest_positions_have_no_stronger_neighbour(rng: np.random.Generator) -> None:
    values = rng.normal(size=(5, 6, 3))
    norm, expected = np.linalg.norm(values, axis=-1), []
    for y in range(5):
        for x in range(6):
            around = norm[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            if norm[y, x] == around.max():
                expected.append(values[y, x])
    expected.sort(key=lambda vector: -np.linalg.norm(vector))
    np.testing.assert_array_equal(strongest_vectors(values, 99), expected)
    np.testing.assert_array_equal(strongest_vectors(values, 2), expected[:2])
    assert not len(strongest_vectors(np.zeros((4, 4, 3)), 5))


@pytest.mark.parametrize("activation", ["bn_relu", "none"])
def test_each_class_starts_from_its_own_photos(activation: str, photos: np.ndarray) -> None:
    model = make(filter_activation=activation)
    assert model.needs_photos_to_start and not make(filter_init="random").needs_photos_to_start
    before = np.array(model.get_layer("filter_bank").kernel)[0, 0]
    labels, weights = np.array([0, 1, 0, 1, 1, 2]), np.array([1, 1, 1, 1, 1, 0], "float32")
    model.prepare([(photos[:4], labels[:4], weights[:4]), (photos[4:], labels[4:], weights[4:])])
    filters = np.array(model.get_layer("filter_bank").kernel)[0, 0]
    maps = np.array(model.with_outputs(["backbone_mid_1"])(photos)["backbone_mid_1"])
    strongest = [strongest_vectors(each, POSITIONS_OF_A_PHOTO) for each in maps]
    lengths = np.linalg.norm(np.concatenate(strongest[:5]), axis=1)
    scale = 1.0 if activation == "bn_relu" else 1 / lengths.mean()
    for label, own in ((0, strongest[0:3:2]), (1, [strongest[1], *strongest[3:5]])):
        vectors = np.concatenate(own)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        found = filters[:, label * FILTERS : (label + 1) * FILTERS].T / scale
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-4)
        # Every filter is a direction between those of this class's photos: none is of another class's alone.
        mixture = np.linalg.lstsq(vectors.T, found.T, rcond=None)[0]
        np.testing.assert_allclose(vectors.T @ mixture, found.T, atol=1e-3)
    # The last class's only photo is padding: it keeps what it had.
    np.testing.assert_array_equal(filters[:, 2 * FILTERS :], before[:, 2 * FILTERS :])


def test_features_that_are_not_finite_are_no_start(photos: np.ndarray) -> None:
    model = make()
    model.backbone_model.layers[1].kernel.assign(np.full(model.backbone_model.layers[1].kernel.shape, np.nan))
    with pytest.raises(CheckFailed, match="aren't finite"):
        model.prepare([(photos, np.array([0, 1, 2, 0, 1, 2]), np.ones(6, "float32"))])


@pytest.mark.parametrize("rule", ["logits", "probabilities"])
def test_the_combination_is_the_weighted_mean(rule: str, photos: np.ndarray, rng: np.random.Generator) -> None:
    model = make(combination=rule, side_weight=0.25)
    for name in ("global", "part"):
        kernel = model.get_layer(f"logits_{name}").kernel
        kernel.assign(rng.normal(0, 0.5, kernel.shape))
    outputs = {name: np.array(values, "float64") for name, values in model(photos).items()}
    own = [outputs[name] for name in model.branches]
    if rule == "probabilities":
        expected = (own[0] + own[1] + 0.25 * own[2]) / 2.25
    else:
        expected = np.exp((np.log(own[0]) + np.log(own[1]) + 0.25 * np.log(own[2])) / 2.25)
        expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["combined"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(combine(own, rule, (1, 1, 0.25)), expected, rtol=1e-4, atol=1e-6)
    # As an exported part: two branches of equal weight, and two of others.
    for chosen in (("global", "part"), ("part", "side")):
        weights = [model.branch_weights[name] for name in chosen]
        answer = inference_model(model, chosen, folded=False)(photos)["probabilities"]
        np.testing.assert_allclose(answer, combine([outputs[name] for name in chosen], rule, weights), atol=1e-5)


def test_a_branch_of_weight_0_has_no_part_in_the_combination() -> None:
    model = make(side_weight=0)
    assert model.loss_weights["side"] == 0
    pruned = inference_model(model, model.branches, folded=False)
    assert "logits_side" not in [layer.name for layer in pruned.layers]
    assert "logits_side" in [layer.name for layer in inference_model(make(), model.branches, folded=False).layers]


@pytest.mark.parametrize(
    ("argument", "value"),
    [("filter_init", "pca"), ("filter_activation", "relu"), ("side_weight", -1), ("filters_per_class", 0)],
)
def test_wrong_arguments_are_refused(argument: str, value: object) -> None:
    with pytest.raises(ValueError, match=argument):
        DFB("tiny", CLASSES, 32, **{argument: value})
