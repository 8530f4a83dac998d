"""What an epoch trains."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import TrainingConfig
from clan_tf.models import MACNN, RACNN, BranchClassifier, Plain
from clan_tf.models.phases import ALL, Phase, describe_phases
from clan_tf.training.best_epoch import ACCURACY
from clan_tf.training.loop import TrainingLoop
from clan_tf.training.recipe import make_optimizer
from clan_tf.training.step import TrainStep, metric_columns, minimized_loss, set_trainable

SIZE = 32
MODELS = {
    "ra_cnn": lambda: RACNN("tiny", 3, SIZE, crops=1, proposal_units=8, attention_every=3, attention_rate=1.0),
    "ma_cnn": lambda: MACNN("tiny", 3, SIZE, parts=2, attention_every=3),
}


class WithOwnHead(MACNN):
    """A model with attention to train and a head that no output is made of."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.own_head = keras.layers.Dense(self.classes, name="own_head")
        self.own_head.build((None, 4))

    @property
    def other_heads(self) -> dict[str, keras.layers.Layer]:
        return {"own_head": self.own_head}


def test_other_models_train_all_in_every_epoch() -> None:
    model = Plain("tiny", 3, SIZE)
    assert {model.phase(epoch) for epoch in range(9)} == {ALL}
    assert describe_phases([ALL, ALL]) is None
    assert MACNN("tiny", 3, SIZE, attention_every=2).phase(1) != ALL


def test_attention_that_nothing_trains_stays_as_it_starts() -> None:
    model = RACNN("tiny", 3, SIZE, crops=1, attention_every=2, ranking_weight=0.0)
    assert [model.phase(epoch).name for epoch in range(4)] == ["classification"] * 4
    assert describe_phases([model.phase(0)] * 3) == "classification in all epochs, the attention in none"


def test_own_heads_are_trained_with_the_classification_alone() -> None:
    model = WithOwnHead("tiny", 3, SIZE, parts=2, attention_every=2)
    classification, attention = (model.phase(epoch) for epoch in range(2))
    for phase, learns in ((attention, False), (classification, True)):
        set_trainable(model, True, False, phase)
        assert phase.trains(model.own_head) is learns and bool(model.own_head.trainable_weights) is learns
        assert bool(model.get_layer("part_attention").trainable_weights) is not learns


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


def test_what_is_minimised_is_told_from_the_columns() -> None:
    model = MACNN("tiny", 3, SIZE, parts=2, attention_every=2, diversity_weight=3.0)
    values = np.arange(1.0, 20)[: len(metric_columns(model.branches, model.own_loss_weights))]
    weights = np.array([0.5, 0.5, 1.0], "float32")
    # The columns are loss, part_1, part_2, joint, compactness and diversity.
    classification, attention = (model.phase(epoch) for epoch in range(2))
    assert minimized_loss(model, classification, values, weights) == pytest.approx(0.5 * 2 + 0.5 * 3 + 4)
    assert minimized_loss(model, attention, values, weights) == pytest.approx(5 + 3 * 6)
    both = minimized_loss(model, ALL, values, weights)
    assert both == pytest.approx(0.5 * 2 + 0.5 * 3 + 4 + 5 + 3 * 6)


@pytest.mark.parametrize("factor", [1.0, 10.0])
@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_the_attentions_rate_is_its_own(rate: float, factor: float) -> None:
    model = MACNN("tiny", 3, SIZE, parts=2, attention_rate=rate)
    optimizer = make_optimizer(TrainingConfig(batch_size=2, head_learning_rate_factor=factor), model, 1)
    factors = {
        name: optimizer._rate_factors.get(optimizer._var_key(layer.trainable_variables[0]), 1.0)
        for name, layer in (("attention", model.get_layer("part_attention")), ("head", model.get_layer("logits_joint")))
    }
    assert factors == {"attention": rate, "head": factor}


def test_epochs_of_the_attention_are_no_time_in_which_accuracy_should_rise() -> None:
    def is_over(accuracies: list[float], patience: int) -> bool:
        model = MACNN("tiny", 3, SIZE, parts=2, attention_every=2)
        model.stop_training = False
        rows = [{ACCURACY: accuracy} for accuracy in accuracies]
        loop = SimpleNamespace(
            model=model, state=SimpleNamespace(rows=rows), training=SimpleNamespace(early_stopping=patience)
        )
        return TrainingLoop._is_over(loop)  # type: ignore[arg-type]

    # Every second epoch trains the attention alone.
    assert not is_over([0.5, 0.5], 1) and is_over([0.5, 0.5, 0.5], 1)
    assert not is_over([0.5, 0.5, 0.5, 0.5], 2) and is_over([0.5] * 5, 2) and not is_over([], 1)
