"""How many photos are computed at a time: what the estimate of a step's memory lets fit into what is free."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import tensorflow as tf

from clan_tf.config import Experiment, TrainingConfig
from clan_tf.config.section import AUTO
from clan_tf.data.check.readiness import ONE_PHOTO_FOR_HEADS, divided_pair
from clan_tf.data.pipeline.free_memory import available_memory
from clan_tf.errors import UserError
from clan_tf.limits import AUTO_BATCH_SIZE
from clan_tf.models import BranchClassifier, complexity
from clan_tf.models.complexity import Complexity
from clan_tf.text import data_size
from clan_tf.training.devices import least_everywhere
from clan_tf.training.disk import optimizer_numbers

SHARE = 0.8
"""Part of the free memory that a step may take by the estimate, which is rough."""
FEWEST_PHOTOS = 2
"""Fewest photos of a part of a batch on a device: batch norm takes its statistics from them."""
FEW_FOR_HEADS = 8
"""With fewer photos at a time, the statistics of a head's batch norm, of one vector for each photo, are called poor."""


def fit_batch(
    experiment: Experiment,
    model: BranchClassifier,
    strategy: tf.distribute.Strategy,
    photos: int,
    note: Callable[[str], None],
) -> Experiment:
    """Calls `fit_to_devices` for the devices of a strategy and the memory that is free on them."""
    replicas = strategy.num_replicas_in_sync
    return fit_to_devices(experiment, model, replicas, free_memory(strategy), photos, note)


def fit_to_devices(
    experiment: Experiment,
    model: BranchClassifier,
    replicas: int,
    free: int | None,
    photos: int,
    note: Callable[[str], None],
) -> Experiment:
    """Returns the experiment with numbers for `training.batch_size` and `training.accumulation`.

    `auto` becomes the largest power of two, times what devices and parts have to share evenly, that fits into the free
    memory by the estimate, up to 64 photos and the number of train photos. A given batch that doesn't fit is computed
    in 2, 4, 8 … parts, unless the number of parts is given. What was chosen is noted; the learning rate isn't changed.

    Args:
        experiment: what to train, its precision resolved.
        model: its model.
        replicas: how many devices share a batch.
        free: bytes that are free for each of them; `None` if that isn't known.
        photos: how many train photos there are.
        note: called with what was chosen, and why.

    Raises:
        UserError: for `auto` if there are fewer photos than devices and parts.
    """
    training = experiment.training
    room = _Room(experiment, model, free)
    values: dict[str, int] = {"accumulation": training.parts}
    if training.batch_size == AUTO:
        unit = replicas * training.parts
        least = FEWEST_PHOTOS if model.head_batch_norm or experiment.sampling == "pairs" else 1
        values["batch_size"] = size = unit * _auto_photos(room, unit, photos, least)
        note(f"training.batch_size is {size}: {room.describe(size // unit)}; it is at most {AUTO_BATCH_SIZE}")
    elif training.accumulation is None:
        own = training.batch_size // replicas
        values["accumulation"] = parts = _parts(room, own, 2 if experiment.sampling == "pairs" else 1)
        if parts > 1:
            what = "".join(f"the loss {name} and " for name in model.LOSSES_OVER_PHOTOS) + "batch norm"
            note(
                f"training.accumulation is {parts}: {room.describe(own)}, so batches of {training.batch_size} are "
                f"computed in {parts} parts; {what} sees one part at a time. Set training.accumulation to decide "
                "otherwise"
            )
    return experiment.model_copy(update={"training": training.model_copy(update=values)})


def check_photos_at_a_time(experiment: Experiment, replicas: int, note: Callable[[str], None]) -> None:
    """Checks that as many photos are computed at a time as the model needs, and notes if they are few.

    Args:
        experiment: with numbers for `training.batch_size` and `training.accumulation`.
        replicas: how many devices share a batch.
        note: called with the note.

    Raises:
        UserError: if it is one photo, which then has no influence on its own features; or if photos come in pairs and
            a pair would be divided.
    """
    if problem := divided_pair(experiment, replicas):
        raise UserError(problem)
    photos = experiment.training.batch_size // experiment.training.parts
    if not experiment.model.heads_are_normalised or photos >= FEW_FOR_HEADS:
        return
    if photos < FEWEST_PHOTOS:
        raise UserError(ONE_PHOTO_FOR_HEADS)
    note(
        f"the heads normalise their features over the {photos} photos that are computed at a time, which is few; "
        "model.head_batch_norm=false doesn't normalise them"
    )


@dataclass(frozen=True)
class _Room:
    """The memory of a device, and what the model needs of it.

    Attributes:
        experiment: says how the model is trained.
        model: the model.
        free: bytes that are free; `None` if that isn't known.
    """

    experiment: Experiment
    model: BranchClassifier
    free: int | None

    @cached_property
    def cost(self) -> Complexity:
        """The model's size, counted once."""
        return complexity(self.model)

    def needed(self, photos: int) -> int:
        """Estimates the bytes of a step on so many photos."""
        return step_bytes(self.cost, self.experiment.training, photos)

    def takes(self, photos: int) -> bool:
        """Checks whether so many photos fit; they do if the memory isn't known."""
        return self.free is None or self.needed(photos) <= SHARE * self.free

    def describe(self, photos: int) -> str:
        """Says in words how much is needed and free."""
        free = "an unknown amount is free" if self.free is None else f"{data_size(self.free)} are free"
        return f"a step on {photos} photos takes about {data_size(self.needed(photos))}, and {free}"


def step_bytes(cost: Complexity, training: TrainingConfig, photos: int) -> int:
    """Estimates the bytes of a step on so many photos, its precision resolved; half precision halves the maps."""
    weights = cost.training_bytes(0, optimizer_numbers(training) + bool(training.ema))
    maps = cost.training_bytes(photos) - cost.training_bytes(0)
    return weights + maps // (1 if training.precision == "float32" else 2)


def _auto_photos(room: _Room, unit: int, photos: int, least: int) -> int:
    """Returns the largest power of two of photos at a time, for `unit` parts and devices that share a batch.

    It is at least `least`, whether or not that fits, if there are photos enough.
    """
    if photos < unit:
        raise UserError(
            f"training.batch_size: auto needs at least {unit} train photos for the devices and parts that share a "
            f"batch; there are {photos}. Use fewer devices (training.device), or training.accumulation=1."
        )
    most, size = max(unit, min(AUTO_BATCH_SIZE, photos)), 1
    while 2 * size * unit <= most and (size < least or room.takes(2 * size)):
        size *= 2
    return size


def _parts(room: _Room, own: int, together: int) -> int:
    """Returns in how many parts a device computes its `own` photos of a batch, so that each fits.

    Each has whole groups of `together` photos.
    """
    parts = 1
    while not room.takes(own // parts) and own % (2 * parts * together) == 0 and own // (2 * parts) >= FEWEST_PHOTOS:
        parts *= 2
    return parts


def free_memory(strategy: tf.distribute.Strategy) -> int | None:
    """Returns the bytes that are free for a device of the run, the least of all of them; `None` if not known."""
    # Several processes, each with one device, or devices of one process, which share its memory.
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return least_everywhere(strategy, own_free_memory(1 if several else strategy.num_replicas_in_sync) or 0) or None


def own_free_memory(sharing: int) -> int | None:
    """Returns the bytes that are free for one of the devices that share this process' memory; `None` if not known."""
    gpus = tf.config.get_visible_devices("GPU")
    return _gpu_memory(len(gpus)) if gpus else available_memory() // sharing


def _gpu_memory(count: int) -> int | None:
    """Returns what TensorFlow hasn't used yet of the smallest GPU's memory; `None` without NVIDIA's tool."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return None
    command = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        total = min(int(line) for line in text.split()) << 20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    used = max(tf.config.experimental.get_memory_info(f"GPU:{index}")["current"] for index in range(count))
    return max(0, total - used)
