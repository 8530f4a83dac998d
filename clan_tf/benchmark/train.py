"""How fast a training step is, beside Keras' own operators and PyTorch."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from clan_tf.benchmark.comparison import (
    Difference,
    gradient_difference,
    loss_difference,
    output_difference,
    random_batch,
    require_same,
    without_dropout,
)
from clan_tf.benchmark.floor import MATRIX_PRODUCT, floor_of, make_product, operations_of
from clan_tf.benchmark.memory import forget_peak, peak_bytes, peak_memory
from clan_tf.benchmark.peer import open_peer
from clan_tf.benchmark.prepared import Prepared, plain_of, prepare
from clan_tf.benchmark.profile import operator_times
from clan_tf.benchmark.result import OWN, PLAIN, TORCH, SpeedBenchmark, contenders_of, overhead_of
from clan_tf.benchmark.rounds import measure_rounds
from clan_tf.config import Experiment
from clan_tf.models import BranchClassifier
from clan_tf.progress import Progress
from clan_tf.training.operators import training_operators
from clan_tf.training.recipe import make_optimizer
from clan_tf.training.step import Operators, TrainStep
from clan_tf.training.weight_average import WeightAverage

KERAS = "operators of Keras"
LEARNING_RATE = 1e-5
"""Low, so that random photos don't make the weights infinite."""
_OPERATORS: dict[str, Operators] = {OWN: training_operators, KERAS: lambda model, strategy: nullcontext()}


def benchmark_train(
    experiment: Experiment, steps: int = 3, rounds: int = 5, progress: Progress | None = None
) -> SpeedBenchmark:
    """Measures a training step on a random batch: with the training operators, with those of Keras, and by PyTorch.

    Beside CLAN, the step of its plain backbone is measured.

    The model starts from random weights. On a CPU, TensorFlow's op determinism is turned on for the whole process, as
    in training. One device is measured.

    Args:
        experiment: whose network, recipe, batch size and precision are measured. No photos are read.
        steps: how many steps a contender makes in a round.
        rounds: how many rounds.
        progress: where progress is shown.

    Raises:
        UserError: if the experiment doesn't say how many classes there are, or its model can't be built.
        CheckFailed: if a contender doesn't compute what clan-tf computes.
    """
    progress = progress or Progress()
    prepared = prepare(experiment, progress, is_training=True)
    model, training, notes = prepared.model, prepared.experiment.training, list(prepared.notes)
    forget_peak()
    before = peak_bytes()
    contenders: dict[str, Callable[[], Any]] = {OWN: _make_step(prepared, OWN)}
    for _ in range(2):
        contenders[OWN]()
    memory = peak_memory(before)
    peer, note = open_peer(prepared, training=True)
    notes += [note] if note else []
    differences = compare_steps(prepared, peer)
    require_same(differences)
    contenders[KERAS] = _make_step(prepared, KERAS)
    plain = plain_of(prepared)
    if plain:
        contenders[PLAIN] = _make_step(plain, OWN)
    if peer:
        photos, labels = random_batch(model.image_size, model.classes, training.batch_size)
        contenders[TORCH] = peer.make_step(photos, labels, LEARNING_RATE)
    names = list(contenders)
    contenders[MATRIX_PRODUCT] = make_product(prepared.dtype)
    for call in contenders.values():
        call()
    seconds = measure_rounds(contenders, steps, rounds, progress)
    return SpeedBenchmark(
        measured="training step",
        batch_size=training.batch_size,
        image_size=model.image_size,
        classes=model.classes,
        precision=training.precision,
        contenders=contenders_of(seconds, names, training.batch_size),
        overhead=overhead_of(seconds, prepared, plain),
        memory=memory,
        floor=floor_of(seconds, OWN, operations_of(model, training.batch_size, training=True)),
        operators=operator_times(contenders[OWN]),
        differences=tuple(differences),
        notes=tuple(notes),
    )


def compare_steps(prepared: Prepared, peer: Any) -> list[Difference]:
    """Compares the contenders with clan-tf on a small batch, in float32 and without dropout.

    The outputs are logits at inference; the loss and the gradient are those of one training step. The moving statistics
    and the optimizer of the measured model are left as they are.
    """
    model = prepared.float32_copy()
    photos, labels = random_batch(model.image_size, model.classes, prepared.compared_photos, seed=1)
    differences = []
    if peer:
        outputs = model.with_outputs([f"logits_{branch}" for branch in model.branches])(photos, training=False)
        own = {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}
        differences.append(output_difference(TORCH, own, peer.outputs(photos)))
    with without_dropout(model):
        own_loss, own_gradients = _loss_and_gradients(prepared, model, OWN, photos, labels)
        found = {KERAS: _loss_and_gradients(prepared, model, KERAS, photos, labels)}
    if peer:
        found[TORCH] = peer.loss_and_gradients(photos, labels)
    for name, (loss, gradients) in found.items():
        differences.append(loss_difference(name, own_loss, loss))
        differences.append(gradient_difference(name, own_gradients, gradients))
    return differences


def _make_step(prepared: Prepared, name: str) -> Callable[[], Any]:
    """Returns a function that makes one step on the same random batch and returns when it is done."""
    model, training = prepared.model, prepared.experiment.training
    strategy = tf.distribute.get_strategy()
    optimizer = make_optimizer(training, model, steps=1, constant_rate=LEARNING_RATE)
    average = WeightAverage(model, training.ema, strategy) if training.ema else None
    step = TrainStep(model, optimizer, strategy, training, average, operators=_OPERATORS[name])
    photos, labels = random_batch(model.image_size, model.classes, training.batch_size // training.parts)
    batches = repeat((tf.constant(photos), tf.constant(labels)))
    weights = prepared.loss_weights
    return lambda: step(batches, weights)


def _loss_and_gradients(
    prepared: Prepared, model: BranchClassifier, name: str, photos: np.ndarray, labels: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """Returns the loss of one training step and its gradients by the paths of their weights."""
    changes = {"batch_size": len(photos), "accumulation": 1, "precision": "float32"}
    training = prepared.experiment.training.model_copy(update=changes)
    recorder = _Recorder()
    step = TrainStep(model, recorder, tf.distribute.get_strategy(), training, operators=_OPERATORS[name])
    # Some variables are frozen from here on.
    recorder.gradients = [tf.Variable(tf.zeros(variable.shape)) for variable in step.variables]
    values, _ = step(iter([(tf.constant(photos), tf.constant(labels))]), prepared.loss_weights)
    # Layers that Keras names may have other names in a copy.
    own = {id(variable): path.path for variable, path in zip(model.variables, prepared.model.variables, strict=True)}
    paths = [own[id(variable)] for variable in step.variables]
    gradients = [gradient.numpy() for gradient in recorder.gradients]
    return float(values[0]), dict(zip(paths, gradients, strict=True))


@dataclass
class _Recorder:
    """Takes the place of an optimizer: keeps the gradients of a step and changes no weights."""

    gradients: list[tf.Variable] = field(default_factory=list)

    def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns the loss as it is."""
        return loss

    def apply(self, gradients: list[tf.Tensor], variables: list[keras.Variable]) -> None:
        """Keeps the gradients."""
        for kept, gradient in zip(self.gradients, gradients, strict=True):
            kept.assign(gradient)
