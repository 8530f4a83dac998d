"""When a model doesn't answer: classification with a reject option (Chow, 1970), by the most probable class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clan_tf.errors import shown
from clan_tf.text import short_percent

NEVER = float(np.nextafter(np.float32(1), np.float32(2)))
"""A threshold that no probability reaches."""


@dataclass(frozen=True)
class Rejection:
    """The probabilities that a most probable class needs; an answer with less is withheld.

    Attributes:
        accept_error: of the answers that are given, the share that may be wrong, for which they were chosen, 0…1;
            `None` if a user chose them.
        thresholds: one for all classes, or one for each, in the order of the labels; float32 values from 0 to `NEVER`.
    """

    accept_error: float | None
    thresholds: tuple[float, ...]

    def accepts(self, probabilities: np.ndarray) -> np.ndarray:
        """Checks which answers are given, bool `(…)`, from probabilities `(…, classes)`; NaN is none."""
        best = probabilities.argmax(axis=-1)
        reached = np.take_along_axis(probabilities, best[..., None], axis=-1)[..., 0]
        return reached >= self.of_classes(probabilities.shape[-1])[best]

    def of_classes(self, classes: int) -> np.ndarray:
        """Returns the threshold of each class, float32 `(classes,)`."""
        return np.broadcast_to(np.asarray(self.thresholds, "float32"), (classes,))

    def of_groups(self) -> "Rejection":
        """Returns what groups of classes need: the highest threshold of a class that is ever answered."""
        return Rejection(self.accept_error, (max((x for x in self.thresholds if x < NEVER), default=NEVER),))

    def __str__(self) -> str:
        reachable = [threshold for threshold in self.thresholds if threshold < NEVER]
        if not reachable:
            return "no probability"
        lowest, highest = min(reachable), max(reachable)
        span = f"{lowest:.4g}" if lowest == highest else f"{lowest:.4g} to {highest:.4g}, by class"
        needed = f"a probability of at least {span}" if highest else "any probability"
        return (
            needed
            if self.accept_error is None
            else f"{needed}, for at most {short_percent(self.accept_error)} wrong answers"
        )


def checked_rejection(accept_error: Any, thresholds: Any, classes: int) -> Rejection | None:
    """Returns the rejection that a file describes; `None` if it describes none.

    Raises:
        ValueError: unless `accept_error` is a number between 0 and 1, and `thresholds` a list of one number, or of one
            for each class, from 0 to `NEVER`.
    """
    if accept_error is None and not thresholds:
        return None
    if type(accept_error) not in (int, float) or not 0 < accept_error < 1:
        raise ValueError(f"accept_error must be a number between 0 and 1; received {shown(accept_error)}")
    if not isinstance(thresholds, Sequence) or isinstance(thresholds, str) or len(thresholds) not in (1, classes):
        raise ValueError(f"thresholds must be a list of 1 or {classes:,} numbers; received {shown(thresholds)}")
    for value in thresholds:
        if type(value) not in (int, float) or not 0 <= value <= NEVER:
            raise ValueError(f"thresholds must be from 0 to {NEVER:.8g}; received {shown(value)}")
    return Rejection(float(accept_error), tuple(float(value) for value in thresholds))
