"""How long runs will take, estimated from finished ones or from one measured epoch."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras

from clan_tf.config.section import AUTO
from clan_tf.data import Source
from clan_tf.limits import AUTO_BATCH_SIZE
from clan_tf.models import complexity
from clan_tf.models.build import build_model
from clan_tf.progress import Progress
from clan_tf.reproduce.runs import Job
from clan_tf.training import train
from clan_tf.training.failures import resumed_as_part

_MEASURED_STEPS = 6


def estimate_seconds(jobs: Sequence[Job], source: Source, progress: Progress) -> tuple[dict[str, float], str]:
    """Estimates the seconds that each unfinished job will take, by the name of its run; also returns the basis.

    Jobs of other networks are scaled by their multiply-accumulates. If none has finished, a short training run of the
    first job is measured on a small part of the photos.
    """
    open_jobs = [job for job in jobs if job.state != "finished"]
    finished = [job for job in jobs if job.state == "finished"]
    if not open_jobs:
        return {}, "nothing is left to train"
    macs = {name: _macs(job, source) for name, job in {job.network.name: job for job in jobs}.items()}
    if finished:
        rates = [_seconds_of(job) / macs[job.network.name] for job in finished]
        rate, basis = sum(rates) / len(rates), f"{len(finished)} finished runs"
    else:
        first = open_jobs[0]
        rate = _measured_seconds(first, source, progress) / macs[first.network.name]
        basis = f"one measured epoch of {first.run.path.name} on a part of the photos"
    return {job.run.path.name: rate * macs[job.network.name] for job in open_jobs}, basis


def _macs(job: Job, source: Source) -> int:
    cost = complexity(build_model(job.experiment, len(source.class_names), load_weights=False))
    return cost.all_macs


def _seconds_of(job: Job) -> float:
    return job.run.read_status()["seconds"]


def _measured_seconds(job: Job, source: Source, progress: Progress) -> float:
    """Extrapolates a run's time from the second epoch of a short one; adds the first's time for tracing graphs once."""
    training, data = job.experiment.training, job.experiment.data
    photos = len(source.photos("train"))
    batch = AUTO_BATCH_SIZE if training.batch_size == AUTO else training.batch_size
    fraction = min(data.fraction, data.fraction * _MEASURED_STEPS * batch / photos)
    short = job.experiment.model_copy(
        update={
            "data": data.model_copy(update={"fraction": fraction}),
            "training": training.model_copy(update={"epochs": 2, "early_stopping": None}),
        }
    )
    with tempfile.TemporaryDirectory() as folder, resumed_as_part(""):
        progress.note(f"measuring an epoch of {job.run.path.name} on about {round(photos * fraction)} photos")
        epochs: list[float] = []
        timer = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(logs["seconds"]))
        result = train(short, str(Path(folder) / "run"), callbacks=[timer])
        first, second = epochs
        used = len(result.source.photos("train"))
    return max(first - second, 0) + second * photos / used * training.epochs
