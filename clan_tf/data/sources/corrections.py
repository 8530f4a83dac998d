"""Labels that a user corrected in a table (`data.relabel`), and the photos that it leaves out."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from posixpath import normpath
from typing import NamedTuple

from clan_tf.config import DataConfig
from clan_tf.data.sources.class_names import normal_name, quoted_name
from clan_tf.data.sources.source import Source, folder_of, relative_name
from clan_tf.errors import UserError, counted, listed, nearest, shown
from clan_tf.files import Row, UserTable, read_user_table
from clan_tf.files.tables import plain_cell

KEY = "data.relabel"
COLUMNS = ("photo", "label")
LEAVE_OUT = "-"
"""In place of a class: the photo isn't used."""


class Correction(NamedTuple):
    """A row of the table: a photo, the class that it gets, empty if it keeps its own, and the line.

    The photo's name may be one of several, the first as it is written.
    """

    spellings: tuple[str, ...]
    label: str
    line: int

    def photo(self, names: Container[str]) -> str:
        """Returns the first spelling that is one of some names, or the name as it is written."""
        return next((name for name in self.spellings if name in names), self.spellings[0])


@dataclass(frozen=True)
class Corrected:
    """A source with the labels that a table gives.

    Attributes:
        source: the source; photos to leave out are still in it, and corrected ones have their `own_label`.
        left_out: names of the photos to leave out.
    """

    source: Source
    left_out: frozenset[str] = frozenset()


def with_corrections(source: Source, config: DataConfig) -> Corrected:
    """Gives photos the labels of `data.relabel`, and notes how many.

    Raises:
        UserError: if the table can't be read, names no photo of the data, gives a photo two labels, or classes that the
            data doesn't have.
    """
    if config.relabel is None:
        return Corrected(source)
    corrections = read_corrections(config.relabel)
    folder = folder_of(config)
    photos = {photo.name: photo for each in source.splits.values() for photo in each}
    names = {relative_name(name, folder): name for name in photos} | {name: name for name in photos}
    if not any(correction.photo(names) in names for correction in corrections):
        raise UserError(
            f"{KEY}: {config.relabel} names no photo that the data has; its first is "
            f"{shown(corrections[0].spellings[0])}. Give the table of these photos, or write it again: clan-tf data "
            "labels CONFIG."
        )
    labels = _labels(_by_photo(corrections, names, config.relabel), source.class_names, config.relabel)
    new = {photo: label for photo, label in labels.items() if photo in photos}
    left_out = frozenset(name for name, label in new.items() if label is None)
    changed = {name: label for name, label in new.items() if label is not None and label != photos[name].label}
    splits = {
        split: [
            replace(photo, label=changed[photo.name], own_label=photo.label) if photo.name in changed else photo
            for photo in each
        ]
        for split, each in source.splits.items()
    }
    unknown = [photo for photo in labels if photo not in photos]
    notes = _notes(config.relabel, [relative_name(name, folder) for name in changed], len(left_out), unknown)
    return Corrected(replace(source, splits=splits, notes=(*source.notes, *notes)), left_out)


def read_corrections(path: Path) -> list[Correction]:
    """Reads the rows of a table with the columns `photo` and `label`, as users edit it and spreadsheets write it.

    Raises:
        UserError: for a table that can't be read.
    """
    if not path.exists():
        raise UserError(
            f"{KEY}: there is no file {path}. Give the edited labels.csv of clan-tf data labels, or none: "
            f"--set {KEY}=null."
        )
    table = read_user_table(path, KEY, COLUMNS)
    photo, label = (_column(table, name) for name in COLUMNS)
    if not table.rows:
        raise UserError(f"{KEY}: {path} has no rows below its header.")
    return [_correction(row, photo, label, f"{table.place}, line {row.line}") for row in table.rows]


def _column(table: UserTable, name: str) -> int:
    index = table.index(name)
    if index is None:
        raise UserError(
            f"{table.place} has no column {name!r}. Its first line must name photo and label once each; received "
            f"{shown(table.header)}."
        )
    return index


def _correction(row: Row, photo: int, label: int, place: str) -> Correction:
    if row.problem:
        raise UserError(f"{place}: {row.problem}.")
    if not row.cells[photo]:
        raise UserError(f"{place}: photo: is empty. Name the photo, or delete the row.")
    spellings = [plain_cell(cell) for cell in row.spellings(photo)]
    return Correction((*spellings, normpath(spellings[-1])), normal_name(plain_cell(row.cells[label])), row.line)


def _by_photo(corrections: Iterable[Correction], names: Mapping[str, str], table: Path) -> dict[str, Correction]:
    """Returns the corrections that give a label, by photo; a `UserError` if two give a photo different ones.

    Args:
        corrections: those of the table.
        names: the photos of the data, by each name that the table may have for them.
        table: where they are.
    """
    first: dict[str, Correction] = {}
    for correction in corrections:
        if not correction.label:
            continue
        written = correction.photo(names)
        earlier = first.setdefault(names.get(written, written), correction)
        if earlier.label != correction.label:
            raise UserError(
                f"{KEY}: {table} gives {shown(written)} two labels: {quoted_name(earlier.label)} on line "
                f"{earlier.line} and {quoted_name(correction.label)} on line {correction.line}. Keep one."
            )
    return first


def _labels(
    corrections: Mapping[str, Correction], class_names: Sequence[str], table: Path, most: int = 20
) -> dict[str, int | None]:
    """Returns the label of each corrected photo, `None` for one that is left out."""
    known = {normal_name(name): label for label, name in enumerate(class_names)}
    labels: dict[str, int | None] = {}
    mistakes = []
    for photo, (_, name, line) in corrections.items():
        if name in known and name == LEAVE_OUT:
            mistakes.append(f"  line {line}: '-' is a class of the data, and would leave photos out. Rename the class.")
        elif name not in known and name != LEAVE_OUT:
            # Looking for the nearest of many names takes long, and most mistakes aren't shown.
            hint = nearest(name, list(known)) if len(mistakes) < most else ""
            mistakes.append(f"  line {line}: the data has no class {quoted_name(name)}.{hint}")
        else:
            labels[photo] = known.get(name)
    if mistakes:
        more = [f"  … and {len(mistakes) - most} more"] if len(mistakes) > most else []
        heading = f"data.relabel: {table}: mistakes in {counted(len(mistakes), 'row')}; a label is a class or '-'"
        raise UserError("\n".join([heading, *mistakes[:most], *more]))
    return labels


def _notes(table: Path, changed: Sequence[str], left_out: int, unknown: Sequence[str]) -> list[str]:
    """Returns what a table changes, and what it can't."""
    notes = []
    if changed:
        notes.append(f"data.relabel: {counted(len(changed), 'photo')} relabelled by {table}: {listed(changed, 3)}.")
    if left_out:
        notes.append(f"data.relabel: {counted(left_out, 'photo')} left out by {table}.")
    if unknown:
        notes.append(
            f"data.relabel: {table} has labels for {counted(len(unknown), 'photo')} that the data doesn't have, such "
            f"as {shown(unknown[0])}; they change nothing."
        )
    return notes or [f"data.relabel: {table} changes no label."]
