"""KerasTuner's algorithms, made to survive `kill -9` and dying workers.

What KerasTuner 1.4 lacks: files written atomically, a saved state of its grid, random numbers that continue where they
stopped, a trial that is counted once wherever its process was killed, and a chief that notices a dead worker. This
takes private names of `Oracle` (`_retry_queue`, `_check_consecutive_failures`, `_random_state`, …), so `pyproject.toml`
pins the versions that have them.
"""

import time
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle, GridSearchOracle, HyperbandOracle, RandomSearchOracle

from clan_tf.files import write_json
from clan_tf.search.directory import BUDGET, SearchDirectory
from clan_tf.search.hyperparameters import make_hyperparameters
from clan_tf.search.space import SearchConfig


class DurableOracle(keras_tuner.Oracle):
    """What the four algorithms share: an atomically written state, budgets, and leases of the workers' trials."""

    # Attributes of KerasTuner's oracle.
    tuner_ids: set[str]
    ongoing_trials: dict[str, Trial]
    search: SearchConfig
    directory_of_search: SearchDirectory
    lease_seconds: float | None = None
    """How long a worker may be silent before its trial is handed to another; `None` if there are no workers."""

    def attach(self, search: SearchConfig, directory: SearchDirectory) -> None:
        """Sets what is searched and where, and reads the state of an existing search."""
        self.search, self.directory_of_search = search, directory
        self.stop_reason: str | None = None
        self._exhausted = False
        self._seen: dict[str, float] = {}
        self.verbose = 0
        if directory.oracle.is_file():
            self.reload()
            self._check_consecutive_failures()

    @property
    def is_over(self) -> bool:
        """Returns whether every trial has ended and none is left to start."""
        return self._exhausted and not self.ongoing_trials and not self._retry_queue

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """Hands out a dead worker's trial or a new one, unless the budget is used up."""
        self._seen[tuner_id] = time.monotonic()
        self._take_back_silent_trials()
        if self._stops():
            trial = self._no_trial(TrialStatus.STOPPED)
        else:
            trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED:
            self._exhausted = True
            self.save()
            if any(owner != tuner_id for owner in self.ongoing_trials):
                self.tuner_ids.add(tuner_id)
                return self._no_trial(TrialStatus.IDLE)  # one of their trials may come back
            self.tuner_ids.discard(tuner_id)
        return trial

    @keras_tuner.synchronized
    def get_trial(self, trial_id: str) -> Trial:
        """Returns a trial, and records that its worker is alive."""
        self._seen[trial_id] = time.monotonic()
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Records how a trial ended and frees its worker; calling it again changes nothing."""
        own = self.trials[trial.trial_id]
        if trial.trial_id not in self.end_order:
            # A worker's values were rounded to float32 in transit.
            trial.hyperparameters = own.hyperparameters
            super().end_trial(trial)
        self.ongoing_trials = {
            owner: other for owner, other in self.ongoing_trials.items() if other.trial_id != trial.trial_id
        }
        self.save()

    @keras_tuner.synchronized
    def forget_silent_workers(self) -> bool:
        """Takes back the trials of workers that died; returns whether any worker is left."""
        self._take_back_silent_trials()
        limit = time.monotonic() - (self.lease_seconds or 0)
        busy = set(self.ongoing_trials)
        self.tuner_ids = {owner for owner in self.tuner_ids if owner in busy or self._seen.get(owner, 0) > limit}
        return bool(self.tuner_ids)

    def _take_back_silent_trials(self) -> None:
        if self.lease_seconds is None:
            return
        now = time.monotonic()
        for owner, trial in list(self.ongoing_trials.items()):
            if now - self._seen.setdefault(trial.trial_id, now) > self.lease_seconds:
                del self.ongoing_trials[owner], self._seen[trial.trial_id]
                self._retry_queue.append(trial.trial_id)
                self.save()

    def _stops(self) -> bool:
        """Returns whether the budget is used up or too many trials failed in a row; interrupted trials still finish."""
        if self.stop_reason:
            return True
        if self._retry_queue:
            return False
        if self.search.trials is not None and len(self.trials) >= self.search.trials:
            return True
        return self.search.hours is not None and self.directory_of_search.hours() >= self.search.hours

    def _check_consecutive_failures(self) -> None:
        last = self.end_order[-self.search.max_failures :]
        if len(last) == self.search.max_failures and all(self.trials[name].status == "FAILED" for name in last):
            failed = self.directory_of_search.read_result(last[-1])
            self.stop_reason = failed.reason if failed else None

    def _budget(self) -> list[Any]:
        return [getattr(self.search, key) for key in BUDGET]

    def _no_trial(self, status: str) -> Trial:
        return Trial(self.hyperparameters.copy(), trial_id="", status=status)

    def _save_trial(self, trial: Trial) -> None:
        """Does nothing: trials are saved in the oracle's file, because two files could contradict each other."""

    def get_state(self) -> dict[str, Any]:
        """Returns the state with every trial, as plain values."""
        trials = [trial.get_state() for trial in self.trials.values()]
        return {**super().get_state(), "trials": trials, "exhausted": self._budget() if self._exhausted else None}

    def save(self) -> None:
        """Writes the state atomically."""
        write_json(self.directory_of_search.oracle, self.get_state())

    def reload(self) -> None:
        """Reads the state that `save` wrote."""
        with self.directory_of_search.reading_oracle() as state:
            self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.trials = {trial["trial_id"]: Trial.from_state(trial) for trial in state["trials"]}
        self.set_state(state)
        self._exhausted = state["exhausted"] == self._budget()
        self.ongoing_trials = {
            owner: trial for owner, trial in self.ongoing_trials.items() if trial.trial_id not in self.end_order
        }
        if self.lease_seconds is None:
            self._retry_queue += [trial.trial_id for trial in self.ongoing_trials.values()]
            self.ongoing_trials = {}
        for name in {*self._retry_queue, *(trial.trial_id for trial in self.ongoing_trials.values())}:
            self.trials[name].metrics = type(self.trials[name].metrics)()


class DurableRandom(DurableOracle, RandomSearchOracle):
    """Random search."""


class DurableGrid(DurableOracle, GridSearchOracle):
    """Every combination, in the order of the space: each trial's values follow from those of the one before."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the values of a trial: the next in the grid."""
        if not self.start_order:
            return super().populate_space(trial_id)
        values = self._get_next_combination(self.trials[self.start_order[-1]].hyperparameters.values)
        return {"status": TrialStatus.STOPPED if values is None else TrialStatus.RUNNING, "values": values}


class DurableBayesian(DurableOracle, BayesianOptimizationOracle):
    """A Gaussian process over the trials so far."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the values of a trial; repeated calls for a trial return the same values."""
        self._random_state = np.random.RandomState(self.seed + int(trial_id))
        return super().populate_space(trial_id)


class DurableHyperband(DurableOracle, HyperbandOracle):
    """Many short runs, and longer ones of the best; each starts from scratch."""


def make_oracle(
    search: SearchConfig, directory: SearchDirectory, epochs: int, lease_seconds: float | None = None
) -> DurableOracle:
    """Makes the algorithm of a search, in the state in which it was stopped.

    Args:
        search: what is searched.
        directory: the directory of the search.
        epochs: the experiment's number of epochs; for Hyperband, the maximum.
        lease_seconds: for a chief: how long a worker may be silent.
    """
    kinds = {
        "random": DurableRandom,
        "grid": DurableGrid,
        "bayesian": DurableBayesian,
        "hyperband": DurableHyperband,
    }
    own = {"max_epochs": epochs} if search.algorithm == "hyperband" else {"max_trials": None}
    oracle = kinds[search.algorithm](
        objective=keras_tuner.Objective(search.objective, search.direction),
        hyperparameters=make_hyperparameters(search),
        seed=search.seed + 1,  # KerasTuner treats 0 as no seed
        max_consecutive_failed_trials=search.max_failures,
        **own,
    )
    oracle.lease_seconds = lease_seconds
    oracle.attach(search, directory)
    return oracle
