"""Classes as the leaves of a tree with named levels, and probabilities on each of them. Needs NumPy alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from clan_tf import limits
from clan_tf.errors import nearest, shown

AUTO_LEVEL = "auto"
"""What stands for the finest level that a model is sure of; no level has this name."""


@dataclass(frozen=True)
class Taxonomy:
    """A tree over a model's classes: each is in one group of the next level, which is in one of the next, and so on.

    Attributes:
        levels: the levels' names, from the finest, which is that of the classes, to the coarsest.
        rows: for each class, in the order of the labels, its name at each level.
    """

    levels: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, table: Any, class_names: Sequence[str]) -> "Taxonomy":
        """Makes the taxonomy of a table of plain values: the levels' names, then a row for each class.

        Raises:
            ValueError: unless it is a tree over these classes.
        """
        rows = _text_rows(table)
        levels, rows = rows[0], rows[1:]
        if problem := levels_problem(levels):
            raise ValueError(f"taxonomy: {problem}")
        if [row[0] for row in rows] != list(class_names):
            raise ValueError(
                f"taxonomy must have a row for each of the {len(class_names):,} classes, in their order; received "
                f"{len(rows):,} rows{_first_other(rows, class_names)}"
            )
        if problems := tree_problems(levels, rows):
            raise ValueError(f"taxonomy: {problems[0]}")
        return cls(tuple(levels), tuple(map(tuple, rows)))

    def to_table(self) -> list[list[str]]:
        """Returns plain values, as `of` takes them."""
        return [list(self.levels), *map(list, self.rows)]

    def index(self, level: str) -> int:
        """Returns which level has a name, counted from the finest; raises a `ValueError` where none has."""
        if level not in self.levels:
            raise ValueError(
                f"no level {shown(level)}.{nearest(level, list(self.levels))} Its levels: {', '.join(self.levels)}"
            )
        return self.levels.index(level)

    def labels(self, level: int) -> tuple[str, ...]:
        """Returns the names at a level, in the order of the classes that they first occur with."""
        return tuple(dict.fromkeys(row[level] for row in self.rows))

    def probabilities(self, probabilities: np.ndarray, level: int) -> np.ndarray:
        """Sums probabilities of the classes over each group of a level.

        Args:
            probabilities: `(…, classes)`.
            level: the level, 0 for the classes themselves.

        Returns:
            `(…, labels)`, in the order of `labels`; of the classes themselves what was given.
        """
        if level == 0:
            return probabilities
        order, starts = self._sums[level]
        sums = np.add.reduceat(np.asarray(probabilities, "float64")[..., order], starts, axis=-1)
        return np.minimum(sums, 1.0)  # of rounded probabilities they may be more

    def heights(self, some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Returns the heights of the lowest common ancestors of pairs of classes, int `(pairs,)`.

        That is how many levels are finer than the one on which both have the same name: 0 for the same class, and the
        number of levels for classes that have none in common, whose ancestor is the root.

        Args:
            some: indices of classes, `(pairs,)`.
            others: the others', `(pairs,)`.
        """
        return np.sum([groups[some] != groups[others] for groups in self.groups], axis=0, dtype=int)

    @cached_property
    def groups(self) -> tuple[np.ndarray, ...]:
        """For each level, which of its `labels` each class belongs to, int `(classes,)`."""
        places = [{name: index for index, name in enumerate(self.labels(level))} for level in range(len(self.levels))]
        return tuple(
            np.array([names[row[level]] for row in self.rows], dtype=int) for level, names in enumerate(places)
        )

    @cached_property
    def _sums(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """For each level an order of the classes, by group, and where in it each group starts."""
        orders = [np.argsort(groups, kind="stable") for groups in self.groups]
        return tuple(
            (order, np.flatnonzero(np.diff(groups[order], prepend=-1)))
            for order, groups in zip(orders, self.groups, strict=True)
        )


def levels_problem(levels: Sequence[str]) -> str | None:
    """Describes what is wrong with the names of levels; `None` if nothing is."""
    if not 2 <= len(levels) <= limits.LEVELS:
        return (
            f"must have from 2 to {limits.LEVELS} levels, the classes and ever coarser groups of them; received "
            f"{shown(list(levels))}"
        )
    if twice := [name for index, name in enumerate(levels) if name in levels[:index]]:
        return f"names the level {shown(twice[0])} twice"
    if AUTO_LEVEL in levels:
        return f"names a level {AUTO_LEVEL!r}, which stands for the finest level that a model is sure of; rename it"
    return None


def tree_problems(levels: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns why rows of names aren't a tree, one sentence each: names with two parents, and at two levels.

    Args:
        levels: the levels' names, the finest first.
        rows: of each class its name at each level; no class twice.
    """
    problems: dict[tuple[str, str], str] = {}
    for child, parent in zip(range(len(levels)), range(1, len(levels)), strict=False):
        parents: dict[str, Sequence[str]] = {}
        for row in rows:
            first = parents.setdefault(row[child], row)
            if first[parent] != row[parent]:
                problems.setdefault(
                    (levels[child], row[child]),
                    f"{levels[child]} {shown(row[child])} is in two of the level {levels[parent]}: "
                    f"{shown(first[parent])} ({shown(first[0])}) and {shown(row[parent])} ({shown(row[0])}); a group "
                    "is in one of the next level, and the levels go from fine to coarse",
                )
    return [*problems.values(), *_names_at_two_levels(levels, rows)]


def _names_at_two_levels(levels: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A class or group may be called like a coarser one that it is in, as in a genus of one species, but no other."""
    found: dict[str, set[int]] = {}
    for row in rows:
        for level, name in enumerate(row):
            found.setdefault(name, set()).add(level)
    several: Mapping[str, list[int]] = {name: sorted(places) for name, places in found.items() if len(places) > 1}
    problems: dict[tuple[str, int, int], str] = {}
    for row in rows:
        for level, name in enumerate(row):
            for coarser in several.get(name, ()):
                if coarser > level and row[coarser] != name:
                    problems[name, level, coarser] = (
                        f"{shown(name)} is a name at the level {levels[level]} and at the level {levels[coarser]}, and "
                        f"the one isn't in the other, but in {shown(row[coarser])}; write them differently"
                    )
    return list(problems.values())


def _text_rows(table: Any) -> list[list[str]]:
    """Returns a table's rows after checking that they are texts, as many in each."""
    if not isinstance(table, list | tuple) or not 1 < len(table) <= 1 + limits.CLASSES:
        raise ValueError(
            f"taxonomy must be a list of rows, the levels' names and one for each class; {_received(table)}"
        )
    for row in table:
        if not isinstance(row, list | tuple) or len(row) != len(table[0]):
            raise ValueError(f"taxonomy must have rows of as many names as there are levels; {_received(row)}")
        for name in row:
            if not isinstance(name, str) or not 0 < len(name) <= limits.NAME_LENGTH:
                raise ValueError(
                    f"taxonomy must hold texts of 1 to {limits.NAME_LENGTH:,} characters; {_received(name)}"
                )
    return [list(row) for row in table]


def _received(value: Any) -> str:
    return f"received {shown(value)}"


def _first_other(rows: Sequence[Sequence[str]], class_names: Sequence[str]) -> str:
    """Names the first row of another class, if there is one."""
    for row, name in zip(rows, class_names, strict=False):
        if row[0] != name:
            return f", of which one is of {shown(row[0])} instead of {shown(name)}"
    return ""
