"""MAMC's loss over pairs against nested loops, the grid of its embeddings, and how training adds the loss."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import Experiment
from clan_tf.models import MAMC
from clan_tf.models.grid import to_grid
from clan_tf.models.pair_loss import pair_losses
from clan_tf.training.optimizers import CoupledSGD
from clan_tf.training.step import TrainStep, metric_columns


def loss_of_loops(features: np.ndarray, labels: np.ndarray) -> float:
    """The mean over all anchors, by four nested loops, as the paper writes it."""
    photos, attentions = features.shape[:2]
    anchors = list(itertools.product(range(photos), range(attentions)))
    total = 0.0
    for i, p in anchors:
        groups: dict[str, list[float]] = {name: [] for name in ("sasc", "sadc", "dasc", "dadc")}
        for j, q in anchors:
            if (i, p) != (j, q):
                name = ("sa" if p == q else "da") + ("sc" if labels[i] == labels[j] else "dc")
                groups[name].append(float(features[i, p] @ features[j, q]))
        sasc, sadc, dasc, dadc = groups.values()
        for nearer, farther in ((sasc, sadc + dasc + dadc), (sadc, dadc), (dasc, dadc)):
            for positive in nearer:
                inside = 0.0
                for negative in farther:
                    inside += np.exp(negative - positive)
                total += np.log(1 + inside)
    return total / len(anchors)


def value(features: np.ndarray, labels: list[int], normalize: bool = False) -> float:
    losses = pair_losses(features.astype("float32"), np.array(labels), normalize)
    return float(np.mean(keras.ops.convert_to_numpy(losses)))


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [0, 0, 0, 1, 2], [3, 3], [0, 1, 2]])
def test_the_loss_is_that_of_nested_loops(labels: list[int], rng: np.random.Generator) -> None:
    features = rng.normal(size=(len(labels), 3, 5))
    np.testing.assert_allclose(value(features, labels), loss_of_loops(features, np.array(labels)), rtol=1e-5)
    unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
    normalised = value(features, labels, normalize=True)
    np.testing.assert_allclose(normalised, loss_of_loops(unit, np.array(labels)), rtol=1e-5)


def test_three_pairs_of_equal_features_have_the_published_formulas_value() -> None:
    # One positive beside ten others; then four, and two, each beside four of other attentions and classes.
    expected = np.log(11) + 4 * np.log(5) + 2 * np.log(5)
    assert value(np.zeros((6, 2, 4)), [0, 0, 1, 1, 2, 2]) == pytest.approx(expected, rel=1e-6)


def test_gradients_equal_finite_differences(rng: np.random.Generator) -> None:
    labels, features = [0, 0, 1, 1, 2], rng.normal(size=(5, 2, 4))
    with tf.GradientTape() as tape:
        given = tf.constant(features, tf.float32)
        tape.watch(given)
        loss = tf.reduce_mean(pair_losses(given, tf.constant(labels), normalize=False))
    gradient = tape.gradient(loss, given).numpy()
    for _ in range(3):
        direction = rng.normal(size=features.shape)
        ends = [loss_of_loops(features + step * direction, np.array(labels)) for step in (1e-5, -1e-5)]
        assert (gradient * direction).sum() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-5)


def test_the_order_of_photos_and_attentions_does_not_matter(rng: np.random.Generator) -> None:
    features, labels = rng.normal(size=(5, 2, 4)), [0, 0, 1, 1, 2]
    order = rng.permutation(5)
    before = value(features, labels)
    assert value(features[order], [labels[place] for place in order]) == pytest.approx(before, rel=1e-5)
    assert value(features[:, ::-1], labels) == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize("labels", [[0], [0, 0], [0, 1]])
def test_terms_without_any_are_0_and_have_finite_gradients(labels: list[int], rng: np.random.Generator) -> None:
    for features in (1e4 * rng.normal(size=(len(labels), 1, 4)), np.zeros((len(labels), 1, 4))):
        with tf.GradientTape() as tape:
            given = tf.constant(features, tf.float32)
            tape.watch(given)
            losses = pair_losses(given, tf.constant(labels))
        # With one attention there is never a feature of another attention, and so nothing farther than the second.
        np.testing.assert_array_equal(losses, 0)
        assert np.isfinite(tape.gradient(losses, given)).all()


@pytest.mark.parametrize("side", [8, 13, 14, 20])
def test_the_grid_is_of_means_over_windows_from_edge_to_edge(side: int, rng: np.random.Generator) -> None:
    maps = rng.normal(size=(1, side, side, 2)).astype("float32")
    inputs = keras.Input(maps.shape[1:])
    grid = np.asarray(keras.Model(inputs, to_grid(inputs, 7))(maps))
    assert grid.shape == (1, 7, 7, 2)
    window = side - 6 * (side // 7)
    first, last = maps[0, :window, :window], maps[0, -window:, -window:]
    np.testing.assert_allclose(grid[0, 0, 0], first.mean(axis=(0, 1)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grid[0, 6, 6], last.mean(axis=(0, 1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [1, 6, 7])
def test_a_coarser_map_is_its_own_grid(side: int) -> None:
    inputs = keras.Input((side, side, 2))
    assert to_grid(inputs, 7) is inputs


def test_training_adds_the_loss_over_the_pairs(rng: np.random.Generator) -> None:
    photos, labels = rng.integers(0, 256, (4, 32, 32, 3)).astype("float32"), np.array([0, 0, 1, 1], "int32")
    steps = {}
    for weight in (0.0, 0.5):
        keras.utils.set_random_seed(0)
        model = MAMC("tiny", 3, 32, feature_dim=8, pair_loss_weight=weight)
        training = Experiment.model_validate({"training": {"batch_size": 4}}).training
        optimizer = CoupledSGD(0.0)
        optimizer.build(model.trainable_variables)
        expected = model.with_outputs(["embeddings"])(photos, training=True)["embeddings"]
        step = TrainStep(model, optimizer, tf.distribute.get_strategy(), training)
        batch = (tf.constant(photos), tf.constant(labels))
        values, _ = step(iter([batch]), np.ones(1, "float32"))
        steps[weight] = dict(zip(metric_columns(model.branches, model.own_loss_weights), values, strict=True))
    assert "pairs_loss" not in steps[0.0]
    unit = np.array(expected, "float64")
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    assert steps[0.5]["pairs_loss"] == pytest.approx(loss_of_loops(unit, labels), rel=1e-3)
    assert steps[0.5]["loss"] == pytest.approx(steps[0.0]["loss"] + 0.5 * steps[0.5]["pairs_loss"], rel=1e-4)
    assert steps[0.5]["top_loss"] == pytest.approx(steps[0.0]["top_loss"], rel=1e-4)


def test_each_part_of_a_batch_has_the_loss_over_its_own_pairs(rng: np.random.Generator) -> None:
    photos, labels = rng.integers(0, 256, (8, 32, 32, 3)).astype("float32"), np.array([0, 0, 1, 1, 2, 2, 0, 0], "int32")
    keras.utils.set_random_seed(0)
    model = MAMC("tiny", 3, 32, feature_dim=8)
    training = Experiment.model_validate({"training": {"batch_size": 8, "accumulation": 2}}).training
    optimizer = CoupledSGD(0.0)
    optimizer.build(model.trainable_variables)
    parts = [slice(0, 4), slice(4, 8)]
    expected = []
    for part in parts:
        embeddings = np.asarray(
            model.with_outputs(["embeddings"])(photos[part], training=True)["embeddings"], "float64"
        )
        unit = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
        expected.append(loss_of_loops(unit, labels[part]))
    step = TrainStep(model, optimizer, tf.distribute.get_strategy(), training)
    batches = [(tf.constant(photos[part]), tf.constant(labels[part])) for part in parts]
    values, _ = step(iter(batches), np.ones(1, "float32"))
    found = dict(zip(metric_columns(model.branches, model.own_loss_weights), values, strict=True))
    assert found["pairs_loss"] == pytest.approx(np.mean(expected), rel=1e-3)
