"""What a run directory says about a run, read and counted."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from clan_tf.config import Experiment
from clan_tf.data import Source
from clan_tf.errors import UserError
from clan_tf.evaluation import evaluate, read_predictions
from clan_tf.files import read_text
from clan_tf.models import COMBINED
from clan_tf.progress import Progress
from clan_tf.report.statistics import Share
from clan_tf.run import RunDirectory, is_run
from clan_tf.run_data import read_run_data


@dataclass(frozen=True)
class ClassFacts:
    """One class on the evaluated photos."""

    name: str
    share: Share
    taken_for: str
    """The class that most of its mistakes were taken for, with their number; empty without mistakes."""


class RunFacts:
    """A run and its evaluation on one split.

    Attributes:
        run: the run directory.
        split: the evaluated split.
        experiment: the resolved config.
        environment: what `environment.json` holds.
        data: what `data.json` holds.
        status: what `status.json` holds.
        epochs: the rows of `metrics.csv`.
        metrics: what the evaluation's `metrics.json` holds.
        predictions: the rows of the evaluation's `predictions.csv`.
    """

    def __init__(self, run: RunDirectory, split: str) -> None:
        folder = run.evaluation(split)
        self.run = run
        self.split = split
        self.experiment: Experiment = run.experiment()
        self.environment = _read_json(run.path / "environment.json")
        self.data = _read_json(run.path / "data.json")
        self.status = run.read_status()
        self.epochs = _read_rows(run.metrics)
        self.metrics = _read_json(folder / "metrics.json")
        self.predictions = read_predictions(folder)
        _require_known_classes(self.predictions, self.class_names, folder)

    @property
    def class_names(self) -> list[str]:
        """In the order of the labels."""
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

    @cached_property
    def confusion(self) -> np.ndarray:
        """Numbers of photos `(classes, classes)`; rows are true classes."""
        return confusion_matrix(self.labels, self.predicted, labels=range(len(self.class_names)))

    @property
    def branches(self) -> dict[str, Share]:
        """Top-1 of each branch and of their combination, from the predictions."""
        names = [name for name in self.metrics["branches"] if name != COMBINED]
        rights = {name: int((self._labels(name) == self.labels).sum()) for name in [*names, COMBINED]}
        return {name: Share.of(right, len(self.labels)) for name, right in rights.items()}

    @property
    def top5(self) -> Share:
        """Top-5 of the combination."""
        photos = len(self.labels)
        return Share.of(round(self.metrics["branches"][COMBINED]["top5"] * photos), photos)

    def classes(self) -> list[ClassFacts]:
        """The classes with evaluated photos, the hardest first."""
        facts = []
        for label, row in enumerate(self.confusion):
            if row.sum():
                mistakes = row.copy()
                mistakes[label] = 0
                other = int(mistakes.argmax())
                taken_for = f"{self.class_names[other]} ({mistakes[other]})" if mistakes[other] else ""
                facts.append(ClassFacts(self.class_names[label], Share.of(int(row[label]), int(row.sum())), taken_for))
        return sorted(facts, key=lambda one: (one.share.value, -one.share.photos))

    def confused_pairs(self) -> list[tuple[int, int, int]]:
        """True label, predicted label and number of photos, most photos first."""
        off_diagonal = self.confusion - np.diag(np.diag(self.confusion))
        pairs = [(int(a), int(b), int(off_diagonal[a, b])) for a, b in np.argwhere(off_diagonal)]
        return sorted(pairs, key=lambda pair: -pair[2])

    def _labels(self, column: str) -> np.ndarray:
        index = {name: label for label, name in enumerate(self.class_names)}
        return np.array([index[row[column]] for row in self.predictions])


def read_facts(path: str, progress: Progress) -> tuple[RunFacts, Source | None, list[str]]:
    """A run's facts on test or, without a test split, on val; evaluated now if they weren't yet.

    Returns:
        The facts; the photos, where they can still be read; and notes for the reader.

    Raises:
        UserError: if `path` isn't a run directory, or it isn't evaluated and can't be.
    """
    if not is_run(Path(path)):
        raise UserError(f"{path}: not a run directory (it has no config.yaml and status.json).")
    run, notes, source = RunDirectory(path), [], None
    try:
        data = read_run_data(run, run.experiment().data)
        source = data.source
        notes += [f"{note[0].upper()}{note[1:]}." for note in data.notes if note not in source.notes]
    except UserError as error:
        notes.append(f"The photos can't be read any more, so there are no examples: {error}")
    split = _choose_split(run)
    if split == "val":
        notes.append(
            "The data has no test split. These are the validation photos, which chose the epoch: new photos will do "
            "somewhat worse."
        )
    if not (run.evaluation(split) / "predictions.csv").is_file():
        evaluate(str(run.path), split, progress=progress, source=source)
    facts = RunFacts(run, split)
    if facts.status["status"] != "finished":
        notes.append(f"This run is {facts.status['status']}, so these are the figures of its best epoch so far.")
    for name, skipped in facts.data.get("skipped", {}).items():
        notes.append(f"{len(skipped)} {name} photos couldn't be read and were skipped, such as {skipped[0]}.")
    return facts, source, notes


def _choose_split(run: RunDirectory) -> str:
    return "test" if _read_json(run.path / "data.json")["photos"].get("test") else "val"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(read_text(path, "RUN"))
    except json.JSONDecodeError as error:
        raise UserError(f"RUN: {path} isn't JSON: {error}. The run is damaged.") from error


def _read_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(read_text(path, "RUN").splitlines()))


def _require_known_classes(rows: Sequence[Mapping[str, str]], names: Sequence[str], folder: Path) -> None:
    unknown = {row["true"] for row in rows} - set(names)
    if unknown or not rows:
        what = f"names the class {min(unknown)!r}, which data.json doesn't" if unknown else "has no photos"
        raise UserError(f"RUN: {folder / 'predictions.csv'} {what}. Evaluate the run again.")
