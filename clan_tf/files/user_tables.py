"""CSV tables that users write, by hand or in a spreadsheet, read by one set of rules.

Commas, semicolons or tabs stand between the columns. Spaces around names and cells don't count, nor do blank rows,
empty cells at the end of a row, or a byte order mark.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from clan_tf.errors import UserError, counted
from clan_tf.files.reading import read_text

SEPARATORS = ",;\t"
_SAMPLE = 100
"""Rows that say which separator a table has."""


@dataclass(frozen=True)
class Row:
    """A row that isn't blank.

    Attributes:
        line: the line of the file on which it ends.
        cells: a cell for each column, without spaces around it; empty where the row ends before.
        written: the same cells as the file has them.
        problem: what is wrong with the row, if anything: it has more cells than the header.
    """

    line: int
    cells: tuple[str, ...]
    written: tuple[str, ...]
    problem: str | None = None

    def spellings(self, column: int) -> list[str]:
        """Returns what the name of a file in a cell may be: as written, without spaces around it, with `/` for `\\`."""
        written = (self.written[column], self.cells[column])
        return list(dict.fromkeys([*written, *(name.replace("\\", "/") for name in written)]))


@dataclass(frozen=True)
class UserTable:
    """A table.

    Attributes:
        place: the key and the file, as messages begin.
        line: the line of the file on which the header ends; 0 if the file has none.
        columns: their names, without spaces around them.
        rows: those below the header.
        separator: what stands between the columns.
    """

    place: str
    line: int
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    separator: str

    def index(self, column: str) -> int | None:
        """Returns where a column stands; `None` if there is none of the name, a `UserError` if there are several."""
        if self.columns.count(column) > 1:
            raise UserError(
                f"{self.place}, line {self.line}: names the column {column!r} {self.columns.count(column)} times. "
                "Rename or remove all but one."
            )
        return self.columns.index(column) if column in self.columns else None

    @property
    def header(self) -> str:
        """The names of the columns in one line."""
        return self.separator.join(self.columns)


def read_user_table(path: Path, key: str, columns: Sequence[str] = ()) -> UserTable:
    """Reads a table.

    Args:
        path: a regular file in UTF-8.
        key: of the config, which messages begin with.
        columns: those that the table must have, by which its separator is recognised; the caller looks whether they
            are there.

    Raises:
        UserError: if it can't be read as text or as a table.
    """
    text = read_text(path, key)
    separator = _separator(text, columns)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if _length(cells)]
    except csv.Error as error:
        raise UserError(
            f"{key}: {path}: can't be read as a CSV table: {error} (line {reader.line_num}). Save it as CSV again."
        ) from error
    (line, header), *rows = lines or [(0, [])]
    names = tuple(cell.strip() for cell in header[: _length(header)])
    return UserTable(
        f"{key}: {path}", line, names, tuple(_row(*row, len(names), len(header)) for row in rows), separator
    )


def _row(line: int, written: Sequence[str], columns: int, most: int) -> Row:
    """Returns a row's cells of the columns; cells beyond `most`, the columns with those without a name, are excess."""
    length = _length(written)
    excess = f"has {length} values for {counted(most, 'column')}; a value with a separator in it needs quotes"
    full = (*written[:columns], *[""] * (columns - len(written)))
    return Row(line, tuple(map(str.strip, full)), full, excess if length > most else None)


def _length(cells: Sequence[str]) -> int:
    """Returns the number of cells up to the last that isn't blank."""
    return max((number for number, cell in enumerate(cells, start=1) if cell.strip()), default=0)


def _separator(text: str, columns: Sequence[str]) -> str:
    """Returns the separator by which the header has the columns, most rows are as long as it, and it is longest."""

    def suits(separator: str) -> tuple[bool, int, int]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            header, *rows = islice(filter(_length, reader), _SAMPLE)
        except (csv.Error, ValueError):  # a field that is too long; a table without a header
            return False, 0, 0
        length = _length(header)
        fitting = sum(_length(row) == length for row in rows) if length > 1 else 0
        return {*columns} <= {cell.strip() for cell in header} and bool(columns), fitting, length

    return max(SEPARATORS, key=suits)
