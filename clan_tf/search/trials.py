"""One trial: the experiment with its values, trained once per seed."""

from collections.abc import Mapping
from typing import Any

from clan_tf.config import Experiment, with_values
from clan_tf.data import read_source
from clan_tf.errors import CheckFailed, UserError
from clan_tf.models.memory import forgetting_graphs
from clan_tf.progress import Progress
from clan_tf.search.directory import Repeat, SearchDirectory, TrialResult
from clan_tf.search.space import SearchConfig
from clan_tf.training import TrainingData, are_prepared_alike, prepare_data, train
from clan_tf.training.failures import resumed_as_part


class TrialTrainer:
    """Trains trials in this process; the photos are decoded once for all that prepare them alike.

    Args:
        experiment: the experiment to search.
        search: the search and its space.
        directory: where the runs are written.
        progress: where the progress of reading photos is shown.
    """

    def __init__(
        self,
        experiment: Experiment,
        search: SearchConfig,
        directory: SearchDirectory,
        progress: Progress | None = None,
    ) -> None:
        self.experiment, self.search, self.directory = experiment, search, directory
        self._progress = progress or Progress()
        self._data: tuple[Any, TrainingData] | None = None

    def train(self, trial: str, values: Mapping[str, Any], epochs: int | None, progress: Progress) -> TrialResult:
        """Trains a trial, resumes it, or reads how it ended; a failure is recorded as its result.

        Args:
            trial: its name.
            values: values of the searched keys.
            epochs: replaces the experiment's number of epochs, if given.
            progress: where the progress of each run is shown.
        """
        with self.directory.claimed_trial(trial):
            result = self.directory.read_result(trial) or self._train(trial, values, epochs, progress)
            self.directory.drop_models(self.search)  # also after a kill before this point
            return result

    def prepare(self, experiment: Experiment) -> TrainingData:
        """Returns the photos of an experiment, reusing the last one's if they are prepared in the same way."""
        if self._data is None or not are_prepared_alike(self._data[0], experiment.data):
            self._data = None  # one set of decoded photos at a time
            # Several trials use the photos, even if each trains for one epoch only.
            often = with_values(experiment, {"training.epochs": max(2, experiment.training.epochs)})
            self._data = experiment.data, prepare_data(often, read_source(experiment.data), self._progress)
        return self._data[1]

    def _train(self, trial: str, values: Mapping[str, Any], epochs: int | None, progress: Progress) -> TrialResult:
        repeats: list[Repeat] = []
        reason = None
        first = self.experiment.training.seed
        try:
            changed = {**values, **({"training.epochs": epochs} if epochs else {})}
            for seed in range(first, first + self.search.repeats):
                experiment = with_values(self.experiment, {**changed, "training.seed": seed})
                repeats.append(self._repeat(trial, experiment, progress))
        except (UserError, CheckFailed) as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 (a combination of values can fail in any way)
            reason = f"{type(error).__name__}: {error}"
        result = TrialResult(trial, dict(values), tuple(repeats), reason)
        self.directory.write_result(result)
        return result

    def _repeat(self, trial: str, experiment: Experiment, progress: Progress) -> Repeat:
        seed = experiment.training.seed
        data = self.prepare(experiment)
        with forgetting_graphs(), resumed_as_part(""):  # a trial that failed isn't trained again
            path = str(self.directory.run(trial, seed))
            result = train(experiment, path, progress=progress, resume=True, data=data)
        epoch = result.outcome.best_epoch
        return Repeat(seed, self._value(result.run.read_metrics()[epoch - 1]), epoch, result.outcome.seconds)

    def _value(self, row: Mapping[str, str]) -> float:
        """Returns the objective in a row of `metrics.csv`."""
        if self.search.objective not in row:
            raise UserError(f"objective: there is no {self.search.objective!r}, but {', '.join(list(row)[1:])}.")
        return float(row[self.search.objective])
