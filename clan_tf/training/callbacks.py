"""Keras callbacks that show a training run: TensorBoard scalars and progress in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from clan_tf.errors import UserError
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from clan_tf.training.best_epoch import ACCURACY

_REFUSED: dict[type[keras.callbacks.Callback], str] = {
    keras.callbacks.LearningRateScheduler: "The learning rate follows training.schedule.",
    keras.callbacks.ReduceLROnPlateau: "The learning rate follows training.schedule.",
    keras.callbacks.TensorBoard: "Scalars for TensorBoard are written by every run.",
    keras.callbacks.BackupAndRestore: "Every run writes checkpoints, and resumes from them.",
    keras.callbacks.SwapEMAWeights: "Averages of the weights are training.ema.",
}


def require_usable(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Raises a `UserError` for a callback of Keras that only works in its own `fit`."""
    for each in callbacks:
        for kind, instead in _REFUSED.items():
            if isinstance(each, kind):
                raise UserError(f"callbacks: {kind.__name__} works in Keras' own `fit` alone. {instead}")


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes every epoch's metrics for TensorBoard, one step per epoch."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self.run = run

    def on_train_begin(self, logs: Any = None) -> None:
        """Opens the event file."""
        self.writer = tf.summary.create_file_writer(str(self.run.tensorboard))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Writes the epoch's metrics."""
        with self.writer.as_default(step=epoch + 1):
            for name, value in logs.items():
                tf.summary.scalar(name, value)
        self.writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Closes the event file."""
        self.writer.close()


class ProgressDisplay(keras.callbacks.Callback):
    """Shows the progress of the remaining steps, and a line per epoch."""

    def __init__(self, progress: Progress, epochs: int, steps_per_epoch: int, done: int = 0) -> None:
        super().__init__()
        self.progress = progress
        self.epochs = epochs
        self.steps_left = epochs * steps_per_epoch - done

    def on_train_begin(self, logs: Any = None) -> None:
        """Starts tracking the steps."""
        self._tracking = self.progress.track("training", self.steps_left)
        self._advance = self._tracking.__enter__()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remembers when the epoch began."""
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        """Counts a step and shows its loss."""
        self._advance(f"epoch {self._epoch}/{self.epochs}, loss {logs['loss']:.3f}")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Shows the epoch's metrics in a line."""
        self.progress.note(
            f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}  loss {logs['loss']:.3f}  "
            f"train {100 * logs['combined_accuracy']:.1f} %  validation {100 * logs[ACCURACY]:.1f} %  "
            f"learning rate {logs['learning_rate']:.2g}  {logs['seconds']:.0f} s"
        )

    def on_train_end(self, logs: Any = None) -> None:
        """Stops tracking."""
        self._tracking.__exit__(None, None, None)
