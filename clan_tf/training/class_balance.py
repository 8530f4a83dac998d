"""How the loss treats classes of unequal numbers of photos, from the recipe and the used train photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from clan_tf.config import TrainingConfig
from clan_tf.data.check.class_weights import weights_by_label


@dataclass(frozen=True)
class ClassBalance:
    """The arguments of `balanced_cross_entropy` for a training run.

    Attributes:
        weights: of the classes, float64 `(classes,)`; `None` if all are 1.
        shift: of the logits, float64 `(classes,)`; `None` if they aren't adjusted.
        gamma: of the focal loss.
    """

    weights: np.ndarray | None
    shift: np.ndarray | None
    gamma: float

    @classmethod
    def of(cls, training: TrainingConfig, class_names: Sequence[str], labels: np.ndarray) -> Self | None:
        """Returns a recipe's balance; `None` if it comes to the cross-entropy itself.

        Args:
            training: the recipe.
            class_names: the classes of the data.
            labels: of the used train photos, of which every class has one, int `(photos,)`.
        """
        weights = class_weights(training, class_names, labels)
        tau, gamma = training.logit_adjustment, training.focal_gamma
        shift = tau * np.log(class_shares(labels, len(class_names))) if tau else None
        is_weighted = bool((weights != 1).any())
        return cls(weights if is_weighted else None, shift, gamma) if is_weighted or tau or gamma else None


def class_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns each class's share of the photos, float64 `(classes,)`."""
    return np.bincount(labels, minlength=classes) / len(labels)


def class_weights(training: TrainingConfig, class_names: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Returns the weight of each class, float64 `(classes,)`; the arguments are those of `ClassBalance.of`."""
    given, classes = training.class_weights, len(class_names)
    if given == "balanced":
        return len(labels) / (classes * np.bincount(labels, minlength=classes))
    return np.ones(classes) if isinstance(given, str) else np.array(weights_by_label(given, class_names))


def describe_balance(training: TrainingConfig, class_names: Sequence[str], labels: np.ndarray) -> str:
    """Says in words what differs from the cross-entropy; empty if nothing does."""
    said = []
    if training.class_weights != "none":
        said.append(f"class weights {_range(class_weights(training, class_names, labels), class_names)}")
    if training.logit_adjustment:
        shares = _range(class_shares(labels, len(class_names)), class_names)
        said.append(f"logits + {training.logit_adjustment:g} log(share of the train photos), shares {shares}")
    if training.focal_gamma:
        said.append(f"focal with gamma {training.focal_gamma:g}")
    return "; ".join(said)


def _range(values: np.ndarray, class_names: Sequence[str]) -> str:
    least, most = int(values.argmin()), int(values.argmax())
    return f"from {values[least]:.3g} ({class_names[least]!r}) to {values[most]:.3g} ({class_names[most]!r})"
