"""The photos that a model is evaluated on."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from clan_tf.config import DataConfig, Experiment, flatten, load_experiment, require_data_key, with_values
from clan_tf.config.loading import values_of
from clan_tf.data import ALL, Photo, Source, experiment_for_folder, place_of
from clan_tf.data.check import check_splits
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.sources.csv_table import locate
from clan_tf.data.sources.cutting import has_groups, unit_keys
from clan_tf.data.sources.read import regrouped
from clan_tf.data.sources.source import photo_of
from clan_tf.data.starting import name_for, source_in
from clan_tf.errors import UserError, counted
from clan_tf.evaluation.groups import FEW, FEWEST, Groups
from clan_tf.progress import Progress
from clan_tf.run import RunData, RunDirectory, is_run, read_model_data, read_run_split
from clan_tf.run.exports import is_outdated
from clan_tf.text import command_line

READING_KEYS = ("on_broken", "level", "crop_to_box")
"""Keys of `data` that say how photos are read: others in the same layout are read as those of the run were."""
FIRST_FOLD = "fold-1"
"""The run of the first fold in a folder of cross-validation."""


def experiment_of(
    path: Path, run: RunDirectory | None, config: str | None = None, overrides: Sequence[str] = ()
) -> Experiment:
    """Returns the given experiment, or that of the model's run.

    Of a folder of photos it is the one that `train` would make, named after the model, which reads the photos as those
    of the run were read (`READING_KEYS`).

    Raises:
        UserError: if there is neither, or it can't be read, or an override isn't of `data`.
    """
    for text in overrides:
        require_data_key(text)
    if config and Path(config).is_dir():
        return _experiment_of_photos(config, path, run, overrides)
    if config:
        return load_experiment(config, overrides)
    if run is None:
        raise UserError(f"{path}: isn't in a run directory, so name the data to use: --config CONFIG.")
    return run.experiment(overrides)


def _experiment_of_photos(folder: str, path: Path, run: RunDirectory | None, overrides: Sequence[str]) -> Experiment:
    if is_run(Path(folder)):
        raise UserError(
            f"--config: {folder} is a run directory, not a folder of photos. If its data is meant, give its config: "
            f"{command_line('--config', RunDirectory(folder).config)}."
        )
    experiment, given = experiment_for_folder(folder, overrides), _given(overrides)
    changes: dict[str, object] = {"name": run.experiment().name if run else name_for(path.with_suffix(""))}
    if run:
        own = run.experiment().data
        keys = READING_KEYS if own.source == experiment.data.source else READING_KEYS[:1]
        changes |= {f"data.{key}": getattr(own, key) for key in keys}
    return with_values(experiment, {key: value for key, value in changes.items() if key not in given})


def _given(overrides: Sequence[str]) -> set[str]:
    return {key for key, _ in flatten(values_of(overrides))}


def uncut(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    """Returns the experiment without cuts of its data, where all photos are taken: nothing is to be noted on them.

    A `data.fraction` counts only if it is among the overrides, not if the config takes it for training.
    """
    changes: dict[str, object] = {"test_fraction": 0.0, "validation_fraction": 0.0}
    if "data.fraction" not in _given(overrides):
        changes["fraction"] = 1.0
    return experiment.model_copy(update={"data": experiment.data.model_copy(update=changes)})


def other_config(
    run: RunDirectory | None, config: str | None, progress: Progress, overrides: Sequence[str] = ()
) -> str | None:
    """Returns the config whose data is used; `None` for the run's own, also where its folder of photos is named.

    A folder says nothing of splits, so that those of the run count, and no train photo becomes a test photo.
    """
    if not (run and config and Path(config).is_dir()) or is_run(Path(config)):
        return config
    folder = Path(config)
    given = DataConfig(source=source_in(folder), root=str(folder))
    own = run.experiment().data
    if _place(given) != _place(own):
        _note_what_is_not_taken(config, given.source, own, overrides, progress)
        return config
    progress.note(f"note: {config} holds the run's own data: its splits are used")
    return None


def _note_what_is_not_taken(
    config: str, source: str, own: DataConfig, overrides: Sequence[str], progress: Progress
) -> None:
    """Notes keys of the run that may not hold for other photos: groups, and what a folder of another layout lacks."""
    usual, given = DataConfig(), _given(overrides)
    keys = ("group",) if own.source == source else ("group", *READING_KEYS[1:])
    lost = [key for key in keys if getattr(own, key) != getattr(usual, key) and f"data.{key}" not in given]
    for key in lost:
        way_out = command_line("--set", f"data.{key}={json.dumps(getattr(own, key))}")
        progress.note(f"note: data.{key} of the run isn't taken for {config}; if it holds there, add {way_out}")


def _place(config: DataConfig) -> tuple[str, Path | None, Path | None]:
    """Returns the source, the folder and the table of photos; `None` for one that there isn't."""
    table, root = None, Path(config.root) if config.root else None
    if config.source == "csv":
        with suppress(UserError):
            table, root = locate(config)
    return config.source, root and root.resolve(), table and table.resolve()


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


def check_noted(
    data: RunData, split: str, photos: Sequence[Photo], progress: Progress, are_measured: bool = True
) -> CheckedPhotos:
    """Checks the photos of a split, decoding each once, and notes what their content shows (`content_notes`)."""
    checked = check_splits({split: photos}, data.config, progress)[split]
    starts = data.start_notes(split, checked) if are_measured else []
    for note in [*data.content_notes(split, checked, are_measured), *starts]:
        progress.note(f"note: {note}")
    return checked


def noted_groups(data: RunData, split: str, checked: CheckedPhotos, progress: Progress) -> Groups | None:
    """Returns the groups (`data.group`) that intervals on a split are over, and notes what a user should know of them.

    Copies of the same bytes are in one group, too. There are no groups where the data has none, or they say nothing
    about these photos.
    """
    if data.config.group_rule is None:
        return None
    groups, note = _groups(data, split, checked)
    if note:
        progress.note(f"note: {note}")
    return groups


def _groups(data: RunData, split: str, checked: CheckedPhotos) -> tuple[Groups | None, str | None]:
    photos = checked.photos
    if not has_groups(photos):
        try:
            photos = regrouped(photos, data.config)
        except UserError as error:
            return (
                None,
                f"95 % intervals take the {photo_of(split)}s as independent, because no groups are found. {error}",
            )
    photos = [replace(photo, digest=digest) for photo, digest in zip(photos, checked.digests, strict=True)]
    groups = Groups.of(unit_keys(photos))
    are_of = f"data.group: the {counted(len(photos), photo_of(split))} are of {counted(len(groups), 'group')}"
    if len(groups) == len(photos):
        return None, f"data.group: no two {photo_of(split)}s are in one group, so that 95 % intervals are over photos"
    if len(groups) < FEWEST:
        return None, (
            f"{are_of}, from which no interval over groups can be had. 95 % intervals take photos as independent, and "
            "say nothing about photos of other groups"
        )
    if len(groups) < FEW:
        return groups, f"{are_of}, which are few: 95 % intervals are rough, and rather too narrow"
    return groups, None


def note_on_folds(path: Path, checked: CheckedPhotos, progress: Progress) -> None:
    """Notes that photos were in the folds whose models are the members of an ensemble, if any were.

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
    if shared:
        progress.note(
            f"note: {shared:,} of {counted(len(checked.photos), 'photo')} were in the folds: all members of the "
            "ensemble but one were trained on each of them, so this accuracy is higher than on new photos"
        )


def note_on_export(run: RunDirectory, file: Path, progress: Progress) -> None:
    """Notes that an export in a run is of a model that the run no longer has, if so."""
    if is_outdated(run, file):
        progress.note(f"note: {file} answers as the run's model did before it was changed: export it again, by --force")


def note_on_cut(data: RunData, split: str, progress: Progress) -> None:
    """Notes that the photos of a split of other data are only those that were cut at random, if so.

    Raises:
        UserError: if none could be cut, because there are too few photos of each class.
    """
    source = data.source
    are_cut = {"test": source.test_is_cut, "val": source.val_is_cut, "train": source.test_is_cut or source.val_is_cut}
    is_of_run = data.match is not None or (data.run is not None and data.split is None)
    if is_of_run or not are_cut.get(split):
        return
    taken, everything = len(source.splits.get(split, ())), sum(map(len, source.splits.values()))
    if not taken:
        raise UserError(
            f"{place_of(data.config)} has no {split} split, and too few photos of each class to cut one off: "
            f"{counted(everything, 'photo')}. Take all: --split {ALL}."
        )
    progress.note(
        f"note: this data has no {split} split of its own: {taken:,} of its {counted(everything, 'photo')} were taken "
        f"at random; --split {ALL} takes all"
    )
