"""The folder of one evaluation: the one place that knows its file names."""

from pathlib import Path
from typing import Any

from clan_tf.errors import UserError, shown
from clan_tf.files import file_sha256, read_json

EVALUATE_AGAIN = "Evaluate the run again: clan-tf evaluate."
"""What to do about a damaged evaluation."""


class EvaluationFolder:
    """Tables and pictures of one evaluation.

    Args:
        path: the folder.
        model: the file that the evaluation should be of; `None` if any.
    """

    def __init__(self, path: str | Path, model: Path | None = None) -> None:
        self.path = Path(path)
        self.model = model

    @property
    def metrics(self) -> Path:
        """The figures, as `evaluate --json` prints them."""
        return self.path / "metrics.json"

    @property
    def averages(self) -> Path:
        """Figures over all classes, with intervals."""
        return self.path / "averages.csv"

    @property
    def per_class(self) -> Path:
        """Accuracy by class, with intervals, and precision and F1."""
        return self.path / "per_class.csv"

    @property
    def confused_pairs(self) -> Path:
        """Pairs of classes by the number of their mistakes."""
        return self.path / "confused_pairs.csv"

    @property
    def risk_coverage(self) -> Path:
        """Error among the answers if the least probable ones are withheld, by the share of photos that are answered."""
        return self.path / "risk_coverage.csv"

    @property
    def levels(self) -> Path:
        """Accuracy by level of the model's taxonomy, and its mistakes by their lowest common ancestor."""
        return self.path / "levels.csv"

    @property
    def confusion(self) -> Path:
        """The confusion matrix; rows are true classes."""
        return self.path / "confusion.csv"

    @property
    def confusion_picture(self) -> Path:
        """Picture of `confusion`."""
        return self.path / "confusion.png"

    @property
    def predictions(self) -> Path:
        """A row per photo with what each branch predicts; where it is, all files of the evaluation are."""
        return self.path / "predictions.csv"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all these files, in the order in which they take the places of earlier ones."""
        files = (
            *(self.metrics, self.averages, self.per_class, self.confused_pairs, self.risk_coverage, self.levels),
            *(self.confusion, self.confusion_picture, self.predictions),
        )
        return tuple(file.name for file in files)

    def require_own(self, option: str, others_may_stay: bool = False) -> None:
        """Raises a `UserError` if the folder holds anything that isn't an evaluation's, known by its `metrics.json`.

        Args:
            option: which the error names.
            others_may_stay: whether files of other names may be there, beside those of an evaluation.
        """
        if not self.path.is_dir():
            return
        found = {file.name for file in self.path.iterdir() if file.name[0] != "."}
        others = sorted(found.difference(self.names if self._is_metrics() else ()))
        if others_may_stay:
            others = [name for name in others if name in self.names]
        if others:
            raise UserError(
                f"{option}: {self.path} holds files that aren't an evaluation's, such as {shown(others[0])}. Name an "
                "empty folder, one that doesn't exist, or that of an earlier evaluation."
            )

    def _is_metrics(self) -> bool:
        """Whether `metrics.json` is of an evaluation, of any version."""
        try:
            return {"model", "split", "branches"} <= {*read_json(self.metrics, dict[str, Any], EVALUATE_AGAIN)}
        except UserError:
            return False

    @property
    def is_complete(self) -> bool:
        """Whether everything was written."""
        return self.predictions.is_file()

    @property
    def is_current(self) -> bool:
        """Whether everything was written, and of the model's file as it is now.

        An evaluation by an older version doesn't say which file it is of, and counts as current. So does every one
        whose model is gone, since there is no other to be had.
        """
        if not self.is_complete:
            return False
        if self.model is None or not self.model.is_file() or not self.metrics.is_file():
            return True
        noted = read_json(self.metrics, dict[str, Any], EVALUATE_AGAIN).get("model_sha256")
        return noted is None or noted == file_sha256(self.model)
