"""What the search for mislabelled photos found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from clan_tf.config import Experiment
from clan_tf.data import Photo


class RankedPhoto(NamedTuple):
    """A photo and what its label looks like.

    Attributes:
        photo: the photo.
        name: its name, relative to the folder of the data if it is inside it.
        given: name of the class that it is labelled as.
        suggested: name of the most probable class.
        quality: probability 0…1 of the given class, by a model that didn't see the photo.
        is_issue: whether confident learning takes the label to be wrong.
    """

    photo: Photo
    name: str
    given: str
    suggested: str
    quality: float
    is_issue: bool

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {
            "photo": self.name,
            "given_label": self.given,
            "suggested_label": self.suggested,
            "quality": self.quality,
            "is_issue": self.is_issue,
        }


@dataclass(frozen=True)
class LabelReport:
    """Photos whose labels may be wrong.

    Attributes:
        experiment: whose photos.
        split: `train`, `val`, `test` or `all`.
        photos: the photos of the split, the most probably mislabelled first.
        typical: by name of the class, its photo whose label is the most certain.
        folds: how many folds there were.
        classes: how many classes there are.
        unranked: how many photos can't be ranked, because their class has no other photo.
        corrections: labels of `data.relabel` by photo, which already apply.
        notes: what a user should know.
    """

    experiment: Experiment
    split: str
    photos: tuple[RankedPhoto, ...]
    typical: Mapping[str, Photo]
    folds: int
    classes: int
    unranked: int
    corrections: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def issues(self) -> list[RankedPhoto]:
        """The photos whose labels confident learning takes to be wrong, in order."""
        return [photo for photo in self.photos if photo.is_issue]

    @property
    def agreement(self) -> float:
        """Share of the photos whose label is the most probable class."""
        return sum(photo.given == photo.suggested for photo in self.photos) / len(self.photos)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values: counts, and the issues in order."""
        return {
            "split": self.split,
            "photos": len(self.photos),
            "classes": self.classes,
            "unranked": self.unranked,
            "folds": self.folds,
            "agreement": self.agreement,
            "issues": len(self.issues),
            "ranked_issues": [photo.to_json() for photo in self.issues],
            "notes": list(self.notes),
        }
