"""The tables of an evaluation, written and read back."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.errors import UserError
from clan_tf.evaluation.cells import DRAWN, Cells
from clan_tf.evaluation.confusion import CLASS_COLUMNS, row_shares
from clan_tf.evaluation.levels import table_rows
from clan_tf.evaluation.selective import curve_rows
from clan_tf.files import exchanged_files, read_json, read_rows, write_csv, write_json, write_rows
from clan_tf.plots import plot_confusion
from clan_tf.run import EvaluationFolder
from clan_tf.run.evaluation_folder import EVALUATE_AGAIN

if TYPE_CHECKING:
    from clan_tf.evaluation.evaluate import Evaluation


def write_tables(
    result: "Evaluation",
    checked: CheckedPhotos,
    probabilities: dict[str, np.ndarray],
    names: Sequence[str],
    folder: EvaluationFolder,
) -> None:
    """Writes the metrics, the tables and the picture of an evaluation; an earlier one stays until all are written."""
    with exchanged_files(folder.path, folder.names) as new:
        _write_tables(result, checked, probabilities, names, EvaluationFolder(new))


def _write_tables(
    result: "Evaluation",
    checked: CheckedPhotos,
    probabilities: dict[str, np.ndarray],
    names: Sequence[str],
    folder: EvaluationFolder,
) -> None:
    write_json(folder.metrics, result.to_json())
    averages = [{"figure": name, **asdict(figure)} for name, figure in (result.averages | result.calibration).items()]
    write_rows(folder.averages, averages, ("figure", "value", "low", "high"))
    write_rows(folder.per_class, result.per_class, CLASS_COLUMNS)
    write_rows(folder.risk_coverage, curve_rows(result.selective))
    write_rows(folder.confused_pairs, result.confused_pairs, ("true", "predicted", "photos"))
    if result.levels:
        write_rows(folder.levels, table_rows(result.levels))
    _write_confusion(result, names, folder)
    write_rows(folder.predictions, _prediction_rows(checked, probabilities, names))


def without_matrix(classes: int) -> str | None:
    """Returns a note on how the confusion matrix of many classes is written; `None` if there are few."""
    if classes <= DRAWN:
        return None
    return (
        f"of {classes:,} classes, more than {DRAWN:,}, confusion.csv lists the cells of the confusion matrix that "
        "aren't 0, and there is no confusion.png"
    )


def _write_confusion(result: "Evaluation", names: Sequence[str], folder: EvaluationFolder) -> None:
    as_shares = result.normalize_confusion
    if len(names) > DRAWN:
        rows = _cell_rows(result.cells, names, as_shares)
        write_csv(folder.confusion, ("true", "predicted", "share" if as_shares else "photos"), rows)
        return
    matrix = row_shares(result.confusion).round(6) if as_shares else result.confusion
    write_csv(
        folder.confusion,
        ("true \\ predicted", *names),
        [[name, *row] for name, row in zip(names, matrix.tolist(), strict=True)],
    )
    plot_confusion(result.confusion, names, folder.confusion_picture, as_shares=as_shares)


def _cell_rows(cells: Cells, names: Sequence[str], as_shares: bool) -> Iterator[tuple[str, str, float]]:
    own = cells.by_class()[0][cells.true]
    values = (cells.photos / own).round(6) if as_shares else cells.photos
    for true, predicted, value in zip(cells.true.tolist(), cells.predicted.tolist(), values.tolist(), strict=True):
        yield names[true], names[predicted], value


def _prediction_rows(
    checked: CheckedPhotos, probabilities: dict[str, np.ndarray], names: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    for index, photo in enumerate(checked.photos):
        row: dict[str, Any] = {"photo": photo.name, "true": names[photo.label]}
        for branch, values in probabilities.items():
            best = int(values[index].argmax())
            row |= {branch: names[best], f"{branch}_probability": round(float(values[index, best]), 6)}
        rows.append(row)
    return rows


def read_predictions(folder: EvaluationFolder, columns: Sequence[str]) -> list[dict[str, str]]:
    """Reads an evaluation's `predictions.csv`: a row per photo with `photo`, `true`, and for every branch and
    `combined` the predicted class (`BRANCH`) and its probability (`BRANCH_probability`).

    Raises:
        UserError: if it is damaged, or `columns` aren't in it.
    """
    path = folder.predictions
    columns = ("photo", "true", *columns)
    rows = read_rows(path, columns, EVALUATE_AGAIN, is_number=lambda column: column.endswith("_probability"))
    if folder.metrics.is_file():
        photos = read_json(folder.metrics, dict[str, Any], EVALUATE_AGAIN).get("photos", len(rows))
        if photos != len(rows):
            raise UserError(f"{path}: is damaged (it has only {len(rows)} of {photos} photos). {EVALUATE_AGAIN}")
    return rows
