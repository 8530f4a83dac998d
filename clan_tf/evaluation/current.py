"""Evaluations of runs that are of the model as it is now."""

from collections.abc import Sequence

from clan_tf.config import DataConfig
from clan_tf.data import Source
from clan_tf.evaluation.evaluate import evaluate
from clan_tf.progress import Progress
from clan_tf.run import EvaluationFolder, RunDirectory


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
    evaluate(str(run.path), split, branches, progress=progress, source=source, data_section=data_section)
    return folder
