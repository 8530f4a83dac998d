"""The runs behind a table: each in its own directory, and kept once it is finished."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clan_tf.config import Experiment, with_values
from clan_tf.config.section import AUTO
from clan_tf.data import Source
from clan_tf.data.check.readiness import divided_pair
from clan_tf.errors import CheckFailed, UserError
from clan_tf.evaluation import current_evaluation
from clan_tf.models.memory import forgetting_graphs
from clan_tf.progress import Progress
from clan_tf.reproduce.paper import Network
from clan_tf.run import RunDirectory, is_run
from clan_tf.training import train
from clan_tf.training.failures import resumed_as_part

State = Literal["finished", "unfinished", "missing"]
_FREE_KEYS = ("name", "data.cache")
"""Keys that don't change the result, and that training fills in itself."""


@dataclass(frozen=True)
class Job:
    """One run that a table needs.

    Attributes:
        network: what is trained.
        seed: `training.seed`.
        experiment: the whole config.
        run: where it is, or will be.
    """

    network: Network
    seed: int
    experiment: Experiment
    run: RunDirectory

    @property
    def state(self) -> State:
        """Whether there is a finished run, an unfinished one, or none."""
        if not is_run(self.run.path):
            return "missing"
        return "finished" if self.run.read_status()["status"] == "finished" else "unfinished"

    @property
    def commit(self) -> str | None:
        """The commit that the run was trained with; `None` if it wasn't a checkout."""
        return self.run.read_environment()["git_commit"]

    def require_same_config(self) -> None:
        """Raises a `UserError` if the existing run has another config."""
        if self.state == "missing":
            return
        wanted, found = self.experiment.flat(), self.run.experiment().flat()
        free = {*_FREE_KEYS} | self.experiment.undecided()
        for key in sorted(wanted.keys() | found.keys()):
            if key not in free and wanted.get(key) != found.get(key):
                raise UserError(
                    f"{self.run.path}: was trained with {key}={found.get(key)!r}, but {wanted.get(key)!r} is wanted. "
                    "Runs of different configs aren't mixed in one table: give another --output, or remove the run."
                )


def plan_jobs(networks: Iterable[Network], experiment: Experiment, seeds: Sequence[int], folder: Path) -> list[Job]:
    """Makes a job for each network and seed, all networks of one seed before the next seed.

    Raises:
        UserError: if there is already a run with another config, or a network can't be trained with this one.
    """
    unique = {network.name: network for network in networks}
    jobs = [
        Job(
            network,
            seed,
            _changed(experiment, network, seed),
            RunDirectory(folder / "runs" / f"{network.name}-seed{seed}"),
        )
        for seed in seeds
        for network in unique.values()
    ]
    for job in jobs:
        job.require_same_config()
        if job.experiment.training.batch_size != AUTO and (problem := divided_pair(job.experiment)):
            raise UserError(f"{job.network.name}: {problem}")
    return jobs


def run_jobs(jobs: Sequence[Job], split: str, source: Source, progress: Progress) -> dict[str, str]:
    """Trains unfinished jobs, from their last checkpoints on, and evaluates those not evaluated yet.

    Returns:
        Why runs failed, by name; the others are finished.
    """
    failures = {}
    for number, job in enumerate(jobs, start=1):
        progress.note(f"run {number} of {len(jobs)}: {job.run.path.name} ({job.state})")
        try:
            _finish(job, split, source, progress)
        except CheckFailed as error:
            failures[job.run.path.name] = str(error)
            progress.note(f"{job.run.path.name} failed: {error}")
    return failures


def _finish(job: Job, split: str, source: Source, progress: Progress) -> None:
    if job.state == "finished" and job.run.evaluation(split).is_current:
        return
    with forgetting_graphs(), resumed_as_part("The same command goes on where it stopped."):
        if job.state != "finished":
            train(job.experiment, str(job.run.path), progress=progress, resume=True)
        current_evaluation(job.run, split, None, progress, source)


def _changed(experiment: Experiment, network: Network, seed: int) -> Experiment:
    model = network.applied_to(experiment.model)
    training = experiment.training.model_copy(update={"seed": seed})
    changed = experiment.model_copy(update={"name": network.name, "model": model, "training": training})
    return with_values(changed, {})  # checks the whole
