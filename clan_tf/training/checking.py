"""What is checked before a run opens its photos: by `train`, and by what only says whether it would start."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from clan_tf.config import Experiment, ModelConfig
from clan_tf.data import Source
from clan_tf.data.check import require_ready
from clan_tf.data.sources.taxonomy_table import read_taxonomy
from clan_tf.errors import UserError
from clan_tf.models import BranchClassifier
from clan_tf.models.backbones import backbone_spec
from clan_tf.models.build import build_model
from clan_tf.models.packaged_weights import WeightsPackage
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory, is_run
from clan_tf.run.directory import is_unstarted, require_unstarted
from clan_tf.run.known import KnownPhotos
from clan_tf.training.devices import choose_precision, precision_scope, runs_with_others
from clan_tf.training.disk import require_space
from clan_tf.training.initial import require_start, start_from
from clan_tf.training.known_photos import known_by_start
from clan_tf.training.memory import check_photos_at_a_time, fit_to_devices, own_free_memory
from clan_tf.training.recipe import check_loss_weight_schedules
from clan_tf.training.resuming import require_same_taxonomy


@dataclass(frozen=True)
class CheckedStart:
    """A run whose input has been checked, as far as that goes without opening photos.

    Attributes:
        experiment: the experiment, with what has been decided by then.
        model: its model, with the weights that training starts from.
        facts: what a run records about another model that it starts from, as plain values.
        known: the photos that a model knows which it starts from; `None` if there is none, or for a run to resume.
    """

    experiment: Experiment
    model: BranchClassifier
    facts: dict[str, Any]
    known: KnownPhotos | None = None


def find_run(run_dir: str | None, resume: bool, several: bool) -> RunDirectory | None:
    """Finds the run to resume, if there is one; raises a `UserError` if the folder can't be used."""
    if run_dir is None and several:
        raise UserError("--run-dir: is required when several processes train: a folder that all of them see.")
    if run_dir is None and resume:
        raise UserError("--resume: needs the run to resume: --run-dir FOLDER.")
    if run_dir is None or not Path(run_dir).exists():
        return None
    if not resume:
        raise UserError(
            f"--run-dir: {run_dir} exists, and a run is never overwritten. Give another folder, or resume the run: "
            "--resume."
        )
    if is_unstarted(Path(run_dir)):
        return None
    if not is_run(Path(run_dir)):
        require_unstarted(Path(run_dir))
    return RunDirectory(run_dir)


def check_start(
    experiment: Experiment,
    source: Source,
    strategy: tf.distribute.Strategy,
    folder: str,
    progress: Progress,
    existing: RunDirectory | None = None,
    load_weights: bool = True,
) -> CheckedStart:
    """Checks an experiment on the photos that are listed, decides the precision, and builds the model.

    Args:
        experiment: what to train.
        source: its photos.
        strategy: where the model is made.
        folder: where the run is written; only for a new run.
        progress: where notes are shown.
        existing: the run to resume, if it is one.
        load_weights: as in `build_model`.

    Raises:
        UserError: for what keeps training from starting.
    """
    require_ready(experiment, source)
    training = experiment.training
    training = training.model_copy(update={"precision": choose_precision(training.precision)})
    experiment = experiment.model_copy(update={"training": training})
    taxonomy = read_taxonomy(experiment.data, source.class_names, lambda text: progress.note(f"note: {text}"))
    with precision_scope(training.precision), strategy.scope():
        model = build_model(experiment, len(source.class_names), source.class_names, load_weights, taxonomy)
    check_loss_weight_schedules(training, model.branches)
    if existing:
        require_start(existing, experiment)
        require_same_taxonomy(existing, model.taxonomy)
        return CheckedStart(experiment, model, {})
    facts = start_from(experiment, model, strategy, progress)
    known = known_by_start(experiment)
    if known and known.unknown and facts:
        facts["init"]["unknown"] = known.unknown
    require_space(model, training, folder)
    return CheckedStart(experiment, model, facts, known)


def check_alone(
    experiment: Experiment,
    source: Source,
    replicas: int,
    folder: str,
    note: Callable[[str], None],
    downloads: bool = True,
) -> CheckedStart:
    """Checks all that `train` checks of a new run before it opens the photos, without joining other processes.

    Args:
        experiment: what to train.
        source: its photos.
        replicas: how many devices share a batch, by `choose_devices`.
        folder: where the run would be written.
        note: called with what was chosen about the batch.
        downloads: whether ImageNet weights may be downloaded; they are left out otherwise.

    Returns:
        The start, its experiment with numbers for the batch, too.

    Raises:
        UserError: for what keeps training from starting.
    """
    load_weights = downloads or not _are_downloaded(experiment.model)
    start = check_start(experiment, source, tf.distribute.get_strategy(), folder, Progress(), load_weights=load_weights)
    free = own_free_memory(1 if runs_with_others(experiment.training) else replicas)
    photos = len(source.photos("train"))
    experiment = fit_to_devices(start.experiment, start.model, replicas, free, photos, note)
    check_photos_at_a_time(experiment, replicas, note)
    return replace(start, experiment=experiment)


def _are_downloaded(config: ModelConfig) -> bool:
    """Returns whether Keras fetches the weights, unless it has before: no package has them, and no file."""
    known = backbone_spec(config.backbone).imagenet
    return config.weights == "imagenet" and known is not None and not isinstance(known, WeightsPackage)
