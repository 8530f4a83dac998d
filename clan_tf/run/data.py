"""The photos that a model is applied to: those of its run, in the run's splits, or those of other data."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from clan_tf.config import DataConfig, Experiment
from clan_tf.data import ALL, SPLITS, Photo, Source, list_source, place_of, survey_source
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.sources.selection import quarantined_photos, without
from clan_tf.data.sources.source import every_photo, photo_of
from clan_tf.errors import UserError, counted, listed
from clan_tf.run.directory import RunDirectory
from clan_tf.run.known import notes_on_start
from clan_tf.run.splits import (
    Match,
    Row,
    RunSplit,
    changed,
    counts_by_split,
    damaged,
    folder_of,
    key_of,
    match,
    read_split,
)

OTHER_DATA = (
    "source",
    "level",
    "unknown_classes",
    "group",
    "relabel",
    "fraction",
    "split_seed",
    "validation_fraction",
    "test_fraction",
    "folds",
    "fold",
    "generated_photos",
)
"""Keys of `data` that say which photos there are, of which classes, and how they are split: with others, the data isn't
the run's."""


@dataclass(frozen=True)
class RunData:
    """Photos for a model.

    Attributes:
        source: the photos.
        config: where they are.
        run: the run that the model belongs to, if any.
        split: what the run wrote of its photos; `None` for a run from before `splits.csv` existed, or no run.
        match: how its photos were found; `None` for other data.
        notes: what a user should know about them.
    """

    source: Source
    config: DataConfig
    run: RunDirectory | None
    split: RunSplit | None
    match: Match | None
    notes: tuple[str, ...]

    def has(self, split: str) -> bool:
        """Checks whether the data has photos in a split, or the run had."""
        recorded = (
            self.match is not None and self.split is not None and any(row.split == split for row in self.split.used)
        )
        return recorded or bool(self.source.splits.get(split))

    def photos(self, split: str) -> Sequence[Photo]:
        """Returns the photos of a split, or of `ALL`; a `UserError` where there are none."""
        if self.match and self.run and not self.source.splits.get(split):
            gone = [row.photo for row in self.match.missing if row.split == split]
            if gone:
                raise UserError(
                    f"{place_of(self.config)} has none of the {counted(len(gone), f'{split} photo')} of the run "
                    f"{self.run.path}, such as {listed(gone, 1)}. Put them back, say where they are by "
                    "--set data.root=FOLDER, or name other data by --config CONFIG."
                )
        return self.source.photos(split)

    def content_notes(self, split: str, checked: CheckedPhotos, are_measured: bool = True) -> list[str]:
        """Returns notes on photos of a split whose content changed since the run began, or that the run knows already.

        Args:
            split: the split, or `ALL`.
            checked: its photos, or some of them.
            are_measured: whether a model is measured on them, so that it matters which of them the run knows: of other
                data by their content, of its own where `ALL` are asked for.
        """
        if self.match:
            rows = [row for own in ([split] if split != ALL else SPLITS) for row in self.match.rows.get(own, ())]
            # Fewer photos than the split has may be checked.
            altered = changed(rows, checked, folder_of(self.config))
            notes = [_changed_note(altered, len(checked.photos), split)] if altered else []
            return [*notes, self._own_note(self.match, checked)] if split == ALL else notes
        return self._known_notes(split, checked) if are_measured else []

    def start_notes(self, split: str, checked: CheckedPhotos) -> list[str]:
        """Returns a note on photos of a split that the model knows which the run started from, if there are any.

        Args:
            split: the split, or `ALL`.
            checked: its photos, on which the run's model is measured.
        """
        if self.run is None or (self.match and split == "train"):
            return []
        is_apart = self.match is not None and split != ALL
        own = [row.digest for row in self.split.used if row.split == "train"] if self.split and not is_apart else ()
        return notes_on_start(self.run, checked.digests, split if is_apart else ALL, own)

    def _own_note(self, found: Match, checked: CheckedPhotos) -> str:
        keys = {key_of(photo, folder_of(self.config)) for photo in checked.photos}
        train, val = (sum(row.photo in keys for row in found.rows.get(split, ())) for split in ("train", "val"))
        chosen_by = f", and {val:,} its validation photos" if val else ""
        unused = sum(row.use != "used" for row in self.split.rows) if self.split else 0
        others = f". {counted(unused, 'photo')} that the run left out aren't among them" if unused else ""
        return (
            f"{train:,} of these {counted(len(checked.photos), 'photo')} are train photos of the run{chosen_by}: the "
            f"accuracy is higher than on new photos{others}"
        )

    def _known_notes(self, split: str, checked: CheckedPhotos) -> list[str]:
        if self.run and self.split is None and split == ALL:
            return [
                f"which of these photos the run was trained on isn't known, because {self.run.path} has no splits.csv"
            ]
        counts = {}
        for own in ("train", "val"):
            digests = {row.digest for row in self.split.used if row.split == own} if self.split else set()
            counts[own] = sum(digest in digests for digest in checked.digests)
        photos = counted(len(checked.photos), photo_of(split))
        parts = [f"was trained on {counts['train']:,}"] if counts["train"] else []
        parts += [f"chose its best epoch by {counts['val']:,}"] if counts["val"] else []
        if not parts:
            return []
        first, others = parts[0], "".join(f", and {part} of them" for part in parts[1:])
        return [f"the run {first} of these {photos}{others} (they have the same content)"]


def read_run_split(run: RunDirectory) -> RunSplit | None:
    """Reads what a run wrote of its photos; `None` for a run from before `splits.csv` existed.

    Raises:
        UserError: if the file is damaged or missing.
    """
    facts = run.read_data()
    if facts.get("splits_sha256") is None:
        return None
    split = replace(read_split(run.splits), val_is_cut=bool(facts.get("val_is_cut")))
    if split.fingerprint() != facts["splits_sha256"]:
        raise damaged(run.splits, "its rows aren't those that the run wrote (splits_sha256 in data.json)")
    return split


def read_run_data(run: RunDirectory, config: DataConfig, source: Source | None = None) -> RunData:
    """Reads a run's own photos, in its splits, looked up by name in the data as it is now.

    Where the data has none of them, it is other data and read by itself.

    Args:
        run: the run.
        config: its `data` section, perhaps with another place.
        source: the photos, if they have been read already.

    Raises:
        UserError: if the data can't be read, or `splits.csv` is damaged.
    """
    split = read_run_split(run)
    if split is None:
        note = (
            f"the run {run.path} has no splits.csv, because an earlier version wrote it: its splits are cut again, and "
            "may not be those of the run"
        )
        return _read_other(run, config, None, (note,), source)
    listing, lost = (source, ()) if source else _listed(config)
    found = match(listing, split, folder_of(config))
    if not found.found:
        note = f"{place_of(config)} has none of the photos of the run {run.path}: it is read as other data"
        return _read_other(run, config, split, (note,), source)
    own = _without_quarantined(found.source, listing, config, run.experiment().data.quarantine)
    return RunData(own, config, run, split, found, (*listing.notes, *lost, *match_notes(found)))


def read_model_data(
    run: RunDirectory | None, experiment: Experiment, config: str | None, source: Source | None = None
) -> RunData:
    """Reads the photos that a model is applied to: its run's own, or those that another config or other keys name.

    Args:
        run: the run that the model belongs to, if any.
        experiment: whose data is used.
        config: the config that a user named; `None` for the run's own.
        source: the photos, if they have been read already.

    Raises:
        UserError: if the data can't be read, or the run's `splits.csv` is damaged.
    """
    if run is None:
        return _read_other(None, experiment.data, None, (), source)
    own = run.experiment().data
    keys = [key for key in OTHER_DATA if getattr(own, key) != getattr(experiment.data, key)]
    if config is None and not keys:
        return read_run_data(run, experiment.data, source)
    what = f"the data of {config}" if config else f"with another {', '.join(f'data.{key}' for key in keys)}, the data"
    return _read_other(
        run, experiment.data, read_run_split(run), (f"{what} is read anew: not the run's splits",), source
    )


def match_notes(found: Match) -> list[str]:
    """Returns what is new, missing, moved or relabelled since a run began, one sentence each."""
    notes = []
    if found.new:
        example = listed([photo.name for photo in found.new], 1)
        notes.append(f"{counted(len(found.new), 'photo')} came after the run began ({example}): used in no split")
    if found.missing:
        names = listed([describe_missing(row, found) for row in found.missing])
        notes.append(
            f"{counted(len(found.missing), 'photo')} of the run ({counts_by_split(found.missing)}) missing: {names}"
        )
    if found.relabelled:
        names = listed([f"{row.photo} (was {row.class_name}, is {name})" for row, name in found.relabelled])
        notes.append(f"{counted(len(found.relabelled), 'photo')} relabelled since; the run's labels count: {names}")
    if found.moved:
        names = listed([f"{row.photo} (was {row.split}, is {place})" for row, place in found.moved])
        notes.append(
            f"{counted(len(found.moved), 'photo')} moved to another split since; the run's splits count: {names}"
        )
    if found.reboxed:
        names = listed([row.photo for row in found.reboxed])
        notes.append(f"of {counted(len(found.reboxed), 'photo')} another part is used than in the run: {names}")
    return notes


def describe_missing(row: Row, found: Match) -> str:
    """Returns a missing photo's name, and under which name its content is now."""
    renamed = found.renamed.get(row.photo)
    return f"{row.photo} (now {renamed})" if renamed else row.photo


def _read_other(
    run: RunDirectory | None, config: DataConfig, split: RunSplit | None, notes: tuple[str, ...], source: Source | None
) -> RunData:
    # What only keeps training from starting, such as a class without train photos, doesn't matter to a trained model.
    source = source or survey_source(config)
    return RunData(source, config, run, split, None, (*notes, *source.notes))


def _listed(config: DataConfig) -> tuple[Source, tuple[str, ...]]:
    """Lists the data with the labels of `data.relabel`; without, and with a note, if that can't be used any more."""
    try:
        return list_source(config), ()
    except UserError as error:
        if config.relabel is None:
            raise
        listing = list_source(config.model_copy(update={"relabel": None}))
        return listing, (f"{error} The run's own labels count.",)


def _without_quarantined(own: Source, listing: Source, config: DataConfig, of_run: Path | None) -> Source:
    """Returns the run's photos without those that a quarantine list of the data names, and its unknown photos, too."""
    if config.quarantine == of_run:
        # The run's photos are without them already, and its list may be gone.
        with suppress(UserError):
            names = quarantined_photos(every_photo(listing), config.quarantine, folder_of(config))
            own = replace(own, unknown=[photo for photo in own.unknown if photo.name not in names])
        return own
    names = quarantined_photos(every_photo(listing), config.quarantine, folder_of(config))
    unknown = [photo for photo in own.unknown if photo.name not in names]
    return replace(own, splits=without(own.splits, names), unknown=unknown)


def _changed_note(altered: Sequence[Row], photos: int, split: str) -> str:
    names = listed([row.photo for row in altered])
    return f"{len(altered):,} of {counted(photos, photo_of(split))} have other content than when the run began: {names}"
