"""The loss for classes of unequal numbers of photos: against loops, papers' formulas, scikit-learn and autodiff."""

import math
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from clan_tf.config import Experiment, TrainingConfig, load_experiment, with_values
from clan_tf.data import read_source
from clan_tf.errors import UserError
from clan_tf.models import CLAN, load_model
from clan_tf.run import RunDirectory
from clan_tf.training import train
from clan_tf.training.balanced_loss import balanced_cross_entropy
from clan_tf.training.class_balance import ClassBalance, describe_balance
from clan_tf.training.optimizers import CoupledSGD
from clan_tf.training.plan import plan_training
from clan_tf.training.step import TrainStep
from helpers import TINY_DEMO
from helpers.models import randomize_heads

NAMES = ("owl", "grün", "No. 7", "wren")
LABELS = np.array([0] * 9 + [1] * 4 + [2] * 2 + [3])
WEIGHTS = np.array([0.25, 1.0, 0.0, 4.0])
SHIFT = np.log([0.5, 0.25, 0.15, 0.1])


def loop_loss(
    shares: np.ndarray, logits: np.ndarray, weights: np.ndarray | None, shift: np.ndarray | None, gamma: float
) -> list[float]:
    """The loss of each photo, one class after the other."""
    losses = []
    for photo_shares, photo_logits in zip(shares, logits, strict=True):
        classes = range(len(photo_logits))
        adjusted = [photo_logits[c] + (0 if shift is None else shift[c]) for c in classes]
        total = sum(math.exp(value) for value in adjusted)
        loss = 0.0
        for c in classes:
            probability = math.exp(adjusted[c]) / total
            weight = 1 if weights is None else weights[c]
            loss -= weight * photo_shares[c] * (1 - probability) ** gamma * math.log(probability)
        losses.append(loss)
    return losses


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("shift", [None, SHIFT], ids=["no shift", "shift"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["no weights", "weights"])
@pytest.mark.parametrize("mixed", [False, True], ids=["one class", "shares"])
def test_the_loss_and_its_gradient_are_those_of_loops(
    mixed: bool, weights: np.ndarray | None, shift: np.ndarray | None, gamma: float, rng: np.random.Generator
) -> None:
    logits = rng.normal(0, 2, (5, 4))
    shares = rng.dirichlet(np.ones(4), 5) if mixed else np.eye(4)[rng.integers(0, 4, 5)]
    at = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(at)
        losses = balanced_cross_entropy(tf.constant(shares), at, weights, shift, gamma)
    np.testing.assert_allclose(losses, loop_loss(shares, logits, weights, shift, gamma), rtol=1e-10, atol=1e-12)
    gradient, small = np.empty_like(logits), 1e-5
    for index in np.ndindex(*logits.shape):
        ends = [logits.copy(), logits.copy()]
        ends[0][index] += small
        ends[1][index] -= small
        above, below = (sum(loop_loss(shares, end, weights, shift, gamma)) for end in ends)
        gradient[index] = (above - below) / (2 * small)
    np.testing.assert_allclose(tape.gradient(losses, at), gradient, atol=1e-8)


def test_logit_adjustment_has_the_value_and_gradient_of_the_papers_equation(rng: np.random.Generator) -> None:
    """Eq. 10 of Menon et al.: log(1 + sum over the other classes of (prior ratio)^tau exp(difference of logits))."""
    labels, tau = np.array([3, 0, 2]), 1.5
    priors = np.bincount(LABELS) / len(LABELS)
    logits = tf.constant(rng.normal(0, 2, (3, 4)))
    balance = ClassBalance.of(TrainingConfig(logit_adjustment=tau), NAMES, LABELS)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        own = balanced_cross_entropy(tf.one_hot(labels, 4), logits, balance.weights, balance.shift, balance.gamma)
        ratios = tf.constant((priors[None, :] / priors[labels][:, None]) ** tau) * (1 - np.eye(4)[labels])
        differences = logits - tf.gather(logits, labels, axis=1, batch_dims=1)[:, None]
        published = tf.math.log(1 + tf.reduce_sum(ratios * tf.exp(differences), axis=1))
    np.testing.assert_allclose(own, published, rtol=1e-10)
    np.testing.assert_allclose(tape.gradient(own, logits), tape.gradient(published, logits), atol=1e-12)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0, 100.0])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_focal_loss_stays_finite_where_a_probability_is_1_or_0(gamma: float, dtype: str) -> None:
    logits = tf.cast([[300.0, 0.0], [0.0, 300.0], [17.0, 0.0], [0.0, 0.0]], dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = balanced_cross_entropy(tf.constant([[1.0, 0.0]] * 4), logits, gamma=gamma)
    assert losses.dtype == tf.float32
    np.testing.assert_allclose(losses, [0, 300, 0, 0.5**gamma * math.log(2)], atol=1e-6)
    assert np.isfinite(tf.cast(tape.gradient(losses, logits), "float32")).all()


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    balance = ClassBalance.of(TrainingConfig(class_weights="balanced"), NAMES, LABELS)
    expected = compute_class_weight("balanced", classes=np.arange(4), y=LABELS)
    np.testing.assert_allclose(balance.weights, expected, rtol=1e-15)
    assert balance.weights[LABELS].mean() == pytest.approx(1), "so that the learning rate keeps its meaning"


def test_classes_that_a_mapping_leaves_out_weigh_1_and_names_are_compared_as_the_data_has_them() -> None:
    given = {" wren\ufeff": 4, "gru\u0308n": 0.5}
    balance = ClassBalance.of(TrainingConfig(class_weights=given), NAMES, LABELS)
    assert balance.weights.tolist() == [1, 0.5, 1, 4]


@pytest.mark.parametrize(
    ("recipe", "labels"),
    [
        ({}, LABELS),
        ({"class_weights": {"owl": 1, "wren": 1.0}}, LABELS),
        ({"class_weights": {}}, LABELS),
        ({"class_weights": "balanced"}, np.repeat(np.arange(4), 7)),
        ({"logit_adjustment": 0, "focal_gamma": 0}, LABELS),
    ],
)
def test_what_changes_nothing_leaves_the_cross_entropy_itself(recipe: dict, labels: np.ndarray) -> None:
    assert ClassBalance.of(TrainingConfig(**recipe), NAMES, labels) is None


@pytest.mark.parametrize("mixed", [False, True])
def test_a_step_minimises_the_balanced_loss_of_every_branch(mixed: bool, rng: np.random.Generator) -> None:
    loss_weights = {"mid_1": 0.5, "top": 2.0, "refined_top": 0.25}
    model = randomize_heads(CLAN("tiny", 4, image_size=32, loss_weights=loss_weights))
    photos, labels = rng.uniform(0, 255, (6, 32, 32, 3)).astype("float32"), rng.integers(0, 4, 6).astype("int32")
    shares = rng.dirichlet(np.ones(4), 6).astype("float32") if mixed else np.eye(4)[labels]
    recipe = TrainingConfig(
        batch_size=6, label_smoothing=0.2, class_weights="balanced", logit_adjustment=0.5, focal_gamma=2
    )
    balance = ClassBalance.of(recipe, NAMES, LABELS)
    weights, shift = 16 / (4 * np.array([9, 4, 2, 1])), 0.5 * np.log(np.array([9, 4, 2, 1]) / 16)
    logits = model.logits_model()(photos, training=True)
    branches = {
        branch: np.mean(loop_loss(0.8 * shares + 0.05, np.array(logits[branch], "float64"), weights, shift, 2))
        for branch in loss_weights
    }
    step = TrainStep(model, CoupledSGD(0.0), tf.distribute.get_strategy(), recipe, balance=balance)
    batch = (tf.constant(photos), tf.constant(shares if mixed else labels))
    values, _ = step(iter([batch]), np.array(list(loss_weights.values()), dtype="float32"))
    np.testing.assert_allclose(values[1:4], list(branches.values()), rtol=1e-4)
    assert values[0] == pytest.approx(sum(loss_weights[name] * loss for name, loss in branches.items()), rel=1e-4)


@pytest.fixture
def lopsided(colour_folders: Path, tmp_path: Path) -> Experiment:
    """12 photos of one colour and 4 of the others, with those of validation; the rest is left out."""
    left_out = [f"train/{name}/{index}.jpg" for name in ("grün", "blue, small") for index in range(8)]
    (tmp_path / "quarantine.txt").write_text("\n".join(left_out), encoding="utf-8")
    return load_experiment(
        TINY_DEMO,
        [
            "data={source: folders, image_size: 32, resize_size: null, validation_fraction: 0.25}",
            f"data.root={colour_folders}",
            f"data.quarantine={tmp_path / 'quarantine.txt'}",
            "model.architecture=plain",
            "training.batch_size=5",
            "training.epochs=1",
        ],
    )


def test_a_dry_run_says_the_range_of_the_weights(lopsided: Experiment) -> None:
    assert "loss" not in plan_training(lopsided, None).rows
    values = {"training.class_weights": "balanced", "training.focal_gamma": 2}
    said = plan_training(with_values(lopsided, values), None).rows["loss"]
    counts = Counter(photo.label for photo in read_source(lopsided.data).photos("train"))
    most, least = (counts.total() / (3 * count) for count in (min(counts.values()), max(counts.values())))
    assert least < 1 < most
    assert said.startswith(f"class weights from {least:.3g} ('red bird') to {most:.3g} (")
    assert said.endswith("; focal with gamma 2")


def test_a_run_with_weights_of_1_is_bit_for_bit_one_without(lopsided: Experiment, tmp_path: Path) -> None:
    runs = [
        train(with_values(lopsided, {"training.class_weights": weights}), str(tmp_path / name)).run
        for name, weights in (("without", "none"), ("with", {"grün": 1}))
    ]
    for a, b in zip(*(load_model(run.last).get_weights() for run in runs), strict=True):
        np.testing.assert_array_equal(a, b)
    assert runs[0].metrics.read_bytes() == runs[1].metrics.read_bytes()
    with pytest.raises(UserError, match="training.class_weights: 'none' in the run, 'balanced' now"):
        train(with_values(lopsided, {"training.class_weights": "balanced"}), str(runs[0].path), resume=True)


def test_validation_is_the_plain_cross_entropy_whatever_is_minimised(lopsided: Experiment, tmp_path: Path) -> None:
    """With a learning rate that changes nothing, the weights of two runs are the same, and so is their validation."""
    rows = []
    for name, gamma in (("plain", 0), ("focal", 3)):
        values = {"training.focal_gamma": gamma, "training.learning_rate": 1e-30, "training.weight_decay": 0}
        train(with_values(lopsided, values), str(tmp_path / name))
        rows.append(RunDirectory(tmp_path / name).read_metrics()[0])
    assert rows[0]["val_loss"] == rows[1]["val_loss"]
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["training.class_weights=balancd"], "must be none, balanced or a mapping .*'balancd'. Did you mean balanced"),
        (["training.class_weights=null"], "must be none, balanced or a mapping .* received None"),
        (["training.class_weights={7: 2}"], "YAML reads one of them as 7. Put it in quotes"),
        (["training.class_weights={no: 2}"], "YAML reads one of them as False. Put it in quotes"),
        (["training.class_weights.St. Bernard=2"], "a number for each class; .*Names with dots are set in a mapping"),
        (["training.class_weights={owl: -1}"], "training.class_weights.owl: .*greater than or equal to 0"),
        (["training.class_weights={owl: .nan}"], "training.class_weights.owl: .*received nan"),
        (["training.class_weights={owl: 1e7}"], "training.class_weights.owl: .*less than or equal to 1000000"),
        (["training.logit_adjustment=-1"], "training.logit_adjustment: .*greater than or equal to 0"),
        (["training.focal_gamma=1e9"], "training.focal_gamma: .*less than or equal to 100"),
        (
            ["data.sampling=class_balanced", "training.class_weights=balanced"],
            "data.sampling=class_balanced already shows .*Set training.class_weights=none, or data.sampling=shuffle",
        ),
        (
            ["model.architecture=mamc", "training.logit_adjustment=1"],
            "data.sampling=pairs already shows .*Set training.logit_adjustment=0.0, or data.sampling=shuffle",
        ),
    ],
)
def test_mistakes_are_named_with_the_way_out(keys: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_experiment(TINY_DEMO, keys)


def test_a_mapping_of_weights_goes_with_any_order_of_the_photos() -> None:
    keys = ["data.sampling=class_balanced", "training.class_weights={owl: 2}", "training.focal_gamma=2"]
    assert load_experiment(TINY_DEMO, keys).training.class_weights == {"owl": 2}


def test_a_description_names_the_classes_at_both_ends() -> None:
    recipe = TrainingConfig(class_weights={"owl": 0, "No. 7": 2.5}, logit_adjustment=1)
    assert describe_balance(recipe, NAMES, LABELS) == (
        "class weights from 0 ('owl') to 2.5 ('No. 7'); logits + 1 log(share of the train photos), shares from 0.0625 "
        "('wren') to 0.562 ('owl')"
    )
    assert describe_balance(TrainingConfig(), NAMES, LABELS) == ""


def test_a_photo_that_nothing_is_asked_of_has_no_gradient() -> None:
    kernel = keras.Variable(np.ones((1, 4)), dtype="float32")
    with tf.GradientTape() as tape:
        losses = balanced_cross_entropy(tf.one_hot([2], 4), kernel.value * 1.0, WEIGHTS)
    np.testing.assert_array_equal(tape.gradient(losses, kernel.value), np.zeros((1, 4)))
