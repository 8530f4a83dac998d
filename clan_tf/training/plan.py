"""What is known about an experiment before it runs: its size, cost, schedule and files."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from clan_tf.config import DataConfig, Experiment
from clan_tf.config.section import AUTO
from clan_tf.data import Source, list_source, read_source
from clan_tf.data.pipeline import steps_per_epoch
from clan_tf.data.sources.generated import CLASS_NAMES
from clan_tf.errors import UserError
from clan_tf.models import complexity
from clan_tf.models.build import build_model
from clan_tf.models.phases import describe_phases
from clan_tf.run import RunDirectory
from clan_tf.text import data_size
from clan_tf.training.checking import check_alone, find_run
from clan_tf.training.class_balance import describe_balance
from clan_tf.training.devices import choose_devices, runs_with_others
from clan_tf.training.disk import disk_bytes
from clan_tf.training.known_photos import digests_of, notes_on_known
from clan_tf.training.memory import step_bytes
from clan_tf.training.range_test import MOST_STEPS
from clan_tf.training.recipe import learning_rates_at


@dataclass(frozen=True)
class TrainingPlan:
    """What `train` would do.

    Attributes:
        rows: counts and sizes, as text by name.
        schedule: the epochs, from 1, at whose start the learning rate differs from the last row's, and the rate;
            none if it is `auto`.
        files: what would be written.
    """

    rows: dict[str, str]
    schedule: list[tuple[int, float]]
    files: list[str]


def summarize(experiment: Experiment) -> dict[str, Any]:
    """Computes cost and shapes of an experiment's model for one photo, as plain values, without photos or weights.

    Raises:
        UserError: if neither the config nor the data says how many classes there are.
    """
    classes = count_classes(experiment)
    model = build_model(experiment, classes, load_weights=False)
    cost = complexity(model)
    parts = [part for part in cost.parameters if cost.parameters[part] or cost.macs[part]]
    return {
        "name": experiment.name,
        "classes": classes,
        "parameters": sum(cost.parameters.values()),
        "macs": sum(cost.macs.values()),
        "relation_macs": sum(relation.macs for relation in cost.relations.values()),
        "parts": {part: {"parameters": cost.parameters[part], "macs": cost.macs[part]} for part in parts},
        "relations": {name: {"macs": own.macs, "bytes": own.bytes} for name, own in cost.relations.items()},
        "activation_bytes": cost.activation_bytes,
        "published": model.PUBLISHED or None,
        "shapes": {name: list(tensor.shape[1:]) for name, tensor in model.features.items()},
    }


def count_classes(experiment: Experiment) -> int:
    """Returns `data.classes`, or the number of classes in the data."""
    if experiment.data.classes:
        return experiment.data.classes
    if experiment.data.source == "generated":
        return len(CLASS_NAMES)  # known without drawing thousands of photos
    try:
        return len(list_source(experiment.data).class_names)
    except UserError as error:
        raise UserError(f"{error} Or say how many classes there are: --set data.classes=200.") from None


def plan_training(experiment: Experiment, run_dir: str | None, resume: bool = False) -> TrainingPlan:
    """Computes what a training run would take; reads the list of photos and the weights, and writes nothing.

    Weights that Keras would download aren't read, and other processes of the run aren't waited for.

    Raises:
        UserError: for everything that `train` would refuse before it opens the photos.
    """
    if find_run(run_dir, resume, runs_with_others(experiment.training)):
        raise UserError(f"--dry-run: shows what a new run would do, and {run_dir} is a run. Leave --dry-run out.")
    replicas = choose_devices(experiment.training)
    source = read_source(experiment.data)
    notes: list[str] = []
    checked = check_alone(experiment, source, replicas, run_dir or "runs", notes.append, downloads=False)
    experiment, model, start = checked.experiment, checked.model, checked.facts
    training, data = experiment.training, experiment.data
    steps = steps_per_epoch(len(source.photos("train")), training.batch_size)
    cost = complexity(model)
    counts = ", ".join(f"{len(photos)} {split}" for split, photos in source.splits.items())
    memory = step_bytes(cost, training, training.batch_size // training.parts // replicas)
    each = f" on each of {replicas} devices" if replicas > 1 else ""
    rows = {
        "photos": counts,
        "classes": str(len(source.class_names)),
        "parameters": f"{sum(cost.parameters.values()):,}",
        "multiply-accumulates": f"{sum(cost.macs.values()) / 1e9:.3f} G a photo",
        "steps": f"{training.epochs} epochs x {steps} = {training.epochs * steps} of {training.batch_size} photos",
        "memory": f"about {data_size(memory)} in training{each} (estimate)",
        "decoded photos": _decoded_size(source, data),
        "disk": f"{data_size(disk_bytes(cost.variables, training))} at most for models and checkpoints",
    }
    if phases := describe_phases([model.phase(epoch) for epoch in range(training.epochs)]):
        rows["phases"] = phases
    labels = np.array([photo.label for photo in source.photos("train")])
    if balance := describe_balance(training, source.class_names, labels):
        rows["loss"] = balance
    if notes:
        rows["batch"] = "; ".join(notes)
    is_auto = training.learning_rate == AUTO
    if is_auto:
        rows["learning rate"] = f"chosen before the first step, by a range test of at most {MOST_STEPS} steps"
    if start:
        rows["starts from"] = f"{start['init']['file']}; {start['init']['transfer']}"
    if known := [*notes_on_known(checked.known, experiment, digests_of(source) if checked.known else {})]:
        rows["known photos"] = "; ".join(known)
    folder = run_dir or f"runs/{experiment.name}-NNN"
    files = [*RunDirectory.FILES, *(RunDirectory.RANGE_TEST if is_auto else ())]
    files += [RunDirectory.INIT_PHOTOS] if checked.known and checked.known.train else []
    schedule = [] if is_auto else _rate_changes(experiment, steps)
    return TrainingPlan(rows, schedule, [f"{folder}/{name}" for name in files])


def _decoded_size(source: Source, data: DataConfig) -> str:
    """Describes the size of a cache of the photos that every epoch reads."""
    if data.resize_mode != "stretch":
        return f"size not known before reading (data.cache: {data.cache})"
    photos = len(source.photos("train")) + len(source.photos("val"))
    return f"{data_size(3 * photos * data.full_size**2)} if all are cached (data.cache: {data.cache})"


def _rate_changes(experiment: Experiment, steps: int) -> list[tuple[int, float]]:
    training = experiment.training
    rates = learning_rates_at(training, steps, [epoch * steps for epoch in range(training.epochs)])
    return [(index + 1, rate) for index, rate in enumerate(rates) if index == 0 or rate != rates[index - 1]]
