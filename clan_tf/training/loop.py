"""One short training loop on the public `tf.distribute` API, the same for one device, several, and several processes.

Keras' `fit` averages an incomplete batch wrongly on several devices; here every training batch is full, the loss is
scaled by the global batch, and validation counts each photo once.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from typing import NoReturn

import keras
import numpy as np
import tensorflow as tf

from clan_tf.config import Experiment
from clan_tf.data.pipeline import distribute, evaluation_batches, steps_per_epoch, training_batches
from clan_tf.data.pipeline.reading import Reader
from clan_tf.errors import CheckFailed
from clan_tf.files import write_rows
from clan_tf.inference import ProbabilityFunction
from clan_tf.models import BranchClassifier, load_model, save_model
from clan_tf.models.calibration import Answers, Fit, fit_answers
from clan_tf.models.files import damage_in_model
from clan_tf.models.phases import Phase
from clan_tf.models.selective_risk import IN_GROUPS
from clan_tf.plots import plot_curves
from clan_tf.progress import Progress
from clan_tf.run import Outcome, RunDirectory
from clan_tf.training.best_epoch import ACCURACY, is_as_good
from clan_tf.training.callbacks import ProgressDisplay, TensorBoardScalars
from clan_tf.training.class_balance import ClassBalance
from clan_tf.training.devices import require_agreement
from clan_tf.training.recipe import learning_rate_at, loss_weights_at, make_optimizer
from clan_tf.training.state import TrainingState, read_state, write_state
from clan_tf.training.step import TrainStep, branch_metrics, metric_columns
from clan_tf.training.stop_signals import StopSignals
from clan_tf.training.weight_average import WeightAverage


class TrainingLoop:
    """One training run: the model, its data, and the state that its checkpoints hold.

    Args:
        experiment: what to train.
        model: the model, made in the strategy's scope.
        strategy: where it runs.
        readers: readers of the train and validation photos.
        labels: labels of the same photos, int32 `(photos,)` by split.
        run: where checkpoints and logs are written.
        chief: whether this process writes them.
        progress: where progress is shown.
    """

    def __init__(
        self,
        experiment: Experiment,
        model: BranchClassifier,
        strategy: tf.distribute.Strategy,
        readers: Mapping[str, Reader],
        labels: Mapping[str, np.ndarray],
        run: RunDirectory,
        chief: bool,
        progress: Progress,
    ) -> None:
        training = experiment.training
        self.experiment, self.training, self.model, self.strategy = experiment, training, model, strategy
        self.readers, self.labels, self.run, self.chief, self.progress = readers, labels, run, chief, progress
        self.columns = metric_columns(model.branches, model.own_loss_weights)
        self.steps = steps_per_epoch(len(labels["train"]), training.batch_size)
        self.balance = ClassBalance.of(training, model.class_names, labels["train"])
        with strategy.scope():
            self.optimizer = make_optimizer(training, model, self.steps, strategy.num_replicas_in_sync)
            self.average = WeightAverage(model, training.ema, strategy) if training.ema else None
        self.state = TrainingState()
        self.predict = ProbabilityFunction(model, strategy)
        size = training.batch_size // training.parts
        self.validation_batches = distribute(
            strategy,
            lambda worker: evaluation_batches(readers["val"], labels["val"], size, worker),
            size,
        )
        self._steps: dict[tuple[bool, Phase], TrainStep] = {}
        self._marked = time.monotonic()

    def outcome(self) -> Outcome:
        """Summarizes the run so far; at least one epoch must be finished."""
        best = self.state.best
        accuracy = self.state.rows[best - 1][ACCURACY]
        return Outcome(len(self.state.rows), best, accuracy, round(self.state.seconds, 1))

    def save_start(self) -> None:
        """Writes a checkpoint of step 0: what the weights start as isn't needed again."""
        self._save()

    def run_all(self, callbacks: Sequence[keras.callbacks.Callback]) -> Outcome:
        """Trains from the newest checkpoint, or from the start, to the end."""
        self._restore()
        scalars = [TensorBoardScalars(self.run)] if self.chief else []
        display = ProgressDisplay(self.progress, self.training.epochs, self.steps, self.state.step)
        self.model.stop_training = False
        callback_list = keras.callbacks.CallbackList([*scalars, display, *callbacks], model=self.model)
        callback_list.on_train_begin()
        try:
            with StopSignals(self.progress.note) as signals:
                self._epochs(callback_list, signals)
                self._stop_if_received(signals)
                if self.chief:
                    with self._averaged():
                        save_model(self.model, self.run.last)
                    self._calibrate(signals)
                    # The run isn't finished yet: what would come after it must not begin.
                    self._stop_if_received(signals)
        finally:
            callback_list.on_train_end()
        if self.chief:
            self.run.write_status("finished", **asdict(self.outcome()))
        return self.outcome()

    def _epochs(self, callbacks: keras.callbacks.CallbackList, signals: StopSignals) -> None:
        batches = iter(self._batches())
        for epoch in range(len(self.state.rows), self.training.epochs):
            if self._is_over():
                self.progress.note(f"stopped early after epoch {epoch}")
                break
            callbacks.on_epoch_begin(epoch)
            started = time.perf_counter()
            self._train_epoch(epoch, self._step(epoch), batches, callbacks, signals)
            row = self._finish_epoch(epoch, signals)
            seconds = time.perf_counter() - started
            self._save()
            self._keep_best()
            callbacks.on_epoch_end(epoch, {**row, "seconds": seconds})

    def _step(self, epoch: int) -> TrainStep:
        """Returns the step of an epoch, whose graph is traced once for all epochs that train the same."""
        key = frozen, phase = epoch < self.training.freeze_epochs, self.model.phase(epoch)
        if key not in self._steps:
            own = (self.model, self.optimizer, self.strategy, self.training, self.average, frozen, phase)
            self._steps[key] = TrainStep(*own, balance=self.balance)
        return self._steps[key]

    def _is_over(self) -> bool:
        """Returns whether accuracy hasn't risen for `early_stopping` epochs, or a callback asked to stop."""
        accuracies = [row[ACCURACY] for row in self.state.rows]
        patience = self.training.early_stopping
        since = range(accuracies.index(max(accuracies)) + 1, len(accuracies)) if accuracies else ()
        # An epoch that trains the attention alone isn't one in which accuracy would rise.
        waiting = sum(self.model.phase(epoch).branches for epoch in since)
        waited = patience is not None and waiting >= patience
        return waited or self.model.stop_training

    def _train_epoch(
        self,
        epoch: int,
        train_step: TrainStep,
        batches: Iterator,
        callbacks: keras.callbacks.CallbackList,
        signals: StopSignals,
    ) -> None:
        state = self.state
        state.totals = state.totals or [0.0] * len(self.columns)
        for step in range(state.step - epoch * self.steps, self.steps):
            callbacks.on_train_batch_begin(step)
            weights = loss_weights_at(self.training, self.model.loss_weights, state.step / self.steps)
            values, stop = train_step(batches, weights, stop=signals.received is not None)
            if not np.isfinite(values[0]):
                raise CheckFailed(
                    f"The loss became {values[0]} at step {step + 1} of epoch {epoch + 1}. {self._advice()}"
                )
            state.step += 1
            state.totals = [total + float(value) for total, value in zip(state.totals, values, strict=True)]
            if stop:
                self._stop(signals)
            if time.monotonic() - self._marked > 60 * self.training.checkpoint_minutes:
                self._save()
            callbacks.on_train_batch_end(step, {"loss": float(values[0])})

    def _finish_epoch(self, epoch: int, signals: StopSignals) -> dict[str, float]:
        """Validates, keeps the best model, and records the epoch's metrics."""
        with self._averaged():
            validation = self._validate(signals)
        if validation is None:
            self._stop(signals)
        if not np.isfinite(validation["val_loss"]):
            raise CheckFailed(f"The model outputs NaN after epoch {epoch + 1}. {self._advice()}")
        means = [total / self.steps for total in self.state.totals]
        rate = learning_rate_at(self.training, self.steps, epoch * self.steps)
        row = {**dict(zip(self.columns, means, strict=True)), **validation, "learning_rate": rate}
        rows = self.state.rows
        rows.append(row)
        self.state.totals = []
        if is_as_good(row[ACCURACY], max(each[ACCURACY] for each in rows), len(self.labels["val"])):
            self.state.best = epoch + 1
            if self.chief:
                self._save_candidate(epoch + 1)
        return row

    def _save_candidate(self, epoch: int) -> None:
        self.run.checkpoints.mkdir(exist_ok=True)
        with self._averaged():
            save_model(self.model, self.run.candidate(epoch))

    def _keep_best(self) -> None:
        """Brings `best.keras` and `metrics.csv` in line with the checkpoint."""
        if self.chief and self.state.rows:
            candidate = self.run.candidate(self.state.best)
            if candidate.exists():
                candidate.replace(self.run.best)
            self._write_metrics()

    def _calibrate(self, signals: StopSignals) -> None:
        """Fits temperatures and thresholds of both models that the run keeps, and notes those of the best one."""
        with_temperatures, accept_error = self.training.calibrate != "none", self.training.accept_error
        if not with_temperatures and accept_error is None:
            return
        labels, is_last = self.labels["val"], self.state.best == len(self.state.rows)
        size = max(1, self.training.batch_size // self.training.parts // self.strategy.num_replicas_in_sync)
        for path in (self.run.best,) if is_last else (self.run.last, self.run.best):
            model = load_model(path)
            batches = evaluation_batches(self.readers["val"], labels, size)
            logits = ProbabilityFunction(model.logits_model())(
                batches, len(labels), lambda: self._stop_if_received(signals)
            )
            before = model.get_config()
            answers = fit_answers(model, logits, labels, with_temperatures, accept_error)
            if answers.model.get_config() != before:
                for each in (self.run.last, path) if is_last else (path,):
                    save_model(answers.model, each)
        self._note_answers(answers)

    def _note_answers(self, answers: Answers) -> None:
        fit, rejection = answers.fit, answers.rejection
        if fit is not None:
            self.progress.note(f"calibrated: {fit}" if isinstance(fit, Fit) else f"not calibrated: {fit}")
        if rejection is not None:
            self.progress.note(
                f"every answer is given: {rejection}" if isinstance(rejection, str) else f"answers are {rejection}"
            )
            if self.experiment.data.group:
                self.progress.note(f"note: {IN_GROUPS}")

    def _validate(self, signals: StopSignals) -> dict[str, float] | None:
        """Returns the validation metrics; `None` if this process, running alone, is asked to stop meanwhile."""
        labels, alone = self.labels["val"], not isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy)

        def check() -> None:
            if alone and signals.received:
                raise _StopValidation

        try:
            probabilities = self.predict(self.validation_batches, len(labels), check)
        except _StopValidation:
            return None
        return {f"val_{name}": value for name, value in branch_metrics(self.model, probabilities, labels).items()}

    def _stop_if_received(self, signals: StopSignals) -> None:
        if signals.received:
            self._stop(signals)

    def _stop(self, signals: StopSignals) -> NoReturn:
        self._save()
        signals.raise_received()

    def _batches(self) -> Iterable:
        """Returns the batches of the rest of the run, from the state's step on."""
        labels, training = self.labels["train"], self.training
        classes, start = self.model.classes, self.state.step
        return distribute(
            self.strategy,
            lambda worker: training_batches(
                self.readers["train"], labels, classes, self.experiment, start_step=start, worker=worker
            ),
            training.batch_size,
            training.parts,
        )

    def _advice(self) -> str:
        return (
            "Train again in another --run-dir with a lower training.learning_rate (it is "
            f"{self.training.learning_rate:g}), a longer training.warmup_epochs or training.clipnorm=1."
        )

    def _averaged(self) -> AbstractContextManager[None]:
        return self.average.applied() if self.average else nullcontext()

    def _variables(self) -> list[tf.Variable]:
        """Returns all that a step reads and writes; the model's variables include the states of random layers."""
        averages = self.average.variables if self.average else []
        return [*self.model.variables, *self.optimizer.variables, *averages]

    def _restore(self) -> None:
        with self.strategy.scope():
            self.state = read_state(self.run.checkpoints, self._variables(), self.progress.note, self._problem_with)
        if self.chief and self.state.best and self.state.step == self.state.best * self.steps:
            # `best.keras` may be damaged, or of a later epoch whose checkpoint is.
            self._save_candidate(self.state.best)
        if self.state.step:
            self.progress.note(f"resuming after step {self.state.step} of {self.training.epochs * self.steps}")
        self._keep_best()
        facts = (self.experiment.flat().items(), *(labels.tolist() for labels in self.labels.values()))
        require_agreement(self.strategy, checkpoint=self.state.step, config=repr(facts[0]), photos=repr(facts[1:]))

    def _problem_with(self, state: TrainingState) -> str | None:
        """Explains why the run can't be resumed from an intact state; returns `None` if it can."""
        epochs, columns = len(state.rows), {*self.columns, ACCURACY}
        if not epochs * self.steps <= state.step <= min(epochs + 1, self.training.epochs) * self.steps:
            return f"it is from step {state.step}, but has {epochs} finished epochs of {self.steps} steps"
        if not all(columns <= row.keys() for row in state.rows) or len(state.totals) not in (0, len(self.columns)):
            return "its metrics aren't those of this model"
        if not bool(epochs) <= state.best <= epochs:
            return f"its best epoch is {state.best}, but it has {epochs} finished epochs"
        damage = self._damage_in_best(state)
        # Right after the best epoch the state itself holds its weights.
        return None if damage and state.step == state.best * self.steps else damage

    def _damage_in_best(self, state: TrainingState) -> str | None:
        """Describes what is wrong with the file of a state's best epoch; `None` if nothing, or no epoch is finished."""
        epoch = state.best
        for path in (self.run.candidate(epoch), self.run.best) if epoch else ():
            with suppress(FileNotFoundError):
                damage = damage_in_model(path)
                return damage and f"{path} is damaged ({damage})"
        return f"{self.run.best} is missing" if epoch else None

    def _save(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._marked
        self._marked = now
        if self.chief:
            write_state(self.run.checkpoints, self.state, self._variables())

    def _write_metrics(self) -> None:
        write_rows(self.run.metrics, [{"epoch": epoch, **row} for epoch, row in enumerate(self.state.rows, start=1)])
        plot_curves(self.run.metrics, self.run.curves)


class _StopValidation(Exception):
    """Ends the validation early."""
