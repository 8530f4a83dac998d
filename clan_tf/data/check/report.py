"""What a user should know about their photos before training on them; changes nothing."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from clan_tf.config import Experiment
from clan_tf.data.check.duplicates import count_blocks, near_duplicates
from clan_tf.data.check.inspection import Facts, inspect_photo
from clan_tf.data.check.readiness import taxonomy_findings, training_problems
from clan_tf.data.sources import SPLITS, Photo, Source
from clan_tf.data.sources.groups import DividedGroup, divided_groups
from clan_tf.in_parallel import in_parallel
from clan_tf.photos import PhotoError
from clan_tf.photos.listing import LeftOut, left_out_counts
from clan_tf.progress import Progress


@dataclass(frozen=True)
class Pair:
    """Two photos that show the same picture.

    Attributes:
        a: name of the first; of a pair across splits, the one in the split nearer to train.
        b: name of the other.
        kind: `exact` (the same bytes) or `near` (re-encoded, resized, mirrored).
        splits: the split of each.
        labels: the class name of each.
        is_leak: whether the two stand in different splits, other than train and a validation split that was cut from
            it at random.
    """

    a: str
    b: str
    kind: str
    splits: tuple[str, str]
    labels: tuple[str, str]
    is_leak: bool

    @property
    def is_conflict(self) -> bool:
        """Whether the two carry different labels."""
        return self.labels[0] != self.labels[1]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {"a": self.a, "b": self.b, "kind": self.kind, "splits": [*self.splits], "labels": [*self.labels]}


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found.

    Attributes:
        counts: photos of each class, by split.
        images: sizes, modes and formats of the readable photos.
        broken: the photos that can't be used: `path` and `problem`.
        odd: unusual photos, one entry per photo and `kind`: `path`, `kind` and `detail`.
        pairs: photos that show the same picture.
        notes: what the source reports of itself.
        problems: what keeps training from starting.
        left_out: files and folders among the photos that aren't used.
        divided_groups: groups of `data.group` with photos in several of the data's own splits.
    """

    counts: Mapping[str, Mapping[str, int]]
    images: Mapping[str, Any]
    broken: Sequence[Mapping[str, str]]
    odd: Sequence[Mapping[str, str]]
    pairs: Sequence[Pair]
    notes: Sequence[str]
    problems: Sequence[str]
    left_out: Sequence[LeftOut] = ()
    divided_groups: Sequence[DividedGroup] = ()

    @property
    def duplicates(self) -> list[Pair]:
        """The pairs within a split, or in train and a validation split that was cut from it."""
        return [pair for pair in self.pairs if not pair.is_leak]

    @property
    def leaks(self) -> list[Pair]:
        """The pairs across the splits that the data has."""
        return [pair for pair in self.pairs if pair.is_leak]

    @property
    def conflicts(self) -> list[Pair]:
        """The pairs whose labels differ, within a split or across."""
        return [pair for pair in self.pairs if pair.is_conflict]

    @property
    def across_cut(self) -> list[Pair]:
        """The duplicates of which one is a validation photo that was cut from train."""
        return [pair for pair in self.duplicates if pair.splits[0] != pair.splits[1]]

    @property
    def classes_without_test(self) -> list[str]:
        """The classes that no test photo measures."""
        return [name for name, count in self.counts["test"].items() if count == 0]

    @property
    def imbalance(self) -> dict[str, Any]:
        """The smallest and the largest class of train; `None` for each where there are no classes."""
        train = self.counts["train"]
        if not train:
            return {"split": "train", "smallest": None, "largest": None, "ratio": None}
        smallest, largest = min(train, key=train.__getitem__), max(train, key=train.__getitem__)
        return {
            "split": "train",
            "smallest": {"class": smallest, "photos": train[smallest]},
            "largest": {"class": largest, "photos": train[largest]},
            "ratio": train[largest] / train[smallest] if train[smallest] else None,
        }

    @property
    def failed(self) -> bool:
        """Whether training on these photos would stop or mislead.

        That is if there are problems, broken photos, leaks, copies whose labels differ, or groups in several splits.
        """
        return bool(self.problems or self.broken or self.leaks or self.conflicts or self.divided_groups)

    def can_start(self, on_broken: str) -> bool:
        """Checks whether `train` would start, with `data.on_broken` as given."""
        return not self.problems and (on_broken == "skip" or not self.broken)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {
            "splits": {
                split: {"total": sum(classes.values()), "classes": dict(classes)}
                for split, classes in self.counts.items()
            },
            "classes": len(self.counts["train"]),
            "classes_without_test": self.classes_without_test,
            "imbalance": self.imbalance,
            "images": dict(self.images),
            "broken": [dict(entry) for entry in self.broken],
            "odd": [dict(entry) for entry in self.odd],
            "duplicates": [pair.to_json() for pair in self.duplicates],
            "leaks": [pair.to_json() for pair in self.leaks],
            "conflicts": [pair.to_json() for pair in self.conflicts],
            "divided_groups": [
                {"group": group.name, "photos": {split: list(names) for split, names in group.photos.items()}}
                for group in self.divided_groups
            ],
            "left_out": {
                "files": left_out_counts(self.left_out),
                "paths": [{"path": item.path, "reason": item.reason, "files": item.files} for item in self.left_out],
            },
            "notes": list(self.notes),
            "problems": list(self.problems),
            "failed": self.failed,
        }


UNKNOWN = "unknown"
"""In place of a split, that of photos of `data.unknown_classes`."""


@dataclass(frozen=True)
class _Member:
    """A readable photo and its place in the data."""

    photo: Photo
    split: str
    facts: Facts


def check_data(source: Source, progress: Progress | None = None, experiment: Experiment | None = None) -> DataReport:
    """Decodes every photo once, on all cores, and compares each with all others.

    Photos that can't be read are reported, whatever the cause; nothing is written.

    Args:
        source: the photos.
        progress: where progress is shown.
        experiment: the experiment to be trained; without it only the source's own `problems` are reported.
    """
    progress = progress or Progress()
    placed = [(photo, split) for split in SPLITS for photo in source.splits.get(split, ())]
    broken, members = _inspect([*placed, *((photo, UNKNOWN) for photo in source.unknown)], progress)
    odd = [
        {"path": member.photo.name, "kind": kind, "detail": detail}
        for member in members
        for kind, detail in member.facts.oddities
    ]
    pairs = list(_pairs([member for member in members if member.split != UNKNOWN], source, progress))
    names = {entry["path"] for entry in broken}
    problems = training_problems(experiment, source, names) if experiment else source.problems
    counts, images = _counts(source), _images(members)
    found = taxonomy_findings(experiment, source)[1] if experiment and source.class_names else ()
    notes = (*source.notes, *found)
    divided = divided_groups(source)
    return DataReport(counts, images, broken, odd, pairs, notes, problems, source.left_out, divided)


def _inspect(placed: Sequence[tuple[Photo, str]], progress: Progress) -> tuple[list[dict[str, str]], list[_Member]]:
    """Decodes photos on all cores: those that can't be used, with the reason, and the others."""
    broken: list[dict[str, str]] = []
    members: list[_Member] = []
    with (
        warnings.catch_warnings(),
        progress.track("reading photos", len(placed)) as advance,
    ):
        warnings.simplefilter("ignore")  # Pillow warns of large photos and damaged EXIF; the report has what matters
        inspections = in_parallel(inspect_photo, [photo for photo, _ in placed])
        for (photo, split), inspection in zip(placed, inspections, strict=True):
            try:
                members.append(_Member(photo, split, inspection.result()))
            except PhotoError as error:
                broken.append({"path": photo.name, "problem": str(error)})
            advance()
    return broken, members


def _pairs(members: Sequence[_Member], source: Source, progress: Progress) -> Iterator[Pair]:
    """Yields each copy with the first one of every split, so that a picture with many copies yields few pairs."""
    groups: dict[bytes, list[_Member]] = {}
    for member in members:
        groups.setdefault(member.facts.digest, []).append(member)
    pictures = list(groups.values())
    for copies in pictures:
        yield from _link(copies, copies, "exact", source)
    if len(pictures) < 2:
        return
    thumbnails = np.stack([copies[0].facts.thumbnail for copies in pictures])
    with progress.track("comparing photos", count_blocks(len(pictures))) as advance:
        for first, second in near_duplicates(thumbnails, advance):
            yield from _link(pictures[first], pictures[second], "near", source)


def _link(copies: Sequence[_Member], others: Sequence[_Member], kind: str, source: Source) -> Iterator[Pair]:
    linked = [*product(copies, _first_of_splits(others)), *product(_first_of_splits(copies), others)]
    order = {id(member): index for index, member in enumerate([*copies, *others])}
    seen = set()
    for one, other in linked:
        a, b = sorted((one, other), key=lambda member: (SPLITS.index(member.split), order[id(member)]))
        if a is not b and (id(a), id(b)) not in seen:
            seen.add((id(a), id(b)))
            labels = (source.class_names[a.photo.label], source.class_names[b.photo.label])
            splits = (a.split, b.split)
            is_leak = a.split != b.split and not (source.val_is_cut and splits == ("train", "val"))
            yield Pair(a.photo.name, b.photo.name, kind, splits, labels, is_leak)


def _first_of_splits(members: Sequence[_Member]) -> list[_Member]:
    return list({member.split: member for member in reversed(members)}.values())


def _counts(source: Source) -> dict[str, dict[str, int]]:
    counted = {split: Counter(photo.label for photo in source.splits.get(split, ())) for split in SPLITS}
    return {
        split: {name: labels[label] for label, name in enumerate(source.class_names)}
        for split, labels in counted.items()
    }


def _images(members: Sequence[_Member]) -> dict[str, Any]:
    facts = [member.facts for member in members]
    return {
        "width": _range(fact.size[0] for fact in facts),
        "height": _range(fact.size[1] for fact in facts),
        "modes": dict(Counter(fact.mode for fact in facts).most_common()),
        "formats": dict(Counter(fact.format for fact in facts).most_common()),
    }


def _range(lengths: Iterable[int]) -> dict[str, int] | None:
    lengths = sorted(lengths)
    return {"min": lengths[0], "median": lengths[len(lengths) // 2], "max": lengths[-1]} if lengths else None
