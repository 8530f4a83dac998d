"""What happens beside the training loop: checkpoints, logs and the progress display, as Keras callbacks."""

import csv
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from clan_tf.files import replacing
from clan_tf.plots import plot_curves
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory, save_model

MONITOR = "val_combined_accuracy"


class Checkpoints(keras.callbacks.Callback):
    """Writes `last.keras` after every epoch, and `best.keras` whenever the validation accuracy is the highest yet."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self.run = run
        self.best_epoch: int | None = None
        self.best_accuracy = -1.0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        save_model(self.model, self.run.last)
        if logs[MONITOR] > self.best_accuracy:
            save_model(self.model, self.run.best)
            self.best_epoch, self.best_accuracy = epoch + 1, logs[MONITOR]


class MetricsFile(keras.callbacks.Callback):
    """Writes `metrics.csv`, a row per epoch, and `curves.png`."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self.run = run
        self.rows: list[dict[str, Any]] = []

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        self.rows.append({"epoch": epoch + 1, **logs})
        with replacing(self.run.metrics) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        plot_curves(self.run.metrics, self.run.curves)


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes every epoch's numbers for TensorBoard, one step per epoch."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self.run = run

    def on_train_begin(self, logs: Any = None) -> None:
        self.writer = tf.summary.create_file_writer(str(self.run.tensorboard))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        with self.writer.as_default(step=epoch + 1):
            for name, value in logs.items():
                tf.summary.scalar(name, value)
        self.writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        self.writer.close()


class ProgressDisplay(keras.callbacks.Callback):
    """Shows the run's progress, and a line per epoch."""

    def __init__(self, progress: Progress, epochs: int, steps_per_epoch: int) -> None:
        super().__init__()
        self.progress = progress
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch

    def on_train_begin(self, logs: Any = None) -> None:
        self._tracking = self.progress.track("training", self.epochs * self.steps_per_epoch)
        self._advance = self._tracking.__enter__()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        self._advance(f"epoch {self._epoch}/{self.epochs}, loss {logs['loss']:.3f}")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        self.progress.note(
            f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}  loss {logs['loss']:.3f}  "
            f"train {100 * logs['combined_accuracy']:.1f} %  validation {100 * logs[MONITOR]:.1f} %  "
            f"learning rate {logs['learning_rate']:.2g}  {logs['seconds']:.0f} s"
        )

    def on_train_end(self, logs: Any = None) -> None:
        self._tracking.__exit__(None, None, None)
