"""The levels above the classes: from a CSV table, or from the classes' own names."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from clan_tf import limits
from clan_tf.config import DataConfig
from clan_tf.config.data import TAXONOMY_NAMES
from clan_tf.data.sources.class_names import name_problem, normal_name, quoted_name
from clan_tf.errors import UserError, counted, nearest
from clan_tf.files import Row, read_user_table
from clan_tf.taxonomy import Taxonomy, levels_problem, tree_problems

KEY = "data.taxonomy"
SEPARATOR = "__"
"""Between the parts of the classes' names."""
FINEST = "class"
"""The level of the classes, where no table names it."""


MOST_SHOWN = 20
"""Mistakes that a message lists."""


def read_taxonomy(
    config: DataConfig, class_names: Sequence[str], note: Callable[[str], None] = lambda text: None
) -> Taxonomy | None:
    """Reads the taxonomy that `data.taxonomy` names, for the classes of the data; `None` without one.

    The table's columns are the classes and ever coarser groups of them; commas stand between them or, if the header
    says so, semicolons or tabs. Names are compared without spaces around them and in Unicode's composed form.

    Args:
        config: the data.
        class_names: its classes.
        note: called with what a user should know about the table.

    Raises:
        UserError: for a table that can't be read, lacks a class or isn't a tree, naming its mistakes.
    """
    if config.taxonomy is None:
        return None
    if config.taxonomy == TAXONOMY_NAMES:
        place, levels, rows = f"{KEY}: {TAXONOMY_NAMES}", *_from_names(class_names)
    else:
        place = f"{KEY}: {config.taxonomy}"
        levels, lines = _read_table(Path(config.taxonomy), place, class_names)
        rows = _rows_of_classes(levels, [_names(line) for line in lines], class_names, place)
        left = {normal_name(name) for name in (*class_names, *config.unknown_classes)}
        if others := sum(_names(line)[0] not in left for line in lines):
            note(f"{place} has {counted(others, 'row')} of classes that the data doesn't have: they aren't used")
    _raise_mistakes(place, tree_problems(levels, rows))
    for level, name in enumerate(levels):
        if level and len({row[level] for row in rows}) == 1:
            note(f"{place} has a single {name}, {quoted_name(rows[0][level])}: nothing is told apart on this level")
    taxonomy = Taxonomy(levels, rows)
    if (size := len(json.dumps(taxonomy.to_table()))) > limits.TAXONOMY_BYTES:
        raise UserError(f"{place}: has {size:,} bytes; at most {limits.TAXONOMY_BYTES:,} fit. Use shorter names.")
    return taxonomy


def _from_names(class_names: Sequence[str]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Returns the levels and a row for each class, from names such as `Passeridae__Passer__Passer_domesticus`."""
    place = f"{KEY}: {TAXONOMY_NAMES}"
    parts = [name.split(SEPARATOR) for name in class_names]
    first = parts[0]
    for name, own in zip(class_names, parts, strict=True):
        if not all(normal_name(part) for part in own):
            raise UserError(f"{place}: a part of the class {quoted_name(name)} is empty. Rename it.")
        if len(own) != len(first):
            raise UserError(
                f"{place}: all classes must have as many parts, with {SEPARATOR} between them; "
                f"{quoted_name(class_names[0])} has {len(first)}, and {quoted_name(name)} has {len(own)}. Rename them, "
                "or give a table of the classes."
            )
    if len(first) < 2:
        raise UserError(
            f"{place}: the classes' names must have parts with {SEPARATOR} between them, the coarsest first; received "
            f"{quoted_name(class_names[0])}. Rename them, or give a table of the classes."
        )
    levels = (FINEST, *(f"level_{number}" for number in range(len(first) - 1, 0, -1)))
    _raise_levels_problem(levels, place)
    rows = [(name, *map(normal_name, reversed(own[:-1]))) for name, own in zip(class_names, parts, strict=True)]
    return levels, tuple(rows)


def _read_table(path: Path, place: str, class_names: Sequence[str]) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Returns the names of the levels and all rows of a table, each with a name for every level."""
    if not path.is_file():
        raise UserError(f"{place}: there is no such file. Give the table of the classes, or leave the key out (null).")
    table = read_user_table(path, KEY)
    levels = tuple(map(normal_name, table.columns))
    if not levels:
        raise UserError(f"{place}: is empty. Its first line must name the levels, such as class,genus,family.")
    if levels[0] in map(normal_name, class_names):
        raise UserError(
            f"{place}: its first line must name the levels, such as class,genus,family; received the class "
            f"{quoted_name(levels[0])}."
        )
    if not all(levels):
        raise UserError(f"{place}: column {levels.index('') + 1} has no name in the first line. Name it, or remove it.")
    _raise_levels_problem(levels, place)
    _require_classes_first(levels, table.rows, class_names, place)
    _raise_mistakes(place, _mistakes_in_rows(levels, table.rows))
    return levels, table.rows


def _names(row: Row) -> tuple[str, ...]:
    """Returns the names in a row, the finest first."""
    return tuple(map(normal_name, row.cells))


def _mistakes_in_rows(levels: Sequence[str], rows: Sequence[Row]) -> list[str]:
    mistakes: list[str] = []
    first: dict[str, int] = {}
    for row in rows:
        names = _names(row)
        problems = [
            f"{level}: {problem}" for level, name in zip(levels, names, strict=True) if (problem := name_problem(name))
        ]
        if row.problem or problems:
            mistakes += [f"line {row.line}: {problem}" for problem in ([row.problem] if row.problem else problems)]
        elif (earlier := first.setdefault(names[0], row.line)) != row.line:
            mistakes.append(f"line {row.line}: {levels[0]}: {quoted_name(names[0])} is on line {earlier} too")
    return mistakes


def _rows_of_classes(
    levels: Sequence[str], rows: Sequence[tuple[str, ...]], class_names: Sequence[str], place: str
) -> tuple[tuple[str, ...], ...]:
    """Returns a row for each class, in the order of the labels; a `UserError` that lists those without one."""
    groups = {name: others for name, *others in rows}
    missing = [name for name in class_names if normal_name(name) not in groups]
    if missing:
        known = set(map(normal_name, class_names))
        unused = [name for name in groups if name not in known]
        # Looking for the nearest of many names takes long, and most of those that are missing aren't shown.
        hints = [nearest(name, unused) if index < MOST_SHOWN else "" for index, name in enumerate(missing)]
        _raise_mistakes(
            place,
            [
                f"no row for the class {quoted_name(name)}.{hint}".rstrip(".")
                for name, hint in zip(missing, hints, strict=True)
            ],
        )
    return tuple((name, *groups[normal_name(name)]) for name in class_names)


def _require_classes_first(levels: Sequence[str], rows: Sequence[Row], class_names: Sequence[str], place: str) -> None:
    """Raises a `UserError` if the classes are all in another column than the first."""
    known = set(map(normal_name, class_names))
    columns = [set(column) for column in zip(*map(_names, rows), strict=True)]
    for level, names in zip(levels, columns, strict=False):  # no columns where there are no rows
        if known <= names and not known & columns[0]:
            raise UserError(f"{place}: the classes must be in the first column; they are in {level!r}. Move it there.")


def _raise_levels_problem(levels: Sequence[str], place: str) -> None:
    if problem := levels_problem(levels):
        raise UserError(f"{place}: {problem}.")


def _raise_mistakes(place: str, mistakes: Sequence[str], most: int = MOST_SHOWN) -> None:
    """Raises a `UserError` with the first mistakes and the number of the others, if there are any."""
    if len(mistakes) == 1:
        raise UserError(f"{place}: {mistakes[0]}{'' if mistakes[0].endswith('?') else '.'}")
    if mistakes:
        more = [f"  … and {len(mistakes) - most} more"] if len(mistakes) > most else []
        lines = [f"{place}: {len(mistakes):,} mistakes", *(f"  {mistake}" for mistake in mistakes[:most]), *more]
        raise UserError("\n".join(lines))
