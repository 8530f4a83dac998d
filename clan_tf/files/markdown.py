"""Tables in Markdown, whose cells may hold any text."""

from collections.abc import Sequence

from clan_tf.text import printable


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table; what would end a cell or a row is escaped, other Markdown in cells stays."""
    return [_line(columns), f"|{'---|' * len(columns)}", *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Writes a cell in one line. A backslash is doubled, or it would take away the one of a bar after it."""
    return printable(" ".join(text.splitlines()).replace("\\", "\\\\").replace("|", r"\|"))
