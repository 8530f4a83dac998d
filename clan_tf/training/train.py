"""Training an experiment: the input is checked first, then a run directory is made or resumed."""

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from clan_tf.config import DataConfig, Experiment, TrainingConfig
from clan_tf.config.section import AUTO
from clan_tf.data import Source
from clan_tf.environment import describe_devices
from clan_tf.models import BranchClassifier
from clan_tf.models.phases import describe_phases
from clan_tf.progress import Progress
from clan_tf.run import Outcome, RunDirectory
from clan_tf.run.known import write_known
from clan_tf.training.advice import advice
from clan_tf.training.callbacks import require_usable
from clan_tf.training.checking import CheckedStart, check_start, find_run
from clan_tf.training.class_balance import describe_balance
from clan_tf.training.devices import choose_devices, is_chief, make_strategy, runs_with_others
from clan_tf.training.failures import explained, how_to_resume, less_memory, recording
from clan_tf.training.initial import prepare_start
from clan_tf.training.known_photos import notes_on_known
from clan_tf.training.loop import TrainingLoop
from clan_tf.training.memory import check_photos_at_a_time, fit_batch
from clan_tf.training.range_test import choose_learning_rate
from clan_tf.training.repeatable import make_repeatable, must_be_repeatable
from clan_tf.training.resuming import note_other_computing, resumed_experiment
from clan_tf.training.start_files import write_start
from clan_tf.training.training_data import TrainingData, checked_data, list_photos


@dataclass(frozen=True)
class TrainingResult:
    """How a training run ended.

    Attributes:
        run: the run directory.
        outcome: the epochs, the best of them, and the time.
        source: the data that was read.
        data: the `data` section used to read it; for a resumed run, its paths may differ from the run's config.
        is_chief: whether this process wrote the run directory.
    """

    run: RunDirectory
    outcome: Outcome
    source: Source
    data: DataConfig
    is_chief: bool


def train(
    experiment: Experiment,
    run_dir: str | None = None,
    runs_root: str = "runs",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
    resume: bool = False,
    data: TrainingData | None = None,
) -> TrainingResult:
    """Trains an experiment and writes a run directory, or resumes one.

    All input is checked before the directory is made. On a CPU, or if `training.deterministic` is set, TensorFlow's op
    determinism is turned on for the whole process; packed records are then read one after the other. Ctrl-C and
    SIGTERM stop training after the current step, with a checkpoint.

    Args:
        experiment: what to train.
        run_dir: the folder to make; `None` for the next number under `runs_root`.
        runs_root: where numbered runs go.
        callbacks: further Keras callbacks; their `logs` hold the columns of `metrics.csv`. Their own state isn't
            saved in checkpoints. Those that need Keras' own training, such as `LearningRateScheduler`, are refused.
        progress: where progress is shown.
        resume: whether to resume `run_dir`, bit for bit, if it is a run; if it doesn't exist, a new run is started.
        data: the photos of the `data` section, if they have already been prepared.

    Raises:
        UserError: for a mistake in the experiment or its data, or a run of another experiment; what this call wrote
            is removed.
        CheckFailed: if the loss isn't finite, memory or disk space runs out, or another process of the run ended.
    """
    require_usable(callbacks)
    progress = progress or Progress()
    several = runs_with_others(experiment.training)
    existing = find_run(run_dir, resume, several)
    if existing:
        experiment = resumed_experiment(existing, experiment, progress.note)
    with ExitStack() as stack:
        failures = explained(
            several,
            lambda: how_to_resume(RunDirectory(run_dir)) if run_dir else "",
            lambda: less_memory(experiment.training),
        )
        stack.enter_context(failures)
        choose_devices(experiment.training)
        strategy = make_strategy(experiment.training, progress.note)
        chief = is_chief(strategy)
        progress = progress if chief else Progress()
        if existing and chief:
            stack.enter_context(existing.claimed())
        own, source = list_photos(experiment, existing, data, progress)
        if existing and (outcome := existing.outcome()):
            progress.note(f"{existing.path} is finished")
            if chief:
                existing.remove_checkpoints()  # the process may have been killed between the two
            return TrainingResult(existing, outcome, source, experiment.data, chief)
        if existing and chief:
            note_other_computing(existing, progress.note)
        _seed(experiment.training)
        start = check_start(experiment, source, strategy, run_dir or runs_root, progress, existing)
        for note in () if existing else advice(start.experiment, source):
            progress.note(f"note: {note}")
        data = checked_data(start.experiment, source, own, data, progress)
        digests = {split: photos.digests for split, photos in data.checked.items()}
        for note in notes_on_known(start.known, experiment, digests):
            progress.note(f"note: {note}")
        start = _decided(start, strategy, data, existing is None, progress)
        experiment = start.experiment
        is_made = run_dir is None or not Path(run_dir).exists()
        run = existing or _new_run(experiment, run_dir, runs_root, chief)
        if chief and not existing:
            stack.enter_context(run.claimed())
            run.mark_start()
            run.remove_checkpoints()  # of a start that was killed
        with recording(run, not existing, is_made, progress) if chief else nullcontext():
            outcome = _run(start, strategy, data, run, existing is not None, callbacks, progress)
        if chief:
            run.remove_checkpoints()
    return TrainingResult(run, outcome, source, experiment.data, chief)


def _seed(training: TrainingConfig) -> None:
    keras.utils.set_random_seed(training.seed)
    if must_be_repeatable(training):
        make_repeatable()


def _decided(
    start: CheckedStart, strategy: tf.distribute.Strategy, data: TrainingData, is_new: bool, progress: Progress
) -> CheckedStart:
    """Decides what depends on the photos: their cache, how they are sampled, and a new run's batch size."""
    decided = {"cache": data.cache, "sampling": start.experiment.sampling}
    experiment = start.experiment.model_copy(update={"data": start.experiment.data.model_copy(update=decided)})
    if is_new:
        experiment = fit_batch(experiment, start.model, strategy, len(data.checked["train"].labels), progress.note)
    shown = progress if is_new else Progress()
    check_photos_at_a_time(experiment, strategy.num_replicas_in_sync, shown.note)
    return replace(start, experiment=experiment)


def _run(
    start: CheckedStart,
    strategy: tf.distribute.Strategy,
    data: TrainingData,
    run: RunDirectory,
    is_resumed: bool,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: Progress,
) -> Outcome:
    """Makes what training starts from, records the start, and trains to the end."""
    experiment, model, chief = start.experiment, start.model, is_chief(strategy)
    labels = {split: photos.labels for split, photos in data.checked.items()}
    prepares = prepare_start(experiment, model, strategy, data.readers["train"], labels["train"], run, progress)
    if experiment.training.learning_rate == AUTO:
        experiment = _with_learning_rate(experiment, model, strategy, data, run if chief else None, progress)
    loop = TrainingLoop(experiment, model, strategy, data.readers, labels, run, chief, progress)
    if chief and (start.facts or prepares):
        loop.save_start()
    if chief and is_resumed:
        run.write_status("running")
    elif chief:
        if start.known:
            write_known(run, start.known)
        write_start(experiment, run, data.source, data.checked, start.facts, model.taxonomy)
    _announce(experiment, model, labels["train"], run, strategy, progress)
    return loop.run_all(callbacks)


def _new_run(experiment: Experiment, run_dir: str | None, runs_root: str, chief: bool) -> RunDirectory:
    if run_dir and (not chief or Path(run_dir).exists()):
        return RunDirectory(run_dir)
    return RunDirectory.create(experiment.name, run_dir, runs_root)


def _with_learning_rate(
    experiment: Experiment,
    model: BranchClassifier,
    strategy: tf.distribute.Strategy,
    data: TrainingData,
    run: RunDirectory | None,
    progress: Progress,
) -> Experiment:
    reader, labels = data.readers["train"], data.checked["train"].labels
    chosen = choose_learning_rate(experiment, model, strategy, reader, labels, run, progress)
    return experiment.model_copy(update={"training": experiment.training.model_copy(update={"learning_rate": chosen})})


def _announce(
    experiment: Experiment,
    model: BranchClassifier,
    labels: np.ndarray,
    run: RunDirectory,
    strategy: tf.distribute.Strategy,
    progress: Progress,
) -> None:
    training, replicas = experiment.training, strategy.num_replicas_in_sync
    each = f", {training.batch_size // replicas} photos on each of {replicas} devices" if replicas > 1 else ""
    parts = f" in {training.parts} parts" if training.parts > 1 else ""
    progress.note(f"run directory: {run.path}")
    progress.note(
        f"{', '.join(describe_devices())}, {training.precision}: batches of {training.batch_size}{parts}{each}; "
        f"learning rate {training.learning_rate:g}, for any number of devices"
    )
    if phases := describe_phases([model.phase(epoch) for epoch in range(training.epochs)]):
        progress.note(f"trains {phases}")
    if balance := describe_balance(training, model.class_names, labels):
        progress.note(f"loss: {balance}")
