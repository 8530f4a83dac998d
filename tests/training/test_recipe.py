"""The recipe: the optimizer, its learning rate, the weights of the losses, and what one step computes."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import TrainingConfig
from clan_tf.errors import UserError
from clan_tf.models import CLAN, BranchClassifier
from clan_tf.training.class_balance import ClassBalance
from clan_tf.training.optimizers import CoupledSGD, DecoupledAdam, VariableRates
from clan_tf.training.recipe import (
    check_loss_weight_schedules,
    learning_rate_at,
    learning_rates_at,
    loss_weights_at,
    make_optimizer,
)
from clan_tf.training.step import TrainStep
from clan_tf.training.weight_average import WeightAverage
from helpers.models import randomize_heads


def test_coupled_weight_decay_goes_through_the_momentum(rng: np.random.Generator) -> None:
    """Against PyTorch's rule, written out: v = m v + (g + d w); w = w - l v."""
    weight, velocity = rng.normal(size=5), np.zeros(5)
    variable = keras.Variable(weight, dtype="float32")
    optimizer = CoupledSGD(0.1, momentum=0.9, coupled_weight_decay=0.01)
    for _ in range(5):
        gradient = rng.normal(size=5)
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        velocity = 0.9 * velocity + gradient + 0.01 * weight
        weight = weight - 0.1 * velocity
    np.testing.assert_allclose(np.array(variable), weight, atol=1e-6)


def test_adamw_is_the_papers_algorithm(rng: np.random.Generator) -> None:
    """Algorithm 2 of Loshchilov and Hutter; the second variable learns in each second epoch, at a tenth of the rate."""
    weights, averages = rng.normal(size=(2, 5)), np.zeros((2, 2, 5))
    variables = [keras.Variable(weight, dtype="float32") for weight in weights]
    optimizer = DecoupledAdam(0.1, decoupled_weight_decay=0.05)
    optimizer.scale_learning_rate(variables[1:], 0.1)
    optimizer.skip_epochs(variables[1:], [False, True, False, True], 2)
    optimizer.build(variables)
    for step in range(1, 9):
        gradients = rng.normal(size=(2, 5))
        trained = [0, 1] if step in (3, 4, 7, 8) else [0]
        optimizer.apply(
            [keras.ops.convert_to_tensor(gradients[i], "float32") for i in trained], [variables[i] for i in trained]
        )
        for i in trained:
            t, rate = (step, 0.1) if i == 0 else (step - 2 if step <= 4 else step - 4, 0.01)
            averages[0, i] = 0.9 * averages[0, i] + 0.1 * gradients[i]
            averages[1, i] = 0.999 * averages[1, i] + 0.001 * gradients[i] ** 2
            mean, square = averages[0, i] / (1 - 0.9**t), averages[1, i] / (1 - 0.999**t)
            weights[i] = weights[i] - rate * (mean / (np.sqrt(square) + 1e-8) + 0.05 * weights[i])
    np.testing.assert_allclose(np.array([np.array(variable) for variable in variables]), weights, atol=1e-6)


def test_adamw_counts_from_one_after_steps_that_were_skipped(rng: np.random.Generator) -> None:
    """With mixed_float16 overflows aren't iterations: the first steps of an epoch look like the last of another."""
    variable = keras.Variable(np.zeros(4), dtype="float32")
    other = keras.Variable(np.zeros(4), dtype="float32")
    optimizer = DecoupledAdam(0.1)
    optimizer.skip_epochs([variable], [False, True], 3)
    optimizer.build([variable, other])
    gradient = keras.ops.convert_to_tensor(rng.normal(size=4), "float32")
    for _ in range(2):  # one of three was skipped
        optimizer.apply([gradient], [other])
    optimizer.apply([gradient], [variable])
    # The first step of Adam is the gradient's sign, times the rate.
    np.testing.assert_allclose(np.array(variable), -0.1 * np.sign(gradient), rtol=1e-4)


@pytest.mark.parametrize(
    "optimizer",
    [
        CoupledSGD(0.1, momentum=0.9, coupled_weight_decay=0.01),
        DecoupledAdam(0.1, decoupled_weight_decay=0.01, beta_2=0.99),
    ],
)
def test_the_optimizer_reads_back_from_its_config(optimizer: VariableRates) -> None:
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("step", [1, 1, 0.9, 0.9, 0.81]),
        ("exponential", [1, 0.9**0.5, 0.9, 0.9**1.5, 0.81]),
        ("constant", [1, 1, 1, 1, 1]),
        ("cosine", [0.5 * (1 + math.cos(math.pi * epoch / 5)) for epoch in range(5)]),
    ],
)
def test_schedules_give_the_rate_at_the_start_of_each_epoch(kind: str, expected: list[float]) -> None:
    recipe = TrainingConfig(learning_rate=1, epochs=5, schedule={"kind": kind, "factor": 0.9, "every": 2})
    rates = [learning_rate_at(recipe, 10, 10 * epoch) for epoch in range(5)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["constant", "step", "exponential", "cosine"])
@pytest.mark.parametrize("warmup_epochs", [0, 3.5])
def test_the_rates_of_many_steps_are_those_of_each(kind: str, warmup_epochs: float) -> None:
    recipe = TrainingConfig(epochs=30, warmup_epochs=warmup_epochs, schedule={"kind": kind})
    steps = [7 * epoch for epoch in range(30)]
    expected = [learning_rate_at(recipe, 7, step) for step in steps]
    assert learning_rates_at(recipe, 7, steps) == expected


def test_the_rate_rises_in_the_warm_up_and_the_schedule_begins_after_it() -> None:
    recipe = TrainingConfig(
        learning_rate=1, epochs=3, warmup_epochs=1, schedule={"kind": "step", "factor": 0.1, "every": 1}
    )
    rates = [learning_rate_at(recipe, 4, step) for step in range(12)]
    np.testing.assert_allclose(rates, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1], rtol=1e-5)


def test_loss_weights_go_in_a_straight_line_to_their_final_values() -> None:
    recipe = TrainingConfig(loss_weight_schedules={"mid_1": {"start": 0, "epochs": 4}})
    weights = [loss_weights_at(recipe, {"mid_1": 2.0, "top": 1.0}, epoch) for epoch in (0, 1, 4, 9)]
    np.testing.assert_allclose(weights, [[0, 1], [0.5, 1], [2, 1], [2, 1]])
    with pytest.raises(UserError, match=r"no branch 'mid_1'\. Did you mean mid_2\?"):
        check_loss_weight_schedules(recipe, ["mid_2", "top"])


@pytest.mark.parametrize("mixed", [False, True])
def test_the_loss_is_the_weighted_sum_of_the_branches(mixed: bool, rng: np.random.Generator) -> None:
    weights = {"mid_1": 0.5, "top": 2.0, "refined_top": 0.25}
    model = randomize_heads(CLAN("tiny", 3, image_size=32, loss_weights=weights))
    photos, labels = rng.uniform(0, 255, (6, 32, 32, 3)).astype("float32"), rng.integers(0, 3, 6).astype("int32")
    shares = rng.dirichlet(np.ones(3), 6).astype("float32") if mixed else np.eye(3)[labels]
    smoothed = 0.8 * shares + 0.2 / 3
    logits = model.logits_model()(photos, training=True)
    expected = 0.0
    for branch, weight in weights.items():
        values = np.array(logits[branch], dtype="float64")
        log_probabilities = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
        expected -= weight * (smoothed * log_probabilities).sum(axis=1).mean()
    recipe = TrainingConfig(batch_size=6, label_smoothing=0.2)
    step = TrainStep(model, CoupledSGD(0.0), tf.distribute.get_strategy(), recipe)
    batch = (tf.constant(photos), tf.constant(shares if mixed else labels))
    values, _ = step(iter([batch]), np.array(list(weights.values()), dtype="float32"))
    assert values[0] == pytest.approx(expected, abs=1e-4)


def batches_of(rng: np.random.Generator, count: int, size: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
    photos = rng.uniform(0, 255, (count, size, 32, 32, 3)).astype("float32")
    labels = rng.integers(0, 3, (count, size)).astype("int32")
    return [(tf.constant(x), tf.constant(y)) for x, y in zip(photos, labels, strict=True)]


def split_among(strategy: tf.distribute.Strategy, values: tf.Tensor) -> object:
    """Gives each replica its part of a batch."""
    parts = np.split(values.numpy(), strategy.num_replicas_in_sync)
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def trained(
    recipe: TrainingConfig, batches: list, steps: int, replicas: int = 1, **options: object
) -> BranchClassifier:
    strategy = tf.distribute.get_strategy()
    elements = iter(batches)
    if replicas > 1:
        strategy = tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(replicas)])
        elements = (tuple(split_among(strategy, each) for each in batch) for batch in batches)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = randomize_heads(CLAN("tiny", 3, image_size=32, **options))
        optimizer = make_optimizer(recipe, model, steps, replicas)
    balance = ClassBalance.of(recipe, model.class_names, np.concatenate([labels for _, labels in batches]))
    step = TrainStep(model, optimizer, strategy, recipe, balance=balance)
    for _ in range(steps):
        step(elements, np.ones(len(model.branches), dtype="float32"))
    return model


OPTIMIZERS = [
    {"optimizer": "sgd", "learning_rate": 0.05},
    # Its first steps are as large for a gradient of 1e-9, where parts add up to other rounding, as for one of 1.
    {"optimizer": "adamw", "learning_rate": 1e-5, "layer_decay": 0.7},
]
BALANCED = {"learning_rate": 0.05, "class_weights": "balanced", "logit_adjustment": 1, "focal_gamma": 2}


@pytest.mark.parametrize(
    "optimizer",
    [OPTIMIZERS[0], pytest.param(OPTIMIZERS[1], marks=pytest.mark.soak), BALANCED],
    ids=["sgd", "adamw", "sgd, balanced"],
)  # a step of AdamW from the gradient of a batch is written out below
def test_a_batch_in_parts_or_on_two_devices_gives_the_weights_of_the_whole_batch(
    optimizer: dict, rng: np.random.Generator
) -> None:
    """Batch norm is frozen: its statistics are each part's own."""
    whole = batches_of(rng, 3, 12)
    parts = [(x[i : i + 4], y[i : i + 4]) for x, y in whole for i in (0, 4, 8)]
    recipe = {
        "batch_size": 12,
        "freeze_batch_norm": True,
        "clipnorm": 1.0,
        "label_smoothing": 0.1,
        **optimizer,
    }
    without = {"mid_refinement": "gap", "spatial_batch_norm": False, "head_batch_norm": False}
    one = trained(TrainingConfig(**recipe), whole, 3, **without)
    three = trained(TrainingConfig(**recipe, accumulation=3), parts, 3, **without)
    devices = trained(TrainingConfig(**recipe), whole, 3, replicas=2, **without)
    start = trained(TrainingConfig(**recipe), whole, 0, **without).get_weights()
    moved = [a - b for a, b in zip(one.get_weights(), start, strict=True)]
    most = max(np.abs(each).max() for each in moved)
    assert most > 2e-5
    for other in (three, devices):
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=min(1e-5, 0.05 * most))


DEPTHS = {
    f"stage{stage}_{kind}{index}": 2 * stage + index - 2
    for stage in (1, 2, 3, 4)
    for kind in ("conv", "bn")
    for index in (1, 2)
}
"""The place of each layer of the tiny backbone, from 1 for the one at the photo to 8."""


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_step_is_the_recipe_written_out(kind: str, rng: np.random.Generator) -> None:
    """Clipping by the norm of the whole gradient, decay of the kernels, and the rate of each depth; in NumPy."""
    batch = batches_of(rng, 1, 6)
    plain = {"batch_size": 6, "momentum": 0, "schedule": {"kind": "constant"}}
    keras.utils.set_random_seed(0)
    before = [variable.numpy() for variable in randomize_heads(CLAN("tiny", 3, image_size=32)).trainable_variables]
    moved = trained(TrainingConfig(**plain, learning_rate=1, weight_decay=0), batch, 1)
    gradients = [old - new.numpy() for old, new in zip(before, moved.trainable_variables, strict=True)]
    norm = np.sqrt(sum((gradient.astype("float64") ** 2).sum() for gradient in gradients))
    assert norm > 5
    recipe = TrainingConfig(
        **plain | ({"momentum": 0.9} if kind == "adamw" else {}),
        optimizer=kind,
        learning_rate=0.1,
        clipnorm=5,
        weight_decay=0.01,
        weight_decay_on="kernels",
        head_learning_rate_factor=3,
        layer_decay=0.5,
    )
    model = trained(recipe, batch, 1)
    compared = 0
    for variable, old, gradient in zip(model.trainable_variables, before, gradients, strict=True):
        decay = 0.01 * old if old.ndim > 1 else 0.0
        depth = DEPTHS.get(variable.path.split("/")[-2])
        rate = 0.1 * 0.5 ** (9 - depth) if depth else 0.3
        clipped = gradient * 5 / norm
        # The first step of Adam is the gradient's sign; `before - moved` is too coarse for that of the smallest ones.
        known = np.abs(clipped) > (1e-3 if kind == "adamw" else -1)
        update = np.sign(clipped) if kind == "adamw" else clipped
        compared += known.sum()
        expected = old - rate * (update + decay)
        np.testing.assert_allclose(variable.numpy()[known], expected[known], atol=1e-5 if kind == "adamw" else 1e-6)
    assert compared > 10_000


def test_a_frozen_backbone_stays_as_it_is_with_its_batch_norm(rng: np.random.Generator) -> None:
    batches = batches_of(rng, 2, 6)
    recipe = TrainingConfig(batch_size=6, learning_rate=0.1)
    model = randomize_heads(CLAN("tiny", 3, image_size=32))
    optimizer = make_optimizer(recipe, model, 2)
    before = model.backbone_model.get_weights()
    head = np.array(model.get_layer("logits_top").kernel)
    weights = np.ones(3, dtype="float32")
    TrainStep(model, optimizer, tf.distribute.get_strategy(), recipe, frozen_backbone=True)(iter(batches[:1]), weights)
    for a, b in zip(before, model.backbone_model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(np.array(model.get_layer("logits_top").kernel) - head).max() > 1e-4
    TrainStep(model, optimizer, tf.distribute.get_strategy(), recipe)(iter(batches[1:]), weights)
    assert all((a != b).any() for a, b in zip(before, model.backbone_model.get_weights(), strict=True) if a.ndim > 1)


def test_the_weight_average_forgets_the_first_weights_and_is_there_only_inside(rng: np.random.Generator) -> None:
    model = CLAN("tiny", 3, image_size=32)
    average = WeightAverage(model, 0.9, tf.distribute.get_strategy())
    kernel = model.get_layer("logits_top").kernel
    expected = np.zeros(kernel.shape)
    for step in range(1, 30):
        kernel.assign(rng.normal(size=kernel.shape))
        average.update(tf.constant(step))
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * np.array(kernel)
    last = np.array(kernel)
    with average.applied():
        np.testing.assert_allclose(np.array(kernel), expected, atol=1e-6)
    np.testing.assert_array_equal(np.array(kernel), last)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_float16_skips_a_step_whose_gradient_overflows(kind: str, rng: np.random.Generator) -> None:
    recipe = TrainingConfig(batch_size=6, precision="mixed_float16", optimizer=kind)
    model = randomize_heads(CLAN("tiny", 3, image_size=32))
    optimizer = make_optimizer(recipe, model, 1)
    optimizer.dynamic_scale.assign(3e38)
    kept = [*model.trainable_variables, *optimizer.inner_optimizer.variables]
    before = [np.array(variable) for variable in kept]
    step = TrainStep(model, optimizer, tf.distribute.get_strategy(), recipe)
    step(iter(batches_of(rng, 1, 6)), np.array([1e3, 1e3, 1e3], dtype="float32"))
    for a, b in zip(before, kept, strict=True):
        np.testing.assert_array_equal(a, np.array(b))
    assert float(optimizer.dynamic_scale) == pytest.approx(1.5e38, rel=1e-3)
