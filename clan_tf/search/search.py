"""Searching an experiment: alone, as a chief, or as one of its workers."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import grpc

from clan_tf.config import Experiment
from clan_tf.data import read_source
from clan_tf.errors import CheckFailed, UserError
from clan_tf.files import require_folder_or_nothing
from clan_tf.progress import Progress
from clan_tf.search.checking import check_models, fit_to_experiment
from clan_tf.search.chief import LEASE_SECONDS, serve
from clan_tf.search.directory import SearchDirectory, TrialResult
from clan_tf.search.oracles import DurableOracle, make_oracle
from clan_tf.search.report import write_report
from clan_tf.search.space import SearchConfig
from clan_tf.search.trials import TrialTrainer
from clan_tf.search.tuner import ExperimentTuner
from clan_tf.training.known_photos import digests_of, known_by_start, notes_on_known

Role = Literal["chief", "worker"]


@dataclass(frozen=True)
class SearchOutcome:
    """The state of a search when it ends.

    Attributes:
        directory: the directory of the search.
        search: what was searched.
        ranked: its trials, from the best to the worst.
        was_over: whether it had already finished before.
        stop_reason: why the last trial failed, if too many failed in a row.
    """

    directory: SearchDirectory
    search: SearchConfig
    ranked: list[TrialResult]
    was_over: bool
    stop_reason: str | None


def search(
    experiment: Experiment,
    config: SearchConfig,
    search_dir: str | Path,
    role: Role | None = None,
    chief: str | None = None,
    progress: Progress | None = None,
) -> SearchOutcome | None:
    """Searches an experiment, or resumes a search.

    Args:
        experiment: the experiment to search.
        config: the search space, algorithm and budget.
        search_dir: the folder of the search; with several machines, one that all of them see.
        role: the role of this process, if several search together.
        chief: `HOST:PORT` of the chief; needed with a role.
        progress: where progress is shown.

    Returns:
        How the search ended; `None` for a worker.

    Raises:
        UserError: for a space that doesn't fit the experiment, or a directory of another search.
        CheckFailed: if the chief can't be reached.
    """
    progress = progress or Progress()
    config = fit_to_experiment(config, experiment, "the search space")
    directory = SearchDirectory(search_dir)
    require_folder_or_nothing("--search-dir", directory.path)
    with _distributed(role, chief) as address, _discarded_stdout():
        if role == "worker":
            _work(experiment, config, directory, address, progress)
            return None
        if not directory.oracle.exists():
            check_models(config, experiment, "the search space")
        with directory.claimed():
            directory.begin(experiment, config)
            return _lead(experiment, config, directory, address, progress)


def _lead(
    experiment: Experiment, config: SearchConfig, directory: SearchDirectory, address: str | None, progress: Progress
) -> SearchOutcome:
    epochs = experiment.training.epochs
    oracle = make_oracle(config, directory, epochs, LEASE_SECONDS if address else None)
    was_over = oracle.is_over
    if was_over:
        progress.note(f"{directory.path} is finished")
    elif address:
        serve(oracle, address, directory, epochs, progress)
    else:
        _run_trials(oracle, experiment, config, directory, progress)
    ranked = write_report(experiment, config, directory)
    return SearchOutcome(directory, config, ranked, was_over, oracle.stop_reason)


def _work(
    experiment: Experiment, config: SearchConfig, directory: SearchDirectory, address: str | None, progress: Progress
) -> None:
    progress.note(f"looking for the chief at {address}")
    channel = grpc.insecure_channel(address)
    try:
        grpc.channel_ready_future(channel).result(timeout=300)
    except grpc.FutureTimeoutError as error:
        raise UserError(f"--chief: nothing answers at {address}. Start the chief first: --role chief.") from error
    finally:
        channel.close()
    directory.require_same(experiment, config)
    oracle = make_oracle(config, directory, experiment.training.epochs)
    try:
        _run_trials(oracle, experiment, config, directory, progress)
    except grpc.RpcError as error:
        raise CheckFailed(
            f"The chief at {address} can no longer be reached. Start it and this worker again; the trial is resumed."
        ) from error
    progress.note("no trial is left for this worker")


def _run_trials(
    oracle: DurableOracle,
    experiment: Experiment,
    config: SearchConfig,
    directory: SearchDirectory,
    progress: Progress,
) -> None:
    source = read_source(experiment.data)  # if this failed, every trial would
    known = known_by_start(experiment)
    for note in notes_on_known(known, experiment, digests_of(source) if known else {}):
        progress.note(f"note: {note}")  # what trials note isn't shown
    trainer = TrialTrainer(experiment, config, directory, progress)
    try:
        ExperimentTuner(oracle, config, directory, trainer, progress).search()
    except (KeyboardInterrupt, SystemExit):
        progress.note(f"Stopped. The same command resumes {directory.path}")
        raise


@contextmanager
def _distributed(role: Role | None, chief: str | None) -> Iterator[str | None]:
    """Sets KerasTuner's environment variables for a role, and yields the chief's address."""
    if role is None:
        if chief is not None:
            raise UserError(f"--chief: needs --role chief or --role worker; received {chief} alone.")
        yield None
        return
    host, colon, port = (chief or "").rpartition(":")
    if not colon or not host or not port.isdigit():
        raise UserError(f"--chief: must be HOST:PORT with --role {role}; received {chief!r}.")
    own = os.environ.get("KERASTUNER_TUNER_ID") or f"{socket.gethostname()}-{os.getpid()}"
    name = "chief" if role == "chief" else own.replace("chief", "worker")
    variables = {"KERASTUNER_ORACLE_IP": host, "KERASTUNER_ORACLE_PORT": port, "KERASTUNER_TUNER_ID": name}
    before = {variable: os.environ.get(variable) for variable in variables}
    os.environ.update(variables)
    try:
        yield f"{host}:{port}"
    finally:
        for variable, value in before.items():
            os.environ.pop(variable) if value is None else os.environ.update({variable: value})


@contextmanager
def _discarded_stdout() -> Iterator[None]:
    """Discards what KerasTuner prints, such as the values of conditions that are sent to a worker."""
    with open(os.devnull, "w", encoding="utf-8") as sink, redirect_stdout(sink):
        yield
