"""What cross-validation checks before it makes its folder, and what it would do."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clan_tf.config import Experiment, with_values
from clan_tf.data import Source, read_folds
from clan_tf.data.check import require_ready
from clan_tf.errors import UserError
from clan_tf.models.memory import forgetting_graphs
from clan_tf.run import is_run
from clan_tf.run.directory import is_unstarted, require_unstarted
from clan_tf.training.checking import check_alone
from clan_tf.training.devices import choose_devices, runs_with_others
from clan_tf.training.known_photos import require_unseen_folds
from clan_tf.training.plan import TrainingPlan, plan_training

TABLE, RESULTS = "folds.csv", "folds.json"


def fold_name(number: int) -> str:
    """Returns the name of a fold's run, by its number from 1."""
    return f"fold-{number}"


def check_folds(
    experiment: Experiment, folds: int, folder: str | None, resume: bool
) -> list[tuple[Experiment, Source]]:
    """Returns what is trained in each fold, on which photos.

    Raises:
        UserError: for a folder that can't be used, or photos that can't be divided or trained on.
    """
    if runs_with_others(experiment.training):
        raise UserError(
            "--folds: one process trains all folds. With several, train each fold as a run of its own, by "
            "data.folds and data.fold."
        )
    _require_folder(folder, resume)
    experiments = [with_values(experiment, {"data.folds": folds, "data.fold": fold + 1}) for fold in range(folds)]
    sources = read_folds(experiments[0].data, folds)
    for each, source in zip(experiments, sources, strict=True):
        require_ready(each, source)
    return list(zip(experiments, sources, strict=True))


def check_starts(new: Sequence[tuple[Experiment, Source]], folder: str) -> None:
    """Checks what `train` checks before it opens the photos.

    All folds have the same model, so it is built once, for the fold with the fewest train photos.

    Args:
        new: the folds whose training hasn't begun.
        folder: where the runs will be written.

    Raises:
        UserError: for what keeps training from starting.
    """
    if not new:
        return
    experiment, source = min(new, key=lambda fold: len(fold[1].photos("train")))
    with forgetting_graphs():
        check_alone(experiment, source, choose_devices(experiment.training), folder, lambda note: None)
    require_unseen_folds(experiment, [source for _, source in new])


def plan_folds(experiment: Experiment, folds: int, folder: str | None, resume: bool = False) -> TrainingPlan:
    """Computes what the first fold would take, as `plan_training` does; the others are alike.

    Raises:
        UserError: for everything that `cross_validate` would refuse before it opens the photos.
    """
    checked = check_folds(experiment, folds, folder, resume)
    (first, _), *_ = checked
    folder = folder or f"runs/{experiment.name}-NNN"
    plan = plan_training(first, f"{folder}/{fold_name(1)}", resume)
    require_unseen_folds(first, [source for _, source in checked])
    return replace(plan, files=[*plan.files, f"{folder}/{TABLE}", f"{folder}/{RESULTS}"])


def _require_folder(folder: str | None, resume: bool) -> None:
    """Raises a `UserError` unless `folder` can be made, or gone on with."""
    if folder is None:
        if resume:
            raise UserError("--resume: needs the folder of the folds: --run-dir FOLDER.")
        return
    path = Path(folder)
    if not path.exists():
        return
    if not resume:
        raise UserError(
            f"--run-dir: {folder} exists, and a run is never overwritten. Give another folder, or go on with its "
            "folds: --resume."
        )
    if is_run(path):
        raise UserError(
            f"--run-dir: {folder} is a run, and not a folder of folds. Resume it without --folds, or give another."
        )
    if not is_unstarted(path) and not any(path.glob("fold-*")):
        require_unstarted(path)
