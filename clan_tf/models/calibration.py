"""Temperature scaling: temperatures of a model's outputs, fitted on validation photos (Guo et al., ICML 2017)."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clan_tf.choices import chosen_weights
from clan_tf.errors import counted
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.combination import COMBINED, joined_logits
from clan_tf.models.selective_risk import RejectionFit, fit_rejection

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
        losses: the negative log-likelihood of the combined prediction on these, with a temperature of 1 and with its.
    """

    temperatures: dict[str, float]
    photos: int
    losses: tuple[float, float]

    def __str__(self) -> str:
        return f"logits are divided by {self.temperatures[COMBINED]:g}, fitted on {self.photos:,} validation photos"


@dataclass(frozen=True)
class Answers:
    """A model whose answers mean what they say, and how that was found.

    Attributes:
        model: the model, with other temperatures and thresholds.
        fit: its temperatures; why they are as they were; `None` if they weren't to be fitted.
        rejection: when it withholds an answer; why it never does; `None` if it wasn't to.
    """

    model: BranchClassifier
    fit: Fit | str | None
    rejection: RejectionFit | str | None


def fit_temperatures(model: BranchClassifier, logits: Mapping[str, np.ndarray], labels: np.ndarray) -> Fit | str:
    """Fits a temperature to each output of a model, whatever its temperatures are.

    An output that is wrong for fewer than five photos, or for which the best temperature isn't between 0.1 and 10,
    keeps 1.

    Args:
        model: the model.
        logits: by branch, as `logits_model` gives them, `(photos, classes)`.
        labels: `(photos,)`.

    Returns:
        The temperatures, or why none can be fitted.
    """
    if not _takes_temperatures(type(model)):
        return f"{type(model).__name__} doesn't take `temperatures`"
    if len(labels) < FEWEST_PHOTOS:
        return f"there are {counted(len(labels), 'validation photo')}, and it takes {FEWEST_PHOTOS}"
    own = {branch: np.asarray(values, "float64") for branch, values in logits.items()}
    own[COMBINED] = combined_logits(model, own)
    wrong = {name: int((values.argmax(axis=1) != labels).sum()) for name, values in own.items()}
    if wrong[COMBINED] < FEWEST_WRONG:
        of = f"of {len(labels):,} validation photos are classified wrongly"
        return f"{wrong[COMBINED]} {of}, and it takes {FEWEST_WRONG}"
    temperatures = {
        name: fit_temperature(values, labels) if wrong[name] >= FEWEST_WRONG else 1.0 for name, values in own.items()
    }
    losses = [_loss(own[COMBINED], labels, inverse) for inverse in (1.0, 1 / temperatures[COMBINED])]
    return Fit(temperatures, len(labels), (losses[0], losses[1]))


def fit_answers(
    model: BranchClassifier,
    logits: Mapping[str, np.ndarray],
    labels: np.ndarray,
    with_temperatures: bool,
    accept_error: float | None,
    per_class: bool = False,
) -> Answers:
    """Fits temperatures, and thresholds to the probabilities that these give.

    Args:
        model: the model.
        logits: as in `fit_temperatures`.
        labels: `(photos,)`.
        with_temperatures: whether temperatures are fitted, or stay.
        accept_error: the share of wrong answers, as in `fit_rejection`; of `None` nothing is withheld.
        per_class: as in `fit_rejection`.
    """
    fit = fit_temperatures(model, logits, labels) if with_temperatures else None
    if isinstance(fit, Fit) and fit.temperatures != model.temperatures:
        model = calibrated(model, fit.temperatures)
    found = None
    if accept_error is not None:
        from scipy.special import softmax

        own = {branch: np.asarray(values, "float64") for branch, values in logits.items()}
        probabilities = softmax(combined_logits(model, own) / model.temperatures[COMBINED], axis=1)
        found = fit_rejection(probabilities, labels, accept_error, per_class)
    model.rejection = found.rejection if isinstance(found, RejectionFit) else None
    return Answers(model, fit, found)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature of the largest likelihood, to four digits; 1 if it isn't between 0.1 and 10.

    Args:
        logits: `(photos, classes)`.
        labels: `(photos,)`.
    """
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        return _loss(logits, labels, np.exp(-logarithm))

    bound = np.log(_LARGEST)
    found = minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-6})
    is_inside = abs(found.x) < bound - 0.01
    return float(f"{np.exp(found.x):.4g}") if is_inside and loss(0) - found.fun > 1e-6 else 1.0


def calibrated(model: BranchClassifier, temperatures: Mapping[str, float]) -> BranchClassifier:
    """Returns a model with the same weights and other temperatures."""
    other = type(model).from_config({**model.get_config(), "temperatures": dict(temperatures)})
    # By layer, because the order of a model's weights depends on its graph.
    pairs = [(layer, other.get_layer(layer.name)) for layer in model.layers if layer.weights]
    pairs += [(head, other.other_heads[name]) for name, head in model.other_heads.items()]
    if sum(len(layer.weights) for layer, _ in pairs) != len(model.weights):
        raise RuntimeError(f"{type(model).__name__} has weights that no layer has, so that they can't be copied.")
    for layer, own in pairs:
        own.set_weights(layer.get_weights())
    return other


def _takes_temperatures(kind: type[BranchClassifier]) -> bool:
    parameters = inspect.signature(kind).parameters.values()
    return any(each.name == "temperatures" or each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)


def combined_logits(
    model: BranchClassifier, logits: Mapping[str, np.ndarray], branches: Sequence[str] = ()
) -> np.ndarray:
    """Returns the logits of some branches' combination, but for a constant for each photo; by default the usual one."""
    branches = branches or [branch for branch in model.branches if model.branch_weights[branch] > 0]
    own = [logits[branch] for branch in branches]
    if len(own) == 1:
        return own[0]
    return np.asarray(joined_logits(own, model.combination, chosen_weights(branches, model.branch_weights)))


def _loss(logits: np.ndarray, labels: np.ndarray, inverse: float) -> float:
    from scipy.special import logsumexp

    true = logits[np.arange(len(labels)), labels]
    return float(np.mean(logsumexp(logits * inverse, axis=1) - true * inverse))
