"""Cross-validation: a run is trained for each fold and tested on it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from clan_tf.config import Experiment
from clan_tf.data import Source
from clan_tf.data.sources.cutting import has_groups, unit_keys
from clan_tf.data.sources.taxonomy_table import read_taxonomy
from clan_tf.errors import UserError, counted, listed
from clan_tf.evaluation import Groups, Share, current_evaluation, read_predictions
from clan_tf.files import only_process, write_json, write_rows
from clan_tf.files.writing import LOCK
from clan_tf.folds.checking import RESULTS, TABLE, check_folds, check_starts, fold_name
from clan_tf.models import COMBINED
from clan_tf.models.memory import forgetting_graphs
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory, is_run
from clan_tf.run.directory import is_unstarted
from clan_tf.run.splits import Match
from clan_tf.text import command_line
from clan_tf.training import prepare_data, train
from clan_tf.training.failures import resumed_as_part
from clan_tf.training.resuming import require_same_taxonomy, resumed_data, resumed_experiment


@dataclass(frozen=True)
class FoldResult:
    """How the model of one fold did.

    Attributes:
        fold: its number, from 1.
        run: its run directory.
        photos: number of photos by split; `test` is the fold.
        best_epoch: the epoch whose model was tested.
        accuracy: of the combined prediction on the fold.
    """

    fold: int
    run: Path
    photos: dict[str, int]
    best_epoch: int
    accuracy: Share

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, as a row of `folds.csv`."""
        share = self.accuracy
        return {
            "fold": self.fold,
            "run": self.run.name,
            **{f"{split}_photos": self.photos.get(split, 0) for split in ("train", "val", "test")},
            "best_epoch": self.best_epoch,
            "right": share.right,
            "accuracy": share.value,
            "low": share.low,
            "high": share.high,
        }


@dataclass(frozen=True)
class CrossValidation:
    """What cross-validation found.

    Attributes:
        folder: where the runs, `folds.csv` and `folds.json` are.
        folds: how each fold's model did.
        over_groups: the share of right answers among all photos, its interval from a bootstrap over their groups
            instead of photos; `None` without `data.group`, or if photos are elsewhere than when they were tested.
    """

    folder: Path
    folds: Sequence[FoldResult]
    over_groups: Share | None = None

    @property
    def mean(self) -> float:
        """The mean of the folds' accuracies, 0…1."""
        return mean(fold.accuracy.value for fold in self.folds)

    @property
    def deviation(self) -> float:
        """The standard deviation of the folds' accuracies (`K - 1` in the denominator)."""
        return stdev(fold.accuracy.value for fold in self.folds)

    @property
    def pooled(self) -> Share:
        """The share of right answers among all photos, each given by the model that wasn't trained on it."""
        shares = [fold.accuracy for fold in self.folds]
        return Share.of(sum(share.right for share in shares), sum(share.photos for share in shares))

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, as in `folds.json`."""
        pooled, grouped = self.pooled, self.over_groups
        return {
            "folds": [fold.to_json() for fold in self.folds],
            "mean": self.mean,
            "standard_deviation": self.deviation,
            "pooled": {
                "right": pooled.right,
                "photos": pooled.photos,
                "accuracy": pooled.value,
                "low": pooled.low,
                "high": pooled.high,
                **({"groups_low": grouped.low, "groups_high": grouped.high} if grouped else {}),
            },
        }


@dataclass(frozen=True)
class _Fold:
    """One fold: what is trained on which photos, and where."""

    number: int
    experiment: Experiment
    source: Source
    run: RunDirectory

    @property
    def is_finished(self) -> bool:
        """Whether the model is trained and tested."""
        return (
            is_run(self.run.path)
            and self.run.read_status()["status"] == "finished"
            and self.run.evaluation("test").is_current
        )


def cross_validate(
    experiment: Experiment,
    folds: int,
    folder: str | None = None,
    progress: Progress | None = None,
    resume: bool = False,
    after_fold: Callable[[Path], None] = lambda run: None,
) -> CrossValidation:
    """Trains and tests a model for each fold, in the runs `fold-1` … of a folder.

    All input is checked before the folder is made, but for the photos' content, which is checked fold by fold. A folder
    in which no fold began is removed. Finished folds are kept, and an interrupted one goes on from its
    last checkpoint.

    Args:
        experiment: what to train.
        folds: how many folds the photos are divided into, 2 or more.
        folder: the folder to make; `None` for the next number under `runs`.
        progress: where progress is shown.
        resume: whether to go on in `folder`, if it exists.
        after_fold: called with the run directory of each fold that has just been tested.

    Raises:
        UserError: for a mistake in the experiment or its data, a folder that is in the way, or runs in it of another
            experiment or other photos.
        CheckFailed: if a training fails; the others are kept.
    """
    progress = progress or Progress()
    checked = check_folds(experiment, folds, folder, resume)
    new = [each for number, each in enumerate(checked, start=1) if not _has_begun(folder, number)]
    check_starts(new, folder or "runs")
    is_made = folder is None or not Path(folder).exists()
    path = RunDirectory.create(experiment.name, folder).path if is_made else Path(str(folder))
    way_on = f"same command with {command_line('--run-dir', path, '--resume')} goes on where it stopped"
    progress.note(f"{folds} folds in {path}; the {way_on}")
    plan = [
        _Fold(number, each, source, RunDirectory(path / fold_name(number)))
        for number, (each, source) in enumerate(checked, start=1)
    ]
    with _removed_if_unstarted(path, is_made), only_process(path), resumed_as_part(f"The {way_on}."):
        for fold in plan:
            _require_same(fold)
        for fold in plan:
            _finish(fold, folds, progress, after_fold)
        answers = [read_predictions(fold.run.evaluation("test"), [COMBINED]) for fold in plan]
        results = [_result(fold, rows) for fold, rows in zip(plan, answers, strict=True)]
        result = CrossValidation(path, results, _over_groups([fold.source for fold in plan], answers))
        write_rows(path / TABLE, [fold.to_json() for fold in result.folds])
        write_json(path / RESULTS, result.to_json())
    return result


def _has_begun(folder: str | None, number: int) -> bool:
    return folder is not None and is_run(Path(folder) / fold_name(number))


@contextmanager
def _removed_if_unstarted(path: Path, is_made: bool) -> Iterator[None]:
    """Removes the folder if the block fails before anything is in it and this process has made it."""
    try:
        yield
    except BaseException:
        if is_made and is_unstarted(path):
            with suppress(OSError):
                (path / LOCK).unlink(missing_ok=True)
                path.rmdir()
        raise


def _require_same(fold: _Fold) -> None:
    """Raises a `UserError` if the fold's run is one of another experiment, or of other photos."""
    if not is_run(fold.run.path):
        return
    resumed_experiment(fold.run, fold.experiment, lambda note: None)
    require_same_taxonomy(fold.run, read_taxonomy(fold.experiment.data, fold.source.class_names))
    found = resumed_data(fold.run, fold.experiment, fold.source).match
    if found and (altered := _altered(found)):
        raise UserError(
            f"{fold.run.path}: {counted(len(altered), 'photo')} have other content than when the run began "
            f"({listed(altered, 1)}), and all folds must be of the same photos. Put the photos back, or train all "
            "folds in another --run-dir."
        )
    if found and found.new:
        raise UserError(
            f"{fold.run.path}: {counted(len(found.new), 'photo')} came after the run began "
            f"({listed([photo.name for photo in found.new], 1)}), and all folds must be of the same photos. Remove the "
            "photos, or train all folds in another --run-dir."
        )


def _altered(found: Match) -> list[str]:
    """Returns the names of a run's photos whose content isn't what the run recorded."""
    return [
        row.photo
        for split, rows in found.rows.items()
        for row, photo in zip(rows, found.source.splits[split], strict=True)
        if photo.digest and photo.digest != row.digest
    ]


def _finish(fold: _Fold, folds: int, progress: Progress, after_fold: Callable[[Path], None]) -> None:
    path = fold.run.path
    if fold.is_finished:
        progress.note(f"fold {fold.number} of {folds}: {path} is finished")
        return
    progress.note(f"fold {fold.number} of {folds}: {path}")
    with forgetting_graphs():
        data = prepare_data(fold.experiment, fold.source, progress)
        result = train(fold.experiment, str(path), progress=progress, resume=True, data=data)
        current_evaluation(fold.run, "test", None, progress, result.source, result.data)
    after_fold(path)


def _result(fold: _Fold, rows: Sequence[Mapping[str, str]]) -> FoldResult:
    right = sum(row[COMBINED] == row["true"] for row in rows)
    facts, outcome = fold.run.read_data(), fold.run.outcome()
    best_epoch = outcome.best_epoch if outcome else 0
    return FoldResult(fold.number, fold.run.path, dict(facts["photos"]), best_epoch, Share.of(right, len(rows)))


def _over_groups(sources: Sequence[Source], answers: Sequence[Sequence[Mapping[str, str]]]) -> Share | None:
    """Returns the share of right answers, with an interval over the groups of the folds' test photos."""
    photos = [photo for source in sources for photo in source.splits["test"]]
    if not has_groups(photos):
        return None
    unit_of = dict(zip((photo.name for photo in photos), unit_keys(photos), strict=True))
    rows = [row for own in answers for row in own]
    if any(row["photo"] not in unit_of for row in rows):
        return None
    right = np.array([row[COMBINED] == row["true"] for row in rows])
    return Share.of_photos(right, Groups.of(unit_of[row["photo"]] for row in rows))
