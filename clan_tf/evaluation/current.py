"""Evaluations of runs that are of the model as it is now."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clan_tf.config import DataConfig
from clan_tf.data import Source
from clan_tf.evaluation.evaluate import evaluate
from clan_tf.files import read_json
from clan_tf.progress import Progress
from clan_tf.run import EvaluationFolder, RunDirectory
from clan_tf.run.evaluation_folder import EVALUATE_AGAIN


def current_evaluation(
    run: RunDirectory,
    split: str,
    branches: Sequence[str] | None = None,
    progress: Progress | None = None,
    source: Source | None = None,
    data_section: DataConfig | None = None,
) -> EvaluationFolder:
    """Returns a run's evaluation, after evaluating its best model if there is none, or only one of an earlier model.

    Args:
        run: the run.
        split: `train`, `val` or `test`.
        branches: which to combine; those that the model combines if `None`.
        progress: where progress is shown.
        source: the run's own data, if it has already been read.
        data_section: the `data` section used to read `source`, if it may differ from the run's.

    Raises:
        UserError: if the run has to be evaluated and can't be, as in `evaluate`.
    """
    progress = progress or Progress()
    folder = run.evaluation(split, branches)
    if folder.is_current:
        return folder
    if folder.is_complete:
        progress.note(f"note: {folder.path} is of another {run.best.name} than there is now, so it is done again")
    options = former_options(folder, progress) if folder.metrics.is_file() else {}
    evaluate(str(run.path), split, branches, progress=progress, source=source, data_section=data_section, **options)
    return folder


def former_options(evaluation: EvaluationFolder, progress: Progress) -> dict[str, Any]:
    """Returns the options that an evaluation was given; without the folder of unknown photos, if that is gone."""
    metrics = read_json(evaluation.metrics, dict[str, Any], EVALUATE_AGAIN)
    options = {name: metrics[name] for name in ("top", "normalize_confusion") if name in metrics}
    folder = (metrics.get("unknown") or {}).get("folder")
    if folder and not Path(folder).is_dir():
        progress.note(f"note: there is no folder {folder} any more: its unknown photos aren't evaluated again")
        return options
    return options | {"unknown": folder}
