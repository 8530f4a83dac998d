"""Thresholds below which a model withholds its answer, fitted on validation photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from clan_tf.errors import counted
from clan_tf.rejection import NEVER, Rejection
from clan_tf.text import short_percent

CONFIDENCE = 0.95
"""How sure it is that no more of the accepted answers are wrong than is aimed for."""

IN_GROUPS = (
    "the promise takes validation photos as independent, but data.group says that some belong together: more answers "
    "may be wrong than it says"
)
"""What to know of a threshold that is fitted to groups of photos."""


@dataclass(frozen=True)
class Accepted:
    """Of some photos those that a threshold accepts.

    Attributes:
        threshold: the lowest probability that is accepted.
        photos: how many are accepted.
        wrong: how many of these are classified wrongly.
        of: the number of all the photos.
    """

    threshold: float
    photos: int
    wrong: int
    of: int


@dataclass(frozen=True)
class RejectionFit:
    """A rejection that was fitted.

    Attributes:
        rejection: the thresholds.
        photos: the number of validation photos.
        accepted: how many of these get an answer.
        wrong: how many of the answers are wrong.
        own: labels of the classes that have a threshold of their own.
        never: labels of those for which no answer is ever given.
    """

    rejection: Rejection
    photos: int
    accepted: int
    wrong: int
    own: tuple[int, ...] = ()
    never: tuple[int, ...] = ()

    def counts(self) -> dict[str, int]:
        """Returns the numbers of photos: all, answered, and answered wrongly."""
        return {"photos": self.photos, "accepted": self.accepted, "wrong": self.wrong}

    def __str__(self) -> str:
        share = f"{self.accepted:,} of {self.photos:,} validation photos ({short_percent(self.accepted / self.photos)})"
        return f"given for {self.rejection}; {share} are answered, {self.wrong:,} of them wrongly"


def fit_rejection(
    probabilities: np.ndarray, labels: np.ndarray, accept_error: float, per_class: bool = False
) -> RejectionFit | str:
    """Finds the lowest threshold above which at most a share of the answers is wrong, with 95 % confidence.

    The share holds for photos like the validation photos, not only for these: see `lowest_threshold`.

    Args:
        probabilities: of the combined prediction, `(photos, classes)`.
        labels: `(photos,)`.
        accept_error: the share, between 0 and 1.
        per_class: whether each class has a threshold of its own for which enough photos are taken. With 95 % confidence
            the share then holds for each of these classes, and for all others together; of which no threshold keeps to
            it, those are never answered.

    Returns:
        The thresholds, or why no threshold will do.
    """
    best = probabilities.argmax(axis=1)
    scores, wrong = probabilities.max(axis=1).astype("float32"), best != labels

    def fitted(aim: float) -> RejectionFit | None:
        if per_class:
            return _fit_by_class(best, probabilities.shape[1], scores, wrong, aim)
        found = lowest_threshold(scores, wrong, aim)
        if found is None:
            return None
        return RejectionFit(Rejection(aim, (found.threshold,)), found.of, found.photos, found.wrong)

    return fitted(accept_error) or _why(wrong, accept_error, fitted)


def _fit_by_class(
    best: np.ndarray, classes: int, scores: np.ndarray, wrong: np.ndarray, aim: float
) -> RejectionFit | None:
    large = _large_classes(np.bincount(best, minlength=classes), aim)
    doubt = (1 - CONFIDENCE) / (len(large) + 1)  # which the classes and all others share
    groups: dict[int | None, np.ndarray] = {label: best == label for label in large}
    groups[None] = ~np.isin(best, large)
    fitted = {label: lowest_threshold(scores[members], wrong[members], aim, doubt) for label, members in groups.items()}
    parts = [part for part in fitted.values() if part]
    if not parts:
        return None
    thresholds = [fitted[label if label in fitted else None] for label in range(classes)]
    return RejectionFit(
        Rejection(aim, tuple(part.threshold if part else NEVER for part in thresholds)),
        len(best),
        sum(part.photos for part in parts),
        sum(part.wrong for part in parts),
        tuple(label for label in large if fitted[label]),
        tuple(label for label, part in enumerate(thresholds) if part is None),
    )


def _large_classes(photos: np.ndarray, aim: float) -> list[int]:
    """Returns the labels of the classes for which so many photos are taken that each may have a threshold of its own.

    Args:
        photos: their number for each class, `(classes,)`.
        aim: as in `lowest_threshold`.
    """
    order = np.argsort(-photos, kind="stable")
    shares = (1 - CONFIDENCE) / (np.arange(len(order)) + 2)  # of the doubt, if the class is the last one
    enough = (1 - aim) ** photos[order] <= shares
    return sorted(order[: int(np.argmin(enough)) if not enough.all() else len(order)].tolist())


def lowest_threshold(
    scores: np.ndarray, wrong: np.ndarray, aim: float, doubt: float = 1 - CONFIDENCE
) -> Accepted | None:
    """Finds the lowest threshold whose error among the accepted is at most `aim`, with 95 % confidence.

    Whether the error among the `n` highest scores is above `aim` is tested by the binomial distribution, exactly. The
    tests begin at all photos, at three quarters of them, at three quarters of these …, as long as so many without a
    mistake would pass, and go on from each to ever more photos until one fails. Together they are wrong in at most the
    share `doubt` of the cases (fixed sequence testing with several starts: Angelopoulos et al., "Learn then Test",
    2021; for this problem: Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017).

    Args:
        scores: float32 `(photos,)`; photos of the same score are accepted together.
        wrong: which are classified wrongly, bool `(photos,)`.
        aim: between 0 and 1.
        doubt: 1 minus the confidence.

    Returns:
        The threshold, which is above the highest score that isn't accepted; `None` if none passes.
    """
    from scipy.stats import binom

    starts, level = _starts(len(scores), aim, doubt)
    if not starts:
        return None
    order = np.argsort(-scores, kind="stable")
    ordered, mistakes = scores[order], np.cumsum(wrong[order])
    ends = np.flatnonzero(np.append(ordered[1:] < ordered[:-1], True)) + 1
    fails = np.flatnonzero(binom.cdf(mistakes[ends - 1], ends, aim) > level)
    reached = 0
    for start in starts:
        first = int(np.searchsorted(ends, start))
        after = np.searchsorted(fails, first)
        failing = int(fails[after]) if after < len(fails) else len(ends)
        reached = max(reached, int(ends[failing - 1]) if failing > first else 0)
    if not reached:
        return None
    below = ordered[reached] if reached < len(scores) else None
    threshold = 0.0 if below is None else float(np.nextafter(below, np.float32(2)))
    return Accepted(threshold, reached, int(mistakes[reached - 1]), len(scores))


def _starts(photos: int, aim: float, doubt: float) -> tuple[Sequence[int], float]:
    """Returns the numbers of photos at which tests begin, and how improbable each's result must be."""
    starts: list[int] = []
    count = photos
    while count and (1 - aim) ** count <= doubt / (len(starts) + 1):
        starts.append(count)
        count = 3 * count // 4
    return starts, doubt / max(1, len(starts))


def _why(wrong: np.ndarray, aim: float, fitted: Callable[[float], RejectionFit | None]) -> str:
    """Says why no threshold will do, and which aim one would, by the same fit."""
    photos = len(wrong)
    needed = int(np.ceil(np.log(1 - CONFIDENCE) / np.log1p(-aim)))
    of = counted(photos, "validation photo")
    if photos < needed:
        reason = f"at least {needed:,} answers without a mistake show it, and there are {of}"
    else:
        reason = f"none of the tests on {of}, {int(wrong.sum()):,} of them wrong, shows it"
    reachable = next((each for each in np.arange(1, 51) / 100 if each > aim and fitted(each)), None)
    also = f"; {short_percent(reachable)} would be reached" if reachable else ""
    return f"no threshold promises at most {short_percent(aim)} of wrong answers: {reason}{also}"
