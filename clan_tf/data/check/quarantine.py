"""The list of photos that `data.quarantine` leaves out, from what the check of the data found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from clan_tf.data.check.report import DataReport
from clan_tf.data.sources import Photo, Source
from clan_tf.data.sources.source import relative_name
from clan_tf.errors import UserError
from clan_tf.files import read_text, write_text
from clan_tf.text import printable

HEADER = "# Photos that data.quarantine leaves out, by clan-tf data check --quarantine, which overwrites this file."
_KEPT_FIRST = ("test", "val", "train")
"""Order in which splits keep copies: the one used for measuring comes first."""


@dataclass(frozen=True)
class Quarantine:
    """Names of photos to leave out.

    Attributes:
        broken: those that can't be read, of any split.
        conflicting: train and validation photos of pictures that have different labels there.
        copies: train and validation photos of which another copy is kept.
        emptied: the classes that keep no train photo.
    """

    broken: tuple[str, ...]
    conflicting: tuple[str, ...]
    copies: tuple[str, ...]
    emptied: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.broken + self.conflicting + self.copies


def choose_quarantined(source: Source, report: DataReport) -> Quarantine:
    """Chooses which photos to leave out.

    Test photos are kept, so that accuracies remain comparable, unless they can't be read. Train and validation photos
    are left out if their picture is also in test, or if copies have different labels, because nothing says which is
    right. Of other copies, one is kept: a validation photo where there is one.

    Args:
        source: the data that the report is about.
        report: of `check_data`.
    """
    broken = tuple(dict.fromkeys(entry["path"] for entry in report.broken))
    placed = {photo.name: (photo, split) for split in _KEPT_FIRST[::-1] for photo in source.splits.get(split, ())}
    conflicting: list[str] = []
    copies: list[str] = []
    for names in _pictures(report):
        photos = sorted((placed[name] for name in names), key=lambda place: _KEPT_FIRST.index(place[1]))
        differ = len({photo.label for photo, _ in photos}) > 1
        stays = 0 if differ or photos[0][1] == "test" else 1
        leaving = [photo.name for photo, split in photos[stays:] if split != "test"]
        (conflicting if differ else copies).extend(leaving)
    left_out = {*broken, *conflicting, *copies}
    emptied = _emptied(source.class_names, source.splits["train"], left_out)
    return Quarantine(broken, tuple(conflicting), tuple(copies), emptied)


def require_quarantine(path: Path) -> None:
    """Raises a `UserError` if `path` exists and isn't a list of photos to leave out."""
    if path.exists() and not read_text(path, "--quarantine").startswith(HEADER):
        raise UserError(f"--quarantine: {path} exists and isn't such a list. Give another file.")


def write_quarantine(path: Path, quarantine: Quarantine, folder: str | None) -> None:
    """Writes the list: one name per line, relative to `folder` if inside it, under headings that begin with `#`.

    Names that a line can't hold, such as those with a line end or bytes that aren't UTF-8, are JSON strings.

    Raises:
        UserError: if `path` exists and isn't such a list.
    """
    require_quarantine(path)
    lines = [HEADER]
    for heading, names in (
        ("can't be read", quarantine.broken),
        ("stand there under different labels", quarantine.conflicting),
        ("have a copy that stays", quarantine.copies),
    ):
        if names:
            lines += [f"# {len(names)} {heading}:", *(_line(name, folder) for name in names)]
    write_text(path, "\n".join(lines) + "\n")


def _line(name: str, folder: str | None) -> str:
    """Returns a name as a line: a JSON string where the plain name couldn't be read back unchanged."""
    relative = relative_name(name, folder)
    is_plain = relative == relative.strip() == printable(relative) and not relative.startswith(("#", '"'))
    return relative if is_plain else json.dumps(relative)


def _pictures(report: DataReport) -> list[list[str]]:
    """Returns the names of the photos that show the same picture, for each picture with several photos."""
    names = list(dict.fromkeys(name for pair in report.pairs for name in (pair.a, pair.b)))
    if not names:
        return []
    index = {name: number for number, name in enumerate(names)}
    rows, columns = ([index[getattr(pair, side)] for pair in report.pairs] for side in "ab")
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(len(names), len(names)))
    _, pictures = connected_components(graph, directed=False)
    order = np.argsort(pictures, kind="stable")
    starts = np.flatnonzero(np.diff(pictures[order])) + 1
    return [[names[number] for number in members] for members in np.split(order, starts)]


def _emptied(class_names: Sequence[str], train: Sequence[Photo], left_out: set[str]) -> tuple[str, ...]:
    staying = {photo.label for photo in train if photo.name not in left_out}
    return tuple(name for label, name in enumerate(class_names) if label not in staying)
