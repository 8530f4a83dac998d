"""`training.learning_rate: auto`: a range test before the first step chooses the learning rate.

Reference:
    Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from clan_tf.config import Experiment
from clan_tf.data.pipeline import distribute, steps_per_epoch, training_batches
from clan_tf.data.pipeline.reading import Reader
from clan_tf.errors import CheckFailed
from clan_tf.files import write_rows
from clan_tf.models import BranchClassifier
from clan_tf.models.memory import forgetting_gradients
from clan_tf.plots import plot_range_test
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from clan_tf.training.class_balance import ClassBalance
from clan_tf.training.recipe import make_optimizer
from clan_tf.training.step import TrainStep, minimized_loss

MOST_STEPS, FEWEST_STEPS, EPOCHS = 100, 40, 4
"""Steps of a test: as many as this number of epochs has, within these limits."""
RANGE = {"sgd": (1e-5, 10.0), "adamw": (1e-7, 0.1)}
"""The first and the last learning rate."""
SMOOTHING = 0.85
"""Decay of the moving average of the losses."""
DIVERGED = 1.5
"""The test ends once the smoothed loss is so many times its least value."""
RISEN = 1.05
"""A smoothed loss has risen if it is so many times the losses at the first rates."""
WINDOW = 1 / 8
"""Part of a test over which the fall of the smoothed loss is measured."""


def choose_learning_rate(
    experiment: Experiment,
    model: BranchClassifier,
    strategy: tf.distribute.Strategy,
    reader: Reader,
    labels: np.ndarray,
    run: RunDirectory | None,
    progress: Progress,
) -> float:
    """Returns a learning rate for an experiment; the model is as before afterwards.

    The rate grows exponentially from step to step on the run's first batches. What the first epoch trains is trained,
    and the backbone also where it is frozen at first, with the branches' final loss weights. The loss is what is
    minimised. The rate at which the smoothed loss falls
    steepest is chosen: see `chosen_rate`.

    Args:
        experiment: what to train.
        model: the model, with the weights that the run starts from.
        strategy: where it runs.
        reader: the train photos.
        labels: their labels, int32 `(photos,)`.
        run: where the curve is written; `None` for nowhere.
        progress: where progress is shown.

    Raises:
        CheckFailed: if the loss shows no rate.
    """
    steps = steps_per_epoch(len(labels), experiment.training.batch_size)
    rates = rates_of(experiment.training.optimizer, min(MOST_STEPS, max(FEWEST_STEPS, EPOCHS * steps)))
    with _as_before(model, strategy), forgetting_gradients():
        losses = _losses(experiment, model, strategy, reader, labels, rates, progress)
    smoothed = smooth(losses)
    rows = [
        {"learning_rate": rate, "loss": loss, "smoothed_loss": mean}
        for rate, loss, mean in zip(rates, losses, smoothed, strict=False)
    ]
    chosen = chosen_rate(rates, losses)
    if run:
        write_rows(run.range_test("csv"), rows)
        plot_range_test(rates[: len(losses)], losses, smoothed, chosen, run.range_test("png"))
    progress.note(f"learning rate {chosen:g}, chosen by a range test of {len(losses)} steps")
    return chosen


def rates_of(optimizer: str, steps: int) -> list[float]:
    """Returns the learning rate of each step of a test."""
    return [float(rate) for rate in np.geomspace(*RANGE[optimizer], steps)]


def smooth(losses: Sequence[float]) -> list[float]:
    """Returns the exponential moving average after each loss, without the weight of its start at 0."""
    total, smoothed = 0.0, []
    for count, loss in enumerate(losses, start=1):
        total = SMOOTHING * total + (1 - SMOOTHING) * loss
        smoothed.append(total / (1 - SMOOTHING**count))
    return smoothed


def has_diverged(smoothed: Sequence[float]) -> bool:
    """Checks whether a test can end before its last step."""
    return smoothed[-1] > DIVERGED * min(smoothed)


def chosen_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Returns the rate, to two digits, in the middle of the steps over which the smoothed loss falls most.

    On the way to the least smoothed loss, these are an eighth of a whole test's steps, one after the other: with fewer,
    single batches would decide. The least loss itself comes at a rate that is already too high, because the moving
    average lags behind.

    A fall counts if it is greater than the spread of the losses at the first rates, which change nothing. With a model
    that knows the photos already there is none. The rate is at most a tenth of the last one at which the smoothed loss
    hadn't risen, and that is returned where there is no fall.

    Args:
        rates: the rates of the whole test.
        losses: the losses of its steps up to the end.

    Raises:
        CheckFailed: if the losses show no such rate.
    """
    window, smoothed = max(2, round(WINDOW * len(rates))), smooth(losses)
    end = int(np.argmin(smoothed)) if smoothed else 0
    falls = [smoothed[start] - smoothed[start + window] for start in range(end - window + 1)]
    candidates = []
    if falls and max(falls) > np.std(losses[: 2 * window]):
        candidates.append(rates[int(np.argmax(falls)) + window // 2])
    level = RISEN * float(np.mean(losses[: 2 * window])) if losses else 0.0
    last = max((index for index, mean in enumerate(smoothed) if mean <= level), default=0)
    if 2 * window <= last < len(rates) - 1:
        candidates.append(rates[last] / 10)
    if not candidates:
        raise CheckFailed(
            "training.learning_rate: auto found no rate, because the loss neither falls nor rises from some rate on, "
            "or rises at once. Give a number: --set training.learning_rate=0.001."
        )
    return float(f"{min(candidates):.2g}")


def _losses(
    experiment: Experiment,
    model: BranchClassifier,
    strategy: tf.distribute.Strategy,
    reader: Reader,
    labels: np.ndarray,
    rates: Sequence[float],
    progress: Progress,
) -> list[float]:
    """Trains a step at each rate, until the loss diverges; returns the finite losses."""
    steps = steps_per_epoch(len(labels), experiment.training.batch_size)
    training = experiment.training.model_copy(update={"epochs": -(-len(rates) // steps), "freeze_epochs": 0})
    longer = experiment.model_copy(update={"training": training})
    batches = distribute(
        strategy,
        lambda worker: training_batches(reader, labels, model.classes, longer, worker=worker),
        training.batch_size,
        training.parts,
    )
    with strategy.scope():
        optimizer = make_optimizer(training, model, steps, strategy.num_replicas_in_sync, rates[0])
    balance = ClassBalance.of(training, model.class_names, labels)
    step = TrainStep(model, optimizer, strategy, training, balance=balance)
    weights = np.array([model.loss_weights[branch] for branch in model.branches], dtype="float32")
    losses: list[float] = []
    elements = iter(batches)
    with progress.track("trying learning rates", len(rates)) as advance:
        for rate in rates:
            with strategy.scope():
                optimizer.learning_rate = rate
            values, _ = step(elements, weights)
            loss = minimized_loss(model, step.phase, values, weights)
            if not np.isfinite(loss):
                break
            losses.append(loss)
            advance(f"learning rate {rate:.1e}, loss {loss:.3f}")
            if has_diverged(smooth(losses)):
                break
    return losses


@contextmanager
def _as_before(model: BranchClassifier, strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Gives the model back its variables, the states of random layers included, and what of it is trained."""
    values = [np.array(variable) for variable in model.variables]
    layers = [layer for each in (model, *model.backbones) for layer in each.layers]
    trainable = [layer.trainable for layer in layers]
    try:
        yield
    finally:
        with strategy.scope():
            for variable, value in zip(model.variables, values, strict=True):
                variable.assign(value)
        for layer, flag in zip(layers, trainable, strict=True):
            layer.trainable = flag
