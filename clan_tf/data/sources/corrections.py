"""Labels that a user corrected in a table (`data.relabel`), and the photos that it leaves out."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from clan_tf.config import DataConfig
from clan_tf.data.sources.class_names import normal_name, quoted_name
from clan_tf.data.sources.source import Source, folder_of, relative_name
from clan_tf.errors import UserError, counted, listed, nearest, shown
from clan_tf.files.reading import reason_of, regular_text
from clan_tf.files.tables import plain_cell

COLUMNS = ("photo", "label")
LEAVE_OUT = "-"
"""In place of a class: the photo isn't used."""


class Correction(NamedTuple):
    """An edited row: a photo's name, the class that it gets, and the line of the table."""

    photo: str
    label: str
    line: int


@dataclass(frozen=True)
class Corrected:
    """A source with the labels that a table gives.

    Attributes:
        source: the source; photos to leave out are still in it.
        left_out: names of the photos to leave out.
    """

    source: Source
    left_out: frozenset[str] = frozenset()


def with_corrections(source: Source, config: DataConfig) -> Corrected:
    """Gives photos the labels of `data.relabel`, and notes how many.

    Raises:
        UserError: if the table can't be read, names no photo of the data, or gives classes that the data doesn't have.
    """
    if config.relabel is None:
        return Corrected(source)
    corrections, named = read_corrections(config.relabel)
    folder = folder_of(config)
    photos = {photo.name: photo for each in source.splits.values() for photo in each}
    names = {relative_name(name, folder): name for name in photos} | {name: name for name in photos}
    if names.keys().isdisjoint(named):
        raise UserError(
            f"data.relabel: {config.relabel} names no photo that the data has; its first is {shown(named[0])}. Give "
            "the table of these photos, or write it again: clan-tf data labels CONFIG."
        )
    labels = _labels(corrections, source.class_names, config.relabel)
    new = {names[photo]: label for photo, label in labels.items() if photo in names}
    left_out = frozenset(name for name, label in new.items() if label is None)
    changed = {name: label for name, label in new.items() if label is not None and label != photos[name].label}
    splits = {
        split: [replace(photo, label=changed.get(photo.name, photo.label)) for photo in each]
        for split, each in source.splits.items()
    }
    unknown = [photo for photo in labels if photo not in names]
    notes = _notes(config.relabel, [relative_name(name, folder) for name in changed], len(left_out), unknown)
    return Corrected(replace(source, splits=splits, notes=(*source.notes, *notes)), left_out)


def read_corrections(table: Path) -> tuple[list[Correction], list[str]]:
    """Reads a table with the columns `photo` and `label`, in which spreadsheets may have left their traces.

    Between columns are commas, semicolons or tabs. Rows without a label change nothing.

    Returns:
        The rows with a label, and the names in all rows.

    Raises:
        UserError: for a table that can't be read, or a photo that has two labels in it.
    """
    corrections: dict[str, Correction] = {}
    named = []
    for line, photo, label in _rows(table):
        named.append(photo)
        earlier = corrections.get(photo)
        if earlier and label and earlier.label != label:
            raise UserError(
                f"data.relabel: {table} gives {shown(photo)} two labels: {quoted_name(earlier.label)} on line "
                f"{earlier.line} and {quoted_name(label)} on line {line}. Keep one."
            )
        if label and not earlier:
            corrections[photo] = Correction(photo, label, line)
    return list(corrections.values()), named


def _rows(table: Path) -> list[tuple[int, str, str]]:
    """Returns line, photo and label of every row that isn't blank."""
    try:
        text = regular_text(table).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UserError(f"data.relabel: {table} isn't UTF-8. Save it as CSV in UTF-8.") from error
    except OSError as error:
        raise UserError(
            f"data.relabel: {table} can't be read: {reason_of(error)}. Give the edited labels.csv of clan-tf data "
            "labels, or none: --set data.relabel=null."
        ) from error
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
        header = [plain_cell(cell.strip()) for cell in next(reader, [])]
        _require_columns(table, header)
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UserError(
            f"data.relabel: {table} can't be read as a CSV table: {error}. Save it as CSV again."
        ) from error
    if not rows:
        raise UserError(f"data.relabel: {table} has no rows below its header.")
    return [(line, *_cells(table, line, header, cells)) for line, cells in rows]


def _delimiter(text: str) -> str:
    """Returns what stands between the columns, by the one that separates `photo` from `label`."""
    first = text.partition("\n")[0]
    for delimiter in ",;\t":
        if set(COLUMNS) <= {cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])}:
            return delimiter
    return ","


def _require_columns(table: Path, header: Sequence[str]) -> None:
    for column in COLUMNS:
        if header.count(column) != 1:
            what = "no column" if column not in header else "several columns"
            raise UserError(
                f"data.relabel: {table} has {what} {column!r}. Its first line must name photo and label once each; "
                f"received {shown(','.join(header))}."
            )


def _cells(table: Path, line: int, header: Sequence[str], cells: Sequence[str]) -> tuple[str, str]:
    """Returns the photo and the label of a row; some spreadsheets don't write empty cells at its end."""
    if len(cells) > len(header):
        raise UserError(
            f"data.relabel: {table}, line {line}: has {len(cells)} values for {len(header)} columns. A value with a "
            "separator in it needs quotes."
        )
    values = dict(zip(header, map(plain_cell, cells), strict=False))
    if not values.get("photo"):
        raise UserError(f"data.relabel: {table}, line {line}: photo: is empty. Name the photo, or delete the row.")
    return values["photo"], normal_name(values.get("label", ""))


def _labels(
    corrections: Iterable[Correction], class_names: Sequence[str], table: Path, most: int = 20
) -> dict[str, int | None]:
    """Returns the label of each corrected photo, `None` for one that is left out."""
    known = {normal_name(name): label for label, name in enumerate(class_names)}
    labels: dict[str, int | None] = {}
    mistakes = []
    for photo, name, line in corrections:
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
