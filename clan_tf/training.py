"""Training: one short loop on public `tf.distribute` API, the same for one device and for several.

Keras' `fit` averages an unfilled batch wrongly on several devices; here every training batch is full, the loss is
scaled by the global batch, and validation counts each photo once.
"""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from clan_tf.config import Experiment
from clan_tf.data import Source, read_source
from clan_tf.data.cache import decide_cache, open_reader
from clan_tf.data.photos import CheckedPhotos, plain_message
from clan_tf.data.pipeline import evaluation_batches, steps_per_epoch, training_batches, training_view
from clan_tf.data.samples import write_augmented_samples, write_samples
from clan_tf.data.splits import check_splits
from clan_tf.environment import describe_environment
from clan_tf.errors import CheckFailed, UserError
from clan_tf.inference import ProbabilityFunction
from clan_tf.models import BranchClassifier
from clan_tf.models.build import build_model
from clan_tf.progress import Progress
from clan_tf.recipe import make_optimizer, precision
from clan_tf.run import RunDirectory
from clan_tf.training_callbacks import MONITOR, Checkpoints, MetricsFile, ProgressDisplay, TensorBoardScalars
from clan_tf.training_step import branch_metrics, make_train_step, metric_columns


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended.

    Attributes:
        run: the run directory.
        epochs: how many epochs were trained.
        best_epoch: the epoch of `best.keras`, counted from 1.
        best_accuracy: its validation accuracy of the combined prediction, 0…1.
        source: the data, as it was read.
        seconds: wall time.
    """

    run: RunDirectory
    epochs: int
    best_epoch: int
    best_accuracy: float
    source: Source
    seconds: float


def train(
    experiment: Experiment,
    run_dir: str | None = None,
    runs_root: str = "runs",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> TrainingResult:
    """Trains an experiment and writes a run directory.

    Everything that can be wrong with the input is found before the directory is made. On a CPU it turns on TensorFlow's
    op determinism, for the whole process; packed records are then read one after the other.

    Args:
        experiment: what to train.
        run_dir: the folder to make; `None` for the next number under `runs_root`.
        runs_root: where numbered runs go.
        callbacks: further Keras callbacks; their `logs` hold the columns of `metrics.csv`.
        progress: where progress is shown.

    Raises:
        UserError: for a mistake in the experiment or its data; nothing is left behind.
        CheckFailed: if the loss isn't finite, or a checkpoint can't be written.
    """
    progress = progress or Progress()
    if run_dir is not None and tf.io.gfile.exists(run_dir):
        raise UserError(f"--run-dir: {run_dir} exists, and a run is never overwritten. Give another folder.")
    source = read_source(experiment.data)
    steps_per_epoch(len(source.photos("train")), experiment.training.batch_size)
    require_class_count(experiment, source)
    keras.utils.set_random_seed(experiment.training.seed)
    if not tf.config.list_logical_devices("GPU"):
        # Without it two runs on a CPU differ in the last digits. On GPUs some operations couldn't run at all.
        tf.config.experimental.enable_op_determinism()
    strategy = pick_strategy(experiment.training.batch_size)
    with precision(experiment.training.precision), strategy.scope():
        model = build_model(experiment, len(source.class_names), source.class_names)
    require_space(model, run_dir or runs_root)
    for note in source.notes:
        progress.note(f"note: {note}")
    source.photos("val")
    checked = check_splits(source.splits, experiment.data, progress)
    steps_per_epoch(len(checked["train"].photos), experiment.training.batch_size)
    experiment = _with_cache(experiment, checked)
    with strategy.scope():
        optimizer = make_optimizer(experiment, len(checked["train"].photos))
        optimizer.build(model.trainable_variables)
    run = RunDirectory.create(experiment.name, run_dir, runs_root)
    with recording(run, progress):
        run.write_start(experiment, describe_environment(), describe_data(experiment, source, checked))
        write_samples(checked["train"], source.class_names, run.samples)
        write_augmented_samples(checked["train"], source.class_names, experiment, run.augmented)
        progress.note(f"run directory: {run.path}")
        loop = _Loop(experiment, model, optimizer, strategy, checked, run, progress)
        return loop.run_all(callbacks, source)


class _Loop:
    """One training: the model, its data and the callbacks around it."""

    def __init__(
        self,
        experiment: Experiment,
        model: BranchClassifier,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        checked: dict[str, CheckedPhotos],
        run: RunDirectory,
        progress: Progress,
    ) -> None:
        training = experiment.training
        self.experiment, self.model, self.optimizer, self.run = experiment, model, optimizer, run
        self.progress = progress
        self.columns = metric_columns(model.branches)
        data = experiment.data
        self.readers = readers = {
            split: open_reader(checked[split], training_view(data), data.cache, progress.track)
            for split in ("train", "val")
        }
        labels, self.validation_labels = checked["train"].labels, checked["val"].labels
        self.steps = steps_per_epoch(len(labels), training.batch_size)
        batches = training_batches(readers["train"], labels, model.settings["classes"], experiment)
        self.batches = strategy.experimental_distribute_dataset(batches)
        self.validation_batches = evaluation_batches(readers["val"], self.validation_labels, training.batch_size)
        self.train_step = make_train_step(model, optimizer, strategy, training.batch_size)
        self.predict = ProbabilityFunction(model, strategy)

    def run_all(self, callbacks: Sequence[keras.callbacks.Callback], source: Source) -> TrainingResult:
        started = time.perf_counter()
        training = self.experiment.training
        checkpoints = Checkpoints(self.run)
        every = [
            checkpoints,
            MetricsFile(self.run),
            TensorBoardScalars(self.run),
            ProgressDisplay(self.progress, training.epochs, self.steps),
            *callbacks,
        ]
        if training.early_stopping:
            every.append(keras.callbacks.EarlyStopping(MONITOR, patience=training.early_stopping, mode="max"))
        self.model.stop_training = False
        callback_list = keras.callbacks.CallbackList(every, model=self.model)
        callback_list.on_train_begin()
        try:
            epoch = self._epochs(callback_list)
        finally:
            callback_list.on_train_end()
        seconds = time.perf_counter() - started
        self.run.write_status("finished", epochs=epoch, best_epoch=checkpoints.best_epoch, seconds=round(seconds, 1))
        return TrainingResult(self.run, epoch, checkpoints.best_epoch, checkpoints.best_accuracy, source, seconds)

    def _epochs(self, callbacks: keras.callbacks.CallbackList) -> int:
        batches = iter(self.batches)
        for epoch in range(self.experiment.training.epochs):
            callbacks.on_epoch_begin(epoch)
            started = time.perf_counter()
            learning_rate = float(f"{float(self.optimizer.learning_rate):.6g}")
            logs = self._train_epoch(epoch, batches, callbacks) | self._validate()
            logs |= {"learning_rate": learning_rate, "seconds": round(time.perf_counter() - started, 2)}
            if not np.isfinite(logs["val_loss"]):
                raise CheckFailed(f"The model answers NaN after epoch {epoch + 1}. Lower training.learning_rate.")
            callbacks.on_epoch_end(epoch, logs)
            if self.model.stop_training:
                self.progress.note(f"stopped early after epoch {epoch + 1}")
                break
        return epoch + 1

    def _train_epoch(self, epoch: int, batches: Iterator, callbacks: keras.callbacks.CallbackList) -> dict[str, float]:
        totals = np.zeros(len(self.columns))
        for step in range(self.steps):
            callbacks.on_train_batch_begin(step)
            values = self.train_step(*next(batches)).numpy()
            if not np.isfinite(values[0]):
                raise CheckFailed(
                    f"The loss became {values[0]} at step {step + 1} of epoch {epoch + 1}. Lower "
                    f"training.learning_rate (it is {self.experiment.training.learning_rate:g})."
                )
            totals += values
            callbacks.on_train_batch_end(step, {"loss": values[0]})
        return dict(zip(self.columns, (totals / self.steps).tolist(), strict=True))

    def _validate(self) -> dict[str, float]:
        labels = self.validation_labels
        probabilities = self.predict(self.validation_batches, len(labels))
        return {f"val_{name}": value for name, value in branch_metrics(self.model, probabilities, labels).items()}


def _with_cache(experiment: Experiment, checked: Mapping[str, CheckedPhotos]) -> Experiment:
    """The experiment with `data.cache` decided, so that its config says how its photos were read."""
    data, every_epoch = experiment.data, [checked["train"], checked["val"]]
    mode = decide_cache(every_epoch, training_view(data), data.cache, uses=experiment.training.epochs)
    return experiment.model_copy(update={"data": data.model_copy(update={"cache": mode})})


def pick_strategy(batch_size: int) -> tf.distribute.Strategy:
    """`MirroredStrategy` where there are several GPUs, the default strategy otherwise.

    Raises:
        UserError: if the batch can't be divided among the GPUs.
    """
    gpus = len(tf.config.list_logical_devices("GPU"))
    if gpus < 2:
        return tf.distribute.get_strategy()
    if batch_size % gpus:
        raise UserError(
            f"training.batch_size: {batch_size} can't be divided among {gpus} GPUs. "
            f"Use a multiple of {gpus}, or fewer GPUs: CUDA_VISIBLE_DEVICES."
        )
    return tf.distribute.MirroredStrategy()


@contextmanager
def recording(run: RunDirectory, progress: Progress) -> Iterator[None]:
    """Writes how the run ended if it doesn't end well; without any checkpoint the directory is removed."""
    try:
        yield
    except BaseException as error:
        if not run.last.is_file():
            run.remove()
        else:
            stopped = isinstance(error, KeyboardInterrupt)
            if stopped:
                progress.note(f"The checkpoints of the finished epochs are in {run.path}.")
            with suppress(OSError):  # the disk may be full
                run.write_status("stopped" if stopped else "failed", reason=str(error) or type(error).__name__)
        kept = f" The last whole checkpoints are in {run.path}." if run.last.is_file() else ""
        if isinstance(error, OSError):
            raise CheckFailed(f"{error.filename or run.path}: {error.strerror or error}.{kept}") from error
        if isinstance(error, tf.errors.NotFoundError | tf.errors.DataLossError):
            raise CheckFailed(f"A photo can't be read any more: {plain_message(error)}.{kept}") from error
        raise


def require_class_count(experiment: Experiment, source: Source) -> None:
    """Raises a `UserError` if the config says another number of classes than the data has."""
    said, found = experiment.data.classes, len(source.class_names)
    if said is not None and said != found:
        raise UserError(f"data.classes: is {said}, and the data has {found} classes. Correct it, or leave it out.")


def describe_data(experiment: Experiment, source: Source, checked: Mapping[str, CheckedPhotos]) -> dict[str, object]:
    """Plain values for `data.json`: what was read, in numbers and as a hash of the file list."""
    return {
        "source": experiment.data.source,
        "root": experiment.data.root,
        "photos": {split: len(photos.photos) for split, photos in checked.items()},
        "skipped": {split: list(photos.broken) for split, photos in checked.items() if photos.broken},
        "classes": len(source.class_names),
        "class_names": list(source.class_names),
        "file_list_sha256": source.fingerprint(),
    }


def checkpoint_bytes(variables: int) -> int:
    """Size of one checkpoint of a model with so many float32 numbers, with room for the file's structure."""
    return 4 * variables + 2**20


def require_space(model: BranchClassifier, folder: str) -> None:
    """Raises a `UserError` unless the disk holds the best, the last and one more checkpoint while it is written."""
    existing = next(path for path in (Path(folder).absolute() / "x").parents if path.exists())
    needed, free = 3 * checkpoint_bytes(model.count_params()), shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{existing}: the checkpoints need {needed / 1e6:.0f} MB and the disk has {free / 1e6:.0f} MB free. "
            "Free some space, or give another folder: --run-dir."
        )
