"""Thresholds below which a model withholds its answer, fitted on validation photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clan_tf.errors import counted
from clan_tf.rejection import NEVER, Rejection
from clan_tf.text import percent

CONFIDENCE = 0.95
"""How sure it is that no more of the accepted answers are wrong than is aimed for."""


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
        share = f"{self.accepted:,} of {self.photos:,} validation photos ({percent(self.accepted / self.photos)})"
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
        per_class: whether each class has a threshold of its own, for which the photos that are taken for it are enough.
            The share then holds for each of these classes, and for all others together; where it doesn't for these,
            they are never answered.

    Returns:
        The thresholds, or why no threshold will do.
    """
    best = probabilities.argmax(axis=1)
    scores, wrong = probabilities.max(axis=1).astype("float32"), best != labels
    if not per_class:
        found = lowest_threshold(scores, wrong, accept_error)
        if found is None:
            return _why(scores, wrong, accept_error)
        return RejectionFit(Rejection(accept_error, (found.threshold,)), found.of, found.photos, found.wrong)
    classes = probabilities.shape[1]
    alone = {
        label: lowest_threshold(scores[best == label], wrong[best == label], accept_error) for label in range(classes)
    }
    own = {label: found for label, found in alone.items() if found}
    others = ~np.isin(best, list(own))
    rest = lowest_threshold(scores[others], wrong[others], accept_error)
    parts = [*own.values(), *([rest] if rest else [])]
    if not parts:
        return _why(scores, wrong, accept_error)
    shared = rest.threshold if rest else NEVER
    thresholds = tuple(own[label].threshold if label in own else shared for label in range(classes))
    return RejectionFit(
        Rejection(accept_error, thresholds),
        len(labels),
        sum(part.photos for part in parts),
        sum(part.wrong for part in parts),
        tuple(own),
        () if rest else tuple(label for label in range(classes) if label not in own),
    )


def lowest_threshold(scores: np.ndarray, wrong: np.ndarray, aim: float) -> Accepted | None:
    """Finds the lowest threshold whose error among the accepted is at most `aim`, with 95 % confidence.

    Whether the error among the `n` highest scores is above `aim` is tested by the binomial distribution, exactly. The
    tests begin at all photos, at three quarters of them, at three quarters of these …, as long as so many without a
    mistake would pass, and go on from each to ever more photos until one fails. Together they are wrong in at most 5 %
    of the cases (fixed sequence testing with several starts: Angelopoulos et al., "Learn then Test", 2021; for this
    problem: Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017).

    Args:
        scores: float32 `(photos,)`; photos of the same score are accepted together.
        wrong: which are classified wrongly, bool `(photos,)`.
        aim: between 0 and 1.

    Returns:
        The threshold, which is above the highest score that isn't accepted; `None` if none passes.
    """
    from scipy.stats import binom

    starts, level = _starts(len(scores), aim)
    if not starts:
        return None
    order = np.argsort(-scores, kind="stable")
    ordered, mistakes = scores[order], np.cumsum(wrong[order])
    counts = np.arange(1, len(scores) + 1)
    is_end = np.append(ordered[1:] < ordered[:-1], True)
    passes = binom.cdf(mistakes, counts, aim) <= level
    reached = 0
    for start in starts:
        for count in counts[start - 1 :][is_end[start - 1 :]]:
            if not passes[count - 1]:
                break
            reached = max(reached, int(count))
    if not reached:
        return None
    below = ordered[reached] if reached < len(scores) else None
    threshold = 0.0 if below is None else float(np.nextafter(below, np.float32(2)))
    return Accepted(threshold, reached, int(mistakes[reached - 1]), len(scores))


def _starts(photos: int, aim: float) -> tuple[Sequence[int], float]:
    """Returns the numbers of photos at which tests begin, and how improbable each's result must be."""
    starts: list[int] = []
    count = photos
    while count and (1 - aim) ** count <= (1 - CONFIDENCE) / (len(starts) + 1):
        starts.append(count)
        count = 3 * count // 4
    return starts, (1 - CONFIDENCE) / max(1, len(starts))


def _why(scores: np.ndarray, wrong: np.ndarray, aim: float) -> str:
    """Says why no threshold will do, and which aims one would."""
    photos = len(scores)
    needed = int(np.ceil(np.log(1 - CONFIDENCE) / np.log1p(-aim)))
    of = counted(photos, "validation photo")
    if photos < needed:
        reason = f"at least {needed:,} answers without a mistake show it, and there are {of}"
    else:
        reason = f"none of the tests on {of}, {int(wrong.sum()):,} of them wrong, shows it"
    reachable = next((each for each in np.arange(1, 51) / 100 if lowest_threshold(scores, wrong, each)), None)
    also = f"; {percent(reachable)} would be reached" if reachable and reachable > aim else ""
    return f"no threshold promises at most {percent(aim)} of wrong answers: {reason}{also}"
