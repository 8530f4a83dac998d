"""Photos in class folders: a folder per split and class, or one folder per class that is cut into splits."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clan_tf.config import DataConfig
from clan_tf.data.sources.class_names import normal_name
from clan_tf.data.sources.source import Photo, Source, require_folder
from clan_tf.data.sources.split_names import (
    SPLIT_FOLDERS,
    is_plain,
    is_split_name,
    resembles_split,
    splits_told,
    tells_split,
)
from clan_tf.errors import UserError, counted
from clan_tf.photos.listing import (
    Contents,
    LeftOut,
    holds_photos,
    left_out_note,
    list_contents,
    list_decoded,
    list_folder,
)
from clan_tf.photos.naming import NOT_DECODED, PHOTO_SUFFIXES, Reason
from clan_tf.text import command_line


@dataclass(frozen=True)
class _Layout:
    """How the folders of a data set are read.

    Attributes:
        places: what lies in the folder of each split, or in the root where the splits are cut: then the only split is
            train.
        left_out: files and folders around them that aren't used.
        notes: what a user should know about it.
    """

    places: Mapping[str, Contents]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    is_split: bool


def read_folders(config: DataConfig) -> Source:
    """Reads `ROOT/train/CLASS/…` (with `val/` and `test/` where they exist), or `ROOT/CLASS/…`.

    From one folder per class the test photos are cut by a seeded stratified split. The classes are the names of the
    folders of all splits, without spaces around them and in Unicode's composed form, sorted. `clan_tf.photos.listing`
    decides which files are photos; what is left out is counted in a note.

    The folders show which of the two layouts it is: `train` or `test` without class folders, beside other class
    folders, is a class. Other names that mean a split, such as `training_set`, are never classes.

    Raises:
        UserError: for a folder that is missing or has no photos at all, or folders that can be read in two ways.
        OSError: for one that can't be listed.
    """
    root = require_folder(config.root, "folders")
    layout = _layout(root)
    class_folders = {split: _class_folders(contents) for split, contents in layout.places.items()}
    class_names = tuple(sorted({name for folders in class_folders.values() for name in folders}))
    if not class_folders["train"]:
        raise _no_classes(root)
    splits: dict[str, list[Photo]] = {}
    left_out = list(layout.left_out)
    for split, folders in class_folders.items():
        splits[split], unused = _photos(folders, class_names)
        left_out += unused
    _require_read_once(splits)
    if not splits["train"]:
        raise UserError(f"data.root: the class folders in {root} hold no photos. Put photos into them.")
    note = left_out_note(left_out)
    notes = (*layout.notes, *([note] if note else []))
    return Source(class_names, splits, notes, left_out=tuple(left_out), is_uncut=not layout.is_split)


def _no_classes(root: Path) -> UserError:
    photos = len(list_decoded(root).photos)
    expected = "Expected is a folder of photos for each class."
    if not photos:
        return UserError(f"data.root: {root} holds no photos. {expected}")
    return UserError(
        f"data.root: {root} holds {counted(photos, 'photo')} and no class folders, so their classes are unknown. "
        f"{expected}"
    )


def _photos(folders: Mapping[str, Sequence[Path]], class_names: Sequence[str]) -> tuple[list[Photo], list[LeftOut]]:
    photos: list[Photo] = []
    left_out: list[LeftOut] = []
    for label, name in enumerate(class_names):
        for folder in folders.get(name, ()):
            listing = list_decoded(folder)
            photos += [Photo(str(path), label) for path in listing.photos]
            left_out += listing.left_out
    return photos, left_out


def _require_read_once(splits: Mapping[str, Sequence[Photo]]) -> None:
    """Raises a `UserError` if a folder or photo is in two classes or splits, through a link deep in one of them."""
    placed = [(photo.name, (split, photo.label)) for split, photos in splits.items() for photo in photos]
    folders = dict.fromkeys(os.path.dirname(name) for name, _ in placed)
    _require_one_place("folder", [(folder, folder) for folder in folders])
    if any(os.path.islink(name) for name, _ in placed):
        _require_one_place("photo", [(name, place) for name, place in placed if os.path.exists(name)])


def _require_one_place(kind: str, paths: Iterable[tuple[str, object]]) -> None:
    """Raises a `UserError` if several paths in different places are the same file or folder."""
    first: dict[str, tuple[str, object]] = {}
    for path, place in paths:
        other, other_place = first.setdefault(os.path.realpath(path), (path, place))
        if other_place != place:
            raise UserError(
                f"data.root: {other} and {path} are one {kind}, which would stand in two classes or splits. Remove the "
                "link."
            )


def _class_folders(contents: Contents) -> dict[str, list[Path]]:
    """Returns the folders of each class; two spellings of one name, which look the same, are one class.

    Raises:
        UserError: if a folder appears twice, through a link; its photos would have two labels.
    """
    folders: dict[str, list[Path]] = {}
    places: dict[str, Path] = {}
    for folder in contents.folders:
        other = places.setdefault(os.path.realpath(folder), folder)
        if other is not folder:
            raise UserError(
                f"data.root: {other} and {folder} are one folder, so its photos would have two labels. Remove the link."
            )
        folders.setdefault(normal_name(folder.name) or folder.name, []).append(folder)
    return folders


def _layout(root: Path) -> _Layout:
    contents = _contents(root)
    told = splits_told([folder.name for folder in contents.folders])
    named = [folder for folder in contents.folders if folder.name in told or resembles_split(folder.name)]
    inner = {folder: _contents(folder) for folder in named}
    with_classes = [folder for folder in named if any(map(holds_photos, inner[folder].folders))]
    others = [folder for folder in contents.folders if folder not in named and holds_photos(folder)]
    known = [folder for folder in with_classes if folder.name in told]
    by_shared_words = [folder for folder in known if not tells_split(folder.name)]
    if by_shared_words and others:  # `train_station` and `test_station` beside `bus_station` are classes
        raise _unclear(root, by_shared_words)
    if known:
        return _split_layout(root, contents, inner, known, told, others)
    flat = [folder for folder in named if inner[folder].photos and folder.name in told]
    if flat and not others and len(flat) == len([folder for folder in named if holds_photos(folder)]):
        raise UserError(
            f"data.root: {_slashed(flat)} in {root} hold photos and no class folders, so their classes are unknown. "
            "Expected are train/ and test/ with a folder for each class in them."
        )
    if with_classes and not others and all(folder in with_classes for folder in named if holds_photos(folder)):
        raise _unclear(root, with_classes)
    _require_no_wrapping(root, contents)
    return _class_layout(root, contents, named, told)


def _class_layout(root: Path, contents: Contents, named: Sequence[Path], told: Mapping[str, str]) -> _Layout:
    """Returns a folder for each class."""
    for folder in named:
        is_split = folder.name in told or is_split_name(folder.name)
        if is_split and not is_plain(folder.name) and holds_photos(folder):
            raise UserError(
                f"data.root: {folder} is named as a split, and stands beside class folders. Rename it if it is a "
                f"class; if it isn't, move it out of {root}."
            )
    read_as = [folder for folder in named if is_plain(folder.name) and holds_photos(folder)]
    notes = []
    if read_as:
        notes.append(
            f"{_slashed(read_as)} in {root} is read as a class, not as a split: it holds photos and no class folders, "
            "and other class folders stand beside it."
        )
    _require_no_inner_splits(contents.folders)
    nested = [folder for folder in contents.folders if _holds_only_folders_of_photos(folder)]
    if nested:
        notes.append(
            f"{_slashed(nested)} in {root} hold photos in several folders and none beside them: all are read as one "
            "class each. If the classes are in there, give that folder as data.root."
        )
    return _Layout({"train": contents}, _loose(contents, "loose"), tuple(notes), False)


def _holds_only_folders_of_photos(folder: Path) -> bool:
    contents = list_contents(folder)
    return not contents.photos and len([inner for inner in contents.folders if holds_photos(inner)]) > 1


def _split_layout(
    root: Path,
    contents: Contents,
    inner: Mapping[Path, Contents],
    known: Sequence[Path],
    told: Mapping[str, str],
    others: Sequence[Path],
) -> _Layout:
    """Returns a folder for each split, with a folder for each class in it."""
    by_split = _by_split(root, known, told)
    unclear = [f for f in inner if f.name not in told and any(map(holds_photos, inner[f].folders))]
    if unclear:
        raise _unclear(root, unclear)
    if len(by_split) == 1 and others:
        raise UserError(
            f"data.root: {root} has {by_split['train'].name}/ with folders in it, and beside it folders of photos: "
            f"{_slashed(others)}. If {by_split['train'].name} is a class, rename it; if it is the split, move the "
            "others elsewhere."
        )
    left_out, notes = list(_loose(contents, "unused")), []
    for folder in contents.folders:
        if folder not in known:
            left_out += _unused(folder, "unlabelled" if folder.name in told else "unused")
    flat = [f for f in inner if f.name in told and f not in known and inner[f].photos]
    for folder in flat:
        later = command_line("clan-tf", "predict", "RUN", folder)
        notes.append(
            f"{folder} isn't used as a split: its {counted(len(inner[folder].photos), 'photo')} stand in no class "
            f"folders, so their classes are unknown. After training: {later}."
        )
    places = {split: inner[folder] for split, folder in by_split.items()}
    wrapping = _wrapping(places)
    if wrapping:
        left_out += [item for place in places.values() for item in _loose(place, "loose")]
        by_split, places = wrapping, {split: _contents(folder) for split, folder in wrapping.items()}
    for place in places.values():
        left_out += _loose(place, "loose")
        _require_no_inner_splits(place.folders)
    if wrapping or not all(is_plain(folder.name) for folder in by_split.values()):
        read_as = ", ".join(f"{folder} as {split}" for split, folder in by_split.items())
        notes.append(f"The folders are read as splits: {read_as}.")
    return _Layout(places, tuple(left_out), tuple(notes), True)


def _by_split(root: Path, folders: Sequence[Path], told: Mapping[str, str]) -> dict[str, Path]:
    found: dict[str, list[Path]] = {}
    for folder in folders:
        found.setdefault(told[folder.name], []).append(folder)
    for split, spellings in found.items():
        if len(spellings) > 1:
            raise UserError(
                f"data.root: {_slashed(spellings)} in {root} all name the split {split}. Put their class folders "
                "together in one of them, or move the others elsewhere."
            )
    if "train" not in found:
        raise UserError(
            f"data.root: {root} has {_slashed(folders)} but no train/ with class folders. "
            "Move the class folders of the train photos into train/; or rename or remove the others. To evaluate a "
            "model on some of these alone, name the folder that holds their class folders."
        )
    return {split: found[split][0] for split in SPLIT_FOLDERS if split in found}


def _wrapping(places: Mapping[str, Contents]) -> dict[str, Path]:
    """Returns the only folder in each split, if the class folders are inside it; nothing otherwise."""
    found: dict[str, Path] = {}
    for split, contents in places.items():
        folders = [folder for folder in contents.folders if holds_photos(folder)]
        if len(folders) != 1 or len(_with_photos(folders[0])) < 2:
            return {}
        found[split] = folders[0]
    return found


def _require_no_wrapping(root: Path, contents: Contents) -> None:
    """Raises a `UserError` if the classes or splits are inside the only folder of the root that has photos."""
    folders = [folder for folder in contents.folders if holds_photos(folder)]
    way = root
    while len(folders) == 1 and not tells_split(folders[0].name):
        way = folders[0]
        folders = _with_photos(way)
    if way != root and folders:
        raise UserError(
            f"data.root: the photos in {root} all stand in {way.relative_to(root)}/, so there is only one class. If "
            f"the folders in there are the classes or the splits, give that folder: "
            f"{command_line('--set', f'data.root={way}')}."
        )


def _require_no_inner_splits(class_folders: Iterable[Path]) -> None:
    """Raises a `UserError` if a class folder is cut into splits: its test photos would be trained on."""
    for folder in class_folders:
        told = {tells_split(inner.name): inner for inner in list_contents(folder).folders}
        if "train" in told and len(told.keys() - {None}) > 1:
            splits = [inner for split, inner in told.items() if split and holds_photos(inner)]
            if len(splits) > 1:
                raise UserError(
                    f"data.root: the class folder {folder} holds {_slashed(splits)}. Expected are the splits outside "
                    f"and the classes inside: {splits[0].name}/{folder.name}/."
                )


def _unclear(root: Path, folders: Sequence[Path]) -> UserError:
    return UserError(
        f"data.root: {_slashed(folders)} in {root} may be splits, but it isn't clear which. Rename them to train, val "
        "or test; or, if they are classes or aren't to be used, rename or move them."
    )


def _with_photos(folder: Path) -> list[Path]:
    return [inner for inner in list_contents(folder).folders if holds_photos(inner)]


def _loose(contents: Contents, reason: Reason) -> tuple[LeftOut, ...]:
    """Returns everything in a folder but its folders, as left out; photos for `reason`."""
    return (*contents.left_out, *(LeftOut(str(path), reason) for path in contents.photos))


def _unused(folder: Path, reason: Reason) -> Iterator[LeftOut]:
    """Yields what is in a folder that isn't used; its photos for `reason`."""
    listing = list_folder(folder)
    yield from listing.left_out
    if listing.photos:
        yield LeftOut(str(folder), reason, len(listing.photos))


def _contents(folder: Path) -> Contents:
    """Returns the contents of a folder; raises a `UserError` for a link to a class folder that doesn't exist."""
    contents = list_contents(folder)
    for path in contents.photos:
        is_file = path.suffix.lower() in (*PHOTO_SUFFIXES, *NOT_DECODED)
        if path.is_symlink() and not path.exists() and not is_file:
            raise UserError(
                f"data.root: {path} is a link to {os.readlink(path)}, which isn't there. Mend or remove it."
            )
    return contents


def _slashed(folders: Iterable[Path]) -> str:
    return ", ".join(f"{folder.name}/" for folder in folders)
