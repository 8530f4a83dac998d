"""The facts of a report, read and computed from a run directory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from clan_tf.config import DataConfig, Experiment, require_data_key
from clan_tf.data import Source
from clan_tf.data.sources.source import folder_of, relative_name
from clan_tf.errors import UserError, counted
from clan_tf.evaluation import (
    EVALUATE_AGAIN,
    Bin,
    Cells,
    Estimate,
    Levels,
    Selective,
    Share,
    Unknown,
    average_rows,
    calibration_rows,
    calibration_text,
    current_evaluation,
    read_predictions,
)
from clan_tf.files import read_json
from clan_tf.models import COMBINED
from clan_tf.progress import Progress
from clan_tf.run import EvaluationFolder, RunDirectory, is_run, nearest_run, read_run_data, read_run_split
from clan_tf.run.known import notes_on_start


class _Scores(BaseModel):
    top1: float = Field(ge=0, le=1)
    top5: float | None = Field(None, ge=0, le=1)


class _Calibration(BaseModel):
    """How well the combined prediction is calibrated."""

    temperature: float
    calibrated: dict[str, Estimate]
    uncalibrated: dict[str, Estimate] | None
    reliability: dict[str, list[Bin]] = {}

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """What is shown of it."""
        return calibration_rows(self.calibrated, self.uncalibrated)

    @property
    def text(self) -> str:
        """What to know of it."""
        return calibration_text(self.calibrated, self.uncalibrated)


class _Metrics(BaseModel):
    """The content of an evaluation's `metrics.json`; older ones say less about calibration."""

    model_config = ConfigDict(extra="allow")
    branches: dict[str, _Scores]
    groups: int | None = None
    averages: dict[str, Estimate] = {}
    calibration: _Calibration | None = None
    levels: Levels | None = None
    selective: Selective | None = None
    unknown: Unknown | None = None


@dataclass(frozen=True)
class ClassFacts:
    """One class on the evaluated photos."""

    name: str
    share: Share
    taken_for: str
    """The class most often predicted by mistake, with the number of photos; empty without mistakes."""


class RunFacts:
    """A run and its evaluation on one split.

    Attributes:
        run: the run directory.
        split: the evaluated split.
        experiment: the resolved config.
        environment: the content of `environment.json`.
        data: the content of `data.json`.
        status: the content of `status.json`.
        epochs: the rows of `metrics.csv`.
        metrics: the content of the evaluation's `metrics.json`.
        groups: number of groups of photos that intervals are over; `None` if they are over photos.
        averages: what is shown of the figures over all classes; nothing in an older evaluation.
        calibration: how well the combined prediction is calibrated; `None` in an older evaluation.
        levels: accuracy by level of the model's taxonomy, and how bad the mistakes are; `None` if it has none.
        selective: the error if unsure answers are withheld; `None` in an older evaluation.
        unknown: what the model does with photos of none of its classes; `None` if none were given.
        predictions: the rows of the evaluation's `predictions.csv`.
    """

    def __init__(self, run: RunDirectory, split: str) -> None:
        folder = run.evaluation(split)
        self.run = run
        self.split = split
        self.experiment: Experiment = run.experiment()
        self.environment = run.read_environment()
        self.data = run.read_data()
        self.status = run.read_status()
        self.epochs = run.read_metrics()
        metrics = read_json(folder.metrics, _Metrics, EVALUATE_AGAIN)
        self.metrics, self.calibration = metrics.model_dump(), metrics.calibration
        self.groups, self._estimates = metrics.groups, metrics.averages
        self.averages, self.levels = average_rows(metrics.averages), metrics.levels
        self.selective, self.unknown = metrics.selective, metrics.unknown
        self.predictions = read_predictions(folder, (COMBINED, f"{COMBINED}_probability"))
        _require_known_classes(self.predictions, self.class_names, ["true", *self.metrics["branches"]], folder)
        if "epochs" in self.status and len(self.epochs) != self.status["epochs"]:
            raise UserError(
                f"{run.metrics}: is damaged (it has {len(self.epochs)} epochs, but the run has "
                f"{self.status['epochs']}). Restore it from a copy."
            )

    @property
    def class_names(self) -> list[str]:
        """The class names, in the order of the labels."""
        return self.data["class_names"]

    @cached_property
    def labels(self) -> np.ndarray:
        """The true label of each photo, `(photos,)`."""
        return self._labels("true")

    @cached_property
    def predicted(self) -> np.ndarray:
        """The combined prediction's label of each photo, `(photos,)`."""
        return self._labels(COMBINED)

    @cached_property
    def correct(self) -> np.ndarray:
        """Which photos the combined prediction got right, bool `(photos,)`."""
        return self.labels == self.predicted

    @cached_property
    def confidence(self) -> np.ndarray:
        """The combined prediction's probability of its class, `(photos,)`."""
        return np.array([float(row[f"{COMBINED}_probability"]) for row in self.predictions])

    @property
    def uncalibrated_bins(self) -> list[Bin]:
        """The reliability diagram's bins with a temperature of 1; none if the model isn't calibrated."""
        return self.calibration.reliability.get("uncalibrated", []) if self.calibration else []

    @cached_property
    def cells(self) -> Cells:
        """The confusion matrix by its cells that aren't 0."""
        return Cells.of(self.labels, self.predicted, len(self.class_names))

    @property
    def branches(self) -> dict[str, Share]:
        """Top-1 accuracy of each branch and of their combination, from the predictions."""
        names = [name for name in self.metrics["branches"] if name != COMBINED]
        rights = {name: int((self._labels(name) == self.labels).sum()) for name in [*names, COMBINED]}
        shares = {name: Share.of(right, len(self.labels)) for name, right in rights.items()}
        return shares | {COMBINED: self._over_groups("top1", shares[COMBINED])}

    @property
    def top5(self) -> Share | None:
        """Top-5 accuracy of the combination; `None` for five classes or fewer, whose answers are all among the five."""
        photos, value = len(self.labels), self.metrics["branches"][COMBINED]["top5"]
        if value is None or len(self.class_names) <= 5:
            return None
        share = Share.of(round(value * photos), photos)
        return self._over_groups("top5", share)

    def _over_groups(self, name: str, share: Share) -> Share:
        """Returns the combination's share with the evaluation's interval, if that is over groups."""
        if not self.groups or name not in self._estimates:
            return share
        low, high = self._estimates[name].low, self._estimates[name].high
        return share if low is None or high is None else replace(share, low=low, high=high)

    def classes(self) -> list[ClassFacts]:
        """Lists the classes with evaluated photos, the hardest first."""
        facts = []
        photos, _, rights = self.cells.by_class().tolist()
        worst: dict[int, str] = {}
        for true, predicted, count in self.cells.mistakes():
            worst.setdefault(true, f"{self.class_names[predicted]} ({count})")
        for label, (own, right) in enumerate(zip(photos, rights, strict=True)):
            if own:
                facts.append(ClassFacts(self.class_names[label], Share.of(right, own), worst.get(label, "")))
        return sorted(facts, key=lambda one: (one.share.value, -one.share.photos))

    def _labels(self, column: str) -> np.ndarray:
        index = {name: label for label, name in enumerate(self.class_names)}
        return np.array([index[row[column]] for row in self.predictions])


def read_facts(
    path: str, progress: Progress, overrides: Sequence[str] = ()
) -> tuple[RunFacts, Source | None, list[str]]:
    """Reads a run's facts on test or, without a test split, on val; evaluates the run unless its evaluation is current.

    Args:
        path: the run directory.
        progress: where progress is shown.
        overrides: `KEY=VALUE` strings that say where its photos are now.

    Returns:
        The facts; the photos, if they can still be read; and notes for the reader.

    Raises:
        UserError: if `path` isn't a run directory, it isn't evaluated and can't be, or its photos aren't where
            `overrides` say.
    """
    if not Path(path).exists():
        raise UserError(f"{path}: there is no such folder.{nearest_run(Path(path))} Give a run directory.")
    if not is_run(Path(path)):
        raise UserError(f"{path}: not a run directory (it has no config.yaml and status.json).")
    for text in overrides:
        require_data_key(text)
    run, notes, source, config = RunDirectory(path), [], None, None
    try:
        config = run.experiment(overrides).data
        data = read_run_data(run, config)
        source = data.source
        notes += [f"{note[0].upper()}{note[1:]}." for note in data.notes if note not in source.notes]
    except UserError as error:
        if overrides:  # the user has just said where they are
            raise
        notes.append(f"The photos can no longer be read, so there are no examples: {error}")
        progress.note(f"note: {notes[-1]}")
    split = _choose_split(run)
    notes += _notes_on_start(run)
    if split == "val":
        notes.append(
            "The data has no test split. These are the validation photos, which chose the epoch: accuracy on new "
            "photos will be somewhat lower."
        )
    try:
        current_evaluation(run, split, progress=progress, source=source, data_section=config if source else None)
    except UserError as error:
        if source or not run.evaluation(split).is_complete:
            raise
        notes.append(f"These figures are of an earlier model of the run, which can't be evaluated again: {error}")
    facts = RunFacts(run, split)
    if source and config:
        facts.predictions = _where_photos_are(facts.predictions, run.experiment().data, config)
    if facts.status["status"] != "finished":
        notes.append(f"This run is {facts.status['status']}, so these are the figures of its best epoch so far.")
    for name, skipped in facts.data.get("skipped", {}).items():
        lost = counted(len(skipped), f"{name} photo")
        notes.append(
            f"{lost} couldn't be read and {'was' if len(skipped) == 1 else 'were'} skipped, such as {skipped[0]}."
        )
    return facts, source, notes


def _notes_on_start(run: RunDirectory) -> list[str]:
    """Returns notes on test and validation photos that the model knows which the run started from."""
    try:
        split = read_run_split(run) if run.init_photos.is_file() else None
        used = split.used if split else []
        digests = {name: [row.digest for row in used if row.split == name] for name in ("test", "val")}
        return [f"{note}." for name, own in digests.items() for note in notes_on_start(run, own, name)]
    except UserError as error:
        return [f"Which photos the model knew that the run started from can't be read: {error}"]


def _where_photos_are(rows: list[dict[str, str]], own: DataConfig, now: DataConfig) -> list[dict[str, str]]:
    """Returns the rows of an evaluation with the names that its photos have where the data is now."""
    before, after = folder_of(own), folder_of(now)
    if not before or not after or before == after:
        return rows
    old, new = Path(before).resolve(), Path(after).resolve()
    return [row | {"photo": str(new / relative_name(row["photo"], old))} for row in rows]


def _choose_split(run: RunDirectory) -> str:
    return "test" if run.read_data()["photos"].get("test") else "val"


def _require_known_classes(
    rows: Sequence[Mapping[str, str]], names: Sequence[str], columns: Sequence[str], folder: EvaluationFolder
) -> None:
    """Raises a `UserError` unless the columns exist and hold classes of the run."""
    path = folder.predictions
    missing = [column for column in (COMBINED, *columns) if column not in columns or column not in rows[0]]
    if missing:
        raise UserError(f"RUN: {path} and metrics.json don't both have {missing[0]!r}. {EVALUATE_AGAIN}")
    unknown = {row[column] for row in rows for column in columns} - set(names)
    if unknown:
        raise UserError(f"RUN: {path} names the class {min(unknown)!r}, which data.json doesn't. {EVALUATE_AGAIN}")
