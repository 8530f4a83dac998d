"""Photos listed in a CSV table."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clan_tf.config import DataConfig
from clan_tf.data.sources.class_names import alike, name_problem, normal_name, quoted_name
from clan_tf.data.sources.source import Photo, Source, inside, require_folder
from clan_tf.data.sources.split_names import SPLIT_FOLDERS
from clan_tf.errors import UserError, listed, nearest

SPLIT_NAMES = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}
Cells = Mapping[Any, Any]


class Entry(NamedTuple):
    """A row of the table; `split` and `group` are empty where the table has no such column."""

    path: str
    label: str
    split: str
    group: str = ""


def read_csv(config: DataConfig) -> Source:
    """Reads a table with the columns `path`, `label` and perhaps `split` and that of `data.group`; ignores others.

    Between columns are commas or, if the header says so, semicolons or tabs.
    Paths are relative to `root` or, without it, to the table's folder, and stay inside it. The classes are the labels,
    without spaces around them and in Unicode's composed form, sorted. Without the column `split` the test photos are
    still to be cut. Cells of the column of `data.group` are read like labels; an empty one names no group.

    Raises:
        UserError: for a missing table or column, or naming the mistakes in the rows with their lines.
    """
    table, folder = locate(config)
    column = config.group_rule.value if config.group_rule and config.group_rule.kind == "column" else None
    entries = _entries(_rows(table, column), folder, table, column)
    class_names = tuple(sorted({entry.label for entry in entries}))
    labels = {name: label for label, name in enumerate(class_names)}
    splits: dict[str, list[Photo]] = {"train": []}
    for entry in entries:
        photo = Photo(entry.path, labels[entry.label], group=entry.group or None)
        splits.setdefault(entry.split or "train", []).append(photo)
    if not splits["train"]:
        raise UserError(f"{table}: no row has the split 'train'.")
    return Source(class_names, splits, is_uncut=not entries[0].split)


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


def _rows(table: Path, group_column: str | None) -> Sequence[tuple[int, Cells]]:
    """Reads every row with the line on which it ends."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            columns = reader.fieldnames or ()
            missing = [name for name in ("path", "label") if name not in columns]
            if missing:
                raise UserError(
                    f"{table}, line 1: has no column {' and no column '.join(missing)}. The first line must be "
                    f"path,label or path,label,split; received {delimiter.join(columns)!r}."
                )
            for name in columns:
                if "split" not in columns and nearest("split", [name]):
                    raise UserError(f"{table}, line 1: no such column {name!r}. Did you mean split?")
            if group_column is not None and group_column not in columns:
                raise UserError(
                    f"data.group: {table} has no column {group_column!r}.{nearest(group_column, list(columns))} Its "
                    f"columns are {listed(columns, 50)}."
                )
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table}: can't be read as a CSV table in UTF-8: {error}.") from error
    if not rows:
        raise UserError(f"{table}: has no rows below its header.")
    return rows


def _delimiter(header: str) -> str:
    """Returns what stands between the columns, by the one that separates `path` from `label`."""
    for delimiter in ",;\t":
        if {"path", "label"} <= set(next(csv.reader([header], delimiter=delimiter), ())):
            return delimiter
    return ","


def _entries(
    rows: Sequence[tuple[int, Cells]], folder: Path, table: Path, group_column: str | None, most: int = 20
) -> list[Entry]:
    entries: list[Entry] = []
    mistakes: list[str] = []
    lines: dict[str, int] = {}
    for line, cells in rows:
        try:
            entry = _entry(cells, folder, group_column)
            file = os.path.realpath(entry.path)  # of several spellings and links
            if file in lines:
                raise UserError(f"path: {cells['path']!r} is on line {lines[file]} too.")
            lines[file] = line
            entries.append(entry)
        except UserError as error:
            mistakes.append(f"  line {line}: {error}")
    mistakes += [] if mistakes else _alike(entries, list(lines.values()))
    if mistakes:
        more = [f"  … and {len(mistakes) - most} more"] if len(mistakes) > most else []
        raise UserError(
            "\n".join([f"{table}: mistakes in {len(mistakes)} of {len(rows)} rows", *mistakes[:most], *more])
        )
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


def _entry(cells: Cells, folder: Path, group_column: str | None) -> Entry:
    if None in cells or None in cells.values():
        raise UserError("must have as many values as the header; a value with a separator in it needs quotes.")
    path, label, split = str(cells["path"]), normal_name(str(cells["label"])), cells.get("split")
    for column, value in (("path", path), ("label", label)):
        if not value.strip():
            raise UserError(f"{column}: is empty.")
    if problem := name_problem(label):
        raise UserError(f"label: {problem}; received {quoted_name(label)}.")
    name = None if split is None else split.strip().lower()
    if name is not None and name not in SPLIT_NAMES:
        raise UserError(f"split: must be train, val or test; received {split!r}.")
    group = normal_name(str(cells[group_column])) if group_column is not None else ""
    return Entry(str(inside(folder, path, Path("path"))), label, SPLIT_NAMES[name] if name is not None else "", group)
