"""Temperatures of a model's outputs, fitted on validation photos (Guo et al., ICML 2017)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clan_tf.errors import counted
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.combination import COMBINED, tempered

FEWEST_PHOTOS, FEWEST_WRONG = 50, 5
"""How many validation photos are needed, and how many of them wrong: with fewer, a temperature is left to chance."""
_LARGEST = 10.0
"""The largest temperature that is fitted; its inverse is the smallest."""


@dataclass(frozen=True)
class Fit:
    """Temperatures that were fitted.

    Attributes:
        temperatures: by branch, and `combined`.
        photos: the number of validation photos.
        losses: the negative log-likelihood of the combined prediction on these, before and after.
    """

    temperatures: dict[str, float]
    photos: int
    losses: tuple[float, float]

    def __str__(self) -> str:
        return f"logits are divided by {self.temperatures[COMBINED]:g}, fitted on {self.photos:,} validation photos"


def too_few(answers: Mapping[str, np.ndarray], labels: np.ndarray) -> str | None:
    """Explains why no temperature can be fitted on these photos; returns `None` if one can.

    Args:
        answers: probabilities by output, `(photos, classes)`.
        labels: `(photos,)`.
    """
    if len(labels) < FEWEST_PHOTOS:
        return f"there are {counted(len(labels), 'validation photo')}, and it takes {FEWEST_PHOTOS}"
    wrong = int((answers[COMBINED].argmax(axis=1) != labels).sum())
    if wrong < FEWEST_WRONG:
        return f"{wrong} of {len(labels):,} validation photos are classified wrongly, and it takes {FEWEST_WRONG}"
    return None


def fit_temperatures(model: BranchClassifier, answers: Mapping[str, np.ndarray], labels: np.ndarray) -> Fit:
    """Fits a temperature to each output of a model.

    Args:
        model: the model, which may be calibrated already.
        answers: its probabilities by output, `(photos, classes)`.
        labels: `(photos,)`.
    """
    raw = {name: np.asarray(tempered(values, 1 / model.temperatures[name])) for name, values in answers.items()}
    temperatures = {name: fit_temperature(values, labels) for name, values in raw.items()}
    after = np.asarray(tempered(raw[COMBINED], temperatures[COMBINED]))
    return Fit(temperatures, len(labels), (_loss(raw[COMBINED], labels), _loss(after, labels)))


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature of the largest likelihood, from 0.1 to 10, to four digits.

    Where every photo is right, the likelihood only grows towards a temperature of 0, and it stays 1.

    Args:
        probabilities: with a temperature of 1, `(photos, classes)`.
        labels: `(photos,)`.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    if (probabilities.argmax(axis=1) == labels).all():
        return 1.0
    logits = np.log(np.maximum(probabilities.astype("float64"), np.finfo("float32").tiny))
    true = logits[np.arange(len(labels)), labels]

    def loss(logarithm: float) -> float:
        inverse = np.exp(-logarithm)
        return float(np.mean(logsumexp(logits * inverse, axis=1) - true * inverse))

    bound = np.log(_LARGEST)
    found = minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-6})
    return float(f"{np.exp(found.x):.4g}")


def _loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    tiny = np.finfo("float32").tiny
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], tiny)).mean())
