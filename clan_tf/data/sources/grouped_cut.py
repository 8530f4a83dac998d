"""Which groups of photos are cut off, so that about a fraction of every class is."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Counts = Mapping[int, int]
"""Photos by label."""


def join_units(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """Joins names that are side by side in two lists, directly or through others.

    Args:
        one: names.
        other: what each is joined with.

    Returns:
        For each place of the lists the first name, in the order of the alphabet, of all that are joined there.
    """
    if not one:
        return []
    names = sorted({*one, *other})
    index = {name: number for number, name in enumerate(names)}
    rows, columns = [index[name] for name in one], [index[name] for name in other]
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(len(names), len(names)))
    _, unit = connected_components(graph, directed=False)
    _, first = np.unique(unit, return_index=True)
    return [names[first[unit[row]]] for row in rows]


def choose_units(units: Mapping[str, Counts], order: Sequence[str], fraction: float) -> set[str]:
    """Chooses the units that are cut off, one after the other while that brings the classes nearer to `fraction`.

    How far classes are from it is the sum over them of `(photos cut off - fraction x photos)² / photos`. A class of
    which nothing was cut off so far then loses the unit that costs least. A unit that holds all that is left of a
    class stays.

    Args:
        units: the photos of each unit, by label.
        order: the units, in the order in which they are tried.
        fraction: 0…1.
    """
    photos: Counter[int] = Counter()
    staying: Counter[int] = Counter()  # units that hold a label
    for counts in units.values():
        photos.update(counts)
        staying.update(counts.keys())
    taken: Counter[int] = Counter()
    chosen: set[str] = set()

    def change(unit: str) -> float:
        """How much farther the classes get by cutting a unit off."""
        return sum(
            count * (count + 2 * (taken[label] - fraction * photos[label])) / photos[label]
            for label, count in sorted(units[unit].items())
        )

    def may_leave(unit: str) -> bool:
        return unit not in chosen and all(staying[label] > 1 for label in units[unit])

    def take(unit: str) -> None:
        chosen.add(unit)
        taken.update(units[unit])
        staying.subtract(units[unit].keys())

    for unit in order:
        if may_leave(unit) and change(unit) < 0:
            take(unit)
    with_label: dict[int, list[str]] = {}
    for unit in order:
        for label in units[unit]:
            with_label.setdefault(label, []).append(unit)
    for label in sorted(photos):
        able = [unit for unit in with_label[label] if may_leave(unit)] if not taken[label] else []
        if able:
            take(min(able, key=change))
    return chosen
