"""Evaluation of a trained model on one split: metrics, tables and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clan_tf.config import DataConfig
from clan_tf.data import ALL, SPLITS, Source
from clan_tf.errors import UserError, nearest
from clan_tf.evaluation.cells import Cells
from clan_tf.evaluation.classes import with_model_classes, without_photos
from clan_tf.evaluation.confusion import class_rows, estimated_figures
from clan_tf.evaluation.groups import Groups
from clan_tf.evaluation.levels import Levels, level_figures
from clan_tf.evaluation.metrics import (
    Bin,
    Estimate,
    Share,
    calibration_figures,
    reliability_bins,
    top_k_accuracy,
)
from clan_tf.evaluation.photos import (
    check_noted,
    experiment_of,
    note_on_cut,
    note_on_export,
    note_on_folds,
    noted_groups,
    other_config,
    read_noted,
    uncut,
)
from clan_tf.evaluation.selective import Selective, selective_figures
from clan_tf.evaluation.tables import without_matrix, write_tables
from clan_tf.evaluation.unknown import Unknown, measured_unknown
from clan_tf.files import file_sha256, require_folder_or_nothing
from clan_tf.inference import Predictor, locate, open_predictor
from clan_tf.models import COMBINED
from clan_tf.models.combination import tempered
from clan_tf.progress import NotingProgress, Progress
from clan_tf.run import EvaluationFolder, RunDirectory
from clan_tf.run.unfinished import note_unless_finished
from clan_tf.runtime import are_in_top

Scores = dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """The results of a model on one split.

    Attributes:
        model: path of the `.keras` file.
        split: the evaluated photos: `train`, `val`, `test` or `all`.
        photos: number of photos.
        branches: `top1` accuracy of each branch, 0…1, `top5` if there are more than five classes, and `topK` if it was
            asked for.
        combined: the same for the combined branches.
        combined_branches: the branches that were combined.
        temperature: what the logits of the combined prediction are divided by; 1 if it isn't calibrated.
        calibration: how well the combined prediction is calibrated, as `calibration_figures` returns it.
        uncalibrated: the same with a temperature of 1; `None` if that is its temperature.
        reliability: the bins of the reliability diagram, `calibrated`, and `uncalibrated` if its temperature isn't 1.
        selective: the error if unsure answers are withheld, and what the model's own thresholds do.
        averages: of the combined prediction, with 95 % intervals: accuracies as in `combined`, and `confusion_figures`.
        per_class: for each class with photos what `class_rows` returns, in the order of the labels.
        confused_pairs: true class, predicted class and number of photos, most photos first.
        cells: the confusion matrix by its cells that aren't 0.
        folder: where everything was written; `None` if nowhere.
        notes: what a user should know about the photos, such as which changed since the run began.
        unknown: what the model does with photos of none of its classes; `None` if none are given.
        levels: accuracy on each level of the model's taxonomy, and how bad the mistakes are; `None` without one.
        groups: number of groups that intervals are over (`data.group`); `None` if they are over photos.
        model_sha256: SHA-256 of the model's file, in hexadecimal; `None` for a folder.
        top: the `K` of a further top-K accuracy that was asked for.
        normalize_confusion: whether the written confusion matrix holds shares.
    """

    model: str
    split: str
    photos: int
    branches: dict[str, Scores]
    combined: Scores
    combined_branches: tuple[str, ...]
    temperature: float
    calibration: dict[str, Estimate]
    uncalibrated: dict[str, Estimate] | None
    reliability: dict[str, list[Bin]]
    selective: Selective
    averages: dict[str, Estimate]
    per_class: list[dict[str, Any]]
    confused_pairs: list[dict[str, Any]]
    cells: Cells
    folder: Path | None
    notes: tuple[str, ...] = ()
    unknown: Unknown | None = None
    levels: Levels | None = None
    groups: int | None = None
    model_sha256: str | None = None
    top: int | None = None
    normalize_confusion: bool = False

    @cached_property
    def confusion(self) -> np.ndarray:
        """The confusion matrix: counts, int64 `(classes, classes)`, rows are true classes.

        It is made when it is asked for. Its cells take 8 bytes each, 800 MB for 10,000 classes: `cells` has those that
        aren't 0.
        """
        return self.cells.dense()

    @property
    def calibration_error(self) -> float:
        """The expected calibration error of the combined prediction, 0…1."""
        return self.calibration["expected_calibration_error"].value

    @property
    def most_frequent(self) -> tuple[str, float]:
        """The most frequent class of the photos and its share, 0…1: the accuracy of always answering it."""
        most = max(self.per_class, key=lambda row: row["photos"])
        return most["class"], most["photos"] / self.photos

    @property
    def beats_guessing(self) -> bool:
        """Whether the combined prediction's accuracy is above that of always answering the most frequent class.

        It is if the lower end of its 95 % interval is.
        """
        low = self.averages["top1"].low
        return low is not None and low > self.most_frequent[1]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, as `evaluate --json` prints them."""
        return {
            "model": self.model,
            **({"model_sha256": self.model_sha256} if self.model_sha256 else {}),
            "split": self.split,
            "photos": self.photos,
            **({"top": self.top} if self.top else {}),
            **({"normalize_confusion": True} if self.normalize_confusion else {}),
            "intervals": "groups" if self.groups else "photos",
            **({"groups": self.groups} if self.groups else {}),
            "branches": {**self.branches, COMBINED: self.combined},
            "combined_branches": list(self.combined_branches),
            "expected_calibration_error": self.calibration_error,
            "calibration": {
                "temperature": self.temperature,
                "calibrated": _plain(self.calibration),
                "uncalibrated": self.uncalibrated and _plain(self.uncalibrated),
                "reliability": {name: [asdict(one) for one in bins] for name, bins in self.reliability.items()},
            },
            "selective": {**asdict(self.selective), "curve": [asdict(point) for point in self.selective.points()]},
            "averages": _plain(self.averages),
            "per_class": self.per_class,
            "confused_pairs": self.confused_pairs,
            "notes": list(self.notes),
            **({"unknown": asdict(self.unknown)} if self.unknown else {}),
            **({"levels": asdict(self.levels)} if self.levels else {}),
        }


def evaluate(
    model: str,
    split: str = "test",
    branches: Sequence[str] | None = None,
    config: str | None = None,
    overrides: Sequence[str] = (),
    output: str | None = None,
    progress: Progress | None = None,
    batch_size: int = 32,
    source: Source | None = None,
    data_section: DataConfig | None = None,
    unknown: str | None = None,
    top: int | None = None,
    normalize_confusion: bool = False,
) -> Evaluation:
    """Evaluates a trained model on a split of its data, or on all its photos.

    Photos are looked up by the run's `splits.csv`, wherever its data is now; with `config`, or overrides of keys that
    determine the photos (`OTHER_DATA`), the data is read from scratch. Its classes are the model's by name; some may
    have no photos.

    Args:
        model: a run directory, a `.keras` file, an exported `.tflite` or `.onnx` file or SavedModel folder, or the
            folder of an export.
        split: `train`, `val`, `test` or `all`.
        branches: which to combine; those that the model combines if `None`.
        config: the config whose data to use, or a folder of photos; the run's own if `None`.
        overrides: `KEY=VALUE` strings that override the config.
        output: folder for tables and pictures. If `None`, one in the run's `evaluation/` if the run's best model is
            evaluated on its own data; otherwise nothing is written.
        progress: where progress is shown.
        batch_size: how many photos are predicted at a time.
        source: the run's own data, if it has already been read.
        data_section: the `data` section used to read `source`, if it may differ from the run's.
        unknown: a folder of photos of none of the classes; those of `data.unknown_classes` if `None`.
        top: the `K` of a further top-K accuracy, from 1 to the number of classes; ties are decided as by `are_in_top`.
        normalize_confusion: whether the written confusion matrix holds shares of each true class's photos, not counts.

    Raises:
        UserError: if the model, the data or a name is wrong, or photos are of classes that the model doesn't have.
    """
    progress = NotingProgress(progress or Progress())
    if split not in (*SPLITS, ALL):
        raise UserError(
            f"--split: must be {', '.join(SPLITS)} or {ALL}; received {split!r}.{nearest(split, [*SPLITS, ALL])}"
        )
    located = locate(model)
    # Before it is read: if the file is replaced meanwhile, this evaluation is taken for one of an earlier model.
    digest = file_sha256(located.file) if located.file.is_file() else None
    with open_predictor(located, branches, batch_size) as predictor:
        path, run = predictor.path, located.run
        _require_rank(top, len(predictor.class_names))
        config = other_config(run, config, progress, overrides)
        own = run if run and path == run.best and not config and not overrides else None
        folder = _folder(predictor, split, branches, output, own)
        if folder:
            require_folder_or_nothing("--output", folder.path)
            if output:
                # Their user may have added files to a run's evaluations, whose own are replaced alone.
                folder.require_own("--output", others_may_stay=_is_evaluation_of(run, folder))
        if normalize_confusion and not folder:
            raise UserError("--normalize-confusion: no confusion matrix is written; say where to: --output D.")
        experiment = experiment_of(path, run, config, overrides)
        if data_section:
            experiment = experiment.model_copy(update={"data": data_section})
        if split == ALL and (config or run is None):
            experiment = uncut(experiment, overrides)
        note_unless_finished(run, progress.note)
        data = read_noted(run, experiment, config, progress, source)
        data = with_model_classes(path, predictor.class_names, data)
        note_on_cut(data, split, progress)
        if predictor.lost_rejection:
            progress.note(f"note: {predictor.lost_rejection}")
        if run:
            note_on_export(run, located.file, progress)
        checked = check_noted(data, split, data.photos(split), progress)
        probabilities = predictor.answers(checked, progress)
        others = measured_unknown(predictor, data, split, unknown, checked, probabilities[COMBINED], progress)
    groups = noted_groups(data, split, checked, progress)
    if run is None:
        note_on_folds(path, checked, progress)
    if missing := without_photos(predictor.class_names, checked.photos, data, split):
        progress.note(f"note: {missing}; averages are over those that have")
    if split == "val" and data.match and (fitted := _fitted(predictor)):
        progress.note(f"note: {fitted} fitted on the validation photos: on others the model does less well")
    if folder and (left_out := without_matrix(len(predictor.class_names))):
        progress.note(f"note: {left_out}")
    ranks = _ranks(top, len(predictor.class_names))
    notes = tuple(dict.fromkeys([*data.notes, *progress.notes]))  # whoever read `source` has noted its notes
    result = _summarize(predictor, split, checked.labels, probabilities, others, folder, notes, ranks, groups)
    result = replace(result, model_sha256=digest, top=top, normalize_confusion=normalize_confusion)
    if folder:
        write_tables(result, checked, probabilities, predictor.class_names, folder)
    return result


def _ranks(top: int | None, classes: int) -> list[int]:
    """Returns the `k` of the top-k accuracies. Of five classes or fewer, every answer is among the first five."""
    return sorted({1, *([5] if classes > 5 else []), top or 1})


def _fitted(predictor: Predictor) -> str:
    """Says what of a model was fitted on validation photos after training; empty if nothing was."""
    fitted = ["the temperature"] if predictor.temperature != 1 else []
    return " and ".join([*fitted, *(["the threshold of answers"] if predictor.rejection else [])])


def _require_rank(top: int | None, classes: int) -> None:
    if top is not None and not 1 <= top <= classes:
        raise UserError(f"--top: must be from 1 to {classes:,}, the number of the model's classes; received {top}.")


def _folder(
    predictor: Predictor, split: str, branches: Sequence[str] | None, output: str | None, own: RunDirectory | None
) -> EvaluationFolder | None:
    """Returns where to write: in `output` or, if the model is the best of its run on its data, in the `own` run."""
    if output:
        return EvaluationFolder(output)
    some = None if branches is None or predictor.chosen == predictor.branches else predictor.chosen
    return own.evaluation(split, some) if own else None


def _is_evaluation_of(run: RunDirectory | None, folder: EvaluationFolder) -> bool:
    return run is not None and folder.path.resolve().parent == run.evaluation("test").path.parent.resolve()


def _summarize(
    model: Predictor,
    split: str,
    labels: np.ndarray,
    probabilities: dict[str, np.ndarray],
    unknown: Unknown | None,
    folder: EvaluationFolder | None,
    notes: tuple[str, ...],
    ranks: Sequence[int],
    groups: Groups | None,
) -> Evaluation:
    names, combined = model.class_names, probabilities[COMBINED]
    cells = Cells.of(labels, combined.argmax(axis=1), len(names))
    raw = np.asarray(tempered(combined, 1 / model.temperature)) if model.temperature != 1 else None
    right = combined.argmax(axis=1) == labels
    confidences = {"calibrated": combined.max(axis=1)} | ({} if raw is None else {"uncalibrated": raw.max(axis=1)})
    return Evaluation(
        model=str(model.path),
        split=split,
        photos=len(labels),
        branches={branch: _scores(labels, probabilities[branch], ranks) for branch in model.branches},
        combined=_scores(labels, combined, ranks),
        combined_branches=model.chosen,
        temperature=model.temperature,
        calibration=calibration_figures(labels, combined, groups),
        uncalibrated=None if raw is None else calibration_figures(labels, raw, groups),
        reliability={name: reliability_bins(values, right) for name, values in confidences.items()},
        selective=selective_figures(labels, combined, model.rejection, groups),
        averages=_averages(labels, combined, ranks, groups),
        per_class=class_rows(cells, names),
        confused_pairs=[
            {"true": names[true], "predicted": names[predicted], "photos": photos}
            for true, predicted, photos in cells.mistakes()
        ],
        cells=cells,
        folder=folder.path if folder else None,
        notes=notes,
        unknown=unknown,
        levels=level_figures(model.taxonomy, labels, combined, groups),
        groups=len(groups) if groups else None,
    )


def _scores(labels: np.ndarray, probabilities: np.ndarray, ranks: Sequence[int]) -> Scores:
    return {f"top{k}": top_k_accuracy(labels, probabilities, k) for k in ranks}


def _averages(
    labels: np.ndarray, combined: np.ndarray, ranks: Sequence[int], groups: Groups | None
) -> dict[str, Estimate]:
    """Returns accuracies, by default with Wilson intervals, and figures of the confusion matrix with bootstrap ones."""
    shares = {k: Share.of_photos(are_in_top(labels, combined, k), groups) for k in ranks}
    accuracies = {f"top{k}": Estimate(share.value, share.low, share.high) for k, share in shares.items()}
    return accuracies | estimated_figures(labels, combined.argmax(axis=1), combined.shape[1], groups)


def _plain(figures: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: asdict(figure) for name, figure in figures.items()}
