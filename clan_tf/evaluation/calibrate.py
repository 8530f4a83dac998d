"""Calibration of a model that is already trained."""

from dataclasses import dataclass
from pathlib import Path

from clan_tf.errors import UserError
from clan_tf.evaluation.evaluate import evaluate
from clan_tf.evaluation.photos import check_noted, read_noted, require_same_classes
from clan_tf.inference import KerasPredictor, locate_keras
from clan_tf.models import save_model
from clan_tf.models.calibration import Fit, fit_temperatures, too_few
from clan_tf.progress import Progress
from clan_tf.run import EvaluationFolder, RunDirectory


@dataclass(frozen=True)
class CalibrationResult:
    """A calibrated run.

    Attributes:
        model: the `.keras` file that was written.
        fit: its temperatures.
        evaluated: the names of the run's evaluations, which were done again.
    """

    model: Path
    fit: Fit
    evaluated: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Returns plain values, as `calibrate --json` prints them."""
        before, after = self.fit.losses
        return {
            "model": str(self.model),
            "temperatures": self.fit.temperatures,
            "photos": self.fit.photos,
            "negative_log_likelihood": {"before": before, "after": after},
            "evaluated": list(self.evaluated),
        }


def calibrate(run: str, progress: Progress | None = None) -> CalibrationResult:
    """Calibrates the best model of a finished run by temperatures that are fitted on its validation photos.

    The model's file is replaced, and what was evaluated of the run is evaluated again. Accuracies stay as they are.

    Args:
        run: a run directory.
        progress: where progress is shown.

    Raises:
        UserError: if `run` isn't the directory of a finished run, or has too few validation photos.
    """
    progress = progress or Progress()
    located = locate_keras(run)
    owner = located.run
    if owner is None or located.file != owner.best:
        raise UserError(f"{run}: isn't a run directory, whose validation photos are needed.")
    with owner.claimed():
        if (status := owner.read_status()["status"]) != "finished":
            raise UserError(
                f"{run}: the run is {status}; only a finished one is calibrated. Resume it: clan-tf train --resume "
                f"--run-dir {run}"
            )
        fit = _fit(owner, progress)
    folders = owner.evaluation("test").path.parent.glob("*")
    names = sorted(folder.name for folder in folders if EvaluationFolder(folder).is_complete)
    for name in names:
        split, _, branches = name.partition("-")
        evaluate(run, split, branches.split("+") if branches else None, progress=progress)
    return CalibrationResult(located.file, fit, tuple(names))


def _fit(run: RunDirectory, progress: Progress) -> Fit:
    predictor = KerasPredictor.open(locate_keras(run.path))
    data = read_noted(run, run.experiment(), None, progress)
    require_same_classes(run.best, predictor.class_names, data.source)
    checked = check_noted(data, "val", data.photos("val"), progress)
    answers = predictor.answers(checked, progress)
    if reason := too_few(answers, checked.labels):
        raise UserError(f"{run.path}: can't be calibrated: {reason}. Train with more validation photos.")
    fit = fit_temperatures(predictor.model, answers, checked.labels)
    predictor.model.temperatures = fit.temperatures
    save_model(predictor.model, run.best)
    return fit
