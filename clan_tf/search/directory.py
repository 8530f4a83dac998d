"""The search directory: the one place that knows its file names and what a trial writes there."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from clan_tf.config import Experiment, flatten, ignored_keys
from clan_tf.config.section import AUTO
from clan_tf.errors import UserError
from clan_tf.files import only_process, read_json, write_json
from clan_tf.files.temporary import is_temporary
from clan_tf.files.writing import LOCK
from clan_tf.run import RunDirectory
from clan_tf.search.space import SearchConfig
from clan_tf.training.resuming import CHANGEABLE

SAMPLING = "experiment.data.sampling"

_RESTORE = "Restore it from a copy, or start another search: give another --search-dir."
BUDGET = ("trials", "hours", "max_failures")
"""Keys of a search that may change when it is resumed."""


@dataclass(frozen=True)
class Repeat:
    """One run of a trial.

    Attributes:
        seed: its `training.seed`.
        value: the objective at the best epoch.
        epoch: that epoch, from 1.
        seconds: training time.
    """

    seed: int
    value: float
    epoch: int
    seconds: float


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        trial: its name.
        values: values of the searched keys.
        repeats: the repeats that finished training.
        reason: why it failed; `None` if it didn't.
    """

    trial: str
    values: dict[str, Any]
    repeats: tuple[Repeat, ...]
    reason: str | None = None

    @property
    def mean(self) -> float:
        """Mean of the objective over the repeats."""
        return statistics.fmean(repeat.value for repeat in self.repeats)

    @property
    def spread(self) -> float | None:
        """Standard deviation of the objective over the repeats; `None` for a single one."""
        return statistics.stdev(repeat.value for repeat in self.repeats) if len(self.repeats) > 1 else None

    @property
    def seconds(self) -> float:
        """Training time of all its runs."""
        return sum(repeat.seconds for repeat in self.repeats)


@dataclass(frozen=True)
class _Began:
    """The content of `search.json`: what the search started with."""

    experiment: dict[str, Any]
    search: dict[str, Any]


class SearchDirectory:
    """A folder with everything about one search; several processes may share it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def oracle(self) -> Path:
        """The state of KerasTuner's algorithm."""
        return self.path / "oracle.json"

    @property
    def best_config(self) -> Path:
        """The complete experiment of the best trial."""
        return self.path / "best.yaml"

    @property
    def leaderboard(self) -> Path:
        """The trials from the best to the worst, as a machine-readable table."""
        return self.path / "leaderboard.csv"

    @property
    def leaderboard_text(self) -> Path:
        """The trials from the best to the worst, as a page for people."""
        return self.path / "leaderboard.md"

    @property
    def picture(self) -> Path:
        """The trials as lines across the searched keys."""
        return self.path / "trials.png"

    @property
    def tensorboard(self) -> Path:
        """The folder for TensorBoard's HParams."""
        return self.path / "tensorboard"

    def trial_logs(self, trial: str) -> Path:
        """Returns the folder of a trial's HParams."""
        return self.tensorboard / trial

    def run(self, trial: str, seed: int) -> Path:
        """Returns the run directory of a trial's training run with one seed."""
        return self.path / "trials" / trial / f"seed-{seed}"

    def write_result(self, result: TrialResult) -> None:
        """Records how a trial ended; it isn't trained again."""
        write_json(self._result(result.trial), asdict(result))

    def read_result(self, trial: str) -> TrialResult | None:
        """Returns how a trial ended; `None` if it hasn't."""
        if not self._result(trial).is_file():
            return None
        way_out = "Remove it, and the trial is trained again; its finished runs are kept."
        result = read_json(self._result(trial), TrialResult, way_out)
        if result.trial != trial or (result.reason is None and not result.repeats):
            raise UserError(f"{self._result(trial)}: is damaged (it isn't a result of this trial). {way_out}")
        return result

    def results(self) -> list[TrialResult]:
        """Returns the results of all trials that have ended, sorted by name."""
        names = sorted(path.parent.name for path in self.path.glob("trials/*/result.json"))
        return [result for name in names if (result := self.read_result(name))]

    def hours(self) -> float:
        """Returns how long the trials that have ended took in all."""
        return sum(result.seconds for result in self.results()) / 3600

    def ranked(self, search: SearchConfig) -> list[TrialResult]:
        """Returns the trials that have ended, from the best to the worst; failed ones come last."""
        sign = -1 if search.direction == "max" else 1

        def rank(result: TrialResult) -> tuple[bool, float, str]:
            failed = result.reason is not None
            return failed, 0.0 if failed else sign * result.mean, result.trial

        return sorted(self.results(), key=rank)

    def drop_models(self, search: SearchConfig) -> None:
        """Deletes the models of all ended trials except the best, and every trial's last model."""
        for rank, result in enumerate(self.ranked(search)):
            for seed_folder in self.path.glob(f"trials/{result.trial}/seed-*"):
                run = RunDirectory(seed_folder)
                run.last.unlink(missing_ok=True)
                if rank > 0 or result.reason is not None:
                    run.best.unlink(missing_ok=True)
                    run.remove_checkpoints()

    def remove_logs(self) -> None:
        """Deletes the logs for TensorBoard, which are rewritten; other files there are kept."""
        for log in self.tensorboard.glob("*/events.out.tfevents.*"):
            log.unlink()

    def begin(self, experiment: Experiment, search: SearchConfig) -> None:
        """Makes the directory, or checks that it belongs to the same search.

        Raises:
            UserError: naming the differences, or if the folder holds something else.
        """
        if self._search_file.exists():
            self.require_same(experiment, search)
        else:
            self.require_free()
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self._search_file, _identity(experiment, search))

    def require_free(self) -> None:
        """Raises a `UserError` if the folder exists, isn't empty, and isn't a search directory."""
        if self._search_file.exists() or not self.path.exists():
            return
        if not self.path.is_dir() or any(path.name != LOCK and not is_temporary(path) for path in self.path.iterdir()):
            raise UserError(f"--search-dir: {self.path} exists and isn't a search directory. Give another folder.")

    def require_same(self, experiment: Experiment, search: SearchConfig) -> None:
        """Raises a `UserError` unless the directory belongs to this experiment and space."""
        if not self._search_file.exists():
            raise UserError(
                f"--search-dir: no search is in {self.path}. The chief makes it, in a folder that all workers see."
            )
        began = asdict(read_json(self._search_file, _Began, _RESTORE))
        before, given = dict(flatten(began)), dict(flatten(_identity(experiment, search)))
        for values in (before, given):
            if values.get(SAMPLING) == AUTO:
                values[SAMPLING] = experiment.sampling
        ignored = ignored_keys(experiment.model.architecture)
        for key, value in experiment.flat().items():
            section, name = f"{key}.".split(".")[:2]
            # A search from before a method existed has no keys of it, and another method doesn't use them.
            if section == "model" and name in ignored:
                before.setdefault(f"experiment.{key}", value)
        changeable = {f"experiment.{key}" for key in CHANGEABLE} | {f"search.{key}" for key in BUDGET}
        keys = [key for key in {**before, **given} if before.get(key) != given.get(key) and key not in changeable]
        if keys:
            lines = [f"  {key}: {_shown(before, key)} there, {_shown(given, key)} now" for key in keys]
            text = "is a search of another experiment or space; these keys differ:"
            raise UserError("\n".join([f"{self.path}: {text}", *lines, "Give another folder: --search-dir."]))

    def trial_values(self, trial: str) -> dict[str, Any]:
        """Returns a trial's hyperparameters as the algorithm chose them."""
        with self.reading_oracle() as state:
            return next(t["hyperparameters"]["values"] for t in state["trials"] if t["trial_id"] == trial)

    @contextmanager
    def reading_oracle(self) -> Iterator[dict[str, Any]]:
        """Yields the state of the algorithm; any error in the block means that its file is damaged.

        Raises:
            UserError: if the file is damaged.
        """
        state = read_json(self.oracle, dict[str, Any], _RESTORE)
        try:
            yield state
        except UserError:
            raise
        # KerasTuner doesn't validate what it reads: missing or mistyped values raise many types of errors.
        except Exception as error:
            raise UserError(f"{self.oracle}: is damaged ({type(error).__name__}: {error}). {_RESTORE}") from error

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Claims this search for this process, until it ends; raises a `UserError` if another process leads it."""
        self.require_free()
        self.path.mkdir(parents=True, exist_ok=True)
        with only_process(self.path):
            yield

    @contextmanager
    def claimed_trial(self, trial: str) -> Iterator[None]:
        """Waits until no other process trains a trial: a worker that was assumed dead may still do so."""
        folder = self._result(trial).parent
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK):
            yield

    @property
    def _search_file(self) -> Path:
        return self.path / "search.json"

    def _result(self, trial: str) -> Path:
        return self.path / "trials" / trial / "result.json"


def _identity(experiment: Experiment, search: SearchConfig) -> dict[str, Any]:
    return {"experiment": experiment.model_dump(mode="json"), "search": search.model_dump(mode="json")}


def _shown(values: dict[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "nothing"
