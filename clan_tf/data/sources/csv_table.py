"""Photos listed in a CSV table."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from clan_tf.config import DataConfig
from clan_tf.data.sources.class_names import alike, name_problem, normal_name, quoted_name
from clan_tf.data.sources.source import Photo, Source, inside, require_folder
from clan_tf.data.sources.split_names import SPLIT_FOLDERS
from clan_tf.errors import UserError, listed, nearest, shown
from clan_tf.files import Row, UserTable, read_user_table

SPLIT_NAMES = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}
KEY = "data.csv"
_WITH_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class Columns(NamedTuple):
    """Where the columns of the table stand; `None` for those that it doesn't have."""

    path: int
    label: int
    split: int | None
    group: int | None


class Entry(NamedTuple):
    """A row of the table; `split` and `group` are empty where the table has no such column."""

    path: str
    label: str
    split: str
    group: str = ""


def read_csv(config: DataConfig) -> Source:
    """Reads a table with the columns `path`, `label` and perhaps `split` and that of `data.group`; ignores others.

    Paths are relative to `root` or, without it, to the table's folder, and stay inside it. The classes are the labels,
    without spaces around them and in Unicode's composed form, sorted. Without the column `split` the test photos are
    still to be cut. Cells of the column of `data.group` are read like labels; an empty one names no group. What holds
    for all tables is in `clan_tf.files.user_tables`.

    Raises:
        UserError: for a missing table or column, or naming the mistakes in the rows with their lines.
    """
    file, folder = locate(config)
    table = read_user_table(file, KEY, ("path", "label"))
    columns = _columns(table, config)
    if not table.rows:
        raise UserError(f"{table.place}: has no rows below its header.")
    entries = _entries(table, columns, folder)
    class_names = tuple(sorted({entry.label for entry in entries}))
    labels = {name: label for label, name in enumerate(class_names)}
    splits: dict[str, list[Photo]] = {"train": []}
    for entry in entries:
        photo = Photo(entry.path, labels[entry.label], group=entry.group or None)
        splits.setdefault(entry.split or "train", []).append(photo)
    if not splits["train"]:
        raise UserError(
            f"{table.place}: no row has the split 'train'. To evaluate a model on such photos, leave the column out of "
            "the table, and take --split all."
        )
    return Source(class_names, splits, tuple(_notes(table, columns)), is_uncut=not entries[0].split)


def locate(config: DataConfig) -> tuple[Path, Path]:
    """Returns the table, and the folder that its paths are relative to."""
    if config.csv is None and config.root is None:
        raise UserError("data.csv: the source 'csv' needs the table of the photos: --set data.csv=FILE.")
    root = require_folder(config.root, "csv") if config.root else None
    table = config.csv or Path(root or "") / "photos.csv"
    if not table.is_file():
        way_out = "" if config.csv else " Or name the table: --set data.csv=FILE."
        raise UserError(f"data.csv: there is no file {table}.{way_out}")
    return table, root or table.resolve().parent


def _columns(table: UserTable, config: DataConfig) -> Columns:
    """Finds the columns of a table; a `UserError` if `path`, `label` or that of `data.group` isn't there."""
    path, label, split = (table.index(name) for name in ("path", "label", "split"))
    if path is None or label is None:
        missing = [name for name, index in (("path", path), ("label", label)) if index is None]
        raise UserError(
            f"{table.place}: has no column {' and no column '.join(missing)}. The first line must be path,label or "
            f"path,label,split; received {shown(table.header)}."
        )
    wanted = config.group_rule.value if config.group_rule and config.group_rule.kind == "column" else None
    group = None if wanted is None else table.index(wanted)
    if wanted is not None and group is None:
        raise UserError(
            f"data.group: {locate(config)[0]} has no column {wanted!r}.{nearest(wanted, list(table.columns))} "
            f"Its columns are {listed(table.columns, 50)}."
        )
    for name in table.columns:
        if split is None and name != wanted and name.casefold() in ("split", "splits"):
            raise UserError(f"{table.place}, line {table.line}: no such column {name!r}. Did you mean split?")
    return Columns(path, label, split, group)


def _notes(table: UserTable, columns: Columns) -> Iterator[str]:
    """Yields a note on each column that seems to hold splits, where none is named so."""
    for index, name in enumerate(table.columns):
        if columns.split is None and index not in columns:
            cells = {row.cells[index].lower() for row in table.rows}
            if cells <= SPLIT_NAMES.keys() and len({SPLIT_NAMES[cell] for cell in cells}) > 1:
                yield (
                    f"{table.place}: the column {name!r} holds names of splits, and isn't used. If it says which "
                    "photos are for testing, name it split."
                )


def _entries(table: UserTable, columns: Columns, folder: Path, most: int = 20) -> list[Entry]:
    entries: list[Entry] = []
    mistakes: list[str] = []
    lines: dict[str, int] = {}
    for row in table.rows:
        try:
            entry = _entry(row, columns, folder)
            file = os.path.realpath(entry.path)  # of several spellings and links
            if file in lines:
                raise UserError(f"path: {row.cells[columns.path]!r} is on line {lines[file]} too.")
            lines[file] = row.line
            entries.append(entry)
        except UserError as error:
            mistakes.append(f"  line {row.line}: {error}")
    mistakes += [] if mistakes else _alike(entries, list(lines.values()))
    if mistakes:
        more = [f"  … and {len(mistakes) - most} more"] if len(mistakes) > most else []
        heading = f"{table.place}: mistakes in {len(mistakes)} of {len(table.rows)} rows"
        raise UserError("\n".join([heading, *mistakes[:most], *more]))
    return entries


def _alike(entries: Sequence[Entry], lines: Sequence[int]) -> list[str]:
    """Returns a mistake for each label that looks like an earlier one and is another, where it stands first."""
    first: dict[str, int] = {}
    for entry, line in zip(entries, lines, strict=True):
        first.setdefault(entry.label, line)
    return [
        f"  line {first[name]}: label: {quoted_name(name)} looks like {quoted_name(names[0])} on line "
        f"{first[names[0]]}, and is another. Write both the same, or so that they differ."
        for names in alike(list(first))
        for name in names[1:]
    ]


def _entry(row: Row, columns: Columns, folder: Path) -> Entry:
    if row.problem:
        raise UserError(f"{row.problem}.")
    for column, index in (("path", columns.path), ("label", columns.label)):
        if not normal_name(row.cells[index]):
            raise UserError(f"{column}: is empty.")
    label = normal_name(row.cells[columns.label])
    if problem := name_problem(label):
        raise UserError(f"label: {problem}; received {quoted_name(label)}.")
    split = None if columns.split is None else row.cells[columns.split]
    if split is not None and split.lower() not in SPLIT_NAMES:
        raise UserError(f"split: must be train, val or test; received {split!r}.")
    group = "" if columns.group is None else normal_name(row.cells[columns.group])
    if _WITH_DRIVE.match(row.cells[columns.path]):
        raise UserError(
            f"path: {row.cells[columns.path]!r} begins with a drive of Windows. Write where the photo is in {folder}, "
            "or set data.root to that folder and write the rest."
        )
    spellings = row.spellings(columns.path)
    path = next((name for name in spellings if (folder / name).is_file()), spellings[-1])
    photo = str(inside(folder, path, Path("path")))
    return Entry(photo, label, "" if split is None else SPLIT_NAMES[split.lower()], group)
