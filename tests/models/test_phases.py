"""What an epoch trains."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import TrainingConfig
from clan_tf.models import MACNN, RACNN, BranchClassifier, Plain
from clan_tf.models.phases import ALL, Phase, describe_phases
from clan_tf.training.recipe import make_optimizer
from clan_tf.training.step import TrainStep, metric_columns

SIZE = 32
MODELS = {
    "ra_cnn": lambda: RACNN("tiny", 3, SIZE, crops=1, proposal_units=8, attention_every=3, attention_rate=1.0),
    "ma_cnn": lambda: MACNN("tiny", 3, SIZE, parts=2, attention_every=3),
}


def test_other_models_train_all_in_every_epoch() -> None:
    model = Plain("tiny", 3, SIZE)
    assert {model.phase(epoch) for epoch in range(9)} == {ALL}
    assert describe_phases([ALL, ALL]) is None


def test_phases_are_described() -> None:
    usual, other = Phase("classification"), Phase("attention")
    assert describe_phases([usual, other, usual]) == "attention in 1 epoch (2), classification in the others"
    many = [usual, other] * 7
    assert describe_phases(many) == "attention in 7 epochs (2, 4, 6, 8, 10, …), classification in the others"


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_phase_trains_its_weights_by_its_losses(
    make: Callable[[], BranchClassifier], rng: np.random.Generator
) -> None:
    keras.utils.set_random_seed(0)
    model = make()
    for branch in model.branches:
        head = model.get_layer(f"logits_{branch}")
        head.kernel.assign(rng.normal(0, 0.3, head.kernel.shape))
    training = TrainingConfig(batch_size=6, learning_rate=0.1, momentum=0.0, weight_decay=0.0, epochs=3)
    optimizer = make_optimizer(training, model, 1)
    batch = (tf.constant(rng.uniform(0, 255, (6, SIZE, SIZE, 3)), tf.float32), tf.constant([0, 1, 2, 0, 1, 2]))
    weights = np.array([model.loss_weights[branch] for branch in model.branches], "float32")
    phases = [model.phase(epoch) for epoch in range(3)]
    assert phases[0] == phases[1] != phases[2]
    # As in the loop, each phase has its step, and one may be traced after the other is made.
    steps = [TrainStep(model, optimizer, tf.distribute.get_strategy(), training, phase=phase) for phase in phases[1:]]
    columns = metric_columns(model.branches, model.own_loss_weights)
    for step in (*steps, steps[0]):
        before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
        values, _ = step(iter([batch]), weights)
        moved = {
            name
            for name, old in before.items()
            if any((a != b).any() for a, b in zip(old, model.get_layer(name).get_weights(), strict=True))
        }
        attention = set(model.ATTENTION_LAYERS) & set(before)
        assert moved == (attention if step is steps[1] else set(before) - attention)
        found = dict(zip(columns, values, strict=True))
        total = sum(model.loss_weights[branch] * found[f"{branch}_loss"] for branch in model.branches)
        total += sum(weight * found[f"{name}_loss"] for name, weight in model.own_loss_weights.items())
        assert found["loss"] == pytest.approx(total, rel=1e-5)  # whatever of it is minimised
