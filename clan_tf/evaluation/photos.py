"""The photos that a model is evaluated on."""

from collections.abc import Sequence
from pathlib import Path

from clan_tf.config import Experiment, load_experiment
from clan_tf.data import Photo, Source
from clan_tf.data.check import check_splits
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.errors import UserError, counted, listed
from clan_tf.progress import Progress
from clan_tf.run import RunData, RunDirectory, is_run, read_model_data, read_run_split

FIRST_FOLD = "fold-1"
"""The run of the first fold in a folder of cross-validation."""


def experiment_of(
    path: Path, run: RunDirectory | None, config: str | None = None, overrides: Sequence[str] = ()
) -> Experiment:
    """Returns the given experiment, or that of the model's run; raises a `UserError` if there is neither."""
    if config:
        return load_experiment(config, overrides)
    if run is None:
        raise UserError(f"{path}: isn't in a run directory, so name the data to use: --config CONFIG.")
    return run.experiment(overrides)


def read_noted(
    run: RunDirectory | None,
    experiment: Experiment,
    config: str | None,
    progress: Progress,
    source: Source | None = None,
) -> RunData:
    """Reads a model's data (`read_model_data`), and notes what a user should know about the photos."""
    data = read_model_data(run, experiment, config, source)
    known = source.notes if source else ()  # already noted by whoever read it
    for note in data.notes:
        if note not in known:
            progress.note(f"note: {note}")
    return data


def check_noted(data: RunData, split: str, photos: Sequence[Photo], progress: Progress) -> CheckedPhotos:
    """Checks the photos of a split, decoding each once, and notes what their content shows."""
    checked = check_splits({split: photos}, data.config, progress)[split]
    for note in data.content_notes(split, checked):
        progress.note(f"note: {note}")
    return checked


def notes_on_folds(path: Path, checked: CheckedPhotos, progress: Progress) -> list[str]:
    """Notes and returns that photos were in the folds whose models are the members of an ensemble, if any were.

    Args:
        path: the ensemble's file, or an export of it, in the folder of the folds.
        checked: the photos.
        progress: where it is noted.
    """
    firsts = [each / FIRST_FOLD for each in path.absolute().parents]
    fold = next((RunDirectory(first) for first in firsts if is_run(first)), None)
    split = read_run_split(fold) if fold else None
    known = {row.digest for row in split.used} if split else set()
    shared = sum(digest in known for digest in checked.digests)
    if not shared:
        return []
    note = (
        f"{shared:,} of {counted(len(checked.photos), 'photo')} were in the folds: all members of the ensemble but one "
        "were trained on each of them, so this accuracy is higher than on new photos"
    )
    progress.note(f"note: {note}")
    return [note]


def require_same_classes(path: Path, expected: Sequence[str], source: Source) -> None:
    """Raises a `UserError` unless a model's classes are those of the data."""
    expected, found = list(expected), list(source.class_names)
    if expected == found:
        return
    missing, extra = (sorted(set(names) - set(others)) for names, others in ((expected, found), (found, expected)))
    details = [f"this data has no {listed(missing)}"] if missing else []
    details += [f"the model doesn't know {listed(extra)}"] if extra else []
    raise UserError(
        f"{path}: was trained on {len(expected)} classes, but this data has {len(found)} that aren't "
        f"the same: {'; '.join(details) or 'their order differs'}. Evaluate it on the data it was trained for."
    )
