"""Predictions as a CSV file, a row per photo."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clan_tf.errors import UserError
from clan_tf.files import require_file_or_nothing, require_folder_or_nothing, write_csv

DECIMALS = 6
"""Digits of a probability after the point, as in the tables of an evaluation."""


def require_table_path(path: Path, key: str) -> None:
    """Checks, before anything is predicted, that predictions can be written to a path.

    An existing table is replaced. Photos and models, which a forgotten file name would make the output, never are.

    Raises:
        UserError: beginning with `key`, unless the name ends in `.csv` and the file's folder can be written into.
    """
    if path.suffix.lower() != ".csv":
        raise UserError(f"{key}: must be a file whose name ends in .csv; received {path}.")
    require_file_or_nothing(path)
    if not path.parent.is_dir():
        raise UserError(f"{key}: {path} can't be written: there is no folder {path.parent}. Make it first.")
    require_folder_or_nothing(key, path.parent)


def write_predictions(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Writes what `predict` returned, completely or not at all.

    The columns are `path`, `label` and `probability`, then `label_2`, `probability_2` … for as many labels as were
    predicted, `level` if results have it, `withheld`, which has the most probable label if it is no answer and `label`
    is empty, and `error`, which says why a photo has no labels.
    """
    most = max((len(result.get("predictions", ())) for result in results), default=0)
    columns = ["path", "label", "probability"]
    columns += [f"{column}_{rank}" for rank in range(2, most + 1) for column in ("label", "probability")]
    levels = ["level"] if any("level" in result for result in results) else []
    rows = []
    for result in results:
        cells = [cell for prediction in result.get("predictions", ()) for cell in prediction_cells(prediction)]
        cells += [""] * (len(columns) - 1 - len(cells))
        cells[0], withheld = answer_cells(result)
        own = [result.get(key, "") for key in levels]
        rows.append([result["path"], *cells, *own, withheld, result.get("error", "")])
    write_csv(path, [*columns, *levels, "withheld", "error"], rows)


def answer_cells(result: dict[str, Any]) -> tuple[str, str]:
    """Returns the label of a result of `predict`, and the one that is withheld; one of them is empty, or both."""
    if "predictions" not in result:
        return "", ""
    best = result["predictions"][0]["label"]
    return (best, "") if result["label"] is not None else ("", best)


def prediction_cells(prediction: dict[str, Any]) -> tuple[str, float]:
    """Returns a label and its probability as cells of a table."""
    return prediction["label"], round(prediction["probability"], DECIMALS)
