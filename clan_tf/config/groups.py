"""The values of `data.group`: which photos belong together."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from clan_tf.errors import nearest, shown

FORMS = "column:NAME, path:REGEX or copies"
_TAKEN = ("path", "label", "split")
"""Columns of a table that mean something else."""


@dataclass(frozen=True)
class GroupRule:
    """How groups of photos are recognised.

    Attributes:
        kind: `column`, by the cells of a column of the table; `path`, by a part of each photo's path; `copies`, near
            copies are a group.
        value: the name of the column, or the regular expression whose first group in parentheses names the photo's
            group.
    """

    kind: Literal["column", "path", "copies"]
    value: str = ""

    @classmethod
    def of(cls, text: str) -> Self:
        """Reads a value of `data.group`.

        Raises:
            ValueError: saying what is wrong with it.
        """
        kind, separator, value = text.partition(":")
        match kind, separator:
            case "column", ":":
                return cls("column", _column(value, text))
            case "path", ":":
                return cls("path", _expression(value, text))
            case "copies", "":
                return cls("copies")
        raise ValueError(f"must be {FORMS}; received {shown(text)}.{nearest(kind, ['column', 'path', 'copies'])}")


def _column(name: str, text: str) -> str:
    if not name.strip():
        raise ValueError(f"names no column; write column:NAME, such as column:animal; received {shown(text)}")
    if name in _TAKEN:
        raise ValueError(f"must name another column than {', '.join(_TAKEN)}; received {shown(text)}")
    return name


def _expression(expression: str, text: str) -> str:
    try:
        groups = re.compile(expression).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"isn't a regular expression ({error}); received {shown(text)}") from error
    if not groups:
        raise ValueError(
            "needs parentheses around the part of the path that names the group, such as path:([^/]+)_[0-9]+; "
            f"received {shown(text)}"
        )
    return expression
