r"""CSV files with the user's names in them, which spreadsheets and terminals can open safely.

A cell that a spreadsheet would take for a formula, or that holds control characters or bytes that aren't UTF-8, begins
with an apostrophe. After it, such characters are written as `\u001b`, bytes as `\udc80` to `\udcff`, and a backslash is
doubled. `read_rows` undoes this.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clan_tf.files.reading import explaining_damage, regular_text
from clan_tf.files.writing import replacing
from clan_tf.text import printable

_FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"-?[0-9.]+(e[-+]?[0-9]+)?")
_ESCAPE = re.compile(r"\\(\\|u[0-9a-f]{4})")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file in UTF-8, completely or not at all; texts are quoted as `quoted_cell` does, numbers aren't."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(quoted_cell, columns))
        writer.writerows([quoted_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Writes rows by `write_csv`, whose columns are those of the first row unless `columns` names them."""
    columns = list(rows[0]) if columns is None else columns
    write_csv(path, columns, ([row[column] for column in columns] for row in rows))


def read_rows(
    path: Path, columns: Collection[str], way_out: str, is_number: Callable[[str], bool] = lambda column: False
) -> list[dict[str, str]]:
    """Reads the rows of a file that `write_csv` wrote, at least one.

    Args:
        path: the file.
        columns: those that must be present.
        way_out: a sentence that says what to do about a damaged file.
        is_number: which columns must hold finite numbers.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    with explaining_damage(path, way_out):
        header, *lines = [*csv.reader(io.StringIO(regular_text(path), newline=""), strict=True)] or [[]]
        names = [plain_cell(cell) for cell in header]
        missing = [column for column in columns if column not in names]
        if missing:
            raise ValueError(f"there is no column {missing[0]!r}")
        if not lines:
            raise ValueError("there are no rows")
        if any(len(line) != len(names) for line in lines):
            raise ValueError(f"the rows don't have {len(names)} cells each")
        rows = [dict(zip(names, map(plain_cell, line), strict=True)) for line in lines]
        if not all(math.isfinite(float(row[column])) for row in rows for column in filter(is_number, row)):
            raise ValueError("a number isn't finite")
        return rows


def quoted_cell(text: str) -> str:
    """Returns a text as a cell that is displayed as text: with an apostrophe before it where necessary."""
    is_formula = text.lstrip().startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(text)
    if not is_formula and not text.startswith("'") and printable(text) == text:
        return text
    doubled = text.replace("\\", "\\\\")
    return "'" + "".join(one if printable(one) == one else f"\\u{ord(one):04x}" for one in doubled)


def plain_cell(cell: str) -> str:
    """Returns the text that `quoted_cell` was given."""
    return _ESCAPE.sub(_character, cell[1:]) if cell.startswith("'") else cell


def _character(escape: re.Match[str]) -> str:
    return "\\" if escape[1] == "\\" else chr(int(escape[1][1:], 16))
