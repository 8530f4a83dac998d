"""Calibration of a model that is already trained."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clan_tf.config import require_data_key
from clan_tf.data import ALL, SPLITS
from clan_tf.data.pipeline import PhotoReader, evaluation_batches
from clan_tf.errors import UserError, counted
from clan_tf.evaluation.classes import with_model_classes
from clan_tf.evaluation.current import former_options
from clan_tf.evaluation.evaluate import evaluate
from clan_tf.evaluation.photos import check_noted, read_noted
from clan_tf.files import file_sha256, read_json, write_json
from clan_tf.inference import ProbabilityFunction, locate_keras
from clan_tf.inference.predictor import require_finite_answers
from clan_tf.inference.views import view_of_model
from clan_tf.models import BranchClassifier, load_model, save_model
from clan_tf.models.calibration import Answers, Fit, fit_answers
from clan_tf.models.selective_risk import IN_GROUPS, RejectionFit
from clan_tf.progress import Progress
from clan_tf.run import EvaluationFolder, RunData, RunDirectory, find_run_above, is_run, nearest_run
from clan_tf.run.evaluation_folder import EVALUATE_AGAIN
from clan_tf.run.exports import outdated_exports
from clan_tf.text import command_line

BATCH = 32
"""Photos that the model sees at a time."""


@dataclass(frozen=True)
class CalibrationResult:
    """A calibrated run.

    Attributes:
        model: the `.keras` file that was written.
        fit: its temperatures, or why they stayed as they were.
        rejection: when it withholds an answer; `None` if it never does.
        never: the classes that are never answered.
        evaluated: the names of the run's evaluations, which were done again.
        outdated: the folders of the run's exports that aren't known to be of this model, and answer as one before.
    """

    model: Path
    fit: Fit | str
    rejection: RejectionFit | None
    never: tuple[str, ...]
    evaluated: tuple[str, ...]
    outdated: tuple[Path, ...]

    def to_json(self) -> dict[str, object]:
        """Returns plain values, as `calibrate --json` prints them."""
        return {
            "model": str(self.model),
            **self._temperatures(),
            "rejection": self.rejection and {**asdict(self.rejection.rejection), **self.rejection.counts()},
            "never_answered": list(self.never),
            "evaluated": list(self.evaluated),
            "outdated_exports": [str(folder) for folder in self.outdated],
        }

    def _temperatures(self) -> dict[str, object]:
        if isinstance(self.fit, str):
            return {"temperatures": None, "reason": self.fit}
        before, after = self.fit.losses
        return {
            "temperatures": self.fit.temperatures,
            "photos": self.fit.photos,
            "negative_log_likelihood": {"before": before, "after": after},
        }


def calibrate(
    run: str,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
    accept_error: float | None = None,
    per_class: bool = False,
) -> CalibrationResult:
    """Calibrates the best model of a finished run by temperatures that are fitted on its validation photos.

    The model's file is replaced, and what was evaluated of the run is evaluated again. Accuracies stay as they are.

    Args:
        run: a run directory.
        overrides: `KEY=VALUE` strings that say where the run's photos are now.
        progress: where progress is shown.
        accept_error: of the answers that the model gives, the share that may be wrong, between 0 and 1: less probable
            ones are withheld; with 1 all are given. By default as it was.
        per_class: whether each class has a threshold of its own, for which there are enough photos.

    Raises:
        UserError: if `run` isn't the directory of a finished run, its validation photos aren't those that it had, or
            they are too few, or no threshold keeps to `accept_error`.
    """
    if accept_error is not None and not 0 < accept_error <= 1:
        raise UserError(f"--accept-error: must be above 0, and at most 1; received {accept_error:g}.")
    if per_class and accept_error in (None, 1):
        raise UserError("--per-class: says how answers are withheld; add --accept-error E, such as 0.05.")
    progress = progress or Progress()
    owner = _finished_run(run, overrides)
    with owner.claimed():
        if (status := owner.read_status()["status"]) != "finished":
            was = "was interrupted" if status == "running" else f"is {status}"  # nobody else has claimed it
            raise UserError(
                f"{run}: the run {was}; only a finished one is calibrated. Resume it: "
                f"{command_line('clan-tf', 'train', '--resume', '--run-dir', run)}"
            )
        model = load_model(locate_keras(owner.path).file)
        data = _own_photos(owner, model, overrides, progress)
        evaluated = _evaluations(owner, model.branches)
        for split, _ in evaluated:
            data.photos(split)  # an error, before anything is written, if they are gone
        before = model.get_config()
        answers = _fit(owner, model, data, progress, accept_error, per_class)
        if answers.rejection and data.config.group:
            progress.note(f"note: {IN_GROUPS}")
        for folder in evaluated.values():
            _note_model(folder, owner)
        if answers.model.get_config() != before:
            save_model(answers.model, owner.best)
    try:
        for (split, branches), folder in evaluated.items():
            evaluate(
                run,
                split,
                branches,
                overrides=overrides,
                output=str(folder.path),
                progress=progress,
                **former_options(folder, progress),
            )
    except (KeyboardInterrupt, OSError):
        again = command_line("clan-tf", "evaluate", run)
        progress.note(f"{owner.best} is calibrated, but what was evaluated isn't yet again: {again}")
        raise
    found = answers.rejection if isinstance(answers.rejection, RejectionFit) else None
    never = tuple(model.class_names[label] for label in found.never) if found else ()
    names = tuple(folder.path.name for folder in evaluated.values())
    return CalibrationResult(owner.best, answers.fit or "", found, never, names, tuple(outdated_exports(owner)))


def _note_model(folder: EvaluationFolder, run: RunDirectory) -> None:
    """Notes in an evaluation by an older version of which model it is, so that it doesn't count for the next one."""
    metrics = read_json(folder.metrics, dict[str, Any], EVALUATE_AGAIN)
    if "model_sha256" not in metrics:
        write_json(folder.metrics, metrics | {"model_sha256": file_sha256(run.best)})


def _finished_run(run: str, overrides: Sequence[str]) -> RunDirectory:
    path = Path(run)
    if not path.exists():
        raise UserError(f"{run}: there is no such folder.{nearest_run(path)} Give a run directory.")
    if not is_run(path):
        owner = find_run_above(path)
        raise UserError(
            f"{run}: isn't a run directory, whose validation photos are needed. "
            + (f"Give its run: {owner.path}" if owner else "Give the run of the model.")
        )
    for text in overrides:
        require_data_key(text)
    return RunDirectory(path)


def _own_photos(run: RunDirectory, model: BranchClassifier, overrides: Sequence[str], progress: Progress) -> RunData:
    data = read_noted(run, run.experiment(overrides), None, progress)
    if data.match is None:
        raise UserError(
            f"{run.path}: can't be calibrated, because the data isn't the run's own photos in its own splits. Say "
            "where they are: --set data.root=FOLDER."
        )
    return with_model_classes(run.best, model.class_names, data)


def _fit(
    run: RunDirectory,
    model: BranchClassifier,
    data: RunData,
    progress: Progress,
    accept_error: float | None,
    per_class: bool,
) -> Answers:
    checked = check_noted(data, "val", data.photos("val"), progress)
    if notes := data.content_notes("val", checked):
        raise UserError(f"{run.path}: can't be calibrated: {'; '.join(notes)}. Put the run's own photos back.")
    batches = evaluation_batches(PhotoReader(checked, view_of_model(model)), checked.labels, BATCH)
    with progress.track("running the model on validation photos", -(-len(checked.photos) // BATCH)) as advance:
        logits = ProbabilityFunction(model.logits_model())(batches, len(checked.photos), advance)
    require_finite_answers(run.best, logits)
    if accept_error is None and model.rejection:
        aim, per_class = model.rejection.accept_error, len(model.rejection.thresholds) > 1
    else:
        aim = None if accept_error == 1 else accept_error
    answers = fit_answers(model, logits, checked.labels, True, aim, per_class)
    failure = answers.rejection if isinstance(answers.rejection, str) else None
    if accept_error is None and isinstance(answers.fit, str):
        failure = answers.fit
    if failure is None:
        return answers
    missing = sum(row.split == "val" for row in data.match.missing) if data.match else 0
    advice = "Train with more validation photos: data.validation_fraction."
    if missing:
        advice = f"{counted(missing, 'validation photo')} of the run are missing: put them back."
    raise UserError(f"{run.path}: can't be calibrated: {failure}. {advice} Nothing was changed.")


def _evaluations(
    run: RunDirectory, branches: Sequence[str]
) -> dict[tuple[str, tuple[str, ...] | None], EvaluationFolder]:
    """Returns the run's own evaluations, also those begun, by split and combined branches."""
    found: dict[tuple[str, tuple[str, ...] | None], EvaluationFolder] = {}
    for path in sorted(run.evaluation("test").path.parent.glob("*")):
        split, _, names = path.name.partition("-")
        own = tuple(names.split("+")) if names else None
        if split in (*SPLITS, ALL) and set(own or ()) <= {*branches} and EvaluationFolder(path).metrics.is_file():
            found[split, own] = EvaluationFolder(path)
    return found
