"""KerasTuner's loop over the trials, in a single process or as one of several workers."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import grpc
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial
from keras_tuner.errors import FailedTrialError

from clan_tf.progress import Progress
from clan_tf.search.directory import SearchDirectory
from clan_tf.search.hyperparameters import decode
from clan_tf.search.oracles import DurableOracle
from clan_tf.search.space import SearchConfig
from clan_tf.search.standing import TrialProgress, shown_values, standing
from clan_tf.search.trials import TrialTrainer

BEAT_SECONDS = 2.0
"""How often a worker reports to the chief that it is alive."""


class ExperimentTuner(BaseTuner):
    """Runs the trials that an oracle hands out; everything needed to resume is in the search directory.

    Args:
        oracle: the oracle of this process; in a worker, it forwards to the chief's.
        search: what is searched.
        directory: the directory of the search.
        trainer: trains the trials.
        progress: where progress is shown.
    """

    def __init__(
        self,
        oracle: DurableOracle,
        search: SearchConfig,
        directory: SearchDirectory,
        trainer: TrialTrainer,
        progress: Progress,
    ) -> None:
        super().__init__(oracle, directory=str(directory.path.parent), project_name=directory.path.name)
        self.search_config, self.directory_of_search = search, directory
        self.trainer, self.progress = trainer, progress
        self._asked_in_vain = False

    def pre_create_trial(self) -> None:
        """Waits a little before asking again."""
        if self._asked_in_vain:
            time.sleep(1)
        self._asked_in_vain = True

    def on_trial_begin(self, trial: Trial) -> None:
        """Records that there is a trial to work on."""
        self._asked_in_vain = False

    def run_trial(self, trial: Trial) -> float:
        """Runs a trial and returns the objective's mean over the repeats."""
        hyperparameters = trial.hyperparameters.values
        values = decode(self.search_config, self._exact(trial.trial_id, hyperparameters))
        text = standing(self.directory_of_search, self.search_config, self.trainer.experiment.training.epochs)
        self.progress.note(f"trial {trial.trial_id}: {shown_values(values)}; {text}")
        progress = TrialProgress(self.progress, f"trial {trial.trial_id}")
        with self._beating(trial.trial_id):
            result = self.trainer.train(trial.trial_id, values, hyperparameters.get("tuner/epochs"), progress)
        if result.reason is not None:
            self.progress.note(f"trial {trial.trial_id} failed: {result.reason}")
            raise FailedTrialError(result.reason)
        self.progress.note(f"trial {trial.trial_id}: {self.search_config.objective} {result.mean:.4f}")
        return result.mean

    def save(self) -> None:
        """Does nothing: the oracle saves itself."""

    def _exact(self, trial_id: str, hyperparameters: dict) -> dict:
        """Returns the values as the chief has them: they were rounded to float32 on their way to a worker."""
        return self.directory_of_search.trial_values(trial_id) if self._is_worker() else hyperparameters

    @contextmanager
    def _beating(self, trial_id: str) -> Iterator[None]:
        """Reports to the chief periodically that this worker is alive."""
        if not self._is_worker():
            yield
            return
        ended = threading.Event()
        beat = threading.Thread(target=self._beat, args=(trial_id, ended), daemon=True)
        beat.start()
        try:
            yield
        finally:
            ended.set()
            beat.join()

    def _beat(self, trial_id: str, ended: threading.Event) -> None:
        while not ended.wait(BEAT_SECONDS):
            with suppress(grpc.RpcError):  # the chief may come back
                self.oracle.get_trial(trial_id)
